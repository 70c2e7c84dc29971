"""Residual networks without normalisation, and with, by depth: `vglib.experiments.unnormalised`.

Every way is tried at each of RATES, of 100 blocks at the four in the middle. Unscaled networks have
a signal of 2^L in square, so they are also tried at these rates over 2^L; 100 blocks are not tried,
for 32 have failed. Networks of the TUNING seeds choose the rate, the lowest mean
error; those of SEEDS are judged at it. ``run`` returns

    rates     all that were tried
    errors    on the training set, in percent: a list for each rate, a number for each of SEEDS
    steps     until the mean loss of an epoch is 0.5 at most, likewise; 0 where it never was
    tuning    the mean error of the tuning seeds at each rate
    rate      the rate chosen

    python benchmarks/unnormalised_runs.py   about 5 minutes on one core
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import records

from vglib.experiments.unnormalised import WAYS, fit

RATES = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
SEEDS, TUNING = [*range(5)], [500, 501]
SETTINGS = [dict(way=way, blocks=blocks) for blocks in (8, 32) for way in WAYS]
SETTINGS += [dict(way=way, blocks=100) for way in WAYS if way != "unscaled"]


def run(way, blocks):
    rates = RATES if blocks < 100 else RATES[1:5]
    if way == "unscaled":
        rates = [r * 2.0**-blocks for r in RATES] + RATES
    errors, steps = fit(way, blocks, SEEDS + TUNING, rates=rates, seed=SEEDS[0])
    tuning = errors[:, len(SEEDS) :].mean(axis=1)
    return dict(
        rates=rates,
        errors=np.round(errors[:, : len(SEEDS)], 2).tolist(),
        steps=np.nan_to_num(steps[:, : len(SEEDS)]).astype(int).tolist(),
        tuning=np.round(tuning, 2).tolist(),
        rate=rates[int(np.argmin(tuning))],
    )


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
