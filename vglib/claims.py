"""Claims under test: the rule stated first, the verdict computed from what was measured.

A verdict and a glued number are ordinary cell outputs that carry a name in their metadata. The book
collects them from the stored notebooks; nothing but IPython is needed to make them.
"""

import json
import math
import tomllib
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

import numpy as np

VERDICT_MIME = "application/vnd.vglib.verdict+json"
SEEDS_NEEDED = 5
AGREEMENT = 0.9  # share of seeds that must agree before a condition is decided


@cache
def all_claims():
    """Every claim of the course, by id, as read from ``claims.toml``."""
    return tomllib.loads(files("vglib").joinpath("claims.toml").read_text(encoding="utf-8"))


def recorded(name):
    """The runs of the course's script ``benchmarks/{name}.py``, kept with the library.

    A list of dicts, one a run: its ``settings``, and its ``values`` by name.
    """
    path = files("vglib").joinpath("records", f"{name}.json")
    return json.loads(path.read_text(encoding="utf-8"))["runs"]


def readable(value, digits=3):
    """A number as prose writes it, to ``digits`` significant digits: 0.235, or 1.20 × 10⁻¹⁹."""
    if not math.isfinite(value):
        raise ValueError(f"only finite numbers can be written out, not {value}")
    value = float(value) or 0.0  # -0.0 is 0 to a reader
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    exponent = int(exponent)
    if value == 0 or -4 < exponent < 4:
        return f"{float(f'{mantissa}e{exponent}'):.{max(0, digits - 1 - exponent)}f}"
    return f"{mantissa} × 10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def glue(name, value, digits=3):
    """Give a number to the book under ``name``; a chapter shows it with ``{glue:text}``.

    The output carries the number as `readable` writes it. Text is taken as it stands.
    """
    from IPython.display import display  # here, so that `readable` can be had without IPython

    text = str(value) if isinstance(value, str) else readable(value, digits)
    prefix = "application/papermill.record/"
    display(
        {f"{prefix}text/plain": repr(text)},  # quoted, or glue would turn 1.00 into 1.0
        metadata={"scrapbook": {"name": name, "mime_prefix": prefix}},
        raw=True,
    )


