"""What the lessons on gates share with their long record, and the theory that goes with it."""

import numpy as np
import pytest
import torch

from vglib.experiments.long_lags import CONTENDERS, best_rate, network, predicted_share, right, runs
from vglib.probes import gradient_by_lag
from vglib.tasks import recall
from vglib.theory import chrono_share


def test_chrono_init_leaves_the_average_over_its_gates():
    spans = 1 + 48 * torch.rand(200_000, generator=torch.Generator().manual_seed(0)).double()
    gates = torch.sigmoid(spans.log())
    expected = [(gates ** (2 * lag)).mean().sqrt().item() for lag in (0, 1, 10, 50)]
    np.testing.assert_allclose(chrono_share([0, 1, 10, 50], longest_lag=50), expected, rtol=0.01)
    with pytest.raises(ValueError, match="longest_lag must be 3 or more, not 2"):
        chrono_share([1], longest_lag=2)


def test_the_share_at_the_longest_lag_does_not_depend_on_it():
    shares = [chrono_share([lag], longest_lag=lag)[0] for lag in (100, 1_000, 10_000)]
    np.testing.assert_allclose(shares, shares[-1], rtol=0.02)


@pytest.mark.parametrize("name", ["RNN, torch", "LSTM, torch", "LSTM, chrono", "GRU, chrono"])
def test_the_predicted_share_is_near_the_measured_one(name):
    few = recall(steps=20, seed=0, train=16, test=1).train
    nets = [network(name, task="recall", lag=20, seed=s).double() for s in range(5)]
    measured = np.median(gradient_by_lag(nets, few).memory[:, -1])
    # The first steps differ from the rest, and 32 units are few: a factor of 1.1 in 19 steps.
    assert abs(np.log(measured / predicted_share(name, 20)[-1])) < 19 * np.log(1.1)


def test_every_contender_reads_and_answers():
    for name in CONTENDERS:
        assert network(name, task="adding", lag=7, seed=0)(torch.rand(2, 7, 2)).shape == (2, 1)


def test_identity_with_relu_starts_as_le_did():
    net = network("RNN, identity, ReLU", task="pixels", lag=64, seed=1)
    assert net.cell.nonlinearity == "relu"
    assert torch.equal(net.cell.weight_hh_l0, torch.eye(32))
    assert net.cell.weight_ih_l0.std() < 0.002
    assert not net.cell.bias_hh_l0.any()


def test_a_sum_is_right_within_the_tolerance():
    outputs, targets = torch.tensor([[1.0], [0.5]]), torch.tensor([[1.07], [0.6]])
    assert right(outputs, targets) == 0.5


def test_the_best_rate_has_the_smallest_loss_of_the_search():
    best = best_rate("GRU, torch", task="recall", lag=50)
    tried = runs("GRU, torch", task="recall", lag=50, seeds=[100])
    assert len(tried) == 7
    assert best == min(tried, key=lambda one: np.mean(one["losses"]))["rate"]
    # A loss that left the numbers is stored as null and is never the best.
    gone = runs("RNN, identity, ReLU", task="pixels", lag=64, seeds=[100])
    assert any(None in one["losses"] for one in gone)
    assert best_rate("RNN, identity, ReLU", task="pixels", lag=64) == 0.001


def test_the_record_has_five_networks_of_each_kind():
    for name in CONTENDERS:
        assert [one["seed"] for one in runs(name, task="adding", lag=100)] == [*range(5)]
