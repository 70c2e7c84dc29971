"""What every lesson uses: its seeds, numbers in words, tables, and numbers for the chapter."""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from IPython.display import Markdown

    from vglib.probes import GradientFlow


def seeds(count: int) -> range:
    """``count`` seeds, those of the base seed in the environment variable VGLIB_SEED, 0 if unset.

    `tools.reseed` and `tools.confirm` run a whole lesson again by setting it.
    """
    base = int(os.environ.get("VGLIB_SEED", "0"))
    return range(1000 * base, 1000 * base + count)


def readable(value: float, digits: int = 3) -> str:
    """A number as prose writes it, to ``digits`` significant digits: 0.235, or 1.20 × 10⁻¹⁹."""
    if not math.isfinite(value):
        raise ValueError(f"only finite numbers can be written out, not {value}")
    value = float(value) or 0.0  # -0.0 is 0 to a reader
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    exponent = int(exponent)
    if value == 0 or -4 < exponent < 4:
        return f"{float(f'{mantissa}e{exponent}'):.{max(0, digits - 1 - exponent)}f}"
    return f"{mantissa} × {power_of_ten(exponent)}"


def power_of_ten(exponent: int) -> str:
    """10⁻¹⁹, in superscript digits."""
    return f"10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def spread(values: Any, digits: int = 2) -> str:
    """Several numbers in words, ``median (low to high)``; one number if all are equal.

    Those that only print alike keep their range, for on another processor they may not.
    """
    middle, low, high = np.quantile(values, [0.5, 0, 1])
    if high - low <= 1e-9 * abs(middle):  # equal but for rounding
        return readable(middle, digits)
    return "{} ({} to {})".format(*(readable(v, digits) for v in (middle, low, high)))


def table(head: Sequence[str], rows: Sequence, digits: int = 2) -> "Markdown":
    """A table from rows of words and numbers; several numbers are written as `spread` does.

    Raises ValueError for a row that is longer or shorter than the head.
    """
    from IPython.display import Markdown

    def written(entry):
        if not isinstance(entry, str):
            entry = spread(entry, digits) if np.ndim(entry) else readable(entry, digits)
        entry = entry.replace(" × ", "\u00a0×\u00a0").replace(" to ", "\u00a0to ")
        return entry.replace("|", "\\|")  # which would end the column

    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row has {len(row)} entries and the head {len(head)}: {row}")
    lines = [head, ["---"] * len(head), *(map(written, row) for row in rows)]
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def left(flow: "GradientFlow", quantity: str = "delta") -> np.ndarray:
    """The share of a gradient that is left at layer 1, one number per network.

    RMS at layer 1 over RMS at the layer next to the loss, of a `probes.GradientFlow`; ``quantity``
    is ``delta`` or ``weight``. Above 1 where the gradient grows on its way down.
    """
    values = getattr(flow, quantity)
    return values[:, 0] / values[:, -1]


def glue(prefix: str, digits: int = 2, **numbers) -> None:
    """Give numbers to the book: ``glue("depth", left_relu=x)`` is ``depth-left-relu`` there.

    A chapter quotes it with the role ``n``. Each is shown as `readable` writes it, several numbers
    by their median. Text stays as it is.
    """
    from IPython.display import display

    record = "application/papermill.record/"
    for name, value in numbers.items():
        name = f"{prefix}-{name}".replace("_", "-")
        if not isinstance(value, str):
            value = readable(np.median(value), digits)
        display(
            {f"{record}text/plain": repr(value)},
            metadata={"scrapbook": {"name": name, "mime_prefix": record}},
            raw=True,
        )
