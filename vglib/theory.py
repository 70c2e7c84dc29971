"""What mean-field theory predicts for a random deep network; shares no code with what measures.

In a wide random network each pre-activation is close to a Gaussian. Its variance q follows from
layer to layer, and so does the expected square of the gradient (Poole et al. 2016, Schoenholz et
al. 2017). The expectations over that Gaussian are sums over a fine grid.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from vglib.checks import at_least_one, check_gain, choose

# φ and φ′ of each activation, written out, so that no prediction rests on autograd.
_SLOPES = {
    "identity": (lambda z: z, np.ones_like),
    "sigmoid": (expit, lambda z: expit(z) * expit(-z)),
    # 1/cosh² without its overflow
    "tanh": (np.tanh, lambda z: 4 * expit(2 * z) * expit(-2 * z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
}

# Variance of a weight from fan_in, fan_out and gain.
_WEIGHT_VARIANCE = {
    "torch": lambda fan_in, fan_out, gain: 1 / (3 * fan_in),
    "lecun": lambda fan_in, fan_out, gain: 1 / fan_in,
    "xavier": lambda fan_in, fan_out, gain: 2 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out, gain: 2 / fan_in,
    "normal": lambda fan_in, fan_out, gain: gain**2 / fan_in,
}

# Midpoints of equal steps in z/√q. For smooth functions this converges as fast as Gauss-Hermite
# and, unlike it, still does where q is large and sigmoid-like slopes are narrow (100 Hermite nodes
# are off by a third for tanh at q = 30). 0, where ReLU has its kink, lies between two midpoints.
_STEP = 0.04
_NODES = np.arange(-9 + _STEP / 2, 9, _STEP)
_WEIGHTS = _STEP * np.exp(-(_NODES**2) / 2) / np.sqrt(2 * np.pi)


def gaussian_mean(function, variance):
    """E[f(z)] for z ~ N(0, variance), one per entry of variance, by the midpoint rule.

    Good to 1e-6 for this module's activations and slopes up to a variance of 100.
    """
    z = np.sqrt(np.asarray(variance, dtype=float))[..., None] * _NODES
    return function(z) @ _WEIGHTS


@dataclass(frozen=True)
class PredictedFlow:
    """The predicted counterpart of `probes.GradientFlow`.

    ``delta``: RMS of δ_l divided by RMS of δ_L, shape (layers,), layer 1 first. ``variance``: mean
    over examples of q_l, the variance of the pre-activations of layer l, shape (layers,).
    """

    delta: np.ndarray
    variance: np.ndarray

    @property
    def factor(self):
        """Geometric mean over hidden layers, (RMS δ_1 / RMS δ_L)^(1/(L-1)); needs two layers."""
        if len(self.delta) < 2:
            raise ValueError("a factor per layer needs depth 2 or more, not 1")
        return float(self.delta[0] ** (1 / (len(self.delta) - 1)))


def predict_flow(inputs, *, depth, width, activation, init, gain=None):
    """Predict the RMS of δ_l = ∂L/∂z_l in `nets.mlp`, layer by layer from the data's own scale.

    For each row x of ``inputs``, shape (examples, features), with n the width and z ~ N(0, q_l)::

        q_1     = Var(W_1) ‖x‖² + Var(b)
        q_{l+1} = n Var(W) E[φ(z)²] + Var(b)
        E δ_l²  = χ_l E δ_{l+1}²,   χ_l = n Var(W) E[φ′(z)²]

    It assumes that the weights a gradient meets on its way down are independent
    of those that the signal met on its way up (Schoenholz et al. 2017). Squares are averaged over
    the examples. Raises ValueError for an unknown name and for bad numbers.
    """
    phi, slope = choose("activation", activation, _SLOPES)
    variance_of = choose("init", init, _WEIGHT_VARIANCE)
    at_least_one(depth=depth, width=width)
    check_gain(init, gain)
    x = np.asarray(inputs, dtype=float)
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        raise ValueError(
            f"inputs must be finite numbers of shape (examples, features), not {x.shape} with "
            f"{int((~np.isfinite(x)).sum())} entries that are not finite"
        )
    fan_ins = [x.shape[1]] + [width] * (depth - 1)
    weight_variance = [variance_of(fan_in, width, gain) for fan_in in fan_ins]
    bias_variance = [1 / (3 * fan_in) if init == "torch" else 0.0 for fan_in in fan_ins]

    q = [weight_variance[0] * (x**2).sum(axis=1) + bias_variance[0]]
    for weights, biases in zip(weight_variance[1:], bias_variance[1:], strict=True):
        q.append(width * weights * gaussian_mean(lambda z: phi(z) ** 2, q[-1]) + biases)
    q = np.array(q)  # (layers, examples)
    slope_squared = gaussian_mean(lambda z: slope(z) ** 2, q)
    # δ_L carries φ′(z_L); every layer below multiplies by its own χ.
    chi = width * np.array([*weight_variance[1:], 1 / width])[:, None] * slope_squared
    delta_squared = np.cumprod(chi[::-1], axis=0)[::-1].mean(axis=1)
    return PredictedFlow(np.sqrt(delta_squared / delta_squared[-1]), q.mean(axis=1))
