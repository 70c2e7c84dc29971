"""The drawing of two signals on their way up: what it writes is what it draws."""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[1] / "book" / "drawings" / "views"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ["1-clear", "2-hidden"])
def test_the_distance_written_beside_two_signals_is_the_one_drawn(name):
    root = ElementTree.parse(FOLDER / f"{name}.svg").getroot()
    lines = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("class") == "signal"]
    ends = [list(map(float, re.findall(r"[\d.]+", line))) for line in lines]
    arms = [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in ends]
    lengths = [math.hypot(*arm) for arm in arms]
    told = [
        float(t.text)
        for t in root.iter(f"{SVG}text")
        if t.get("x") == "192" and t.text[0].isdigit()
    ]
    for k in range(3):  # layer 3 first
        a, b = (
            [c / length for c in arm] for arm, length in zip(arms[2 * k :][:2], lengths[2 * k :])
        )
        assert math.isclose(math.dist(a, b), told[k], abs_tol=0.04)
    deltas = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    deltas = [float(text.split(" = ")[1]) for text in deltas if " = " in text]
    assert deltas == [1, 0.3, 0.09]
    shrink = lengths[0] / lengths[4]
    assert math.isclose(shrink, 0.09 if name == "1-clear" else 1, abs_tol=0.01)
    assert math.isclose(told[0], 1 if name == "1-clear" else 0.09)
