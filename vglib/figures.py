"""A figure with sliders that works in the published page, without a kernel."""

import json
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import product

import numpy as np

from vglib.lesson import readable

# Lengths in metres. What can be seen by eye is told in a unit, what is smaller beside a thing.
_UNITS = [(1, "metres"), (1e-2, "centimetres"), (1e-3, "millimetres")]
_THINGS = [
    (1e-3, "a grain of sand"),
    (1e-4, "the width of a hair"),
    (1e-6, "a bacterium"),
    (1e-7, "a virus"),
    (1e-10, "an atom"),
    (1e-15, "a proton"),
]


def compared(ratio: float) -> str:
    """A sentence that makes ``ratio`` felt: what it would make of a kilometre."""
    length = 1000 * ratio
    if 950 < length < 1050:
        return "A kilometre would stay a kilometre."
    if length > 1000:
        return f"A kilometre stretched that much would be {readable(ratio, 2)} kilometres."
    for unit, name in _UNITS:
        if length >= unit:
            return f"A kilometre shrunk that much would be {readable(length / unit, 2)} {name}."
    larger = [name for size, name in _THINGS if size >= length]
    return f"A kilometre shrunk that much would be smaller than {larger[-1]}."


@dataclass(frozen=True)
class State:
    """One position of the controls: what is drawn, and what it means in words.

    ``measured`` has shape (seeds, positions), ``predicted`` shape (positions,); all positive.
    ``value`` is the state's one number, for the table; ``sentence`` says it in words.
    """

    measured: np.ndarray
    predicted: np.ndarray
    value: str
    sentence: str


@dataclass(frozen=True)
class SliderFigure:
    """A stack of positions (layers, say) beside a log axis, with a control for each keyword.

    ``controls``: keyword → its choices; numbers become a slider, words a menu. ``states``: a dict
    from a tuple of choices, in the order of ``controls``, to a `State`; all must be there.
    ``start``: the tuple shown first. ``position``, ``quantity``: axis labels. ``value``: what the
    table's numbers are. Medians and ranges over seeds, or what ``over`` calls the rows, are drawn
    as points with bars, predictions as a line, which the legend calls ``line``. Where the values
    are ``gradients``, a position is drawn as starved if it has at most a tenth of what the last one
    has, which is next to the loss, as exploding if ten times or more, else as fed. Without
    JavaScript the table is all there is.
    Raises ValueError for a missing state or a value that is not positive and finite.
    """

    controls: dict
    states: dict
    start: tuple
    position: str
    quantity: str
    value: str
    line: str = "predicted by theory"
    over: str = "seeds"
    gradients: bool = True

    def __post_init__(self):
        wanted = set(product(*self.controls.values()))
        if wanted != set(self.states):
            missing, surplus = wanted - set(self.states), set(self.states) - wanted
            raise ValueError(
                f"the states must be those of the controls: {len(missing)} states are missing "
                f"and {len(surplus)} surplus, such as {min(missing or surplus, key=str)}"
            )
        if self.start not in self.states:
            raise ValueError(f"start must be one of the states, not {self.start}")
        for choice, state in self.states.items():
            shape = np.shape(state.measured)
            if len(shape) != 2 or 0 in shape or np.shape(state.predicted) != shape[1:]:
                raise ValueError(
                    f"state {choice} needs measured (seeds, positions) and predicted (positions,), "
                    f"not {shape} and {np.shape(state.predicted)}"
                )
            values = np.append(state.measured, state.predicted)
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise ValueError(f"state {choice} has values that a log axis cannot show")

    def _data(self):
        def logs(values):
            return [round(float(v), 2) for v in np.log10(values)]

        states = []
        for choice in product(*self.controls.values()):
            state = self.states[choice]
            low, middle, high = np.quantile(state.measured, [0, 0.5, 1], axis=0)
            # Distances are shorter to write than positions, and a page has many of them.
            curves = [
                logs(curve) for curve in (state.predicted, middle, middle / low, high / middle)
            ]
            states.append([state.sentence, *curves])
        start = [
            list(choices).index(s)
            for choices, s in zip(self.controls.values(), self.start, strict=True)
        ]
        return {
            "controls": [[name, np.asarray(c).tolist()] for name, c in self.controls.items()],
            "start": start,
            "position": self.position,
            "quantity": self.quantity,
            "line": self.line,
            "over": self.over,
            "gradients": self.gradients,
            "states": states,
        }

    def _table(self):
        """All states at once: the first control across, every combination of the others down."""
        (across, columns), *others = self.controls.items()
        head = "".join(f"<th scope='col'>{escape(f'{across} {c}')}</th>" for c in columns)
        rows = ""
        for choice in product(*(choices for _, choices in others)):
            cells = "".join(
                f"<td>{escape(str(self.states[(c, *choice)].value))}</td>" for c in columns
            )
            rows += f"<tr><th scope='row'>{escape(', '.join(map(str, choice)))}</th>{cells}</tr>"
        names = escape(", ".join(name for name, _ in others))
        return (
            f"<table><caption>{escape(self.value)}</caption><thead>"
            f"<tr><th scope='col'>{names}</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None):
        script = files("vglib").joinpath("slider.js").read_text(encoding="utf-8")
        script = "\n".join(line.strip() for line in script.splitlines())
        # A tag cannot be defined twice, so each version of the script has its own.
        tag = "vg-slider-" + sha256(script.encode()).hexdigest()[:8]
        data = json.dumps(self._data(), ensure_ascii=False, separators=(",", ":"))
        data = data.replace("<", "\\u003c")  # nothing in it may end or open a script
        html = (
            f"<{tag}><script type='application/json'>{data}</script>"
            f"<div class='vg-table' style='overflow-x:auto' tabindex='0' role='region' "
            f"aria-label='Table of all settings'>{self._table()}</div></{tag}>"
            f"<script>{script.replace('VG-SLIDER', tag)}</script>"
        )
        text = f"slider figure: {self.quantity} by {self.position}, {len(self.states)} states"
        return {"text/html": html, "text/plain": text}
