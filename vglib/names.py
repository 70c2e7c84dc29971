"""Activations and inits, a row each: what builds them, and what theory knows of them.

`nets` takes the first half of a row, `theory` the second, written out in numpy, so that no
prediction rests on autograd; tests compare the two.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, ndtr
from torch import nn

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


class Activation(NamedTuple):
    """An activation: torch's module, and φ and φ′ as functions of an array."""

    module: type[nn.Module]
    phi: Callable
    slope: Callable


class Init(NamedTuple):
    """An init: what it does to a weight, and the variance it gives.

    ``fill(weight, gain)`` fills a weight of shape (fan_out, fan_in, …); None leaves what torch
    drew. ``variance(fan_in, fan_out, gain)`` is that of an entry.
    """

    fill: Callable | None
    variance: Callable


def _exp_below(z):
    return np.exp(np.minimum(z, 0))


ACTIVATIONS = {
    "identity": Activation(nn.Identity, lambda z: z, np.ones_like),
    "sigmoid": Activation(nn.Sigmoid, expit, lambda z: expit(z) * expit(-z)),
    # 1/cosh² without its overflow
    "tanh": Activation(nn.Tanh, np.tanh, lambda z: 4 * expit(2 * z) * expit(-2 * z)),
    "hardtanh": Activation(
        nn.Hardtanh, lambda z: np.clip(z, -1, 1), lambda z: (np.abs(z) < 1) * 1.0
    ),
    "softplus": Activation(nn.Softplus, lambda z: np.logaddexp(z, 0), expit),
    "relu": Activation(nn.ReLU, lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": Activation(
        nn.LeakyReLU, lambda z: np.maximum(z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)
    ),
    # with torch's initial slope
    "prelu": Activation(
        nn.PReLU, lambda z: np.maximum(z, 0.25 * z), lambda z: np.where(z > 0, 1, 0.25)
    ),
    "elu": Activation(nn.ELU, lambda z: np.where(z > 0, z, _exp_below(z) - 1), _exp_below),
    "selu": Activation(
        nn.SELU,
        lambda z: _SELU_SCALE * np.where(z > 0, z, _SELU_ALPHA * (_exp_below(z) - 1)),
        lambda z: _SELU_SCALE * np.where(z > 0, 1, _SELU_ALPHA * _exp_below(z)),
    ),
    "gelu": Activation(
        nn.GELU,
        lambda z: z * ndtr(z),
        lambda z: ndtr(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "silu": Activation(nn.SiLU, lambda z: z * expit(z), lambda z: expit(z) * (1 + z * expit(-z))),
}


def _normal(weight, gain):
    nn.init.normal_(weight, std=gain * weight[0].numel() ** -0.5)


INITS = {
    "torch": Init(None, lambda fan_in, fan_out, gain: 1 / (3 * fan_in)),
    "lecun": Init(lambda w, gain: _normal(w, 1.0), lambda fan_in, fan_out, gain: 1 / fan_in),
    "xavier": Init(
        lambda w, gain: nn.init.xavier_normal_(w),
        lambda fan_in, fan_out, gain: 2 / (fan_in + fan_out),
    ),
    "xavier_uniform": Init(
        lambda w, gain: nn.init.xavier_uniform_(w),
        lambda fan_in, fan_out, gain: 2 / (fan_in + fan_out),
    ),
    "he": Init(
        lambda w, gain: nn.init.kaiming_normal_(w, nonlinearity="relu"),
        lambda fan_in, fan_out, gain: 2 / fan_in,
    ),
    "he_uniform": Init(
        lambda w, gain: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
        lambda fan_in, fan_out, gain: 2 / fan_in,
    ),
    "normal": Init(_normal, lambda fan_in, fan_out, gain: gain**2 / fan_in),
    # Rows or columns of unit length, whichever are fewer.
    "orthogonal": Init(
        lambda w, gain: nn.init.orthogonal_(w, gain=gain),
        lambda fan_in, fan_out, gain: gain**2 / max(fan_in, fan_out),
    ),
    "critical": Init(_normal, lambda fan_in, fan_out, gain: gain**2 / fan_in),
}
