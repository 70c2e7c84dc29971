"""Is it the size of the gradient? Plain networks with it mended, residual ones with it spoilt.

The contenders of benchmarks/degradation.py, each with one change:

    none      as they are, for longer than there
    critical  weights at which a gradient keeps its size, in networks without normalisation
    Adam      trained by Adam, whose steps hardly depend on the size of the gradient
    swapped   residual networks in which each layer passes on so much more or less of the gradient
              that before the first step layer 1 gets, relative to the top layer, what it gets in
              the plain twin. What the network computes stays as it is.
    read-out  residual networks whose layers stay as they were drawn: only the read-out is trained.
              Where that is enough, whatever gradient the layers get will do.

As there, each is tried at every rate, on a seed of its own and for as long as the comparison lasts;
then five networks train at the rate with the lowest loss in the last epoch. Adam tries smaller
rates as well, the last two changes larger ones. ``run`` returns

    tried   that loss at each rate; DIVERGED if it ceased to be finite
    rate    the rate chosen
    errors  on the training set, with the statistics of the batch: a number for each seed
    ratios  RMS δ at layer 1 over the top layer, before the first step: a number for each seed;
            none where only the read-out is trained

    python benchmarks/degradation_causes.py   about 10 minutes on one core
"""

import degradation_adam
import numpy as np
import records
import torch
from degradation import DIVERGED, RATES, SEEDS, TUNING_SEED, rounded

from vglib.experiments.degradation import BATCHES, KINDS, SCALED, build, fit, pass_on, task
from vglib.nets import mlp
from vglib.probes import gradient_flow

ADAM_RATES = [0.00003, 0.0001, *degradation_adam.RATES]
TRIED = {"Adam": ADAM_RATES, "swapped": [*RATES, 10.0], "read-out": [*RATES, 10.0, 30.0]}


def swapped(depth, kind, way, seed, sample):
    """A residual network whose gradient changes from layer to layer as in its plain twin."""
    net, twin = build(depth, kind, way, seed), build(depth, kind, "plain", seed)
    deltas = [gradient_flow(each, sample).delta[0] for each in (twin, net)]
    plain, residual = (delta[0] / delta[-1] for delta in deltas)
    factor = (plain / residual) ** (1 / (depth - 1))
    pass_on(net, factor)
    return net


def changed(depth, kind, way, change, seed):
    """The network, with its change."""
    if change == "swapped":
        return swapped(depth, kind, way, seed, task(kind).train.sample(128, seed=seed))
    if change == "critical":
        keywords = dict(depth=depth, width=32, init="critical", seed=seed, dtype=torch.float32)
        return mlp(activation=KINDS[kind]["activation"], **keywords)
    net = build(depth, kind, way, seed)
    if change == "read-out":
        net[:-1].requires_grad_(False)
    return net


def trained(rate, seed, depth, kind, way, epochs, change):
    """The training error, the mean loss of the last epoch, and the ratio before the first step."""
    net = changed(depth, kind, way, change, seed)
    optimizer = "adam" if change == "Adam" else "momentum"
    how = dict(rate=rate, seed=seed, epochs=epochs, optimizer=optimizer, every=BATCHES * epochs)
    done = fit(net, kind, **how)
    loss, first = done.loss[-BATCHES:].mean(), done.delta[0]
    return done.error, float(np.nan_to_num(loss, nan=DIVERGED)), first[0] / first[-1]


def run(depth, kind, way, epochs, change):
    contender = dict(depth=depth, kind=kind, way=way, epochs=epochs, change=change)
    rates = TRIED.get(change, RATES)
    tried = [trained(rate, TUNING_SEED, **contender)[1] for rate in rates]
    rate = rates[int(np.argmin(tried))]
    errors, _, ratios = zip(*(trained(rate, seed, **contender) for seed in SEEDS), strict=True)
    values = dict(tried=rounded(tried), rate=rate, errors=rounded(errors))
    return values if change == "read-out" else values | dict(ratios=rounded(ratios))


SETTINGS = [
    dict(depth=depth, kind=kind, way=way, epochs=epochs, change=change)
    for depth, kind, way, epochs, change in [
        (56, "batch norm", "residual", 5, "swapped"),
        (110, "batch norm", "plain", 5, "Adam"),
        (110, "batch norm", "residual", 5, "swapped"),
        *((20, "tanh", "plain", 30, change) for change in ("none", "critical", "Adam")),
        *((20, "tanh", SCALED, 30, change) for change in ("none", "swapped")),
        *((20, "ReLU", "plain", 30, change) for change in ("none", "critical", "Adam")),
        (20, "ReLU", SCALED, 30, "swapped"),
        (20, "convolutional", "plain", 20, "Adam"),
        (20, "convolutional", "residual", 20, "swapped"),
        (20, "batch norm", "residual", 30, "swapped"),
        *((20, kind, SCALED, 30, "read-out") for kind in ("tanh", "ReLU")),
        *((depth, "batch norm", "residual", 5, "read-out") for depth in (56, 110)),
        (20, "convolutional", "residual", 20, "read-out"),
        (20, "batch norm", "residual", 30, "read-out"),
        # After thirty epochs Adam is late: the longer runs tell.
        *((20, "ReLU", "plain", 60, change) for change in ("none", "Adam")),
        (20, "ReLU", SCALED, 60, "none"),
        (20, "tanh", "plain", 120, "Adam"),
        *((20, "tanh", way, 30, "none") for way in ("residual", "dense")),
        (20, "batch norm", "dense", 30, "none"),
    ]
]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
