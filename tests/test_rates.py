"""The search for a learning rate, on made-up trainings."""

import math

import pytest

from vglib.experiments import stalled
from vglib.experiments.rates import misses_and_steps, search


def test_the_lowest_score_is_the_best_and_every_rate_is_tried():
    tried = []

    def train_at(rate):
        tried.append(rate)
        return rate - 0.1

    found = search([0.01, 0.1, 1.0], train_at, lambda far: far**2)
    assert tried == [0.01, 0.1, 1.0]
    assert found.best == 0.1
    assert not found.at_edge
    assert found.scores[1.0] == pytest.approx(0.81)


def test_what_left_the_numbers_is_the_worst():
    found = search([1, 2, 3], {1: math.nan, 2: 7.0, 3: math.inf}.get, lambda loss: loss)
    assert found.best == 2
    assert found.scores[1] == math.inf


def test_several_numbers_count_one_after_another():
    steps = {0.1: [None, 10], 0.3: [500, 700], 1.0: [math.nan, math.nan]}
    found = search(steps, steps.get, lambda s: misses_and_steps(s, 1000))
    assert found.scores == {0.1: (1, 505.0), 0.3: (0, 600.0), 1.0: (2, 1000.0)}
    assert found.best == 0.3  # both arrive, if later


@pytest.mark.parametrize(("best", "is_edge"), [(0, True), (1, False), (2, True)])
def test_a_best_rate_at_the_edge_is_told(best, is_edge):
    assert search([0, 1, 2], lambda rate: abs(rate - best), float).at_edge is is_edge


def test_a_search_needs_rates():
    with pytest.raises(ValueError, match="at least one rate"):
        search([], float, float)


def test_a_twin_that_never_arrived_takes_the_rate_of_the_next_shallower_one():
    missed, _ = stalled.searched(8, "sigmoid", "starved").scores[1.0]
    assert missed == 5
    assert stalled.best_rate(8, "sigmoid", "starved") == 1.0 / 8
    assert stalled.searched(3, "sigmoid", "starved").best == 1.0


def test_twins_differ_in_their_gain_alone():
    starved, healthy = (stalled.build(4, "relu", twin, seed=7) for twin in stalled.TWINS)
    ratio = healthy.layer2.weights.weight / starved.layer2.weights.weight
    assert ratio.detach().numpy() == pytest.approx(6**0.5, rel=1e-5)
    assert starved.layer2.weights.bias.abs().max() == 0
