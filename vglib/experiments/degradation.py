"""Plain networks and their twins with skips on the digits, all built and trained in one way.

`fit` trains for epochs of 11 batches of 128 digits. The lessons on degradation and on paths run a
few of these networks, ``benchmarks/degradation*.py`` all of them, with a search for rates.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from vglib.batch import Task
from vglib.monitor import Monitor
from vglib.nets import convnet, mlp
from vglib.tasks import digits
from vglib.training import accuracy, train

BATCHES = 11  # in an epoch
NORMED = dict(activation="relu", init="he", normalization="batch")
KINDS = {  # the last two have no normalisation, and weights at which a plain network starves
    "batch norm": NORMED,
    "convolutional": NORMED,
    "tanh": dict(activation="tanh", init="normal", gain=3**-0.5),
    "ReLU": dict(activation="relu", init="normal", gain=1.0),
}
SCALED = "residual, 1/√L"
WAYS = ("plain", "residual", SCALED, "highway", "dense")


class Run(NamedTuple):
    """What a training run left: see `fit`."""

    error: float
    loss: np.ndarray
    delta: np.ndarray
    signal: np.ndarray


def build(depth: int, kind: str, way: str, seed: int) -> nn.Sequential:
    """A network of a kind from KINDS, with one of the WAYS around its layers; 32 units wide.

    A dense network gets as many weights as the others: it starts narrower.
    """
    connection = way.split(",")[0]
    keywords = dict(depth=depth, connection=connection, seed=seed, dtype=torch.float32)
    if way == SCALED:
        keywords["branch_scale"] = depth**-0.5
    if kind == "convolutional":
        return convnet(channels=8, **keywords, **KINDS[kind])
    width = round(32 * (2 / depth) ** 0.5) if connection == "dense" else 32
    return mlp(width=width, **keywords, **KINDS[kind])


@cache
def task(kind: str) -> Task:
    """The digits in the shape that a kind of network takes."""
    return digits(shape="image" if kind == "convolutional" else "flat", dtype=torch.float32)


def fit(
    net: nn.Module,
    kind: str,
    *,
    rate: float,
    seed: int,
    epochs: int = 5,
    optimizer: str = "momentum",
    every: int = 5,
) -> Run:
    """Train a network in place; returns a `Run`.

    ``error``: on the training set, with the statistics of the batch. ``loss``: by step. ``delta``
    and ``signal``: RMS of δ and of z at every ``every``-th step, of shape (samples, layers).
    """
    steps = BATCHES * epochs
    plan = dict(steps=steps, batch_size=128, optimizer=optimizer, rate=rate, seed=seed)
    with Monitor(net, every=every) as monitor:
        loss = train(net, task(kind), **plan, progress=False).loss[0]
    with torch.no_grad():
        inputs, targets = task(kind).train
        error = 1 - float(accuracy(net(inputs), targets))
    record = monitor.record()
    return Run(error, loss, record.delta, record.signal)


def pass_on(net: nn.Sequential, factor: float) -> None:
    """Each hidden layer hands down ``factor`` times the gradient; what it computes is the same."""
    for layer in net[1:-1]:
        layer.register_full_backward_hook(lambda layer, into, out: (factor * into[0],))
