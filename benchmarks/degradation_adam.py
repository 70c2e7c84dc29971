"""Plain networks and their residual twins trained by Adam: do they fail from the gradient's size?

Adam's steps hardly depend on the size of the gradient, so a layer that gets too much or too little
moves as far as any other. As in benchmarks/degradation.py a contender is tried at each of RATES, on
a seed of its own; then five networks train at the rate with the lowest loss in the last epoch.
``run`` returns

    tried   that loss at each rate; DIVERGED if it ceased to be finite
    rate    the rate chosen
    errors  on the training set, with the statistics of the batch: a number for each seed

    python benchmarks/degradation_adam.py   about 3 minutes on one core
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import records

from vglib.experiments.degradation import BATCHES, build, fit

RATES = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
SEEDS, TUNING_SEED = range(5), 500
DIVERGED = 9.0
SETTINGS = [
    dict(depth=depth, way=way, epochs=epochs)
    for epochs in (5, 30)
    for depth in (20, 56)
    for way in ("plain", "residual")
]


def trained(rate, seed, depth, way, epochs):
    """The training error, and the mean loss of the last epoch."""
    net = build(depth, "batch norm", way, seed)
    once = BATCHES * epochs  # the gradient is not looked at
    how = dict(rate=rate, seed=seed, epochs=epochs, optimizer="adam", every=once)
    done = fit(net, "batch norm", **how)
    return done.error, float(np.nan_to_num(done.loss[-BATCHES:].mean(), nan=DIVERGED))


def run(depth, way, epochs):
    contender = dict(depth=depth, way=way, epochs=epochs)
    tried = [trained(rate, TUNING_SEED, **contender)[1] for rate in RATES]
    rate = RATES[int(np.argmin(tried))]
    errors = [trained(rate, seed, **contender)[0] for seed in SEEDS]
    return dict(tried=np.round(tried, 4).tolist(), rate=rate, errors=np.round(errors, 4).tolist())


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
