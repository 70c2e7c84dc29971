"""The shared library of the course *Vanishing Gradients*.

Lessons import its modules by name: ``tasks`` gives data, ``nets`` and
``recurrent`` build networks, ``theory`` predicts, ``probes`` and ``monitor`` measure, ``training``
trains, ``plots`` and ``figures`` draw, ``claims`` gives verdicts. ``diagnose`` is for your own
model.
"""


def __getattr__(name):
    """``vglib.diagnose`` and ``vglib.Watch``, imported when they are first asked for."""
    if name not in ("diagnose", "Watch"):
        raise AttributeError(f"module 'vglib' has no attribute {name!r}")
    from vglib import diagnosis

    return getattr(diagnosis, name)
