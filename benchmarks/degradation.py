"""Plain networks and networks with skips in training, at depths up to 110 layers.

A contender is tried at each of RATES, on a seed of its own and for as long as the comparison lasts;
then five networks train at the rate with the lowest loss in the last epoch. ``run`` returns

    tried     that loss at each rate; DIVERGED if the loss ceased to be finite
    rate      the rate chosen
    errors    on the training set, with the statistics of the batch: a number for each seed
    losses    by epoch: a list for each seed
    ratios    RMS δ at layer 1 over the top layer, eleven times in a run: a list for each seed,
              shorter where training diverged
    profiles  of the deepest, RMS δ by layer over the top layer after PROFILED steps: for each seed

    python benchmarks/degradation.py   about 13 minutes on one core
"""

import os
from functools import partial

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import records
import torch

from vglib.monitor import Monitor
from vglib.nets import convnet, mlp
from vglib.tasks import digits
from vglib.training import accuracy, train

RATES = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
SEEDS, TUNING_SEED = range(5), 500
BATCHES = 11  # in an epoch
PROFILED = [0, 5, 15, 50]
DIVERGED = 9.0

NORMED = dict(activation="relu", init="he", normalization="batch")
KINDS = {
    "batch norm": NORMED,
    "convolutional": NORMED,
    "tanh": dict(activation="tanh", init="normal", gain=3**-0.5),
    "ReLU": dict(activation="relu", init="normal", gain=1.0),
}


def build(depth, kind, way, seed):
    connection = way.split(",")[0]
    keywords = dict(depth=depth, connection=connection, seed=seed, dtype=torch.float32)
    if way == "residual, 1/√L":
        keywords["branch_scale"] = depth**-0.5
    if kind == "convolutional":
        return convnet(channels=8, **keywords, **KINDS[kind])
    # A dense network gets as many weights as the others: it starts narrower.
    width = round(32 * (2 / depth) ** 0.5) if connection == "dense" else 32
    return mlp(width=width, **keywords, **KINDS[kind])


def trained(rate, seed, depth, kind, way, epochs):
    """The training error, the loss by epoch, and RMS δ with shape (samples, layers)."""
    net = build(depth, kind, way, seed)
    task = digits(shape="image" if kind == "convolutional" else "flat", dtype=torch.float32)
    sgd = partial(torch.optim.SGD, lr=rate, momentum=0.9)
    plan = dict(steps=BATCHES * epochs, batch_size=128, optimizer=sgd, seed=seed, progress=False)
    with Monitor(net, every=epochs) as monitor:
        loss = train(net, task, **plan).loss[0]
    with torch.no_grad():
        error = 1 - accuracy(net(task.train.inputs), task.train.targets)
    loss = np.nan_to_num(loss.reshape(epochs, BATCHES).mean(axis=1), nan=DIVERGED)
    return float(error), loss, monitor.record().delta


def run(depth, kind, way, epochs):
    contender = dict(depth=depth, kind=kind, way=way, epochs=epochs)
    tried = [trained(rate, TUNING_SEED, **contender)[1][-1] for rate in RATES]
    rate = RATES[int(np.argmin(tried))]
    errors, losses, deltas = zip(*(trained(rate, seed, **contender) for seed in SEEDS), strict=True)
    values = dict(tried=rounded(tried), rate=rate, errors=rounded(errors), losses=rounded(losses))
    deltas = [delta[np.isfinite(delta).all(axis=1)] for delta in deltas]
    values["ratios"] = [rounded(delta[:, 0] / delta[:, -1]) for delta in deltas]
    if depth == 110 and epochs == 5 and way in ("plain", "residual"):
        seen = [delta[[step // 5 for step in PROFILED]] for delta in deltas]
        values["profiles"] = rounded([delta / delta[:, -1:] for delta in seen], 3)
    return values


def rounded(values, digits=4):
    """Lists of numbers, with so many digits that count."""
    if np.ndim(values) == 0:
        return float(f"{values:.{digits - 1}e}")
    return [rounded(value, digits) for value in values]


def contenders(depths, kind, ways, epochs=5):
    return [
        dict(depth=depth, kind=kind, way=way, epochs=epochs) for depth in depths for way in ways
    ]


DEPTHS = [8, 20, 56, 110]
SETTINGS = [
    *contenders(DEPTHS, "batch norm", ["plain", "residual", "highway", "dense"]),
    *contenders([20], "tanh", ["plain", "residual", "residual, 1/√L", "highway", "dense"]),
    *contenders([20], "ReLU", ["plain", "residual", "residual, 1/√L"]),
    *contenders([20, 56], "convolutional", ["plain", "residual"]),
    *contenders([20], "ReLU", ["residual", "residual, 1/√L"], epochs=30),
    *contenders([20], "convolutional", ["plain", "residual"], epochs=20),
    *contenders(DEPTHS, "batch norm", ["plain", "residual"], epochs=30),
]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
