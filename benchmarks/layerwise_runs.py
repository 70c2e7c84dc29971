"""Deep sigmoid networks by every way of `vglib.experiments.layerwise`, at each of RATES.

A way has 440 updates of each weight, pretraining included. Networks of the TUNING seeds choose the
rate, the lowest mean error; those of SEEDS are judged at it. ``run`` returns

    errors    on the training set, in percent: a list for each rate, a number for each of SEEDS
    tuning    the mean of the tuning seeds at each rate
    rate      the rate chosen
    left      RMS δ at layer 1 over that at the top, before the last phase, of each of SEEDS
    apart     RMS of a top unit's activation about its mean, likewise

    python benchmarks/layerwise_runs.py   about 8 minutes on one core
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import records

from vglib.experiments.layerwise import WAYS, finish, share_left, spread_left, start

RATES = [0.01, 0.03, 0.1, 0.3, 1.0]
SEEDS, TUNING = [*range(5)], [500, 501]
SETTINGS = [dict(way=way, depth=depth) for depth in (10, 20) for way in WAYS]


def run(way, depth):
    layers = start(way, depth, SEEDS + TUNING)
    errors, _ = finish(way, layers, rates=RATES, seed=SEEDS[0])
    tuning = errors[:, len(SEEDS) :].mean(axis=1)
    before = share_left(layers)[: len(SEEDS)], spread_left(layers)[: len(SEEDS)]
    left, apart = ([float(f"{value:.3g}") for value in values] for values in before)
    return dict(
        errors=np.round(errors[:, : len(SEEDS)], 2).tolist(),
        tuning=np.round(tuning, 2).tolist(),
        rate=RATES[int(np.argmin(tuning))],
        left=left,
        apart=apart,
    )


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
