"""Records in, charts out: SVG that follows the page's width and its light or dark theme.

`ladder` draws gradients by layer with the layer next to the loss on top, `curves` everything else,
`beside` puts charts side by side (on a phone, below each other). `picture` takes any figure.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import ticker
from matplotlib.lines import Line2D

from vglib.lesson import power_of_ten, readable
from vglib.probes import state_of

# One colour code in drawings, sliders and charts; state: colour, marker, filled. A layer's state
# comes from its gradient over that of the layer next to the loss.
STATES = {
    "starved": ("#2b6cb0", "v", False),
    "fed": ("#3aa387", "o", True),
    "exploding": ("#9c3600", "^", True),
}
_NEUTRAL = ("#808080", "s", True)  # for what is no gradient
# Series that are no states; each shade can be seen on a light page and on a dark one.
_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00", "#3b8bd0")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_STYLE = {
    "font.size": 11.5,
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "svg.fonttype": "none",
    "svg.hashsalt": "vglib",
}
_SVG = "{http://www.w3.org/2000/svg}"
ElementTree.register_namespace("", _SVG[1:-1])
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
_POINTS = 10  # as many of a curve are drawn, or bars and markers hide the prediction


@dataclass(frozen=True)
class Picture:
    """A chart, or several side by side, as HTML; a notebook shows it."""

    svg: str
    alt: str

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": self.svg, "text/plain": f"chart: {self.alt}"}


def picture(figure: plt.Figure, alt: str) -> Picture:
    """A matplotlib figure as a `Picture`, and closes it; ``alt`` says what it shows.

    What is black takes the colour of the text around it.
    """
    text = StringIO()
    with plt.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    svg = text.getvalue()
    for state, (colour, _, _) in STATES.items():
        svg = svg.replace(colour, f"var(--vg-{state}, {colour})")
    svg = svg.replace("#000000", "currentColor")
    svg = re.sub(r"<[^>]*>", _rounded, svg)  # in tags; what stands between them is read
    root = ElementTree.fromstring(svg)  # which leaves comments out
    _lighten(root)
    width = float(root.get("viewBox").split()[2])
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    style = "display:block;flex:1 1 16rem;width:100%;height:auto;margin:auto;"
    style += f"max-width:{width / 12:.0f}rem"
    root.attrib |= {"class": "vg-chart", "role": "img", "aria-label": alt, "style": style}
    root.attrib |= {"fill": "currentColor", "stroke-linejoin": "round"}
    return Picture(ElementTree.tostring(root, encoding="unicode"), alt)


def _rounded(tag):
    """A tag with its coordinates to one decimal place."""
    return re.sub(r"\d+\.\d+", lambda x: f"{float(x[0]):.1f}".removesuffix(".0"), tag[0])


def _lighten(root):
    """Leave out what nobody sees, and say once what many elements say; a page has many charts."""
    for parent in [*root.iter()]:
        children = [*parent]
        parent.text = (parent.text or "").strip() or None
        for child in children:
            child.tail = None
            if child.tag == f"{_SVG}metadata" or child.get("style") == "fill: none":
                parent.remove(child)
        while any(_is_bare(child) for child in parent):
            parent[:] = [
                part for child in parent for part in ([*child] if _is_bare(child) else [child])
            ]
    styles = Counter(element.get("style") for element in root.iter())
    rules = ""
    for style, count in styles.items():
        if style and count > 1 and len(style) > 20:
            name = "vg" + sha256(style.encode()).hexdigest()[:6]
            rules += f".{name}{{{style}}}"
            for element in root.iter():
                if element.get("style") == style:
                    del element.attrib["style"]
                    element.set("class", name)
    for element in root.iter():
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        if "d" in element.attrib:
            element.set("d", re.sub(r" ?([A-Za-z]) ?", r"\1", element.get("d")).strip())
    root.remove(root[0])  # a rule of matplotlib's for the whole page
    ElementTree.SubElement(root, f"{_SVG}style").text = rules


def _is_bare(element):
    """Whether an element is a group that does nothing but carry a number."""
    return element.tag == f"{_SVG}g" and not set(element.attrib) - {"id"}


def beside(*pictures: Picture) -> Picture:
    """Charts side by side where there is room, and below each other on a phone."""
    style = "display:flex;flex-wrap:wrap;gap:0.5rem 1rem;align-items:flex-start"
    svg = "".join(one.svg for one in pictures)
    alt = " ".join(one.alt for one in pictures)
    return Picture(f'<div class="vg-charts" style="{style}">{svg}</div>', alt)


def ladder(
    series: dict,
    *,
    quantity: str = "delta",
    x: str = "gradient δ, relative to the top layer",
    y: str = "layer",
    heights: Sequence | None = None,
    down: bool = False,
    neutral: tuple = (),
    title: str = "",
) -> Picture:
    """Gradients on their way down: the layer next to the loss on top, a log axis across.

    ``series``: name → what is measured, or a pair of that and what is predicted. Measured is a
    `probes.GradientFlow`, whose ``quantity`` (``delta``, ``weight`` or ``signal``) is divided by
    its value at the top, or an array of shape (networks, layers) as it is; predicted is a
    `theory.PredictedFlow` or an array of shape (layers,). Points are medians, with the range over
    networks, drawn as starved, fed or exploding; dashed lines are predictions. ``heights`` are
    other marks for the vertical axis than layers, growing ``down`` if so; ``neutral`` names series
    that are no gradients.
    """
    drawn = {name: _pair(one, quantity) for name, one in series.items()}
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(5.0, 5.1), layout="constrained", facecolor="none")
        axis.set(xscale="log", xlabel=x, ylabel=y, facecolor="none", title=title)
        axis.xaxis.set_major_formatter(_power_of_ten)
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", alpha=0.25)
        ends, handles = [], {}
        for name, (values, predicted) in drawn.items():
            levels = np.arange(1, values.shape[1] + 1) if heights is None else np.asarray(heights)
            low, middle, high = np.quantile(values, [0, 0.5, 1], axis=0)
            if predicted is not None:
                k = _evenly(len(levels), 3 * _POINTS)
                line = np.asarray(predicted)[k], levels[k]
                axis.plot(*line, "--", color="black", linewidth=1, zorder=1)
            shown = _evenly(len(levels), _POINTS)
            states = np.array(["" if name in neutral else state_of(m) for m in middle])
            for state in dict.fromkeys(states):
                k = shown[states[shown] == state]
                colour, marker, filled = STATES.get(state, _NEUTRAL)
                axis.hlines(levels[k], low[k], high[k], color=colour, linewidth=1.6, zorder=2)
                (handles[state or name],) = axis.plot(
                    middle[k],
                    levels[k],
                    linestyle="",
                    marker=marker,
                    color=colour,
                    markersize=5.5,
                    markerfacecolor=colour if filled else "none",
                    markeredgewidth=1.4,
                    zorder=3,
                )
            end = np.argmax(levels) if down else np.argmin(levels)
            ends.append((float(middle[end]), name))
        _name_below(axis, ends, levels, down=down)
        _legend(figure, {k: handles[k] for k in [*STATES, *neutral] if k in handles}, drawn)
        told = "; ".join(
            f"{' '.join(name.split())} {readable(value, 2)}" for value, name in sorted(ends)
        )
        where = f"{y} {levels.max() if down else levels.min()}"
        alt = title and f"{title}: "
        alt += f"{x}, by {y}, on a log axis. Medians at {where}: {told}."
        return picture(figure, alt)


def curves(
    series: dict,
    *,
    at: Any,
    x: str,
    y: str,
    log: str = "",
    title: str = "",
) -> Picture:
    """Several series against one quantity, each with its name at its end.

    ``series``: name → measured values of shape (seeds, points), or a pair of those and predicted
    ones, (points,). Points are medians, with the range over seeds; dashed lines are predictions;
    NaN leaves a gap. ``at``: the quantity across, (points,), or name → (points,). ``log``: "x",
    "y" or "xy" for log axes.
    """
    drawn = {name: _pair(one) for name, one in series.items()}
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(5.0, 3.9), layout="constrained", facecolor="none")
        axis.set(xlabel=x, ylabel=y, facecolor="none", title=title)
        for name, one in (("x", axis.xaxis), ("y", axis.yaxis)):
            if name in log:
                one.axes.set(**{f"{name}scale": "log"})
                one.set_major_formatter(_power_of_ten)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        ends = []
        for k, (name, (values, predicted)) in enumerate(drawn.items()):
            across = np.asarray(at[name] if isinstance(at, dict) else at)
            colour, marker = _SERIES[k % len(_SERIES)], _MARKERS[k % len(_MARKERS)]
            low, middle, high = np.quantile(values, [0, 0.5, 1], axis=0)
            if predicted is not None:
                axis.plot(across, predicted, "--", color=colour, linewidth=1.2, zorder=1)
            few = len(across) <= 2 * _POINTS
            if few:
                axis.vlines(across, low, high, color=colour, zorder=2)
            else:
                axis.fill_between(across, low, high, color=colour, alpha=0.2, linewidth=0)
            axis.plot(
                across,
                middle,
                marker=marker if few else "",
                linestyle="-" if predicted is None else "",
                color=colour,
                markersize=5.5,
                linewidth=1.2,
                zorder=3,
            )
            last = np.flatnonzero(np.isfinite(middle))[-1]
            ends.append((across[last], middle[last], name, colour))
        for side in (axis.xaxis, axis.yaxis):
            _mark_few_decades(side)
        _name_beside(axis, ends)
        _legend(figure, {}, drawn)
        told = "; ".join(f"{name} {readable(value, 2)}" for _, value, name, _ in ends)
        alt = title and f"{title}: "
        alt += f"{y}, by {x}. Last medians: {told}."
        return picture(figure, alt)


def _evenly(length, count):
    """Indices of at most ``count`` of ``length`` positions, both ends among them."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round()).astype(int)


