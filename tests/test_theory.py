import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from vglib.names import ACTIVATIONS
from vglib.nets import mlp
from vglib.probes import gradient_by_lag, gradient_flow
from vglib.recurrent import recurrent
from vglib.tasks import Batch
from vglib.theory import (
    batch_norm_factor,
    chi,
    critical_gain,
    fixed_length,
    gaussian_mean,
    length_map,
    lstm_cell_factor,
    predict_flow,
    rnn_factor,
)

DEEP = dict(depth=30, width=100)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_formulas_are_torch_s_activations_and_their_derivatives(name):
    # Further out torch itself rounds: softplus is z from 20 up, GELU's 1 + erf has no digits left.
    z = torch.linspace(-5, 15, 1000, dtype=torch.float64, requires_grad=True)
    module, phi, slope = ACTIVATIONS[name]
    h = module().double()(z)
    h.sum().backward()
    np.testing.assert_allclose(phi(z.detach().numpy()), h.detach().numpy(), rtol=1e-9, atol=0)
    # 1 - tanh² loses all digits far out, where 1/cosh² keeps them.
    np.testing.assert_allclose(slope(z.detach().numpy()), z.grad.numpy(), rtol=1e-7, atol=1e-15)


def density(z, variance):
    """Of a Gaussian; scipy's own takes far longer to find out what it was given."""
    return math.exp(-(z**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(variance=st.floats(1e-2, 100.0))
def test_quadrature_agrees_with_adaptive_integration(name, variance):
    bounds = [(0, 0.02), (0.1, 0)] if name == "hardtanh" else [(1e-6, 0)]
    for function in ACTIVATIONS[name][1:]:

        def squared(z, function=function):
            return function(np.array(z)) ** 2

        def weighted(z):
            return squared(z) * density(z, variance)

        std = variance**0.5
        edges = np.clip([-12 * std, -std, -1, 0, 1, std, 12 * std], -12 * std, 12 * std)
        expected = sum(
            quad(weighted, *side, epsabs=1e-13)[0] for side in pairwise(np.unique(edges))
        )
        got = gaussian_mean(squared, variance)
        for relative, absolute in bounds:
            np.testing.assert_allclose(got, expected, rtol=relative, atol=absolute)


def test_gaussian_mean_keeps_the_shape_of_the_variances():
    variances = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(gaussian_mean(np.square, variances), variances, rtol=1e-12, atol=0)


@given(gain=st.floats(0.1, 3.0), depth=st.integers(2, 40))
def test_relu_and_identity_have_closed_forms(gain, depth):
    x = np.ones((1, 64))
    keywords = dict(depth=depth, width=50, init="normal", gain=gain)
    relu = predict_flow(x, activation="relu", **keywords)
    identity = predict_flow(x, activation="identity", **keywords)
    np.testing.assert_allclose(relu.factor, gain / np.sqrt(2), rtol=1e-9, atol=0)
    np.testing.assert_allclose(identity.factor, gain, rtol=1e-9, atol=0)
    lengths = (gain**2 / 2) ** np.arange(depth) * gain**2
    np.testing.assert_allclose(relu.variance, lengths, rtol=1e-9, atol=0)


@given(gain=st.floats(0.1, 10.0))
def test_sigmoid_never_beats_a_quarter_of_the_gain(gain):
    x = np.ones((1, 64))
    flow = predict_flow(x, activation="sigmoid", init="normal", gain=gain, **DEEP)
    assert flow.factor < gain / 4


def test_critical_tanh_falls_as_a_power_law():
    x = np.ones((1, 100))
    flow = predict_flow(x, depth=3000, width=100, activation="tanh", init="lecun")
    # q_l → 1/(2l), and RMS δ_l grows like the square root of l.
    np.testing.assert_allclose(flow.variance[-1], 1 / 6000, rtol=0.01, atol=0)
    ratio = flow.delta[2999] / flow.delta[749]
    np.testing.assert_allclose(ratio, 2.0, rtol=0.01, atol=0)


def test_the_data_s_scale_matters_for_tanh_and_not_for_relu(batch):
    for activation, moves in (("tanh", True), ("relu", False)):
        keywords = dict(activation=activation, init="he", depth=5, width=100)
        one = predict_flow(batch.inputs, **keywords).factor
        other = predict_flow(3 * batch.inputs, **keywords).factor
        assert (abs(other / one - 1) > 0.01) == moves


@pytest.mark.parametrize(("width", "tolerance"), [(100, 0.015), (300, 0.0075)])
@pytest.mark.parametrize(
    ("activation", "init"),
    [
        ("sigmoid", "lecun"),
        ("sigmoid", "xavier"),
        ("tanh", "lecun"),
        ("tanh", "xavier"),
        ("relu", "he"),
    ],
)
def test_prediction_meets_measurement(batch, activation, init, width, tolerance):
    keywords = dict(depth=30, width=width, activation=activation, init=init)
    flow = gradient_flow([mlp(**keywords, seed=seed) for seed in range(10)], batch)
    predicted = predict_flow(batch.inputs, **keywords)
    np.testing.assert_allclose(np.median(flow.factor), predicted.factor, rtol=tolerance, atol=0)
    # The whole profile too, not only its ends; 29 factors add up their errors.
    measured = np.median(flow.delta / flow.delta[:, -1:], axis=0)
    np.testing.assert_allclose(np.log(measured), np.log(predicted.delta), atol=29 * tolerance)


@pytest.mark.parametrize(
    ("activation", "init", "more"),
    [
        ("relu", "torch", {}),
        ("tanh", "torch", {}),
        ("tanh", "orthogonal", {"gain": 1.2}),
        ("tanh", "critical", {"bias_scale": 0.2}),
        ("elu", "he", {"connection": "residual", "branch_scale": 0.3}),
        ("relu", "he", {"connection": "residual"}),
        ("hardtanh", "he", {}),
    ],
)
def test_other_networks_are_predicted_too(batch, activation, init, more):
    # Examples of unequal size: the average over them matters.
    inputs = batch.inputs * torch.linspace(0.2, 3, 256, dtype=torch.float64)[:, None]
    keywords = dict(depth=20, width=200, activation=activation, init=init, **more)
    flow = gradient_flow(
        [mlp(**keywords, seed=s) for s in range(10)], batch._replace(inputs=inputs)
    )
    predicted = predict_flow(inputs, **keywords)
    np.testing.assert_allclose(np.median(flow.factor), predicted.factor, rtol=0.015, atol=0)


def test_hundreds_of_layers_do_not_underflow():
    keywords = dict(width=100, activation="sigmoid", init="torch")
    deep = predict_flow(np.ones((2, 64)), depth=400, **keywords)
    np.testing.assert_allclose(
        deep.factor, predict_flow(np.ones((2, 64)), depth=100, **keywords).factor, rtol=1e-3, atol=0
    )


def test_critical_gains():
    assert critical_gain("relu") == pytest.approx(2**0.5, rel=1e-6)
    assert critical_gain("tanh") == pytest.approx(1, rel=1e-6)
    assert critical_gain("leaky_relu") == pytest.approx((2 / (1 + 0.01**2)) ** 0.5, rel=1e-6)
    # At σ_b² = 0.05 the edge of chaos of tanh is near σ_w² = 1.76 (Schoenholz et al. 2017).
    assert critical_gain("tanh", bias_scale=0.05**0.5) ** 2 == pytest.approx(1.76, abs=0.01)
    for activation, bias_scale in (("sigmoid", 0.0), ("tanh", 0.3), ("elu", 0.3)):
        gain = critical_gain(activation, bias_scale=bias_scale)
        q = fixed_length(activation, gain=gain, bias_scale=bias_scale)
        assert chi(q, activation, gain=gain) == pytest.approx(1, rel=1e-4)
        stepped = length_map(q, activation, gain=gain, bias_scale=bias_scale)
        assert stepped == pytest.approx(q, rel=1e-6)


@pytest.mark.parametrize(
    ("activation", "bias_scale"), [("softplus", 0.0), ("gelu", 0.0), ("silu", 0.0), ("relu", 0.1)]
)
def test_no_critical_gain_is_said(activation, bias_scale):
    with pytest.raises(ValueError, match=f"{activation} with bias_scale {bias_scale} has no crit"):
        critical_gain(activation, bias_scale=bias_scale)


def test_fixed_lengths():
    assert fixed_length("tanh", gain=0.9) == 0
    assert fixed_length("tanh", gain=1.0) == 0
    q = fixed_length("tanh", gain=1.5)
    assert q > 0.1
    mean = quad(lambda z: np.tanh(z) ** 2 * density(z, q), -12, 12, epsabs=1e-12)[0]
    assert 1.5**2 * mean == pytest.approx(q, rel=1e-6)
    with pytest.raises(ValueError, match="grows without bound: it has no fixed point"):
        fixed_length("relu", gain=1.5)
    with pytest.raises(ValueError, match="bias_scale must be 0 or more"):
        fixed_length("tanh", gain=1.5, bias_scale=float("nan"))


def test_batch_norm_s_factor(batch):
    assert batch_norm_factor("relu") == pytest.approx(np.sqrt(np.pi / (np.pi - 1)), rel=1e-6)
    assert batch_norm_factor("identity") == pytest.approx(1, rel=1e-6)
    keywords = dict(depth=30, width=200, activation="relu", init="he", normalization="batch")
    flow = gradient_flow([mlp(**keywords, seed=s) for s in range(5)], batch)
    # The theory is of δ where normalization has taken effect: leave out both ends.
    steps = (flow.delta[:, 5] / flow.delta[:, 25]) ** (1 / 20)
    np.testing.assert_allclose(np.median(steps), batch_norm_factor("relu"), rtol=0.02, atol=0)


def test_rnn_factor(batch):
    assert rnn_factor(gain=0.8, input_variance=0.0) == pytest.approx(0.8, rel=1e-6)
    predicted = rnn_factor(gain=1.2, input_variance=0.25)
    assert predicted < 1.2
    net = recurrent(
        kind="rnn", hidden=400, inputs=1, outputs=10, seed=0, recurrent_init="radius", radius=1.2
    )
    with torch.no_grad():
        net.cell.weight_ih_l0.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
        net.cell.bias_ih_l0.zero_()
        net.cell.bias_hh_l0.zero_()
    x = torch.randn(64, 60, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    sequences = Batch(x.sign(), batch.targets[:64])
    hidden = gradient_by_lag(net, sequences).hidden[0]
    measured = (hidden[35] / hidden[5]) ** (1 / 30)
    np.testing.assert_allclose(measured, predicted, rtol=0.03, atol=0)


def test_lstm_cell_factor():
    assert lstm_cell_factor(forget_bias=0.0) == pytest.approx(0.5, rel=1e-6)
    assert lstm_cell_factor(forget_bias=3.0) == pytest.approx(1 / (1 + np.exp(-3)), rel=1e-6)
    gates = torch.sigmoid(
        1 + 0.7 * torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    )
    expected = gates.log().mean().exp().item()
    assert lstm_cell_factor(forget_bias=1.0, variance=0.49) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnn_factor(gain=-1.0, input_variance=0.0), "gain σ_w must be a positive finite"),
        (lambda: rnn_factor(gain=1.0, input_variance=-1.0), "input_variance must be 0 or more"),
        (lambda: lstm_cell_factor(forget_bias=float("inf")), "forget_bias must be finite"),
        (lambda: batch_norm_factor("swish"), "unknown activation 'swish'"),
        (lambda: chi(1.0, "swish", gain=1.0), "unknown activation 'swish'"),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"branch_scale": 3.0}, "branch_scale must be 0 or more and belongs to connection"),
        ({"bias_scale": -1.0}, "bias_scale must be 0 or more"),
        ({"activation": "swish"}, "unknown activation 'swish'; choose one of: identity"),
        ({"init": "magic"}, "unknown init 'magic'; choose one of: torch, lecun"),
        ({"depth": 0}, "depth must be a whole number from 1 up, not 0"),
        ({"init": "normal", "gain": -1.0}, "gain σ_w must be a positive finite number, not -1.0"),
        ({"inputs": np.full((2, 64), np.nan)}, "inputs must be finite numbers of shape"),
        ({"inputs": np.ones((0, 64))}, "inputs must be finite numbers of shape"),
        ({"inputs": np.ones(64)}, "inputs must be finite numbers of shape"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = dict(inputs=np.ones((2, 64)), depth=3, width=5, activation="tanh", init="he")
    with pytest.raises(ValueError, match=re.escape(message)):
        predict_flow(**good | change)


def test_a_single_layer_has_no_factor():
    flow = predict_flow(np.ones((1, 64)), depth=1, width=5, activation="tanh", init="he")
    with pytest.raises(ValueError, match="needs depth 2 or more, not 1"):
        _ = flow.factor


def test_orthogonal_weights_without_a_gain_have_gain_one(batch):
    keywords = dict(depth=5, width=64, activation="tanh", init="orthogonal")
    one = predict_flow(batch.inputs, **keywords).delta
    np.testing.assert_array_equal(one, predict_flow(batch.inputs, **keywords, gain=1.0).delta)


def test_a_signal_beyond_any_float_is_refused(batch):
    with pytest.raises(ValueError, match="the signal grows beyond any float within 200 layers"):
        predict_flow(batch.inputs, depth=200, width=9, activation="relu", init="normal", gain=100.0)
