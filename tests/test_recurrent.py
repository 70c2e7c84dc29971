import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vglib.batch import cross_entropy
from vglib.probes import gradient_by_lag, input_gradient_by_lag, rms
from vglib.recurrent import CELLS, recurrent, unroll
from vglib.tasks import Batch, recall

SMALL = dict(hidden=6, inputs=10, outputs=8, seed=0)
every_kind = pytest.mark.parametrize("kind", CELLS)


@pytest.fixture(scope="module")
def sequences():
    return recall(steps=12, seed=0, train=20, test=1).train


@every_kind
def test_written_out_equals_fused(kind, sequences):
    net = recurrent(kind=kind, **SMALL)
    states, outputs = unroll(net, sequences.inputs)
    fused = net.cell(sequences.inputs)[0]
    written = torch.stack([state[0] for state in states], dim=1)
    torch.testing.assert_close(written, fused, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(outputs, net(sequences.inputs), rtol=1e-12, atol=1e-15)


@every_kind
def test_the_first_input_moves_the_last_state(kind, sequences):
    net = recurrent(kind=kind, **SMALL)
    changed = sequences.inputs.clone()
    changed[:, 0] = changed[:, 0].roll(1, dims=1)
    before, after = unroll(net, sequences.inputs)[0], unroll(net, changed)[0]
    assert ((before[-1][0] - after[-1][0]).abs() > 0).any()


@every_kind
def test_gradients_by_lag_equal_those_of_the_fused_module(kind, sequences):
    net = recurrent(kind=kind, **SMALL)
    flow = gradient_by_lag(net, sequences)
    assert flow.hidden.shape == flow.inputs.shape == (1, 12)
    carried = flow.cell if kind == "lstm" else flow.hidden
    np.testing.assert_allclose(flow.memory * carried[0, 0], carried, rtol=1e-12, atol=0)
    assert flow.memory[0, 0] == 1 != flow.memory[0, 1]
    fused = input_gradient_by_lag(net, sequences)
    np.testing.assert_allclose(flow.inputs[0], fused, rtol=1e-9, atol=0)
    x = sequences.inputs.clone().requires_grad_()
    cross_entropy(net, Batch(x, sequences.targets)).backward()
    expected = [rms(x.grad[:, t]) for t in reversed(range(12))]
    np.testing.assert_allclose(fused, expected, rtol=1e-12, atol=0)
    assert all(p.grad is not None for p in net.parameters())


def test_the_product_of_jacobians_by_hand():
    """One unit, one example: ∂h_T/∂h_t is a product of u (1 - h²)."""
    net = recurrent(kind="rnn", hidden=1, inputs=1, outputs=1, seed=3)
    x = torch.linspace(-1, 1, 7, dtype=torch.float64).view(1, 7, 1)
    batch = Batch(x, torch.zeros(1, 1))
    flow = gradient_by_lag(net, batch, loss_fn=lambda m, b: m(b.inputs).sum())
    h = torch.stack([state[0] for state in unroll(net, x)[0]]).flatten().detach().numpy()
    u = net.cell.weight_hh_l0.item()
    expected = [abs(net.readout.weight.item())]
    for step in range(6, 0, -1):
        expected.append(expected[-1] * abs(u) * (1 - h[step] ** 2))
    np.testing.assert_allclose(flow.hidden[0], expected, rtol=1e-10, atol=0)


def gates(net, vector, gate):
    hidden = net.cell.hidden_size
    return getattr(net.cell, vector)[gate * hidden : (gate + 1) * hidden].detach()


def test_forget_bias_sets_one_vector_and_zeroes_the_other():
    net = recurrent(kind="lstm", forget_bias=2.0, **SMALL)
    assert (gates(net, "bias_ih_l0", 1) == 2).all()
    assert (gates(net, "bias_hh_l0", 1) == 0).all()
    plain = recurrent(kind="lstm", **SMALL)
    assert torch.equal(gates(net, "bias_ih_l0", 0), gates(plain, "bias_ih_l0", 0))
    zero = torch.zeros(1, 60, 10, dtype=torch.float64)
    longer = recurrent(kind="lstm", forget_bias=3.0, **SMALL)
    batch = Batch(zero, torch.zeros(1, dtype=torch.long))
    for each, gate in ((longer, 3.0), (net, 2.0)):
        cell = gradient_by_lag(each, batch).cell[0]
        # Along the cell path alone ∂L/∂c would shrink by σ(bias) a step; h adds a little.
        np.testing.assert_allclose(
            (cell[40] / cell[30]) ** 0.1, 1 / (1 + np.exp(-gate)), rtol=0.1, atol=0
        )


def test_chrono_draws_forget_times_up_to_the_longest_lag():
    net = recurrent(kind="lstm", longest_lag=100, **SMALL | {"hidden": 4000})
    forget, entry = gates(net, "bias_ih_l0", 1), gates(net, "bias_ih_l0", 0)
    assert torch.equal(forget, -entry)
    times = forget.exp()
    assert 1 <= times.min() < 2
    assert 97 < times.max() <= 99
    np.testing.assert_allclose(times.mean(), 50, rtol=0.03, atol=0)


@pytest.mark.parametrize(
    ("init", "radius"), [("orthogonal", None), ("identity", None), ("radius", 0.7)]
)
@every_kind
def test_recurrent_inits_fill_each_gate_s_square_matrix(kind, init, radius):
    net = recurrent(kind=kind, recurrent_init=init, radius=radius, **SMALL)
    for weight in net.cell.weight_hh_l0.detach().split(6):
        if init == "identity":
            assert torch.equal(weight, torch.eye(6, dtype=torch.float64))
        elif init == "orthogonal":
            eye = torch.eye(6, dtype=torch.float64)
            torch.testing.assert_close(weight @ weight.T, eye, rtol=0, atol=1e-6)
        else:
            largest = torch.linalg.eigvals(weight).abs().max().item()
            np.testing.assert_allclose(largest, 0.7, rtol=1e-5, atol=0)


@every_kind
def test_stacked_gates_are_orthogonal_as_one(kind):
    net = recurrent(kind=kind, recurrent_init="stacked", **SMALL | {"hidden": 100})
    whole = net.cell.weight_hh_l0.detach()
    eye = torch.eye(100, dtype=torch.float64)
    torch.testing.assert_close(whole.T @ whole, eye, rtol=0, atol=1e-5)
    gates = whole.split(100)
    radii = [torch.linalg.eigvals(gate).abs().max().item() for gate in gates]
    np.testing.assert_allclose(radii, len(gates) ** -0.5, rtol=0.15, atol=0)


def test_the_seed_decides_and_the_global_state_stays():
    before = torch.get_rng_state()
    one, same = (recurrent(kind="gru", **SMALL) for _ in range(2))
    other = recurrent(kind="gru", **SMALL | {"seed": 1})
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.cell.weight_hh_l0, same.cell.weight_hh_l0)
    assert not torch.equal(one.cell.weight_hh_l0, other.cell.weight_hh_l0)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (dict(kind="lstn"), "unknown kind 'lstn'; choose one of: rnn, lstm, gru"),
        (dict(kind="rnn", recurrent_init="eye"), "unknown recurrent_init 'eye'"),
        (dict(kind="rnn", recurrent_init="radius"), "radius must be a positive finite number, not"),
        (dict(kind="rnn", radius=1.0), "radius belongs to recurrent_init 'radius', not to 'torch'"),
        (dict(kind="gru", forget_bias=1.0), "'gru' has no forget gate"),
        (
            dict(kind="rnn", longest_lag=10),
            "longest_lag must be 3 or more, for kind 'lstm' or 'gru'",
        ),
        (dict(kind="lstm", longest_lag=2), "longest_lag must be 3 or more"),
        (dict(kind="rnn", hidden=0), "hidden must be a whole number from 1 up, not 0"),
    ],
)
def test_bad_input_is_refused(keywords, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        recurrent(**SMALL | keywords)


def test_probes_refuse_what_is_no_sequence(sequences, batch):
    net = recurrent(kind="rnn", **SMALL)
    for probe in (gradient_by_lag, input_gradient_by_lag):
        with pytest.raises(ValueError, match=re.escape("shape (examples, time, features), not")):
            probe(net, batch)
    with pytest.raises(ValueError, match="the list is empty"):
        gradient_by_lag([], sequences)


def test_input_gradient_of_any_model(sequences):
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.readout = nn.Linear(10, 8).double()

        def forward(self, x):
            return self.readout(x.mean(dim=1))

    flow = input_gradient_by_lag(Mean(), sequences)
    np.testing.assert_allclose(flow, flow[0], rtol=1e-12, atol=0)


@given(
    kind=st.sampled_from(list(CELLS)),
    hidden=st.integers(1, 9),
    inputs=st.integers(1, 4),
    examples=st.integers(1, 5),
    time=st.integers(1, 15),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_fused_and_written_out_agree_at_any_size(kind, hidden, inputs, examples, time, dtype, seed):
    net = recurrent(kind=kind, hidden=hidden, inputs=inputs, outputs=3, seed=seed, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, time, inputs, generator=generator, dtype=dtype)
    batch = Batch(x, torch.zeros(examples, dtype=torch.int64))
    flow = gradient_by_lag(net, batch)
    assert flow.hidden.shape == flow.inputs.shape == (1, time)
    fused = input_gradient_by_lag(net, batch)
    rtol = 1e-3 if dtype == torch.float32 else 1e-9
    np.testing.assert_allclose(fused, flow.inputs[0], rtol=rtol, atol=0)


def test_tiny_gradients_by_lag_are_not_zero(sequences):
    net = recurrent(kind="rnn", **SMALL)
    usual = input_gradient_by_lag(net, sequences)

    def tiny(model, batch):
        return 1e-250 * cross_entropy(model, batch)

    found = input_gradient_by_lag(net, sequences, loss_fn=tiny)
    np.testing.assert_allclose(found, 1e-250 * usual, rtol=1e-9, atol=0)