def _pair(one, quantity="delta"):
    """Measured values (networks, positions) and predicted ones (positions,) or None."""
    measured, predicted = one if isinstance(one, tuple) else (one, None)
    if hasattr(measured, quantity):
        measured = getattr(measured, quantity)
        measured = measured / measured[:, -1:]
    predicted = getattr(predicted, quantity, predicted)
    return np.atleast_2d(np.asarray(measured, dtype=float)), predicted


def _power_of_ten(value, position=None):
    """A mark of a log axis as plain text: 10⁻³, or 0.2 between powers."""
    power = np.log10(value)
    whole = abs(power - round(power)) < 1e-9 and abs(power) > 1.5
    return power_of_ten(round(power)) if whole else f"{value:g}"


def _legend(figure, handles, drawn):
    """A line above the chart that tells the states and the predictions apart."""
    if any(predicted is not None for _, predicted in drawn.values()):
        handles["predicted"] = Line2D([], [], linestyle="--", color="black", linewidth=1)
    if handles:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside upper center",
            ncols=4,
            frameon=False,
            handletextpad=0.3,
            columnspacing=1.0,
            handlelength=1.6,
        )


def _mark_few_decades(side):
    """Marks 1, 2 and 5 on a log axis that is too short for powers of ten alone."""
    low, high = side.get_view_interval()
    if side.get_scale() == "log" and high / low < 100:
        side.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        side.set_minor_locator(ticker.NullLocator())


