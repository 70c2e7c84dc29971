"""A diagnosis as HTML that needs no network and no script; its charts need matplotlib."""

from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from vglib.numerics import log10
from vglib.probes import state_of

if TYPE_CHECKING:
    from vglib.diagnosis.report import Diagnosis

NO_CHARTS = "Charts need matplotlib: pip install matplotlib."
VERDICTS = {
    "healthy": "Healthy",
    "gradient": "The gradient's path is at fault",
    "other": "Something else is at fault",
    "abstain": "No verdict",
}
_BETWEEN = (
    "From layer to layer the gradient is multiplied by the weights and by the slope of the "
    "activation. Here their product is too small, so that lower layers get next to nothing."
)
# What a cause is, for somebody who meets it for the first time.
MEANS = {
    "activation": _BETWEEN,
    "weight scale": _BETWEEN,
    "saturation": "Where an activation is saturated, its curve is flat: the gradient is multiplied "
    "by a slope of nearly zero.",
    "dead units": "A ReLU that is off for every example has slope zero: nothing below it learns.",
    "depth": "Each layer loses a little of the gradient, and there are too many of them.",
    "recurrent factor": "At each step back in time the gradient is multiplied by the recurrent "
    "weights and a slope. Far steps get next to nothing, so they are not learnt from.",
    "forget gate": "At each time step the gates let go of a part of the past, and of its gradient.",
    "explosion": "The gradient grows on its way, or is no finite number: one step along it throws "
    "the weights far away.",
    "low precision": "In half precision small gradients become zero, and small updates are rounded "
    "away.",
    "learning rate": "The gradient arrives everywhere. Steps along it are too small to get far, or "
    "so large that they overshoot.",
    "data": "The gradient arrives. But what the model is given, or what its loss compares, does "
    "not tell it what to learn.",
    "detached": "These modules run, but their parameters get no gradient, or no optimizer moves "
    "them: they stay as they were drawn.",
    "optimizer epsilon": "Adam and its kin divide by the size of the gradient plus ε. Where ε is "
    "the larger, steps become tiny.",
    "weight decay": "Each step also pulls all weights to zero, here more than the loss moves them.",
}
STYLE = """
:root { color-scheme: light dark; --vg-starved: #2b6cb0; --vg-fed: #3aa387; --vg-exploding: #9c3600;
  --soft: #5a6372; }
@media (prefers-color-scheme: dark) { :root { --vg-starved: #79b8f0; --vg-fed: #1f7a63;
  --vg-exploding: #ffa75e; --soft: #a3acb9; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
  overflow-wrap: break-word; color: CanvasText; background: Canvas; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2rem 0 0.25rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 0.15rem 0.75rem 0.15rem 0; vertical-align: top; }
tbody th { font-weight: normal; overflow-wrap: anywhere; }
details table { font-size: 0.85rem; }
.strip { display: flex; gap: 1px; margin-top: 1.5rem; }
.strip span { flex: 1; height: 1.6rem; box-sizing: border-box; }
.fed { background: var(--vg-fed); } .starved { border: 1px solid var(--vg-starved); }
.exploding { background: repeating-linear-gradient(45deg, var(--vg-exploding) 0 5px,
  Canvas 5px 7px); }
.soft { margin-top: 2rem; } .strip + p, .soft, figcaption { color: var(--soft); font-size: 0.9rem; }
.card { border-left: 4px solid var(--vg-starved); padding-left: 1rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem 2rem; margin: 1.5rem 0; }
figure { flex: 1 1 20rem; max-width: 27rem; margin: 0; }
"""


def table(found: "Diagnosis") -> str:
    """What is said, as a table, and its charts: for a notebook."""
    left = "style='text-align:left'"
    rows = "".join(
        f"<tr><th scope='row' {left}>{heading}</th><td {left}>{escape(text)}</td></tr>"
        for heading, text in found.rows()
    )
    charts = found.plot().svg if find_spec("matplotlib") else ""
    return f"<table><caption>Diagnosis</caption>{rows}</table>{charts}"


def page(found: "Diagnosis") -> str:
    """The whole report as one HTML document."""
    title = VERDICTS[found.verdict] + (f": {found.said}" if found.cause else "")
    hints = "".join(f"<li>{escape(hint)}</li>" for hint in found.hints)
    hints = hints and f"<h2>Also seen</h2><ul>{hints}</ul>"
    tried = [(n, f"{max(x, 0):.0%}") for n, x in found.evidence.get("learnt", {}).items()]
    tried = tried and f"<h2>What was tried</h2>{_table(('short runs of copies', 'learnt'), tried)}"
    charts = NO_CHARTS
    if find_spec("matplotlib"):
        drawn = ((one.svg, escape(caption)) for one, caption in pictures(found))
        charts = "".join(f"<figure>{x}<figcaption>{y}</figcaption></figure>" for x, y in drawn)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>{escape(summary(found))}</p>{_strip(found)}{_card(found)}"
        f"{hints}<div class='charts'>{charts}</div>{tried or ''}"
        "<p class='soft'>Made by vglib.diagnose. “Learnt” is the share that is gone of the "
        "loss of a model that knows nothing about its inputs. A decade is a power of ten. Train "
        "what helped in full before you believe it.</p></main></body></html>"
    )


def summary(found: "Diagnosis") -> str:
    """Why, where, and one recommendation."""
    said = [found.reason]
    if found.where:
        what = (
            ""
            if isinstance(found.where, range)
            else "module "
            if len(found.where) == 1
            else "modules "
        )
        said.append(f"Look at {what}{found.place}.")
    if found.remedy:
        said.append(f"Try {found.remedy.partition('; or ')[0]}.")
    return " ".join(said)


