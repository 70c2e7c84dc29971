"""Memory without gates: the recurrence by two routes, its theory, and how it is trained."""

import numpy as np
import pytest
import torch

from vglib.experiments.linear_recurrence import (
    DISC,
    KINDS,
    RATES,
    RING,
    SIZES,
    LinearRecurrence,
    best_rate,
    carried,
    examples,
    fit,
    predicted_left,
    predicted_sensitivity,
    reader,
    stored,
)


def recurrence(kind="LRU", *, inputs=3, units=5, seed=0, **more):
    torch.manual_seed(seed)
    return LinearRecurrence(inputs, units, **KINDS[kind] | more).double()


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_over_lags_is_the_loop(kind):
    net = recurrence(kind)
    u = torch.randn(4, 30, 3, dtype=torch.float64)
    last = net.states(u)[-1]
    torch.testing.assert_close(net(u), torch.cat([last.real, last.imag], dim=1))
    assert not torch.equal(net(u), net(u + (torch.arange(30) == 0).double()[:, None]))


def test_the_loop_is_a_product_with_a_diagonal_matrix():
    net = recurrence("λ, ring, γ")
    u = torch.randn(2, 7, 3, dtype=torch.float64)
    lam = net.eigenvalues()
    gamma = (1 - lam.abs() ** 2).sqrt()
    B = torch.complex(*net.B.chunk(2, dim=1)).T
    h = torch.zeros(2, 5, dtype=torch.complex128)
    for now in u.unbind(dim=1):
        h = h @ torch.diag(lam) + (now.to(h.dtype) @ B.T) * gamma
    torch.testing.assert_close(net.states(u)[-1], h)


@pytest.mark.parametrize("kind", ["λ", "λ, ring", "exp", "LRU"])
def test_eigenvalues_are_even_on_their_ring(kind):
    low, high = KINDS[kind]["radii"]
    lam = recurrence(kind, units=100_000).eigenvalues().detach()
    assert low <= lam.abs().min() < lam.abs().max() <= high
    share = ((lam.abs() ** 2 - low**2) / (high**2 - low**2)).sort().values
    even = torch.linspace(0, 1, 100_000, dtype=torch.float64)
    torch.testing.assert_close(share, even, atol=0.01, rtol=0)
    assert lam.mean().abs() < 0.01


def test_an_exponential_keeps_the_radius_below_one_and_a_bare_number_does_not():
    for kind, below in (("LRU", True), ("λ, ring", False)):
        net = recurrence(kind)
        with torch.no_grad():
            net.first += 5.0 if kind == "λ, ring" else -2.0
        assert (net.eigenvalues().abs().max() < 1) == below
        assert net(torch.ones(1, 4, 3, dtype=torch.float64)).isfinite().all()


def test_the_gradient_by_lag_is_the_power_of_the_radius():
    net = reader(task="recall", kind="LRU", seed=1, dtype=torch.float64)
    with torch.no_grad():
        net.cell.first.fill_(np.log(-np.log(0.9)))
    x, y = examples("recall", steps=40, seed=0, test=1).train
    by_lag = carried(net, x[:6].double(), y[:6])
    np.testing.assert_allclose(by_lag / by_lag[0], 0.9 ** np.arange(40), rtol=1e-9)


@pytest.mark.parametrize("radii", [RING, DISC, (0.5, 0.6)])
def test_the_share_left_is_the_average_over_the_ring(radii):
    low, high = radii
    squares = torch.linspace(low**2, high**2, 200_001, dtype=torch.float64)
    expected = [(squares**k).mean().sqrt().item() for k in (0, 1, 10, 100)]
    np.testing.assert_allclose(predicted_left([0, 1, 10, 100], radii=radii), expected, rtol=1e-3)


@pytest.mark.parametrize("radius", [0.3, 0.9, 0.98])
def test_the_sensitivity_is_autograds(radius):
    # White inputs are independent, so the mean square is a sum of squares over single inputs.
    lags = torch.arange(1_000, dtype=torch.float64)

    def response(size, angle, normalized):
        gamma = (1 - size**2).sqrt() if normalized else 1.0
        return gamma * torch.view_as_real(torch.polar(size**lags, angle * lags)).flatten()

    def measured(what, at):
        slope = torch.autograd.functional.jacobian(what, torch.tensor(at, dtype=torch.float64))
        return slope.square().sum().sqrt().item()

    angle = torch.tensor(0.7, dtype=torch.float64)
    nu = np.log(-np.log(radius))

    def from_nu(normalized):
        return lambda v: response((-v.exp()).exp(), angle, normalized)

    found = {
        "|λ|": measured(lambda r: response(r, angle, False), radius),
        "ν": measured(from_nu(False), nu),
        "ν, γ": measured(from_nu(True), nu),
        "θ, γ": measured(lambda a: response(torch.tensor(radius).double(), a, True), 0.7),
    }
    for of, value in found.items():
        np.testing.assert_allclose(predicted_sensitivity(radius, of=of), value, rtol=1e-6)


