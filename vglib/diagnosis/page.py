"""A diagnosis as HTML: tables and pictures that need no network, no script and no other package."""

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from vglib.diagnosis.causes import LIMITS
from vglib.numerics import log10

if TYPE_CHECKING:
    from vglib.diagnosis.report import Diagnosis

WIDTH, HEIGHT, LEFT, BOTTOM = 460, 190, 46, 24
COLOURS = ("#3b5b92", "#b5482e", "#4f7d4a", "#8a5a9e", "#9a7b1f", "#4b8a99", "#777777")
STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --paper: #ffffff; --soft: #5a6372;
 --ill: #b5482e; --so: #d9a441; --well: #4f7d4a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #14181f; --soft: #a3acb9; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
 max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem 1rem .2rem 0;
 vertical-align: top; } .strip { display: flex; gap: 2px; margin: .5rem 0; }
.strip span { flex: 1; height: 1.6rem; min-width: 3px; background: var(--well); }
.strip .ill { background: repeating-linear-gradient(45deg, var(--ill) 0 4px, transparent 4px 6px); }
.strip .so { background: repeating-linear-gradient(0deg, var(--so) 0 5px, transparent 5px 7px); }
.card { border-left: 4px solid var(--ill); padding: .1rem 1rem; margin: 1rem 0; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; } .soft { color: var(--soft); }
"""


def table(found: "Diagnosis") -> str:
    """What is said, as a table, and its pictures: for a notebook."""
    rows = "".join(
        f"<tr><th scope='row' style='text-align:left'>{heading}</th>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for heading, text in found.rows()
    )
    return f"<table><caption>Diagnosis</caption>{rows}</table>{''.join(pictures(found))}"


def page(found: "Diagnosis") -> str:
    """The whole report as one HTML document."""
    title = found.verdict + (f": {found.said}" if found.cause else "")
    cards = _card(found) if found.cause else ""
    hints = "".join(f"<li>{escape(hint)}</li>" for hint in found.hints)
    hints = f"<h2>Also seen</h2><ul>{hints}</ul>" if hints else ""
    shown = "".join(f"<figure>{picture}</figure>" for picture in pictures(found))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>Diagnosis: {escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(title[0].upper() + title[1:])}</h1><p>{escape(summary(found))}</p>"
        f"{strip(found)}{cards}{hints}{shown}{_trials(found)}"
        "<p class='soft'>Made by vglib.diagnose. A trial is a short run of a copy; learnt is "
        "the share of the loss that a model has which knows nothing about its inputs.</p>"
        "</main></body></html>"
    )


def summary(found: "Diagnosis") -> str:
    """Verdict, place and one recommendation, in three sentences at most."""
    said = [found.reason]
    if found.where and not isinstance(found.where, range):
        more = f" and {len(found.where) - 3} more" if len(found.where) > 3 else ""
        said.append(f"Look at {', '.join(found.where[:3])}{more}.")
    elif found.where:
        said.append(f"Look at lags {found.where.start} to {found.where.stop - 1}.")
    if found.remedy:
        said.append(f"Try {found.remedy}.")
    return " ".join(said)


def _card(found):
    evidence = found.evidence
    facts = [
        f"<tr><th scope='row'>{escape(name)}</th><td>{evidence[name]:.3g}</td></tr>"
        for name in ("blind loss", "first relative update", "decades lost")
        if isinstance(evidence.get(name), float) and math.isfinite(evidence[name])
    ]
    trap = f"<p>A known mistake: {escape(found.trap)}.</p>" if found.trap else ""
    steps = found.measured.steps if found.measured else ()
    seen = f"<p>Looked at in steps {', '.join(map(str, steps))}.</p>" if steps else ""
    return (
        f"<section class='card'><h2>{escape(found.said)}</h2>{trap}<table>{''.join(facts)}</table>"
        f"<details><summary>What this means</summary><p>{escape(found.reason)} What helps in "
        f"general: {escape(found.remedy or 'nothing known')}.</p>{seen}</details></section>"
    )


def strip(found: "Diagnosis") -> str:
    """All layers in a row, from the input to the loss: well, so-so, ill."""
    names = found.evidence.get("layers", [])
    if not names:
        return ""
    sizes = found.evidence["gradient by layer"]
    top = log10(sizes[-1])
    states = [abs(log10(size) - top) for size in sizes]
    kinds = ["ill" if s > LIMITS.unconfirmed else "so" if s > LIMITS.lost else "" for s in states]
    words = {"ill": "starved or exploding", "so": "in between", "": "well"}
    cells = "".join(
        f"<span class='{kind}' title='{escape(name)}: {words[kind]}'></span>"
        for name, kind in zip(names, kinds, strict=True)
    )
    ill = [name for name, kind in zip(names, kinds, strict=True) if kind == "ill"]
    told = (
        f"{len(ill)} of {len(names)} layers get a hundredth, or a hundredfold, of what the layer "
    )
    told += "next to the loss gets"
    return (
        f"<div class='strip' role='img' aria-label='{told}'>{cells}</div>"
        f"<p class='soft'>From the input to the loss: {told}.</p>"
    )


def _trials(found):
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{max(share, 0):.0%}</td></tr>"
        for name, share in found.evidence.get("learnt", {}).items()
    )
    return f"<h2>What was tried</h2><table>{rows}</table>" if rows else ""


def pictures(found: "Diagnosis") -> list[str]:
    """Losses as it is and with what was tried; gradients by layer and step, or by lag."""
    drawn = []
    if found.trial:
        drawn.append(chart(found.trial, "step", "loss", "Loss by step"))
    lags = found.evidence.get("gradient by lag", {})
    if lags:
        named = {name or "input": sizes for name, sizes in lags.items()}
        drawn.append(chart(named, "lag", "gradient, log10", "Gradient by lag", log=True))
    e = found.measured
    if e and e.samples and e.path():
        by_step = {}
        for i, step in enumerate(e.steps):
            if path := e.path(i):
                by_step[f"step {step}"] = path.delta.tolist()
        drawn.append(chart(by_step, "layer", "gradient, log10", "Gradient by layer", log=True))
    return drawn


def chart(lines: dict, across: str, up: str, title: str, *, log: bool = False) -> str:
    """Lines as an SVG: name → values."""
    values = {n: [log10(v) if log else v for v in vs] for n, vs in lines.items()}
    finite = [v for vs in values.values() for v in vs if math.isfinite(v)]
    longest = max((len(vs) for vs in values.values()), default=0)
    if not finite or longest < 2:
        return ""
    # A loss that explodes leaves the picture at the top.
    low, high = min(finite), max(finite)
    if not log:
        high = min(high, low + 3 * (float(np.quantile(finite, 0.9)) - low) + 1e-12)
    high = high if high > low else low + 1

    def x(i, count):
        return LEFT + (WIDTH - LEFT - 8) * i / (count - 1)

    def y(value):
        share = min((value - low) / (high - low), 1.0)
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 16) * share

    parts = []
    for (name, vs), colour, dash in zip(
        values.items(), COLOURS, ("", "6 3", "2 2", "8 2 2 2", "1 3", "4 4", ""), strict=False
    ):
        points = " ".join(
            f"{x(i, max(len(vs), 2)):.1f},{y(v):.1f}" for i, v in enumerate(vs) if math.isfinite(v)
        )
        parts.append(
            f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.8' "
            f"stroke-dasharray='{dash}'><title>{escape(name)}</title></polyline>"
        )
    keys = "".join(
        f"<tspan fill='{colour}'>— {escape(name)} </tspan>"
        for name, colour in zip(values, COLOURS, strict=False)
    )
    told = "; ".join(f"{name} from {vs[0]:.3g} to {vs[-1]:.3g}" for name, vs in values.items())
    label = escape(f"{title}: {told}.", quote=True)
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{label}' "
        f"style='max-width:{WIDTH}px;width:100%'>"
        f"<path d='M{LEFT},10V{HEIGHT - BOTTOM}H{WIDTH}' fill='none' stroke='currentColor'/>"
        f"<text x='{LEFT - 4}' y='16' text-anchor='end'>{high:.3g}</text>"
        f"<text x='{LEFT - 4}' y='{HEIGHT - BOTTOM}' text-anchor='end'>{low:.3g}</text>"
        f"<text x='4' y='{HEIGHT / 2}'>{up}</text>"
        f"<text x='{WIDTH / 2}' y='{HEIGHT - 4}'>{across}</text>"
        f"<text x='{LEFT + 8}' y='12'>{keys}</text>{''.join(parts)}</svg>"
    )
