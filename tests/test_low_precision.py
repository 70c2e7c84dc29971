"""The drawing of what formats reach, against torch's casts and against networks."""

from math import log10
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from vglib.nets import mlp
from vglib.tasks import digits

FILE = Path(__file__).parents[1] / "book" / "drawings" / "reach.svg"
SVG = "{http://www.w3.org/2000/svg}"
FORMATS = {
    "float16": torch.float16,
    "E5M2": torch.float8_e5m2,
    "E4M3": torch.float8_e4m3fn,
}
NETWORKS = {
    "20 of ReLU": dict(depth=20, activation="relu", init="he"),
    "10 of sigmoids": dict(depth=10, activation="sigmoid", init="xavier"),
    "20 of sigmoids": dict(depth=20, activation="sigmoid", init="xavier"),
}


@pytest.fixture(scope="module")
def bars():
    """Label → the ends of its bar, as powers of ten."""
    root = ElementTree.parse(FILE).getroot()
    marks = {}
    for text in root.iter(f"{SVG}text"):
        marks[text.text] = float(text.get("x"))
    left, right = marks["10⁻¹⁵"], marks["1"]
    decade = (right - left) / 15
    ends = []
    for bar in root.iter(f"{SVG}rect"):
        start = float(bar.get("x"))
        ends.append([(x - right) / decade for x in (start, start + float(bar.get("width")))])
    return dict(zip([*FORMATS, *NETWORKS, "scaled"], ends, strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_drawn_from_their_smallest_to_their_largest_number(bars, name):
    kind, number = FORMATS[name], torch.tensor(1.0, dtype=torch.float64)
    while (number / 2).to(kind).double() > 0:
        number = number / 2
    wanted = log10(number), log10(torch.finfo(kind).max)
    assert bars[name] == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_drawn_where_their_gradients_lie(bars, name):
    ends = []
    for seed in range(5):
        net = mlp(width=100, seed=seed, **NETWORKS[name])
        batch = digits().train.sample(128, seed=0)
        bottom = net[0](batch.inputs)
        bottom.retain_grad()
        cross_entropy(net[1:](bottom), batch.targets).backward()
        least = bottom.grad[bottom.grad != 0].abs().quantile(0.1)
        most = max(p.grad.abs().max() for p in net.parameters())
        ends.append([log10(least), log10(most)])
    print(name, np.median(ends, axis=0))
    assert bars[name] == pytest.approx(np.median(ends, axis=0), abs=0.4)


def test_the_scaled_bar_is_the_long_one_moved(bars):
    moved = np.subtract(bars["scaled"], bars["20 of sigmoids"])
    assert moved == pytest.approx([5, 5], abs=0.05)
    assert bars["scaled"][0] < bars["float16"][0]
    assert bars["scaled"][1] < bars["float16"][1]