def test_far_memories_are_tamed_step_by_step():
    for of, power in (("|λ|", 1.5), ("ν", 0.5), ("ν, γ", 0.0), ("θ, γ", 1.0)):
        near, far = predicted_sensitivity(np.array([0.999, 0.9999]), of=of)
        np.testing.assert_allclose(np.log10(far / near), power, atol=0.01)


def test_side_by_side_is_one_after_another_and_adam_is_torchs():
    task = examples("adding", steps=6, seed=0, test=50)
    seeds, rates = (0, 1, 2), (0.01, 0.003, 0.1)
    together = [reader(task="adding", kind="LRU", seed=s) for s in seeds]
    done = fit(together, task, rates=rates, steps=5, seed=3)
    assert done["loss"].shape == (3, 5)
    for k, (seed, rate) in enumerate(zip(seeds, rates, strict=True)):
        net = reader(task="adding", kind="LRU", seed=seed)
        adam = torch.optim.Adam(net.parameters(), lr=rate)
        generator = torch.Generator().manual_seed(3)
        for step in range(5):
            chosen = torch.randint(10_000, (32,), generator=generator)
            x, y = (part[chosen] for part in task.train)
            adam.zero_grad()
            loss = torch.nn.functional.mse_loss(net(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            adam.step()
            np.testing.assert_allclose(done["loss"][k, step], loss.item(), rtol=1e-3)
        for one, other in zip(net.parameters(), together[k].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_an_lru_learns_to_recall():
    task = examples("recall", steps=8, seed=0)
    nets = [reader(task="recall", kind="LRU", seed=0)]
    assert fit(nets, task, rates=[0.01], steps=300, seed=0)["way"][0] > 0.9


def test_a_network_that_left_the_numbers_has_come_no_way():
    task = examples("recall", steps=5, seed=0, test=20)
    net = reader(task="recall", kind="λ, ring", seed=0)
    with torch.no_grad():
        net.cell.first.fill_(1e30)
    assert fit([net], task, rates=[0.1], steps=2, seed=0)["way"][0] == 0


def test_equal_seeds_give_equal_networks_and_leave_the_random_state():
    before = torch.random.get_rng_state()
    one, same = (reader(task="pixels", kind="LRU", seed=4) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    for task, (inputs, outputs) in SIZES.items():
        net = reader(task=task, kind="λ", seed=0)
        assert net(torch.rand(2, 9, inputs)).shape == (2, outputs)


def test_errors_say_what_was_given():
    with pytest.raises(ValueError, match=r"radii must be 0 ≤ inner < outer ≤ 1, not \(0.9, 1.1\)"):
        recurrence(radii=(0.9, 1.1))
    with pytest.raises(ValueError, match="unknown kind 'lru'; choose one of: λ, "):
        reader(task="recall", kind="lru", seed=0)
    with pytest.raises(ValueError, match="unknown of 'r'; choose one of"):
        predicted_sensitivity(0.9, of="r")
    with pytest.raises(ValueError, match="steps must be 64, not 10"):
        examples("pixels", steps=10, seed=0)
    task = examples("recall", steps=5, seed=0, test=1)
    with pytest.raises(ValueError, match="a rate for each network, not 2 for 1"):
        fit([reader(task="recall", kind="λ", seed=0)], task, rates=[0.1, 0.1], steps=1, seed=0)


def test_the_beginning_of_a_recorded_run_comes_out_again():
    known = stored("training", "LRU", task="recall", lag=50)
    task = examples("recall", steps=50, seed=0)
    nets = [reader(task="recall", kind="LRU", seed=s) for s in range(5)]
    rates = [best_rate("LRU", task="recall")] * 5
    again = fit(nets, task, rates=rates, steps=100, seed=0)["loss"].mean(axis=1)
    # Rounding differs between processors, and a hundred steps at a bold rate spread it.
    np.testing.assert_allclose(again, [one[0] for one in known["losses"]], rtol=0.2)


def test_the_best_rate_has_the_smallest_loss_of_the_search():
    for task, lag in (("recall", 50), ("adding", 100)):
        losses = stored("search", "LRU", task=task, lag=lag)["losses"]
        means = {
            rate: np.mean(one) for rate, one in zip(RATES, losses, strict=True) if None not in one
        }
        assert best_rate("LRU", task=task) == min(means, key=means.get)
