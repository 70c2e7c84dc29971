"""Checks of input that several modules share; each says what was given and what was wanted."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any

from torch import nn


def choose(kind: str, name: str, table: dict | tuple) -> Any:
    """``table[name]``, or the name itself from a tuple; else ValueError with the choices."""
    if name not in table:
        choices = ", ".join(map(str, table))
        raise ValueError(f"unknown {kind} {name!r}; choose one of: {choices}")
    return table[name] if isinstance(table, dict) else name


def at_least_one(**sizes) -> None:
    """Raise ValueError unless each of ``sizes`` is a whole number from 1 up."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise ValueError(f"{name} must be a whole number from 1 up, not {size!r}")


def as_list(nets: nn.Module | Iterable[nn.Module], caller: str) -> list[nn.Module]:
    """``nets``, one module or several, as a list; ValueError naming ``caller`` if there is none."""
    nets = [nets] if isinstance(nets, nn.Module) else list(nets)
    if not nets:
        raise ValueError(f"{caller} needs at least one network; the list is empty")
    return nets


def settings_of(net: nn.Module) -> dict:
    """A copy of the keywords that a network was built with, or the name of a reader's own model."""
    return dict(getattr(net, "settings", {"model": type(net).__name__}))


def check_gain(init: str, gain: float | None) -> None:
    """Raise ValueError unless ``gain`` is a positive number where ``init`` takes one, else None."""
    if gain is not None and init not in ("normal", "orthogonal"):
        raise ValueError(
            f"gain belongs to inits 'normal' and 'orthogonal'; init {init!r} sets its own scale"
        )
    if init == "normal" or gain is not None:
        positive("gain σ_w", gain)


def positive(name: str, value: float | None) -> None:
    """Raise ValueError unless ``value`` is a positive finite number."""
    if value is None or not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a positive finite number, not {value!r}")


def check_scales(
    init: str, bias_scale: float, connection: str = "plain", branch_scale: float = 1.0
) -> None:
    """Raise ValueError unless both scales are finite, 0 or more, and where they belong."""
    if not 0 <= bias_scale < float("inf") or (bias_scale and init == "torch"):
        raise ValueError(
            f"bias_scale must be 0 or more, and init 'torch' draws its own; not {bias_scale!r}"
        )
    if not 0 <= branch_scale < float("inf") or (branch_scale != 1 and connection != "residual"):
        raise ValueError(
            "branch_scale must be 0 or more and belongs to connection 'residual'; "
            f"given were {branch_scale!r} and connection {connection!r}"
        )
