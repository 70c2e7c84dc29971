import copy
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from vglib.batch import squared_error
from vglib.names import ACTIVATIONS
from vglib.nets import convnet, mlp
from vglib.tasks import Batch, Task, digits
from vglib.training import accuracy, train

NET = dict(depth=2, width=16, activation="tanh", init="xavier")
TASKS = {dtype: digits(dtype=dtype) for dtype in (torch.float32, torch.float64)}
RUN = dict(steps=40, batch_size=32, seed=0)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def family(count=3, **change):
    return [mlp(**NET | change, seed=seed) for seed in range(count)]


def same(one, other, rtol=1e-9):
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=rtol, atol=1e-12)


def test_equal_to_a_loop_written_out():
    task, (net, twin) = digits(), (mlp(**NET, seed=0) for _ in range(2))
    run = train(net, task, optimizer=sgd, **RUN)
    optimizer = sgd(twin.parameters())
    order = torch.randperm(1437, generator=torch.Generator().manual_seed(0))
    losses = []
    for step in range(40):
        chosen = order[32 * step : 32 * (step + 1)]
        optimizer.zero_grad()
        loss = F.cross_entropy(twin(task.train.inputs[chosen]), task.train.targets[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(run.loss[0], losses, rtol=1e-10, atol=0)
    same(net, twin)
    assert run.loss[0, -10:].mean() < 0.5 * run.loss[0, :5].mean()
    assert np.isnan(run.steps).all()
    assert not run.diverged.any()


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize(
    "optimizer", [sgd, lambda p: torch.optim.Adam(p, lr=1e-3)], ids=["sgd", "adam"]
)
def test_a_family_equals_its_members_one_by_one(optimizer, clip):
    task = digits()
    together, apart = family(), family()
    run = train(together, task, optimizer=optimizer, clip=clip, **RUN)
    for i, net in enumerate(apart):
        alone = train(net, task, optimizer=optimizer, clip=clip, **RUN)
        np.testing.assert_allclose(run.loss[i], alone.loss[0], rtol=1e-8, atol=0)
        np.testing.assert_allclose(run.score[i], alone.score[0], rtol=1e-12, atol=0)
        same(together[i], net)


@pytest.mark.parametrize(
    "change",
    [
        dict(connection="residual", branch_scale=0.5),
        dict(connection="highway", activation="relu"),
        dict(connection="dense"),
        dict(normalization="layer"),
        dict(activation="prelu"),
        dict(activation="gelu", init="torch"),
    ],
)
def test_every_kind_of_network_trains_the_same_in_a_family(change):
    task = digits()
    together, apart = family(**change), family(**change)
    train(together, task, optimizer=sgd, **RUN)
    for one, alone in zip(together, apart, strict=True):
        train(alone, task, optimizer=sgd, **RUN)
        same(one, alone, rtol=1e-7)


@pytest.mark.parametrize("depth", [1, 5, 30])
def test_a_family_equals_its_members_after_one_step_at_any_depth(depth):
    task = digits()
    change = dict(depth=depth, init="normal", gain=3)  # chaotic
    together, apart = family(**change), family(**change)
    train(together, task, optimizer=sgd, **RUN | {"steps": 1})
    for one, alone in zip(together, apart, strict=True):
        train(alone, task, optimizer=sgd, **RUN | {"steps": 1})
        same(one, alone)


def mixed():
    """Networks that differ in more than their weights, in no order."""
    odd = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()
    tied = mlp(**NET | dict(depth=3), seed=5)
    tied.layer3.weights.weight = tied.layer2.weights.weight
    residual = dict(connection="residual")
    nets = [mlp(**NET, seed=0), mlp(**NET | dict(activation="relu"), seed=1), mlp(**NET, seed=2)]
    nets += [mlp(**NET | residual, branch_scale=scale, seed=3) for scale in (0.1, 1.0)]
    nets += [mlp(**NET | dict(width=9), seed=4), odd, tied, mlp(**NET | dict(init="he"), seed=6)]
    return nets


def test_a_list_of_different_networks_keeps_its_order_and_its_results():
    torch.manual_seed(0)
    together = mixed()
    apart = copy.deepcopy(together)
    task = digits()
    run = train(together, task, optimizer=sgd, **RUN)
    for i, alone in enumerate(apart):
        loss = train(alone, task, optimizer=sgd, **RUN).loss[0]
        np.testing.assert_allclose(run.loss[i], loss, rtol=1e-8, atol=0)
        same(together[i], alone)
    assert [settings.get("width") for settings in run.settings] == [16] * 5 + [9, None, 16, 16]


def test_optimizers_that_look_at_whole_tensors_see_one_network_each():
    task = digits()
    together, apart = family(), family()

    def adafactor(parameters):
        return torch.optim.Adafactor(parameters, lr=0.05)

    train(together, task, optimizer=adafactor, **RUN)
    for one, alone in zip(together, apart, strict=True):
        train(alone, task, optimizer=adafactor, **RUN)
        same(one, alone)


def test_hooks_of_a_member_are_not_passed_by():
    nets, calls = family(), []
    nets[1].layer1.register_forward_hook(lambda *_: calls.append(1))
    train(nets, digits(), optimizer=sgd, **RUN)
    assert len(calls) == 41  # 40 steps and the score


def test_networks_that_cannot_be_stacked_are_trained_one_after_another():
    task = digits(shape="image")
    keywords = dict(depth=2, channels=4, activation="relu", init="he", normalization="batch")
    together, apart = ([convnet(**keywords, seed=seed) for seed in range(2)] for _ in range(2))
    run = train(together, task, optimizer=sgd, **RUN | {"steps": 3})
    for i, alone in enumerate(apart):
        loss = train(alone, task, optimizer=sgd, **RUN | {"steps": 3}).loss[0]
        np.testing.assert_allclose(run.loss[i], loss, rtol=1e-8, atol=0)
        same(together[i], alone)
        assert together[i].layer2.normalization.num_batches_tracked == 3


def test_a_network_stops_at_its_target_and_stays_there():
    task = digits()
    nets, long = family(4), family(4)
    run = train(nets, task, optimizer=sgd, target=0.8, check_every=5, **RUN)
    assert np.isfinite(run.steps).all()
    assert len(set(run.steps)) > 1
    for i, net in enumerate(long):
        alone = train(net, task, optimizer=sgd, **RUN | {"steps": int(run.steps[i])})
        same(nets[i], net)
        assert alone.score[0] >= 0.8
        assert np.isnan(run.loss[i, int(run.steps[i]) :]).all()
        assert np.isfinite(run.loss[i, : int(run.steps[i])]).all()


def test_divergence_is_reported_and_the_others_go_on():
    nets = family(3, activation="relu", init="he")
    with torch.no_grad():
        nets[1].readout[-1].weight *= 1e200
    diverging = copy.deepcopy(nets[1])
    run = train(nets, digits(), optimizer=sgd, **RUN)
    assert run.diverged.tolist() == [False, True, False]
    # It stays where its last finite loss left it: after as many steps alone.
    finite = int(np.isfinite(run.loss[1]).sum())
    assert 0 < finite < 40
    train(diverging, digits(), optimizer=sgd, **RUN | {"steps": finite})
    same(nets[1], diverging)
    assert np.isfinite(run.loss[[0, 2]]).all()
    assert "1 diverged" in repr(run)


def test_a_huge_clip_changes_nothing():
    free, clipped, tight = family(1), family(1), family(1)
    train(free, digits(), optimizer=sgd, **RUN)
    train(clipped, digits(), optimizer=sgd, clip=1e9, **RUN)
    train(tight, digits(), optimizer=sgd, clip=1e-3, **RUN)
    same(free[0], clipped[0], rtol=1e-12)
    assert not torch.allclose(free[0].layer1.weight, tight[0].layer1.weight)


def test_the_seed_decides():
    runs = [train(family(1), digits(), optimizer=sgd, **RUN | {"seed": s}) for s in (0, 0, 1)]
    assert np.array_equal(runs[0].loss, runs[1].loss)
    assert not np.array_equal(runs[0].loss, runs[2].loss)


def test_another_loss_and_score():
    x = torch.linspace(-1, 1, 64, dtype=torch.float64)[:, None]
    task = Task(Batch(x, 2 * x), Batch(x, 2 * x))
    nets = [mlp(**NET | {"activation": "identity"}, seed=s, inputs=1, classes=1) for s in range(2)]

    def score(outputs, targets):
        return -F.mse_loss(outputs, targets)

    run = train(
        nets,
        task,
        steps=200,
        batch_size=16,
        seed=0,
        optimizer=sgd,
        loss_fn=squared_error,
        score=score,
        target=-1e-3,
        check_every=10,
    )
    assert np.isfinite(run.steps).all()
    assert (run.score >= -1e-3).all()


def test_frozen_parameters_stay():
    nets = family(2)
    for net in nets:
        net.layer1.requires_grad_(False)
    before = nets[1].layer1.weight.clone()
    train(nets, digits(), optimizer=sgd, **RUN)
    assert torch.equal(nets[1].layer1.weight, before)
    assert not nets[1].layer1.weight.requires_grad


def test_accuracy_is_over_examples():
    outputs = torch.tensor([[[1.0, 2.0], [3.0, 0.0]], [[2.0, 1.0], [0.0, 3.0]]])
    assert accuracy(outputs, torch.tensor([1, 0])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be a whole number from 1 up, not 0"),
        ({"batch_size": 2000}, "batch_size must be at most the 1437 training examples, not 2000"),
        ({"clip": -1.0}, "clip must be a positive finite number, not -1.0"),
        ({"nets": []}, "train needs at least one network; the list is empty"),
    ],
)
def test_bad_input_is_refused(change, message):
    keywords = dict(nets=family(1), task=digits(), optimizer=sgd, **RUN) | change
    with pytest.raises(ValueError, match=re.escape(message)):
        train(**keywords)


def test_dropout_is_not_stacked():
    """Each network draws the masks that it would draw alone, after the others."""
    torch.manual_seed(0)
    dropped = [nn.Linear(64, 8), nn.Dropout(0.5), nn.Linear(8, 10)]
    together = [copy.deepcopy(nn.Sequential(*dropped)).double() for _ in range(2)]
    apart = copy.deepcopy(together)
    torch.manual_seed(1)
    train(together, digits(), optimizer=sgd, **RUN)
    torch.manual_seed(1)
    for one, alone in zip(together, apart, strict=True):
        train(alone, digits(), optimizer=sgd, **RUN)
        same(one, alone)


@given(
    size=st.integers(2, 4),
    depth=st.integers(1, 9),
    width=st.integers(1, 20),
    batch_size=st.integers(1, 40),
    activation=st.sampled_from(list(ACTIVATIONS)),
    connection=st.sampled_from(["plain", "residual", "highway"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_family_equals_its_members_at_any_size(
    size, depth, width, batch_size, activation, connection, dtype
):
    task = TASKS[dtype]
    change = dict(depth=depth, width=width, activation=activation, connection=connection)
    together, apart = (family(size, **change, dtype=dtype) for _ in range(2))
    run = dict(steps=1, batch_size=batch_size, seed=0)
    train(together, task, optimizer=sgd, **run)
    for one, alone in zip(together, apart, strict=True):
        train(alone, task, optimizer=sgd, **run)
        for p, q in zip(one.parameters(), alone.parameters(), strict=True):
            tolerance = 1e-5 if dtype == torch.float32 else 1e-12
            torch.testing.assert_close(p, q, rtol=0, atol=tolerance * q.abs().max().item())
