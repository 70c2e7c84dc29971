"""Steps to 90 % training accuracy by learning rate, for the lesson consequences/stalled.

    python benchmarks/stalled_rates.py

Starved and healthy networks of five depths, seven rates each, all searched in the same way. The
seeds are judged nowhere in the course: the lesson takes its rates from here.
"""

import numpy as np
import records
import torch

from vglib.nets import mlp
from vglib.tasks import digits
from vglib.theory import critical_gain
from vglib.training import train

ACTIVATIONS, DEPTHS = ["sigmoid", "tanh", "relu"], [2, 3, 4, 6, 8]
RATES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]  # each divided by the depth
TUNING = range(900, 905)
SETTINGS = [
    {"depth": depth, "activation": activation, "twin": twin, "rate": rate}
    for activation in ACTIVATIONS
    for depth in DEPTHS
    for twin in ("starved", "healthy")
    for rate in RATES
]


def run(depth, activation, twin, rate):
    """Steps of each seed (null: not within 2,000), and its mean loss over the last 50 steps."""
    gain = 3**-0.5 if twin == "starved" else critical_gain(activation)
    keywords = dict(depth=depth, width=32, activation=activation, init="normal", gain=gain)
    nets = [mlp(**keywords, seed=seed, dtype=torch.float32) for seed in TUNING]
    result = train(
        nets,
        digits(dtype=torch.float32),
        steps=2000,
        batch_size=32,
        optimizer=lambda p: torch.optim.SGD(p, lr=rate / depth, momentum=0.9),
        seed=900,
        target=0.9,
        check_every=10,
    )
    losses = [history[np.isfinite(history)][-50:].mean() for history in result.loss]
    return {
        "steps": [None if np.isnan(steps) else int(steps) for steps in result.steps],
        "loss": [round(float(loss), 4) for loss in losses],
    }


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
