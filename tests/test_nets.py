import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vglib.nets import ACTIVATIONS, INITS, mlp

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
