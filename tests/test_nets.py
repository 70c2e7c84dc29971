import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vglib.names import ACTIVATIONS, INITS
from vglib.nets import (
    CONNECTIONS,
    GATE_BIAS,
    NORMALIZATIONS,
    convnet,
    mlp,
)
from vglib.tasks import digits

SMALL = dict(depth=3, width=5, activation="tanh", init="xavier", seed=0)


def test_forward_is_the_formula_of_the_docstring(batch):
    net = mlp(**SMALL)
    h = batch.inputs.numpy()
    linear = [m for m in net.modules() if isinstance(m, torch.nn.Linear)]
    for layer, module in enumerate(linear):
        h = np.tanh(h) if layer else h
        h = h @ module.weight.detach().numpy().T + module.bias.detach().numpy()
    expected = h
    np.testing.assert_allclose(net(batch.inputs).detach().numpy(), expected, rtol=1e-12, atol=1e-14)


@settings(max_examples=25)
@given(
    depth=st.integers(1, 6),
    width=st.integers(1, 9),
    inputs=st.integers(1, 7),
    classes=st.integers(1, 4),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    init=st.sampled_from(sorted(set(INITS) - {"normal", "critical"})),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_shapes_and_types(depth, width, inputs, classes, activation, init, dtype):
    net = mlp(
        depth=depth,
        width=width,
        activation=activation,
        init=init,
        seed=0,
        inputs=inputs,
        classes=classes,
        dtype=dtype,
    )
    assert net(torch.zeros(2, inputs, dtype=dtype)).shape == (2, classes)
    assert sum(name.startswith("layer") for name, _ in net.named_children()) == depth


@pytest.mark.parametrize(
    ("init", "gain", "variance"),
    [
        ("torch", None, lambda fan_in, fan_out: 1 / (3 * fan_in)),
        ("lecun", None, lambda fan_in, fan_out: 1 / fan_in),
        ("xavier", None, lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        ("he", None, lambda fan_in, fan_out: 2 / fan_in),
        ("normal", 3.0, lambda fan_in, fan_out: 9 / fan_in),
    ],
)
def test_weights_have_the_variance_of_the_table(init, gain, variance):
    net = mlp(depth=2, width=400, activation="relu", init=init, gain=gain, seed=1, inputs=200)
    for layer, fan_in in ((net.layer1, 200), (net.layer2.weights, 400)):
        # 80,000 draws: the relative error of a variance is about √(2/80000) = 0.5 %.
        measured = layer.weight.var().item()
        np.testing.assert_allclose(measured, variance(fan_in, 400), rtol=0.025, atol=0)


def test_only_torch_draws_biases():
    assert mlp(**SMALL | {"init": "torch"}).layer1.bias.abs().min() > 0
    for init in ("lecun", "xavier", "he"):
        assert mlp(**SMALL | {"init": init}).layer2.weights.bias.abs().max() == 0


def test_torch_is_what_linear_does_by_itself():
    net = mlp(**SMALL | {"init": "torch", "dtype": torch.float32})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert torch.equal(net.layer1.weight, torch.nn.Linear(64, 5).weight)


def test_the_seed_decides_and_the_global_state_stays():
    before = torch.get_rng_state()
    one, same, other = mlp(**SMALL), mlp(**SMALL), mlp(**SMALL | {"seed": 1})
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.layer2.weights.weight, same.layer2.weights.weight)
    assert not torch.equal(one.layer2.weights.weight, other.layer2.weights.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "sigmod"}, "unknown activation 'sigmod'; choose one of: identity, sigmoid"),
        (
            {"init": "xavir"},
            "unknown init 'xavir'; choose one of: torch, lecun, xavier, xavier_uniform",
        ),
        ({"depth": 0}, "depth must be a whole number from 1 up, not 0"),
        ({"width": -2}, "width must be a whole number from 1 up, not -2"),
        ({"depth": 2.0}, "depth must be a whole number from 1 up, not 2.0"),
        ({"classes": True}, "classes must be a whole number from 1 up, not True"),
        ({"init": "normal"}, "gain σ_w must be a positive finite number, not None"),
        (
            {"init": "normal", "gain": 0.0},
            "gain σ_w must be a positive finite number, not 0.0",
        ),
        (
            {"init": "normal", "gain": float("nan")},
            "gain σ_w must be a positive finite number, not nan",
        ),
        (
            {"init": "normal", "gain": float("inf")},
            "gain σ_w must be a positive finite number, not inf",
        ),
        (
            {"gain": 2.0},
            "gain belongs to inits 'normal' and 'orthogonal'; init 'xavier' sets its own",
        ),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mlp(**SMALL | change)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_layer_is_its_formula(connection, normalization, batch):
    scale = 0.3 if connection == "residual" else 1.0
    keywords = dict(connection=connection, normalization=normalization, branch_scale=scale)
    net = mlp(**SMALL | {"depth": 2}, **keywords)
    z = net.layer1(batch.inputs)
    n = z
    if normalization == "batch":
        n = (z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + 1e-5).sqrt()
    elif normalization == "layer":
        n = (z - z.mean(dim=1, keepdim=True)) / (
            z.var(dim=1, correction=0, keepdim=True) + 1e-5
        ).sqrt()
    h = torch.tanh(n)
    new = h @ net.layer2.weights.weight.T + net.layer2.weights.bias
    if connection == "highway":
        gate = torch.sigmoid(h @ net.layer2.gate.weight.T + net.layer2.gate.bias)
        assert (net.layer2.gate.bias == GATE_BIAS).all()
        expected = gate * new + (1 - gate) * z
    else:
        expected = {"plain": new, "residual": z + 0.3 * new, "dense": torch.cat([z, new], dim=1)}[
            connection
        ]
    torch.testing.assert_close(net.layer2(z), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_convnets_run_and_settings_build_them_again(connection, normalization):
    keywords = dict(depth=3, channels=4, activation="prelu", init="he", seed=2)
    net = convnet(**keywords, connection=connection, normalization=normalization)
    again = convnet(**net.settings)
    images = digits(shape="image").train.sample(7, seed=0).inputs
    assert net.layer1(images).shape == (7, 4, 4, 4)
    assert net(images).shape == (7, 10)
    torch.testing.assert_close(net(images), again(images), rtol=0, atol=0)


@pytest.mark.parametrize("init", ["critical", "orthogonal", "normal"])
def test_settings_build_the_same_mlp_again(init):
    gain = 1.5 if init == "normal" else None
    net = mlp(**SMALL | {"init": init}, gain=gain, bias_scale=0.1, inputs=3, classes=2)
    again = mlp(**net.settings)
    for p, q in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
    assert net.layer1.bias.abs().max() > 0


def test_circular_padding_sees_all_units_alike():
    net = convnet(depth=2, channels=3, activation="tanh", init="he", seed=0)
    z = net.layer1(digits(shape="image").train.inputs[:5])
    rolled = net.layer2(z.roll((1, 2), dims=(2, 3)))
    torch.testing.assert_close(rolled, net.layer2(z).roll((1, 2), dims=(2, 3)))


def test_uniform_inits_are_uniform_and_normal_ones_are_not():
    for init in ("xavier", "he"):
        wide = dict(depth=2, width=300, activation="relu", seed=0)
        uniform = mlp(**wide, init=f"{init}_uniform").layer2.weights.weight
        normal = mlp(**wide, init=init).layer2.weights.weight
        assert uniform.abs().max() < 1.74 * uniform.std()
        assert normal.abs().max() > 3 * normal.std()
        np.testing.assert_allclose(uniform.std().item(), normal.std().item(), rtol=0.02, atol=0)


def test_orthogonal_and_critical():
    square = dict(depth=2, width=50, seed=0)
    weight = mlp(**square, activation="tanh", init="orthogonal", gain=2.0).layer2.weights.weight
    eye = 4 * torch.eye(50, dtype=torch.float64)
    torch.testing.assert_close(weight @ weight.T, eye, rtol=0, atol=1e-5)
    critical = mlp(**square, activation="relu", init="critical").layer2.weights.weight
    he = mlp(**square, activation="relu", init="he").layer2.weights.weight
    torch.testing.assert_close(critical, he, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"connection": "skip"}, "unknown connection 'skip'; choose one of: plain, residual"),
        ({"normalization": "group"}, "unknown normalization 'group'; choose one of: None, batch"),
        ({"branch_scale": 0.5}, "belongs to connection 'residual'; given were 0.5 and connection"),
        ({"connection": "residual", "branch_scale": -1.0}, "branch_scale must be 0 or more"),
        ({"bias_scale": -0.1}, "bias_scale must be 0 or more"),
        ({"init": "torch", "bias_scale": 0.1}, "init 'torch' draws its own; not 0.1"),
        (
            {"init": "critical", "activation": "gelu"},
            "gelu with bias_scale 0.0 has no critical gain",
        ),
    ],
)
def test_bad_connections_and_scales_are_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mlp(**SMALL | change)


@settings(max_examples=25)
@given(
    depth=st.integers(1, 6),
    channels=st.integers(1, 6),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    connection=st.sampled_from(CONNECTIONS),
    normalization=st.sampled_from(NORMALIZATIONS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_convnets_of_any_size(depth, channels, activation, connection, normalization, dtype):
    keywords = dict(activation=activation, connection=connection, normalization=normalization)
    net = convnet(depth=depth, channels=channels, init="he", seed=0, dtype=dtype, **keywords)
    outputs = net(torch.zeros(2, 1, 8, 8, dtype=dtype))
    assert outputs.shape == (2, 10)
    assert outputs.dtype == dtype
    assert len(net.vglib_layers) == depth
