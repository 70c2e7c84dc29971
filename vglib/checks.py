"""Checks of input that several modules share; each says what was given and what was wanted."""


def choose(kind, name, table):
    """``table[name]``, or a ValueError that lists the choices."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; choose one of: {', '.join(table)}")
    return table[name]


def at_least_one(**sizes):
    """Raise ValueError unless each of ``sizes`` is a whole number from 1 up."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a whole number from 1 up, not {size!r}")


def check_gain(init, gain):
    """Raise ValueError unless ``gain`` is a positive number for init 'normal', else None."""
    if init != "normal":
        if gain is not None:
            raise ValueError(f"gain belongs to init 'normal'; init {init!r} sets its own scale")
    elif gain is None or not 0 < gain < float("inf"):
        raise ValueError(f"init 'normal' needs a positive finite gain σ_w, not {gain!r}")