@dataclass(frozen=True)
class Condition:
    """What the seeds said under one condition; ``answer`` is None where they disagree."""

    name: str
    answer: bool | None
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Rule:
    """How a claim will be decided: a quantity, one bound on it, and why that bound.

    The claim is true for a seed when ``quantity`` is ``at_least`` or ``at_most`` the bound and, if
    there is an ``also``, what that says in words is true as well. Raises ValueError for an unknown
    claim and unless exactly one bound is given.
    """

    claim: str
    quantity: str
    because: str
    at_least: float | None = None
    at_most: float | None = None
    also: str = ""

    def __post_init__(self):
        if self.claim not in all_claims():
            raise ValueError(
                f"unknown claim {self.claim!r}; choose one of: {', '.join(all_claims())}"
            )
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a rule needs exactly one bound: at_least or at_most")
        if not math.isfinite(self.at_least if self.at_most is None else self.at_most):
            raise ValueError("the bound of a rule must be a finite number")

    @property
    def bound(self):
        """The bound, and what else must be true, in words."""
        if self.at_least is not None:
            bound = f"at least {self.at_least:.4g}"
        else:
            bound = f"at most {self.at_most:.4g}"
        return f"{bound}, and {self.also}" if self.also else bound

    def verdict(self, measured, *, meaning, also=None):
        """Decide the claim from ``measured``: condition name → one value per seed.

        A rule with an ``also`` needs ``also``: condition name → whether it is true, one per seed.

        Within a condition nine tenths of the seeds must agree. All conditions true: *holds*. All
        false: *does not hold*. Some of each: *holds when* those that are true. A condition in
        which the seeds disagree is undecided, and so is a claim that hangs on it. ``meaning`` says
        in one sentence what is true instead, or why. Raises ValueError for no condition, fewer than
        five seeds, or a value that is not finite.
        """
        if not measured:
            raise ValueError(f"claim {self.claim} needs at least one condition; none was given")
        wanted, given = (set(measured) if self.also else set()), dict(also or {})
        if set(given) != wanted:
            raise ValueError(
                f"claim {self.claim}: also must have one entry for each of "
                f"{sorted(wanted) or 'no condition'}, not {sorted(given) or 'none'}"
            )
        conditions = tuple(
            self._decide(name, values, given.get(name)) for name, values in measured.items()
        )
        answers = [condition.answer for condition in conditions]
        if True in answers and False in answers:
            answer = "holds when"
        elif None in answers:
            answer = "undecided"
        else:
            answer = "holds" if all(answers) else "does not hold"
        return Verdict(self, answer, conditions, meaning)

    def _decide(self, name, values, also):
        values = np.asarray(values, dtype=float)
        if values.ndim != 1 or len(values) < SEEDS_NEEDED:
            raise ValueError(
                f"condition {name!r} needs one value for each of {SEEDS_NEEDED} seeds or more, "
                f"not an array of shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"condition {name!r} has values that are not finite: {values}")
        true = values >= self.at_least if self.at_least is not None else values <= self.at_most
        if also is not None:
            also = np.asarray(also, dtype=bool)
            if also.shape != values.shape:
                raise ValueError(
                    f"condition {name!r}: also needs one truth value for each of {len(values)} "
                    f"seeds, not an array of shape {also.shape}"
                )
            true = true & also
        answer = next((a for a in (True, False) if (true == a).mean() >= AGREEMENT), None)
        return Condition(name, answer, *map(float, np.quantile(values, [0.5, 0, 1])))

    def _repr_html_(self):
        claim = all_claims()[self.claim]["wording"]
        return (
            f"<p><strong>Claim {self.claim}.</strong> “{escape(claim)}”<br>"
            f"<strong>Rule.</strong> True for a seed when the {escape(self.quantity)} is "
            f"{self.bound}. <strong>Why there.</strong> {escape(self.because)}</p>"
        )


@dataclass(frozen=True)
class Verdict:
    """What a lesson found about a claim; shown as a table, and collected by the book."""

    rule: Rule
    answer: str
    conditions: tuple
    meaning: str

    def __str__(self):
        if self.answer != "holds when":
            return self.answer
        return "holds when " + "; ".join(c.name for c in self.conditions if c.answer)

    @property
    def holding(self):
        """The number of conditions under which the claim is true."""
        return sum(condition.answer is True for condition in self.conditions)

    def as_json(self):
        """The verdict as plain data, numbers already written as prose writes them."""
        return {
            "claim": self.rule.claim,
            "answer": self.answer,
            "meaning": self.meaning,
            "quantity": self.rule.quantity,
            "bound": self.rule.bound,
            "because": self.rule.because,
            "conditions": [
                {
                    "name": c.name,
                    "answer": {True: "true", False: "false", None: "undecided"}[c.answer],
                    "median": readable(c.median),
                    "range": f"{readable(c.low)} to {readable(c.high)}",
                }
                for c in self.conditions
            ],
        }

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {
            "text/plain": str(self),
            "text/html": f"<p><strong>Claim {self.rule.claim} {self.answer}"
            f"{' …' if self.answer == 'holds when' else '.'}</strong> {escape(self.meaning)}</p>"
            f"<div class='vg-table'>{verdict_table(self.as_json())}</div>",
            VERDICT_MIME: self.as_json(),
        }
        return data, {"scrapbook": {"name": f"verdict-{self.rule.claim}", "mime_prefix": ""}}


def verdict_table(verdict):
    """HTML table of a verdict in the form of `Verdict.as_json`, a row per condition."""
    rows = "".join(
        f"<tr><th scope='row'>{escape(c['name'])}</th><td>{c['answer']}</td>"
        f"<td>{c['median']}</td><td>{c['range']}</td></tr>"
        for c in verdict["conditions"]
    )
    return (
        f"<table><caption>{escape(verdict['quantity'])}: {escape(verdict['bound'])}</caption>"
        "<thead><tr><th scope='col'>condition</th><th scope='col'>so?</th>"
        "<th scope='col'>median</th><th scope='col'>range over seeds</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
