"""Optimizers on networks that starve: the setting, the record, and a corner of it again."""

import numpy as np
import optimizer_runs
import pytest
import torch
from torch.nn.functional import cross_entropy

from vglib.claims import recorded
from vglib.experiments import optimizers
from vglib.experiments.optimizers import RATES, best_rate, build, run, searched, told_right
from vglib.probes import gradient_flow
from vglib.tasks import digits


def test_every_starved_network_starves_and_the_wild_one_explodes():
    batch = digits().train.sample(64, seed=0)
    for name in optimizers.NETWORKS:
        flow = gradient_flow(build(name, seed=0), batch)
        ratio = flow.delta[0, 0] / flow.delta[0, -1]
        if "gain 2" in name:
            assert ratio > 10, name
        elif "gain 1" in name:
            assert 0.1 < ratio < 10, name
        else:
            assert ratio < 0.1, name


def test_a_frozen_half_stays_as_it_was_drawn_and_the_rest_moves():
    net = build("sigmoid, 6 layers", seed=3, frozen=True)
    trained = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {"layer4", "layer5", "layer6", "readout"}
    frozen = run("sigmoid, 6 layers", "adam", 0.01, range(2), frozen=True, steps=3)
    free = run("sigmoid, 6 layers", "adam", 0.01, range(2), steps=3)
    assert frozen["moved"] == [0, 0]
    assert min(free["moved"]) > 1e-3


def test_one_step_of_sgd_moves_layer_1_by_its_gradient():
    task, rate = digits(), 0.5
    size = len(task.train.targets)  # all digits, so that their order does not matter
    found = run("tanh, 20 layers", "sgd", rate, range(2), steps=1, batch_size=size)
    for seed in range(2):
        net = build("tanh, 20 layers", seed)
        cross_entropy(net(task.train.inputs), task.train.targets).backward()
        weight = net.layer1.weight
        expected = rate * weight.grad.norm() / weight.detach().norm()
        assert found["moved"][seed] == pytest.approx(float(expected), rel=1e-6)


def test_shares_up_to_a_fifth_count_as_guessing():
    assert told_right([0.05, 0.2, 0.21, 0.9]).tolist() == [0.1, 0.1, 0.21, 0.9]


def test_the_best_rate_is_the_one_with_the_highest_mean_share():
    found = searched("sigmoid, 6 layers", "rprop")
    shares = {
        one["settings"]["rate"]: np.mean(one["values"]["share"])
        for one in recorded("optimizer_runs")
        if one["settings"].get("tuning")
        and one["settings"]["network"] == "sigmoid, 6 layers"
        and one["settings"]["method"] == "rprop"
    }
    assert set(found.scores) == set(RATES) == set(shares)
    assert shares[best_rate("sigmoid, 6 layers", "rprop")] == max(shares.values())


def test_a_corner_of_the_record_again():
    settings = {"network": "sigmoid, 6 layers", "method": "sgd", "rate": 0.1, "tuning": True}
    (known,) = [r["values"] for r in recorded("optimizer_runs") if r["settings"] == settings]
    again = optimizer_runs.run(**settings)
    # Only the layers next to the loss move, so rounding does not spread.
    assert again["moved"] == pytest.approx(known["moved"], rel=0.01)
    assert again["left"] == pytest.approx(known["left"], rel=0.01)
    assert again["share"] == pytest.approx(known["share"], abs=0.02)


def test_a_network_that_has_diverged_has_nothing_left():
    wild = run("tanh, 20 layers", torch.optim.SGD, 1e300, range(2), steps=3)
    assert all(left is None or left == 0 for left in wild["left"])