def _name_beside(axis, ends):
    """Each curve's name to the right of the axes, at the height of its end, none over another."""
    axis.figure.canvas.draw()
    to_axes = axis.transData + axis.transAxes.inverted()
    step = 14 / (axis.get_window_extent().height / axis.figure.dpi * 72)
    rows = sorted((to_axes.transform((x, y))[1], name, x, y, colour) for x, y, name, colour in ends)
    at = [row[0] for row in rows]
    for _ in range(50):  # push apart what is too close
        for i in range(1, len(at)):
            lack = step - (at[i] - at[i - 1])
            if lack > 0:
                at[i], at[i - 1] = at[i] + lack / 2, at[i - 1] - lack / 2
    for height, (_, name, x, y, colour) in zip(at, rows, strict=True):
        axis.annotate(
            name,
            (x, y),
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            arrowprops=dict(
                arrowstyle="-", color=colour, linewidth=0.6, shrinkA=0, shrinkB=3, relpos=(0, 0.5)
            ),
        )


def _name_below(axis, ends, levels, *, down):
    """Room below a ladder's curves, and there each one's name, in rows that do not overlap."""
    low, high = axis.get_xlim()
    axis.set_xlim(low, high * (high / low) ** 0.07)  # for the last name
    _mark_few_decades(axis.xaxis)
    axis.figure.canvas.draw()
    low, high = np.log10(axis.get_xlim())
    box = axis.get_window_extent()
    width, height = (side / axis.figure.dpi * 72 for side in (box.width, box.height))  # points
    ends = sorted(ends)
    at = [(np.log10(value) - low) / (high - low) * width for value, _ in ends]
    rows, placed = [], []
    for k, (_, name) in enumerate(ends):
        half = max(map(len, name.split("\n"))) * 6.1 / 2 + 2
        centre = min(max(at[k], half), width - half)
        if k + 1 < len(at):  # clear of the next name's leader
            centre = max(min(centre, at[k + 1] - 3 - half), half)
        elif k and at[k] - half < at[k - 1]:
            centre = at[k - 1] + 4 + half
        row = next((i for i, edge in enumerate(rows) if centre - half >= edge), len(rows))
        rows[row : row + 1] = [centre + half]
        placed.append((name, centre / width, row))
    line = max(name.count("\n") + 1 for _, name in ends) * 14 + 4
    share = (len(rows) * line + 12) / height
    first, last = (levels.max(), levels.min()) if down else (levels.min(), levels.max())
    size = abs(last - first) / max(1 - share - 0.07, 0.3)
    sign = -1 if down else 1
    axis.set_ylim(first - sign * size * share, last + sign * size * 0.07)
    ticks = (
        levels
        if len(levels) <= 8
        else ticker.MaxNLocator(7, integer=True).tick_values(levels.min(), levels.max())
    )
    ticks = {levels.min(), levels.max(), *ticks} if not down else set(ticks)
    axis.yaxis.set_major_locator(
        ticker.FixedLocator(sorted(t for t in ticks if levels.min() <= t <= levels.max()))
    )
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if not down:
        axis.text(0.01, 1, "loss ↓", transform=axis.transAxes, va="top")
    for (name, centre, row), (value, _) in zip(placed, ends, strict=True):
        axis.annotate(
            name,
            (value, first),
            xytext=(centre, (len(rows) - row) * line / height),
            textcoords="axes fraction",
            ha="center",
            va="top",
            linespacing=1.05,
            zorder=4,
            arrowprops=dict(
                arrowstyle="-",
                color="#808080",
                linewidth=0.7,
                shrinkA=0,
                shrinkB=6,
                relpos=(0.5, 1),
            ),
        )
