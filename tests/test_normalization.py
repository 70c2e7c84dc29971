"""Networks with norms and dropout, for the lesson on normalization: against torch and by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from vglib.experiments import normalization
from vglib.experiments.normalization import KINDS, PROPER, build, on_record, trained
from vglib.nets import mlp
from vglib.probes import gradient_flow
from vglib.tasks import digits


def test_rms_norm_divides_the_units_of_a_layer_by_their_root_mean_square():
    how = dict(activation="relu", init="he", seed=0, depth=3, width=16, norm="rms")
    norm = build(dtype=torch.float64, **how)[1].normalization
    z = torch.randn(5, 16, dtype=torch.float64)
    by_hand = z / (z.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(z), by_hand, rtol=1e-12, atol=0)


def test_norm_and_dropout_stand_where_they_should():
    net = build(activation="relu", init="he", seed=0, depth=3, width=8, norm="batch, after")
    assert [type(part) for part in net[1].activation] == [nn.ReLU, nn.BatchNorm1d]
    assert [type(part) for part in net.readout[1]] == [nn.ReLU, nn.BatchNorm1d]
    assert isinstance(net[1].normalization, nn.Identity)
    net = build(activation="tanh", init="he", seed=0, depth=3, width=8, norm="rms", dropout=0.5)
    assert isinstance(net[1].normalization, nn.RMSNorm)
    assert isinstance(net.readout[0], nn.RMSNorm)
    assert [type(part) for part in net[1].activation] == [nn.Tanh, nn.Dropout]


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_without_additions_it_is_the_network_of_nets(norm):
    how = dict(depth=4, width=8, activation="tanh", init="xavier", seed=3)
    ours = build(norm=norm, dtype=torch.float64, **how)
    theirs = mlp(normalization=norm, **how)
    x = torch.randn(6, 64, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


def test_every_kind_has_the_same_weights():
    nets = [build(activation="relu", init="he", seed=1, depth=3, width=8, norm=k) for k in KINDS]
    for net in nets:
        assert torch.equal(net[0].weight, nets[0][0].weight)
        assert torch.equal(net[1].weights.weight, nets[0][1].weights.weight)


def test_dropout_multiplies_gradient_and_signal_by_the_predicted_factor():
    batch = digits().train.sample(32, seed=0)
    how = dict(activation="relu", init="he", depth=20, width=200, dtype=torch.float64)
    down, up = [], []
    for seed in range(8):
        ratios = []
        for p in (0.5, 0.0):
            torch.manual_seed(seed)
            flow = gradient_flow(build(seed=seed, dropout=p, **how), batch)
            ratios.append((flow.factor[0], (flow.signal[0, -1] / flow.signal[0, 1]) ** (1 / 18)))
        down.append(ratios[0][0] / ratios[1][0])
        up.append(ratios[0][1] / ratios[1][1])
    # Over 19 layers of width 200 the factor of one network strays by a hundredth.
    assert np.median(down) == pytest.approx(2**0.5, rel=0.02)
    assert np.median(up) == pytest.approx(2**0.5, rel=0.02)


def test_training_is_reproducible_and_leaves_torchs_random_state():
    how = dict(activation="relu", init="he", depth=2, width=8, dropout=0.5, steps=8)
    before = torch.random.get_rng_state()
    first, nets = trained(0.1, range(2), **how)
    again, _ = trained(0.1, range(2), **how)
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(first.loss, again.loss)
    assert len(nets) == 2
    assert first.loss.shape == (2, 8)


def test_the_record_is_found_by_what_differs(monkeypatch):
    default = dict(dropout=0.0, depth=30, width=64, steps=88, batch_size=128)
    runs = [
        {"settings": default | dict(activation=name, init=init, norm=None), "values": {"rate": k}}
        for k, (name, init) in enumerate(PROPER.items())
    ]
    monkeypatch.setattr(normalization, "recorded", lambda name: runs)
    assert on_record(activation="tanh", init="xavier", norm=None) == {"rate": 1}
    with pytest.raises(ValueError, match=r"no network .*'norm': 'batch'"):
        on_record(activation="tanh", init="xavier", norm="batch")


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="unknown norm 'weight'; choose one of"):
        build(activation="relu", init="he", seed=0, norm="weight")
