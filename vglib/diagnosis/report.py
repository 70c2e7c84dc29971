"""What the instrument says: as text, as a table, as a picture, as a page, as plain data."""

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vglib.diagnosis import page
from vglib.diagnosis.causes import CAUSES, SAID, TRAPS, Finding, gone, judge, mended
from vglib.diagnosis.evidence import Evidence

# What a terminal that has no such letters is told instead.
_PLAIN = str.maketrans({"×": "x", "ε": "eps", "δ": "delta", "√": "root ", "…": "...", "→": "->"})

FIELDS = ("verdict", "reason", "cause", "where", "evidence", "remedy", "trial", "trap", "hints")
# The form of `Diagnosis.as_json`, as a JSON Schema.
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": [*FIELDS],
    "properties": {
        "verdict": {"enum": ["healthy", "gradient", "other", "abstain"]},
        "reason": {"type": "string"},
        "cause": {"enum": [*CAUSES, None]},
        "where": {
            "description": "names of modules, the likeliest first, or the first and last lag",
            "oneOf": [
                {"type": "array", "items": {"type": "string"}},
                {
                    "type": "object",
                    "properties": {"lags": {"type": "array", "items": {"type": "integer"}}},
                    "required": ["lags"],
                },
            ],
        },
        "evidence": {"description": "numbers by name; null for one not finite", "type": "object"},
        "remedy": {"type": ["string", "null"]},
        "trial": {
            "description": "loss at each step, as it is and with one change",
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
        },
        "trap": {"description": "the name of a known mistake", "enum": [*TRAPS, None]},
        "hints": {"type": "array", "items": {"type": "string"}},
    },
}


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found; it prints as text, and in a notebook as a table with a picture.

    ``verdict``: healthy, gradient (the gradient's path is at fault), other (something else is), or
    abstain. ``reason``: why, in words. ``cause``: a key of `CAUSES`, or None; "activation" and
    "weight scale" are one cause, called by what is the larger term in the code as it is written.
    ``where``: names of modules, the likeliest first, or a range of lags. ``evidence``: the numbers
    that decided. ``remedy``: what to try, and what has helped. ``trial``: losses by step as it is,
    and with the change that was tried. ``trap``: the name of a known mistake. ``hints``: what is no
    fault, and worth knowing. ``measured``: all `Evidence`.
    """

    verdict: str
    reason: str
    cause: str | None = None
    where: tuple | range = ()
    evidence: dict = field(default_factory=dict)
    remedy: str | None = None
    trial: dict = field(default_factory=dict)
    trap: str | None = None
    hints: tuple = ()
    measured: Evidence | None = field(default=None, compare=False)

    @property
    def said(self) -> str:
        """The cause as it is said, or the verdict where there is none."""
        return SAID.get(self.cause, self.cause) or self.verdict

    @property
    def place(self) -> str:
        """Where, in words: the first modules, or the range of lags."""
        if isinstance(self.where, range):
            return f"lags {self.where.start} to {self.where.stop - 1}"
        rest = f" and {len(self.where) - 4} more" if len(self.where) > 4 else ""
        return ", ".join(self.where[:4]) + rest

    def rows(self) -> list[tuple[str, str]]:
        """What there is to say, as (heading, text)."""
        trap = f" ({self.trap})" if self.trap else ""
        said = [("verdict", self.verdict + (f": {self.said}{trap}" if self.cause else ""))]
        said.append(("reason", self.reason))
        if self.where:
            said.append(("where", self.place))
        learnt = self.evidence.get("learnt", {})
        if learnt:
            shares = (f"{name} {max(share, 0):.0%}" for name, share in learnt.items())
            said.append(("learnt", "; ".join(shares) + " of the blind loss"))
        if self.remedy:
            said.append(("to try", self.remedy))
        return said + [("hint", hint) for hint in self.hints]

    def __str__(self):
        return _printable("\n".join(f"{heading:8} {text}" for heading, text in self.rows()))

    __repr__ = __str__

    def _repr_html_(self):
        return page.table(self)

    def save(self, path: str | Path) -> Path:
        """Write the report as one HTML file that needs no network; returns its path."""
        path = Path(path)
        path.write_text(page.page(self), "utf-8")
        return path

    def plot(self) -> Any:
        """Charts of the losses and of the gradient's way, for a notebook; needs matplotlib."""
        from vglib import plots  # here, so that a verdict can be had without matplotlib

        return plots.beside(*(chart for chart, _ in page.pictures(self)))

    def scalars(self) -> dict[str, float]:
        """Numbers by name for any logger, such as ``wandb.log(found.scalars())``."""
        found = {f"learnt/{name}": x for name, x in self.evidence.get("learnt", {}).items()}
        layers, sizes = (self.evidence.get(x, []) for x in ("layers", "gradient by layer"))
        found |= {f"gradient/{name}": x for name, x in zip(layers, sizes, strict=True)}
        for name in ("decades lost", "blind loss", "first relative update"):
            found[name] = self.evidence.get(name, math.nan)
        return {name: float(value) for name, value in found.items() if math.isfinite(value)}

    def log(self, writer: Any, step: int = 0) -> None:
        """Give all `scalars` to a TensorBoard ``SummaryWriter``, or what has its `add_scalar`."""
        for name, value in self.scalars().items():
            writer.add_scalar(name, value, step)

    def as_json(self) -> dict:
        """Plain data in the form of `SCHEMA`; a number that is not finite becomes None."""
        where = list(self.where)
        if isinstance(self.where, range):
            where = {"lags": [self.where.start, self.where.stop - 1]}
        return _plain({name: getattr(self, name) for name in FIELDS} | {"where": where})


def _printable(text):
    """Text in the letters that the terminal has."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode("ascii", "replace").decode()
    return text


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def report(e: Evidence, found: Finding | None = None) -> Diagnosis:
    """The `Diagnosis` of what was measured."""
    found = found or judge(e)
    names = ("verdict", "reason", "cause", "where", "trap", "hints")
    made = {"evidence": _numbers(e), "remedy": _remedy(e, found), "trial": _trial(e, found)}
    return Diagnosis(**{x: getattr(found, x) for x in names}, **made, measured=e)


def _remedy(e, found):
    if not found.cause:
        return None
    run = mended(e, found)
    if not run:
        return found.advice
    share, own = max(e.learnt(run), 0), max(e.learnt(_same_length(e, run)), 0)
    return (
        f"{run.words}, which helped here (learnt {share:.0%} instead of {own:.0%}); "
        f"or {found.advice}"
    )


def _same_length(e, run):
    """The run as it is that took as many steps."""
    long = e.long and run.steps > e.as_it_is.steps
    return e.long if long else e.as_it_is


def _trial(e, found):
    if not e.runs:
        return {}
    run = mended(e, found) or (e.best(*found.changes) if found.changes else None)
    own = _same_length(e, run) if run else (e.long or e.as_it_is)
    losses = {"as it is": list(own.losses)}
    return losses | ({run.words: list(run.losses)} if run else {})


def _numbers(e):
    """The numbers that decided, by name."""
    if not e.runs:
        return {}
    learnt = {}
    for run in (*e.runs, *e.longer):
        learnt[run.words] = max(learnt.get(run.words, -math.inf), e.learnt(run))
    learnt["as it is"] = e.own
    numbers = {
        "loss": [e.as_it_is.losses[0], (e.long or e.as_it_is).loss],
        "blind loss": e.blind,
        "learnt": learnt,
        "first relative update": e.as_it_is.update,
        "gradient by lag": {name: list(sizes) for name, sizes in e.lags.items()},
    }
    if e.by_heart:
        numbers["learnt of one batch"] = e.by_heart["learnt"]
    if e.fresh:
        numbers["learnt of new batches"] = gone(e.fresh["blind"], e.fresh["loss"])
    if path := e.path():
        numbers |= {
            "layers": list(path.names),
            "gradient by layer": path.delta.tolist(),
            "slope": path.slopes.tolist(),
            "saturated": path.saturated.tolist(),
            "dead": path.dead.tolist(),
            "decades lost": path.lost,
        }
    return numbers


def compare(before: Diagnosis, after: Diagnosis) -> str:
    """Two diagnoses as text, line by line: of a network as it was and as it is now."""
    was, now = map(_compared, (before, after))
    return _printable("\n".join(f"{x:12} {was[x]}\n{'now':>12} {now[x]}" for x in was))


def _compared(found):
    said, numbers = dict(found.rows()), found.evidence
    if "as it is" in numbers.get("learnt", {}):
        said["learnt"] = f"{max(numbers['learnt']['as it is'], 0):.0%}"
    if "decades lost" in numbers:
        said["decades lost"] = f"{numbers['decades lost']:.1f}"
    shown = ("verdict", "reason", "where", "learnt", "decades lost")
    return {heading: said.get(heading, "-") for heading in shown}
