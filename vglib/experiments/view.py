"""What the layers of a network see: how far apart two inputs are, and what can be read out.

The lesson on the view from the top measures with it. Distances are between directions: 0 for the
same, √2 for signals that have nothing in common, at most 2.
"""

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from vglib.batch import Batch, Task
from vglib.checks import at_least_one, choose
from vglib.names import ACTIVATIONS
from vglib.training import accuracy

# Points and weights for E over two independent standard Gaussians.
_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
_WEIGHTS = np.outer(_WEIGHTS, _WEIGHTS) / _WEIGHTS.sum() ** 2


@torch.no_grad()
def distances(net: nn.Sequential, pair: torch.Tensor) -> list[float]:
    """Between the two rows of ``pair`` in z of every layer of `nets.mlp`, layer 1 first.

    Raises ValueError unless there are two rows.
    """
    if len(pair) != 2:
        raise ValueError(f"pair must have two rows, not {len(pair)}")
    z, apart = pair, []
    for layer in net[:-1]:  # all but the read-out
        z = layer(z)
        a, b = nn.functional.normalize(z)
        apart.append((a - b).norm().item())
    return apart


def predict_distances(
    pair: torch.Tensor, *, depth: int, activation: str, gain: float, bias_scale: float = 0.0
) -> list[float]:
    """What mean-field theory says of `distances`, for two inputs of equal length.

    With u and v Gaussian, of variance q and at the distance d::

        q_{l+1} = σ_w² E[φ(u)²] + σ_b²,   d_{l+1}² = σ_w² E[(φ(u) - φ(v))²] / q_{l+1}

    It is the map of correlations of Poole et al. (2016), written for differences, so that tiny ones
    are not lost in rounding. Raises ValueError for inputs of different length.
    """
    phi = choose("activation", activation, ACTIVATIONS).phi
    at_least_one(depth=depth)
    a, b = np.asarray(pair, dtype=float)
    if not np.isclose(np.linalg.norm(a), np.linalg.norm(b)):
        raise ValueError("the two inputs must have the same length")
    q = gain**2 * np.mean(a**2) + bias_scale**2
    apart = [float(gain * np.sqrt(np.mean((a - b) ** 2) / q))]
    while len(apart) < depth:
        both = np.sqrt(q * (1 - apart[-1] ** 2 / 4)) * _POINTS[:, None]  # what they share
        off = np.sqrt(q) * apart[-1] / 2 * _POINTS
        u, v = phi(both + off), phi(both - off)
        q = gain**2 * np.sum(_WEIGHTS * u**2) + bias_scale**2
        apart.append(float(gain * np.sqrt(np.sum(_WEIGHTS * (u - v) ** 2) / q)))
    return apart


def rank(signals: torch.Tensor) -> float:
    """How many directions the rows take around their mean: (Σ s²)² / Σ s⁴, s singular values."""
    s = torch.linalg.svdvals(signals.detach() - signals.detach().mean(dim=0)) ** 2
    return (s.sum() ** 2 / (s**2).sum()).item()


@torch.no_grad()
def read_out(net: nn.Sequential | None, task: Task) -> float:
    """Test accuracy of a new linear reader of the top layer's signal, or of pixels (None).

    Each unit is stretched to standard deviation 1, then ridge regression is fitted to the classes.
    """
    see = nn.Identity() if net is None else nn.Sequential(*net[:-1], *net[-1][:-1])
    old, new = (see(batch.inputs).double().numpy() for batch in (task.train, task.test))
    reader = make_pipeline(StandardScaler(), RidgeClassifier())
    return reader.fit(old, task.train.targets).score(new, task.test.targets)


@torch.no_grad()
def told_right(net: nn.Module, batch: Batch) -> float:
    """The share of examples that a classifier tells right."""
    return accuracy(net(batch.inputs), batch.targets).item()


def gap(net: nn.Module, task: Task) -> float:
    """Training accuracy minus test accuracy."""
    return told_right(net, task.train) - told_right(net, task.test)


@torch.no_grad()
def class_bias(net: nn.Module, batch: Batch) -> float:
    """The share of predictions that would have to go to other classes, for each to be predicted
    as often as it occurs: 0 at best, 0.9 if one of ten equal classes is predicted for all."""
    scores = net(batch.inputs)
    told = torch.bincount(scores.argmax(dim=1), minlength=scores.shape[1])
    true = torch.bincount(batch.targets, minlength=scores.shape[1])
    return ((told - true).abs().sum() / (2 * len(batch.targets))).item()


def unequal(task: Task) -> Task:
    """A task whose training examples of classes 5 and above are ten times rarer."""
    inputs, targets = task.train
    kept = (targets < 5) | (torch.arange(len(targets)) % 10 == 0)
    return Task(Batch(inputs[kept], targets[kept]), task.test)
