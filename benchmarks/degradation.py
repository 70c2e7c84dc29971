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

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import records

from vglib.experiments.degradation import BATCHES, SCALED, build, fit

RATES = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
SEEDS, TUNING_SEED = range(5), 500
PROFILED = [0, 5, 15, 50]
DIVERGED = 9.0


def trained(rate, seed, depth, kind, way, epochs):
    """The training error, the loss by epoch, and RMS δ with shape (samples, layers)."""
    net = build(depth, kind, way, seed)
    done = fit(net, kind, rate=rate, seed=seed, epochs=epochs, every=epochs)
    loss = np.nan_to_num(done.loss.reshape(epochs, BATCHES).mean(axis=1), nan=DIVERGED)
    return done.error, loss, done.delta


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
    *contenders([20], "tanh", ["plain", "residual", SCALED, "highway", "dense"]),
    *contenders([20], "ReLU", ["plain", "residual", SCALED]),
    *contenders([20, 56], "convolutional", ["plain", "residual"]),
    *contenders([20], "ReLU", ["residual", SCALED], epochs=30),
    *contenders([20], "convolutional", ["plain", "residual"], epochs=20),
    *contenders(DEPTHS, "batch norm", ["plain", "residual"], epochs=30),
]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
