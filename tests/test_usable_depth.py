"""How deep a network can be: the ladder, the map, and the pictures."""

import numpy as np
import pytest
import torch

from vglib.experiments import usable_depth
from vglib.experiments.usable_depth import (
    BIAS_SCALE,
    climb,
    image_classifier,
    image_task,
    on_the_map,
    photographs,
)
from vglib.lesson import left
from vglib.nets import mlp
from vglib.probes import gradient_flow
from vglib.tasks import digits
from vglib.training import train


def test_the_map_trains_as_train_does():
    told = on_the_map(3, [0.5, 2.0], [4, 5], steps=5)
    assert told.shape == (2, 2)
    how = dict(depth=3, width=64, activation="tanh", init="normal", dtype=torch.float32)
    for row, variance in zip(told, (0.5, 2.0), strict=True):
        for one, seed in zip(row, (4, 5), strict=True):
            net = mlp(gain=variance**0.5, bias_scale=BIAS_SCALE, seed=seed, **how)
            task = digits(dtype=torch.float32)
            how_trained = dict(optimizer="momentum", rate=0.1 / 3, steps=5, batch_size=32, seed=4)
            assert one == pytest.approx(train([net], task, **how_trained).score[0], abs=0.01)


def test_a_ladder_ends_at_the_first_rung_that_no_rate_manages(monkeypatch):
    """PyTorch's weights learn up to 4 and again at 16 layers, the twin's everywhere but seed 7."""
    asked = []

    def told(nets, task, *, rates, **how):
        asked.append((nets[0].settings["depth"], len(nets), rates[:3]))
        found = []
        for net, rate in zip(nets, rates, strict=True):
            depth, init, seed = (net.settings[k] for k in ("depth", "init", "seed"))
            learns = depth in (2, 4, 16) if init == "torch" else seed != 7 or depth < 32
            # only the middle of the three rates is any good
            found.append(0.5 if learns and rate == pytest.approx(0.1 / depth) else 0.1)
        return np.array(found)

    monkeypatch.setattr(usable_depth, "scores", told)
    found = climb("tanh", "SGD", [7, 8])
    assert found["PyTorch"]["depth"].tolist() == [4, 4]
    assert found["mended"]["depth"].tolist() == [16, 64]
    assert [depth for depth, *_ in asked] == [2, 4, 8, 16, 32, 64]
    assert [count for _, count, _ in asked] == [12, 12, 12, 6, 6, 3]
    batch = digits().train.sample(128, seed=7)
    net = mlp(depth=8, width=32, activation="tanh", init="torch", seed=7)
    assert found["PyTorch"]["starved"][0] == (left(gradient_flow(net, batch))[0] <= 0.1)
    assert not found["mended"]["starved"].any()  # the seed that managed all has nothing to show


def test_who_manages_nothing_counts_as_one_layer(monkeypatch):
    monkeypatch.setattr(usable_depth, "scores", lambda nets, *_, **how: np.full(len(nets), 0.1))
    found = climb("relu", "Adam", [0, 1])
    assert found["PyTorch"]["depth"].tolist() == found["mended"]["depth"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="unknown optimizer 'adam'"):
        climb("relu", "adam", [0])


def test_the_photographs_are_pieces_of_both_and_can_be_told_apart():
    task = photographs(seed=3)
    assert task.train.inputs.shape == (1440, 1, 8, 8)
    assert task.test.inputs.shape == (360, 1, 8, 8)
    everything = torch.cat([task.train.targets, task.test.targets])
    assert torch.bincount(everything).tolist() == [900, 900]
    assert float(task.train.inputs.mean()) == pytest.approx(0, abs=1e-3)
    assert float(task.train.inputs.std()) == pytest.approx(1, abs=1e-3)
    assert not torch.equal(task.train.inputs, photographs(seed=4).train.inputs)
    # No piece is in both parts, and the two photographs differ in how rough they are.
    pieces = torch.cat([task.train.inputs, task.test.inputs]).flatten(1)
    assert len(torch.unique(pieces, dim=0)) > 1700
    rough = task.train.inputs.flatten(1).std(dim=1)
    means = [float(rough[task.train.targets == k].mean()) for k in (0, 1)]
    assert max(means) > 1.2 * min(means)
    with pytest.raises(ValueError, match="unknown images 'faces'"):
        image_task("faces")


def test_a_twin_of_an_image_classifier_differs_in_one_keyword():
    plain, mended = (image_classifier(20, 5, torch.float64, init=i) for i in ("torch", "he"))
    assert {k for k in plain.settings if plain.settings[k] != mended.settings[k]} == {"init"}
    batch = image_task("digits").train.sample(64, seed=0)
    batch = batch._replace(inputs=batch.inputs.double())
    shares = [left(gradient_flow(net, batch))[0] for net in (plain, mended)]
    assert shares[0] < 1e-3 < 0.01 < shares[1]
