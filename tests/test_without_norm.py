"""Layer-wise training and residual networks without a norm, against networks built otherwise."""

import layerwise_runs
import numpy as np
import pytest
import torch
import unnormalised_runs
from torch import nn

from vglib.claims import recorded
from vglib.experiments import layerwise, unnormalised
from vglib.lesson import left
from vglib.nets import mlp
from vglib.probes import gradient_flow
from vglib.training import train


def test_networks_side_by_side_are_those_of_mlp():
    how = dict(depth=6, width=layerwise.WIDTH, activation="sigmoid", init="torch")
    nets = [mlp(**how, seed=seed, dtype=torch.float32).double() for seed in (3, 4)]
    layers = layerwise.draw(6, (3, 4))
    batch = layerwise.task().train
    x = batch.inputs.double()
    double = [(w.double(), b.double()) for w, b in layers]
    outputs, _ = layerwise.forward(double, x)
    torch.testing.assert_close(outputs, torch.stack([net(x) for net in nets]))
    first = type(batch)(x[:128], batch.targets[:128])
    wanted = left(gradient_flow(nets, first))
    np.testing.assert_allclose(layerwise.share_left(layers), wanted, rtol=1e-9)


def test_a_step_is_that_of_the_training_loop():
    how = dict(depth=3, width=layerwise.WIDTH, activation="sigmoid", init="torch")
    net = mlp(**how, seed=3, dtype=torch.float32)
    train(net, layerwise.task(), steps=3, batch_size=128, optimizer="momentum", rate=0.1, seed=7)
    layers = layerwise.draw(3, (3,))
    _, (*_, (weights, _)) = layerwise.fit(layers, rates=[0.1], steps=3, seed=7)
    torch.testing.assert_close(weights[0], net[-1][-1].weight.detach().T, rtol=1e-4, atol=1e-6)


def test_changes_keep_what_they_say():
    layers = layerwise.pretrain(layerwise.draw(2, (1, 2)), (1, 2), "autoencoder", steps=11)
    mixed = layerwise.shuffled(layers, (1, 2))
    for (w, b), (new_w, new_b) in zip(layers[:-1], mixed[:-1], strict=True):
        for old, new in ((w, new_w), (b, new_b)):
            assert not torch.equal(old, new)
            assert torch.equal(old.flatten(1).sort().values, new.flatten(1).sort().values)
    middle = layerwise.recentred(mixed)
    x = layerwise.task().train.inputs
    _, kept = layerwise.forward(middle, x)
    for h in kept:
        assert float(torch.logit(h).mean(dim=1).abs().max()) < 1e-4
    scaled = layerwise.scale_alone(layers, (1, 2))
    sizes = [w.std() / v.std() for (w, _), (v, _) in zip(layers[:-1], scaled[:-1], strict=True)]
    np.testing.assert_allclose(sizes, 1, rtol=0.1)
    halves = layerwise.draw(3, (1,), gain=4.0, centred=True)[1]
    torch.testing.assert_close(halves[1], -halves[0].sum(dim=1, keepdim=True) / 2)


def test_an_autoencoder_learns_to_give_back_and_a_local_step_moves_every_layer():
    before = layerwise.draw(3, (1,))
    after = layerwise.pretrain(before, (1,), "autoencoder", steps=33)
    assert after[-1] is before[-1]
    for (w, _), (v, _) in zip(after[1:-1], before[1:-1], strict=True):
        assert w.std() > 1.5 * v.std()
    for local in (False, True):
        how = dict(rates=[0.1], steps=1, seed=0, helped=1, local=local)
        _, moved = layerwise.fit(before, **how)
        assert all(not torch.equal(w, v) for (w, _), (v, _) in zip(moved, before, strict=True))


class _Branch(nn.Module):
    def __init__(self, width, scale):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.scale = scale

    def forward(self, z):
        return z + self.scale * self.second(self.first(z.relu()).relu())


@pytest.mark.parametrize(("way", "scale"), [("unscaled", 1.0), ("scaled", 0.5)])
def test_blocks_are_those_of_modules(way, scale):
    net = unnormalised.draw(way, 4, [5], dtype=torch.float64)
    width = unnormalised.WIDTH
    blocks = [_Branch(width, scale) for _ in range(4)]
    model = nn.Sequential(nn.Linear(64, width), *blocks, nn.ReLU(), nn.Linear(width, 10)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        model[0].weight.copy_(net["stem"][0].T)
        model[-1].weight.copy_(net["out"][0].T)
        for k, block in enumerate(blocks):
            block.first.weight.copy_(net["first"][0, k].T)
            block.second.weight.copy_(net["second"][0, k].T)
    x = layerwise.task().train.inputs[:20].double()
    outputs, _ = unnormalised.forward(net, way, x)
    torch.testing.assert_close(outputs[0], model(x))


def test_the_gradient_grows_as_predicted_and_not_at_all_from_zero():
    for way in ("unscaled", "scaled"):
        signal, gradient = unnormalised.flow(way, 8, range(20))
        wanted = unnormalised.predicted(way, 8)
        mean = np.sqrt((gradient[:, 0] ** 2).mean())
        assert 0.7 < mean / wanted[0] < 1.4
        assert 0.6 < signal[:, -1].mean() / wanted[0] ** 2 < 1.6
    for way in ("Fixup", "ReZero"):
        signal, gradient = unnormalised.flow(way, 8, [0, 1])
        np.testing.assert_allclose(signal, 1)
        np.testing.assert_allclose(gradient, 1)
        np.testing.assert_allclose(unnormalised.predicted(way, 8), 1)


def test_batch_norm_is_pytorchs():
    z = torch.randn(3, 50, 8, dtype=torch.float64)
    norm = nn.BatchNorm1d(8, dtype=torch.float64)
    wanted = torch.stack([norm(one) for one in z])
    torch.testing.assert_close(unnormalised._normed(z, 1.0, 0.0), wanted)


def test_errors_say_what_was_wanted():
    with pytest.raises(ValueError, match="unknown way 'fixup'; choose one of: unscaled, scaled"):
        unnormalised.draw("fixup", 8, [0])
    with pytest.raises(ValueError, match="no prediction for batch norm"):
        unnormalised.predicted("batch norm", 8)


def test_a_corner_of_the_records_comes_out_again():
    settings = dict(way="scaled", blocks=8)
    (known,) = [r["values"] for r in recorded("unnormalised_runs") if r["settings"] == settings]
    again = unnormalised_runs.run(**settings)
    at = known["rates"].index(known["rate"])
    assert abs(np.median(again["errors"][at]) - np.median(known["errors"][at])) < 2
    settings = dict(way="larger, centred", depth=10)
    (known,) = [r["values"] for r in recorded("layerwise_runs") if r["settings"] == settings]
    again = layerwise_runs.run(**settings)
    at = layerwise_runs.RATES.index(known["rate"])
    np.testing.assert_allclose(again["left"], known["left"], rtol=1e-2)
    assert abs(np.median(again["errors"][at]) - np.median(known["errors"][at])) < 3
