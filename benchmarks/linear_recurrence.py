"""Linear recurrences, from a bare λ to the LRU, on recall, adding and digits by pixels.

First a grid of learning rates for each kind and task, all on a seed that is not used again; then
five seeds at the best of them. Takes about five minutes on one core.
"""

import numpy as np
import records
import torch

from vglib.experiments.linear_recurrence import (
    GRID_SEED,
    KINDS,
    RATES,
    STEPS,
    best_rate,
    examples,
    fit,
    reader,
)

torch.set_num_threads(1)


def run(what, kind, task, lag):
    """The ``search`` of a rate, or ``training``: a list by rate or seed of way and mean loss."""
    if what == "search":
        seeds, rates = [GRID_SEED] * len(RATES), RATES
    else:
        seeds, rates = range(5), [best_rate(kind, task=task)] * 5
    data = examples(task, steps=lag, seed=seeds[0])
    nets = [reader(task=task, kind=kind, seed=s) for s in seeds]
    done = fit(nets, data, rates=rates, steps=STEPS[task], seed=seeds[0])
    blocks = done["loss"].reshape(len(nets), -1, 100).mean(axis=2)
    return {
        "way": [round(float(way), 4) for way in done["way"]],
        "losses": [[_short(value) for value in one] for one in blocks],
    }


def _short(value):
    return round(float(value), 4) if np.isfinite(value) else None


STEPS_OF_THE_LRU = ["λ", "λ, ring", "exp, ring", "LRU"]  # enough for the digits
# task: (the lag at which its rate is sought, the lags at which networks are trained, kinds)
LAGS = {
    "recall": (50, (50, 100), KINDS),
    "adding": (100, (100,), KINDS),
    "pixels": (64, (64,), STEPS_OF_THE_LRU),
}
SEARCHES = [
    dict(what="search", kind=kind, task=task, lag=sought)
    for task, (sought, _, kinds) in LAGS.items()
    for kind in kinds
]
SETTINGS = SEARCHES + [
    dict(what="training", kind=kind, task=task, lag=lag)
    for task, (_, lags, kinds) in LAGS.items()
    for lag in lags
    for kind in kinds
]

if __name__ == "__main__":
    records.fill(__file__, run, SEARCHES)
    records.fill(__file__, run, SETTINGS)
