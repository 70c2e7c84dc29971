"""What mean-field theory predicts for a random network; shares no code with what measures.

In a wide random network each pre-activation is close to a Gaussian. Its variance q follows from
layer to layer, and so does the expected square of the gradient (Poole et al. 2016, Schoenholz et
al. 2017). The expectations over that Gaussian are computed by quadrature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from vglib.checks import at_least_one, check_gain, check_scales, choose, positive
from vglib.names import ACTIVATIONS, INITS

# Gauss-Legendre nodes on z/√q from 0 to 9, and mirrored. They crowd around 0, where ReLU has its
# kink and where sigmoid-like slopes are narrow when q is large; 100 Gauss-Hermite nodes would be
# off by a third for tanh at q = 30.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
_NODES = 4.5 * (np.append(-_NODES[::-1] - 1, _NODES + 1))
_WEIGHTS = 4.5 * np.append(_WEIGHTS[::-1], _WEIGHTS)
_WEIGHTS = _WEIGHTS * np.exp(-(_NODES**2) / 2) / np.sqrt(2 * np.pi)


def gaussian_mean(function: Callable, variance: np.ndarray | float) -> np.ndarray:
    """E[f(z)] for z ~ N(0, variance), one per entry of variance, by Gauss-Legendre quadrature.

    Good to 1e-6 for the activations and slopes of the course up to a variance of 100, but for hard
    tanh, whose kinks are not at 0: there it is within 0.02.
    """
    z = np.sqrt(np.asarray(variance, dtype=float))[..., None] * _NODES
    return function(z) @ _WEIGHTS


def length_map(
    q: np.ndarray | float, activation: str, *, gain: float, bias_scale: float = 0.0
) -> np.ndarray:
    """Variance of the pre-activations one layer up: σ_w² E[φ(z)²] + σ_b², z ~ N(0, q)."""
    phi = choose("activation", activation, ACTIVATIONS).phi
    return gain**2 * gaussian_mean(lambda z: phi(z) ** 2, q) + bias_scale**2


def chi(q: np.ndarray | float, activation: str, *, gain: float) -> np.ndarray:
    """χ = σ_w² E[φ′(z)²], z ~ N(0, q): what δ² is multiplied by on its way down one layer."""
    slope = choose("activation", activation, ACTIVATIONS).slope
    return gain**2 * gaussian_mean(lambda z: slope(z) ** 2, q)


def fixed_length(activation: str, *, gain: float, bias_scale: float = 0.0) -> float:
    """The variance q* that the length map settles at, starting from 1 (Poole et al. 2016).

    0 where the signal dies out. Raises ValueError where the variance grows without bound.
    """
    positive("gain σ_w", gain)
    check_scales("normal", bias_scale)
    q = 1.0
    for _ in range(100_000):
        new = float(length_map(q, activation, gain=gain, bias_scale=bias_scale))
        if new > 1e6:
            raise ValueError(
                f"with {activation} at gain {gain} and bias_scale {bias_scale} the variance of "
                "the pre-activations grows without bound: it has no fixed point"
            )
        if new < 1e-12:
            return 0.0
        if abs(new - q) < 1e-12 * q:
            return new
        q = new
    return 0.0  # at criticality it creeps toward 0 and never arrives


def critical_gain(activation: str, *, bias_scale: float = 0.0) -> float:
    """The gain σ_w at which χ = 1 at a fixed point that the variance does not run away from.

    √2 for ReLU and 1 for tanh, both without biases. Raises ValueError where there is none: for
    instance for ReLU with random biases, whose variance then grows at every layer.
    """
    _, phi, slope = choose("activation", activation, ACTIVATIONS)
    check_scales("normal", bias_scale)

    def gain_at(q):
        """The gain that makes χ = 1 at q."""
        return float(gaussian_mean(lambda z: slope(z) ** 2, q)) ** -0.5

    def surplus(q):
        """What one layer adds to the variance q, at that gain."""
        ratio = gaussian_mean(lambda z: phi(z) ** 2, q) / gaussian_mean(lambda z: slope(z) ** 2, q)
        return ratio + bias_scale**2 - q

    # Fixed points with χ = 1, and beside each a variance from which the map must not lead away.
    grid = np.logspace(-4, 3, 141)
    values = surplus(grid)
    values[np.abs(values) < 1e-6 * grid] = 0
    crossings = np.flatnonzero(values[:-1] * values[1:] < 0)
    points = [brentq(surplus, grid[i], grid[i + 1]) for i in crossings]
    points = [(q, 1.01 * q) for q in points]
    if bias_scale == 0 and phi(np.zeros(1))[0] == 0:
        points.append((1e-8, 1e-3))  # the signal that dies out, q* = 0
    for q, above in points:
        gain = gain_at(q)
        after = length_map(above, activation, gain=gain, bias_scale=bias_scale)
        if after <= above * (1 + 1e-6):
            return gain
    raise ValueError(
        f"{activation} with bias_scale {bias_scale} has no critical gain: where χ = 1, the "
        "variance of the pre-activations does not stay where it is"
    )


@dataclass(frozen=True)
class PredictedFlow:
    """The predicted counterpart of `probes.GradientFlow`.

    ``log_delta``: natural log of RMS δ_l / RMS δ_L, shape (layers,), layer 1 first. ``variance``:
    mean over examples of q_l, the variance of the pre-activations of layer l, shape (layers,).
    """

    log_delta: np.ndarray
    variance: np.ndarray

    @property
    def delta(self) -> np.ndarray:
        """RMS δ_l / RMS δ_L, shape (layers,)."""
        return np.exp(self.log_delta)

    @property
    def factor(self) -> float:
        """Geometric mean over hidden layers, (RMS δ_1 / RMS δ_L)^(1/(L-1)); needs two layers."""
        if len(self.log_delta) < 2:
            raise ValueError("a factor per layer needs depth 2 or more, not 1")
        return float(np.exp(self.log_delta[0] / (len(self.log_delta) - 1)))


def predict_flow(
    inputs: Any,
    *,
    depth: int,
    width: int,
    activation: str,
    init: str,
    gain: float | None = None,
    bias_scale: float = 0.0,
    connection: str = "plain",
    branch_scale: float = 1.0,
) -> PredictedFlow:
    """Predict the RMS of δ_l = ∂L/∂z_l in `nets.mlp`, layer by layer from the data's own scale.

    For each row x of ``inputs``, shape (examples, features), with n the width and z ~ N(0, q_l)::

        q_1     = Var(W_1) ‖x‖² + Var(b)
        q_{l+1} = n Var(W) E[φ(z)²] + Var(b)
        E δ_l²  = χ_l E δ_{l+1}²,   χ_l = n Var(W) E[φ′(z)²]

    and in a residual network, s being its ``branch_scale``::

        q_{l+1} = q_l + s² (n Var(W) E[φ(z)²] + Var(b)),   χ_l = 1 + s² n Var(W) E[φ′(z)²]

    It assumes that the weights a gradient meets on its way down are independent of those that the
    signal met on its way up (Schoenholz et al. 2017). Squares are averaged over the examples.
    Raises ValueError for an unknown name and for bad numbers.
    """
    _, phi, slope = choose("activation", activation, ACTIVATIONS)
    variance_of = choose("init", init, INITS).variance
    choose("connection", connection, ("plain", "residual"))
    at_least_one(depth=depth, width=width)
    check_gain(init, gain)
    check_scales(init, bias_scale, connection, branch_scale)
    if init == "critical":
        gain = critical_gain(activation, bias_scale=bias_scale)
    elif init == "orthogonal" and gain is None:
        gain = 1.0
    x = np.asarray(inputs, dtype=float)
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        raise ValueError(
            f"inputs must be finite numbers of shape (examples, features), not {x.shape} with "
            f"{int((~np.isfinite(x)).sum())} entries that are not finite"
        )
    fan_ins = [x.shape[1]] + [width] * (depth - 1)
    weights = [variance_of(fan_in, width, gain) for fan_in in fan_ins]
    biases = [1 / (3 * fan_in) if init == "torch" else bias_scale**2 for fan_in in fan_ins]
    carried, scale = (1.0, branch_scale**2) if connection == "residual" else (0.0, 1.0)

    q = [weights[0] * (x**2).sum(axis=1) + biases[0]]
    with np.errstate(over="ignore", invalid="ignore"):  # said below
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            new = width * weight * gaussian_mean(lambda z: phi(z) ** 2, q[-1]) + bias
            q.append(carried * q[-1] + scale * new)
    q = np.array(q)  # (layers, examples)
    if not np.isfinite(q).all():
        raise ValueError(f"the signal grows beyond any float within {depth} layers")
    slope_squared = gaussian_mean(lambda z: slope(z) ** 2, q)
    chi_by_layer = carried + scale * width * np.array(weights[1:])[:, None] * slope_squared[:-1]
    # δ_L carries φ′(z_L); every layer below multiplies by its own χ.
    down = np.concatenate([slope_squared[-1:], chi_by_layer[::-1]])
    # In logs: a product over hundreds of layers leaves the range of a float.
    with np.errstate(divide="ignore"):
        log_squared = logsumexp(np.cumsum(np.log(down), axis=0)[::-1], axis=1)
    return PredictedFlow((log_squared - log_squared[-1]) / 2, q.mean(axis=1))


def batch_norm_factor(activation: str) -> float:
    """What batch norm multiplies RMS δ by on its way down one layer, at init and for large batches.

    √(E[φ′(z)²] / Var[φ(z)]) with z ~ N(0, 1), whatever the scale of the weights; for ReLU
    √(π/(π-1)) ≈ 1.21, so that gradients explode (Yang et al. 2019).
    """
    _, phi, slope = choose("activation", activation, ACTIVATIONS)
    variance = gaussian_mean(lambda z: phi(z) ** 2, 1.0) - gaussian_mean(phi, 1.0) ** 2
    return float(np.sqrt(gaussian_mean(lambda z: slope(z) ** 2, 1.0) / variance))


def rnn_factor(*, gain: float, input_variance: float) -> float:
    """What RMS ∂L/∂h_t of a tanh RNN is multiplied by per lag, once its state has settled.

    h_t = tanh(W h_{t-1} + u_t), the entries of W with variance gain²/n, those of the input current
    u_t with ``input_variance``, fresh at each step: √χ at the fixed point of
    q = gain² E[tanh(z)²] + input_variance. Gain is W's spectral radius, so an input pulls the
    factor below it.
    """
    positive("gain σ_w", gain)
    if not 0 <= input_variance < np.inf:
        raise ValueError(f"input_variance must be 0 or more, not {input_variance!r}")
    q = fixed_length("tanh", gain=gain, bias_scale=input_variance**0.5)
    return float(np.sqrt(chi(q, "tanh", gain=gain)))


def lstm_cell_factor(*, forget_bias: float, variance: float = 0.0) -> float:
    """What ∂L/∂c_t of an LSTM is multiplied by per lag along its cell path, as a geometric mean.

    The path is a product of forget gates f = σ(z), so its factor is exp E[log σ(z)] with
    z ~ N(forget_bias, variance): 1/2 for a bias of 0, close to 1 for a large one (Jozefowicz et al.
    2015). The paths through the other gates are left out.
    """
    if not (np.isfinite(forget_bias) and 0 <= variance < np.inf):
        raise ValueError(
            "forget_bias must be finite and variance 0 or more; "
            f"given were {forget_bias!r} and {variance!r}"
        )
    log_gate = gaussian_mean(lambda z: -np.logaddexp(0, -(forget_bias + z)), variance)
    return float(np.exp(log_gate))


def chrono_share(lags: Any, *, longest_lag: int) -> np.ndarray:
    """What is left of ∂L/∂c_t at each of ``lags``, along the cell path, by chrono init.

    A unit's forget bias is log τ with τ evenly between 1 and ``longest_lag`` - 1, so its gate is
    τ/(1 + τ) (Tallec and Ollivier 2018). The RMS over many units is the root of the average of
    gate^(2 lag). A GRU's update gate is drawn alike, so it holds for ∂L/∂h_t as well.
    """
    if longest_lag < 3:
        raise ValueError(f"longest_lag must be 3 or more, not {longest_lag!r}")
    span = np.linspace(1, longest_lag - 1, 1_001)[:, None]
    return np.sqrt(np.mean((span / (1 + span)) ** (2 * np.asarray(lags)), axis=0))
