"""What layers see: theory against networks, and the drawing of it against its own numbers."""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from vglib.batch import Batch, Task
from vglib.experiments import view
from vglib.nets import mlp
from vglib.tasks import digits

FOLDER = Path(__file__).parents[1] / "book" / "drawings" / "views"
SVG = "{http://www.w3.org/2000/svg}"


def a_pair(apart=1.0):
    """Two vectors of length 8 at a distance of directions."""
    half = math.asin(apart / 2)
    a = torch.zeros(2, 64, dtype=torch.float64)
    a[:, 0], a[:, 1] = 8 * math.cos(half), 8 * math.sin(half)
    a[1, 1] *= -1
    return a


@pytest.mark.parametrize(
    ("activation", "gain", "bias_scale"),
    [("tanh", 0.6, 0.1), ("tanh", 2, 0), ("relu", 2**0.5, 0.2), ("sigmoid", 1, 0)],
)
def test_predicted_distances_are_those_of_wide_networks(activation, gain, bias_scale):
    how = dict(depth=5, activation=activation, gain=gain, bias_scale=bias_scale)
    nets = [mlp(width=600, init="normal", seed=s, **how) for s in range(4)]
    measured = np.mean([view.distances(net, a_pair()) for net in nets], axis=0)
    np.testing.assert_allclose(view.predict_distances(a_pair(), **how), measured, rtol=0.1)


def test_a_matrix_keeps_the_distance_and_relu_follows_the_arc_cosine():
    how = dict(depth=9, gain=0.3)
    found = view.predict_distances(a_pair(0.5), activation="identity", **how)
    np.testing.assert_allclose(found, 0.5)
    found = view.predict_distances(a_pair(1.0), activation="relu", depth=2, gain=0.3)
    angle = math.pi / 3  # Cho and Saul (2009)
    cosine = (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / math.pi
    assert found[1] == pytest.approx(math.sqrt(2 - 2 * cosine), rel=0.02)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="two rows, not 3"):
        view.distances(nn.Sequential(nn.Linear(2, 2)), torch.ones(3, 2))
    with pytest.raises(ValueError, match="same length"):
        view.predict_distances([[1, 0], [2, 0]], depth=2, activation="tanh", gain=1)


def test_rank_counts_equal_directions():
    signals = torch.cat([torch.eye(7), -torch.eye(7)]).double()
    assert view.rank(signals + 5) == pytest.approx(7)
    assert view.rank(signals[:, :1]) == pytest.approx(1)


def test_a_scaled_network_is_read_as_well_as_before():
    task = digits()
    nets = [
        mlp(depth=4, width=16, activation="relu", init="normal", gain=g, seed=0) for g in (1, 3)
    ]
    faint, loud = (view.read_out(net, task) for net in nets)
    assert faint == loud
    assert 0.3 < faint < view.read_out(None, task)


def test_bias_and_gap_of_a_network_that_always_says_three():
    net = nn.Linear(2, 10)
    nn.init.zeros_(net.weight)
    net.bias.data = torch.eye(10)[3]
    batch = Batch(torch.randn(50, 2), torch.arange(50) % 10)
    assert view.class_bias(net, batch) == pytest.approx(0.9)
    threes = Batch(torch.randn(4, 2), torch.full((4,), 3))
    assert view.class_bias(net, threes) == 0
    assert view.gap(net, Task(threes, batch)) == pytest.approx(0.9)


def test_classes_from_five_on_are_ten_times_rarer():
    counts = torch.bincount(view.unequal(digits()).train.targets)
    before = torch.bincount(digits().train.targets)
    assert (counts[:5] == before[:5]).all()
    assert 0.05 < (counts[5:].sum() / before[5:].sum()) < 0.15


@pytest.mark.parametrize("name", ["1-clear", "2-hidden"])
def test_the_distance_written_beside_two_signals_is_the_one_drawn(name):
    root = ElementTree.parse(FOLDER / f"{name}.svg").getroot()
    lines = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("class") == "signal"]
    ends = [list(map(float, re.findall(r"[\d.]+", line))) for line in lines]
    arms = [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in ends]
    lengths = [math.hypot(*arm) for arm in arms]
    units = [[c / length for c in arm] for arm, length in zip(arms, lengths, strict=True)]
    told = [t for t in root.iter(f"{SVG}text") if t.get("x") == "192" and t.text[0].isdigit()]
    told = [float(text.text) for text in told]
    for k in range(3):  # layer 3 first
        assert math.isclose(math.dist(*units[2 * k :][:2]), told[k], abs_tol=0.04)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert [float(text.split(" = ")[1]) for text in texts if " = " in text] == [1, 0.3, 0.09]
    shrink = lengths[0] / lengths[4]
    assert math.isclose(shrink, 0.09 if name == "1-clear" else 1, abs_tol=0.01)
    assert math.isclose(told[0], 1 if name == "1-clear" else 0.09)
