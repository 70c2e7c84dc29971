"""Networks that train side by side, each at its own rate, against the same one after another."""

import copy

import numpy as np
import pytest
import torch

from vglib.batch import cross_entropy
from vglib.experiments.families import GUESSING, SideBySide, at_best_rates, own_rates, scores
from vglib.nets import convnet, mlp
from vglib.tasks import digits
from vglib.training import train

RELU = dict(activation="relu", init="he")
RATES = [0.01, 0.1, 0.3]
HOW = dict(steps=4, batch_size=32, seed=0)


def dense(seed):
    return mlp(depth=4, width=10, seed=seed, **RELU)


def convolutional(seed):
    return convnet(depth=4, channels=3, seed=seed, **RELU)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("build", [dense, convolutional])
def test_each_network_trains_at_its_own_rate(build, optimizer):
    task = digits(shape="flat" if build is dense else "image")
    together = [build(seed) for seed in range(3)]
    alone = copy.deepcopy(together)
    told = scores(together, task, rates=RATES, optimizer=optimizer, **HOW)
    for k, (net, rate) in enumerate(zip(alone, RATES, strict=True)):
        result = train(net, task, optimizer=optimizer, rate=rate, **HOW)
        assert told[k] == pytest.approx(result.score[0], abs=0.002)
        for p, q in zip(together[k].parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def test_convolutions_side_by_side_are_those_of_each_network():
    nets = [convolutional(seed) for seed in range(3)]
    batch = digits(shape="image").train.sample(8, seed=0)
    together = SideBySide(nets)
    outputs = together(batch.inputs)
    for k, net in enumerate(nets):
        torch.testing.assert_close(outputs[:, k], net(batch.inputs), rtol=1e-12, atol=0)
    sum(cross_entropy(lambda _, k=k: outputs[:, k], batch) for k in range(3)).backward()
    for k, net in enumerate(nets):
        cross_entropy(net, batch).backward()
        for p, stack in zip(net.parameters(), together.stacks, strict=True):
            scale = float(p.grad.abs().max())
            torch.testing.assert_close(stack.grad[k] / scale, p.grad / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("build", [dense, convolutional])
def test_one_that_diverges_takes_nobody_along(build):
    task = digits(shape="flat" if build is dense else "image", dtype=torch.float32)
    nets = [build(seed).float() for seed in range(2)]
    alone = copy.deepcopy(nets[1])
    how = dict(optimizer="sgd", steps=20, batch_size=32, seed=0)
    told = scores(nets, task, rates=[1e30, 0.1], **how)
    assert told[0] == GUESSING
    assert told[1] == pytest.approx(scores([alone], task, rates=[0.1], **how)[0], abs=0.005)
    for p, q in zip(nets[1].parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)


def test_the_best_rate_is_sought_on_other_seeds():
    built = []

    def build(seed):
        built.append(seed)
        return dense(seed)

    how = dict(optimizer="sgd", steps=20, batch_size=32, seed=0)
    found = at_best_rates(
        {"he": build}, digits(), rates=[1e-6, 0.1], tuning=[900], seeds=[0, 1], **how
    )
    assert built == [900, 900, 0, 1]
    assert found["he"].rate == 0.1
    again = [dense(seed) for seed in (0, 1)]
    np.testing.assert_allclose(
        found["he"].scores, scores(again, digits(), rates=[0.1, 0.1], **how), atol=0.002
    )


def test_what_cannot_be_done_is_said():
    with pytest.raises(ValueError, match="2 networks need as many rates, not 1"):
        scores([dense(0), dense(1)], digits(), rates=[0.1], optimizer="sgd", **HOW)
    with pytest.raises(ValueError, match="the activation of all networks must be 'relu'"):
        SideBySide([convnet(depth=2, channels=2, activation="tanh", init="he", seed=0)])
    with pytest.raises(ValueError, match="choose one of: sgd, momentum, adam"):
        own_rates("rprop", [0.1])
