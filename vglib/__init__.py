"""The shared library of the course *Vanishing Gradients*.

``diagnose`` and ``Watch`` are for your own model. Lessons import the modules by name: ``tasks`` and
``batch`` give data, ``nets`` and ``recurrent`` build networks, ``theory`` predicts, ``probes`` and
``monitor`` measure, ``training`` trains, ``plots`` and ``figures`` draw, ``claims`` gives verdicts,
``lesson`` has what every lesson uses.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

_OF_DIAGNOSIS = ("Watch", "diagnose")
_MODULES = (
    *("batch", "claims", "diagnosis", "figures", "lesson", "monitor", "nets", "plots", "probes"),
    *("recurrent", "tasks", "theory", "training"),
)
__all__ = ("Watch", "diagnose", *_MODULES)


def __getattr__(name: str) -> Any:
    """What `dir` shows, when it is first asked for: the instrument needs torch and numpy alone."""
    if name == "__version__":
        return version("vglib")
    if name in _OF_DIAGNOSIS:
        return getattr(import_module("vglib.diagnosis"), name)
    if name in _MODULES:
        return import_module(f"vglib.{name}")
    raise AttributeError(f"module 'vglib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