def _card(found):
    """The finding: what it is called, its numbers, its place, its steps, and what it means."""
    if not found.cause:
        return ""
    e, facts = found.measured, {}
    if found.trap:
        facts["known mistake"] = found.trap
    if found.where:
        lags = isinstance(found.where, range)
        facts["where"] = found.place if lags else ", ".join(found.where)
    if e and e.steps:
        facts["looked at in steps"] = ", ".join(map(str, e.steps))
    for name, decades in e.by_lag.items() if e else ():
        facts[f"gradient at the last lag{name and ' of '}{name}"] = _change(decades)
    if (path := e and e.path()) and len(path.names) > 1:
        arrives = path.delta[0] > 0
        decades = -path.lost if path.lost > path.growth else path.growth
        facts["gradient at the first layer"] = _change(decades) if arrives else "exactly zero"
    if np.isfinite(update := found.evidence.get("first relative update", np.nan)):
        facts["first step"] = f"moves weights by {update:.2g} of their size"
    rows = "".join(_row(name, escape(fact)) for name, fact in facts.items())
    return (
        f"<section class='card'><h2>{escape(found.said)}</h2><table><tbody>{rows}</tbody></table>"
        f"<details><summary>What this means, and what helps</summary>"
        f"<p>{escape(MEANS[found.cause])}</p><p>To try: {escape(found.remedy or 'unknown')}.</p>"
        "</details></section>"
    )


def _change(decades):
    return f"{abs(decades):.1f} decades {'smaller' if decades < 0 else 'larger'} than at the loss"


def _row(name, *cells):
    cells = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><th scope='row'>{escape(name)}</th>{cells}</tr>"


def _table(head, rows):
    head = "".join(f"<th scope='col'>{one}</th>" for one in head)
    body = "".join(_row(*row) for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _strip(found):
    """All layers in a row, from the input to the loss, and their numbers; or all time steps."""
    e = found.measured
    path = e.path() if e and not isinstance(found.where, range) else None
    if path and len(path.names) > 2:
        what, last = "layers", "the layer next to the loss"
        shares = path.delta / path.delta[-1] if path.delta[-1] > 0 else 0 * path.delta
        after = zip(path.names, shares, path.slopes, path.saturated, path.dead, strict=True)
        rows = [(n, *(f"{x:.2g}" if np.isfinite(x) else "" for x in rest)) for n, *rest in after]
        head = ("layer", "gradient", "slope", "saturated", "dead")
        table = f"<details><summary>In numbers</summary>{_table(head, rows)}</details>"
    elif e and e.lags:
        what, last, table = "time steps", "the last time step", ""
        shares = max(e.lags.values(), key=lambda sizes: abs(log10(sizes[-1])))[::-1]
    else:
        return ""
    states = [state_of(share) for share in shares]
    told = [
        f"{states.count(state)} of {len(states)} {what} get {share} the gradient of {last}"
        for state, share in (("starved", "at most a tenth of"), ("exploding", "ten times or more"))
        if state in states
    ]
    told = " and ".join(told) or f"none of {len(states)} {what} starves or explodes"
    cells = "".join(f"<span class='{state}'></span>" for state in states)
    return (
        f"<div class='strip' role='img' aria-label='{told}'>{cells}</div>"
        f"<p>From the input, left, to the loss: {told}.</p>{table}"
    )


def pictures(found: "Diagnosis") -> list[tuple[Any, str]]:
    """Charts, each with its caption: losses by step, and the gradient by lag or by layer."""
    from vglib import plots  # here, so that a report can be had without matplotlib

    drawn = []
    losses = {
        name: np.where(np.isfinite(of), of, np.nan)[None]
        for name, of in zip(("as it is", "changed"), found.trial.values(), strict=False)
        if np.isfinite(of).sum() > 1
    }
    if losses:
        low, high = (f([f(one) for one in losses.values()]) for f in (np.nanmin, np.nanmax))
        at = {name: np.arange(one.shape[1]) for name, one in losses.items()}
        log = "y" if 0 < 1000 * low < high else ""
        own = "The loss as it is" if "as it is" in losses else "As it is, the loss is not finite"
        changed = f"; changed: {[*found.trial][1]}" if "changed" in losses else ""
        chart = plots.curves(losses, at=at, x="step", y="loss", log=log)
        drawn.append((chart, f"{own}{changed}."))
    e = found.measured
    for name, sizes in e.lags.items() if e else ():
        way = {"x": "gradient, relative to lag 0", "y": "lag", "down": True}
        chart = plots.ladder({name: _drawable(sizes)}, heights=range(len(sizes)), **way)
        drawn.append((chart, f"The gradient of the last output by lag{name and ', in '}{name}."))
    path = e.path() if e else None
    if path and len(path.names) > 2 and path.delta[-1] > 0:
        sizes = [e.path(i) for i in range(len(e.steps))]
        sizes = [one.delta / one.delta[-1] for one in sizes if one and one.names == path.names]
        zero = (
            " What is exactly zero stands at the left edge." if (np.array(sizes) == 0).any() else ""
        )
        name = f"step{'s' * (len(e.steps) > 1)} {', '.join(map(str, e.steps))}"
        chart = plots.ladder({name: _drawable(sizes)}, x="gradient, relative to the top layer")
        drawn.append((chart, f"The gradient by layer: median and range over steps.{zero}"))
    return drawn


def _drawable(sizes):
    """Sizes for a log axis; what is exactly zero stands three decades below all others."""
    sizes = np.atleast_2d(np.nan_to_num(np.asarray(sizes, dtype=float), posinf=1e30))
    return np.maximum(sizes, 1e-3 * sizes[sizes > 0].min(initial=1.0))
