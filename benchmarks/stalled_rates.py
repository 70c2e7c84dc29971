"""Steps to 90 % training accuracy by learning rate, for the lesson consequences/stalled.

    python benchmarks/stalled_rates.py

Starved and healthy networks of five depths, seven rates each, all searched in the same way. The
seeds are judged nowhere in the course: the lessons take their rates from here.
"""

import numpy as np
import records
import torch

from vglib.experiments.stalled import ACTIVATIONS, DEPTHS, RATES, SEARCHED, TARGET, TWINS, build
from vglib.tasks import digits
from vglib.training import train

TUNING = range(900, 905)
SETTINGS = [
    {"depth": depth, "activation": activation, "twin": twin, "rate": rate}
    for activation in ACTIVATIONS
    for depth in DEPTHS
    for twin in TWINS
    for rate in RATES
]


def run(depth, activation, twin, rate):
    """Steps of each seed (null: not in time), and its mean loss over the last 50 steps."""
    result = train(
        [build(depth, activation, twin, seed) for seed in TUNING],
        digits(dtype=torch.float32),
        steps=SEARCHED,
        batch_size=32,
        optimizer="momentum",
        rate=rate / depth,
        seed=900,
        target=TARGET,
        check_every=10,
    )
    losses = [history[np.isfinite(history)][-50:].mean() for history in result.loss]
    return {
        "steps": [None if np.isnan(steps) else int(steps) for steps in result.steps],
        "loss": [round(float(loss), 4) for loss in losses],
    }


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
