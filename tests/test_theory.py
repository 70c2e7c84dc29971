import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from vglib.nets import ACTIVATIONS, mlp
from vglib.probes import gradient_flow
from vglib.theory import SLOPES, gaussian_mean, predict_flow

DEEP = dict(depth=30, width=100)


@pytest.mark.parametrize("name", SLOPES)
def test_formulas_are_torch_s_activations_and_their_derivatives(name):
    # Further out torch itself rounds: softplus is z from 20 up, GELU's 1 + erf has no digits left.
    z = torch.linspace(-5, 15, 1000, dtype=torch.float64, requires_grad=True)
    h = ACTIVATIONS[name]().double()(z)
    h.sum().backward()
    phi, slope = SLOPES[name]
    np.testing.assert_allclose(phi(z.detach().numpy()), h.detach().numpy(), rtol=1e-9, atol=0)
    # 1 - tanh² loses all digits far out, where 1/cosh² keeps them.
    np.testing.assert_allclose(slope(z.detach().numpy()), z.grad.numpy(), rtol=1e-7, atol=1e-15)


@pytest.mark.parametrize("name", SLOPES)
@given(variance=st.floats(1e-2, 100.0))
def test_quadrature_agrees_with_adaptive_integration(name, variance):
    relative, absolute = (0, 0.02) if name == "hardtanh" else (1e-6, 0)
    for function in SLOPES[name]:

        def squared(z, function=function):
            return function(np.array(z)) ** 2

        std = variance**0.5
        expected = sum(
            quad(lambda z: squared(z) * norm.pdf(z, scale=std), *side, limit=200)[0]  # noqa: B023
            for side in ((-40 * std, -3), (-3, 0), (0, 3), (3, 40 * std))
        )
        got = gaussian_mean(squared, variance)
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
    ("change", "message"),
    [
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
