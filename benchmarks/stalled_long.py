"""Starved sigmoid networks, trained far longer than a lesson can wait: slow, or stuck?

    python benchmarks/stalled_long.py

For the lesson consequences/price. In float64, because in float32 the first steps of layer 1 are
smaller than the rounding of its weights.
"""

import numpy as np
import records
import torch

from vglib.experiments.stalled import TARGET, build
from vglib.tasks import digits
from vglib.training import train

RATE = 1.0  # divided by the depth: the best of up to four layers, stalled_rates.py
EVERY = 500
SETTINGS = [
    {"depth": 4, "steps": 100_000},
    {"depth": 6, "steps": 200_000},
    {"depth": 5, "steps": 100_000},
    {"depth": 8, "steps": 100_000},
]


def run(depth, steps):
    """Steps to 90 % of each of five seeds (null: never), and losses averaged over 500 steps."""
    result = train(
        [build(depth, "sigmoid", "starved", seed, dtype=torch.float64) for seed in range(5)],
        digits(),
        steps=steps,
        batch_size=32,
        optimizer="momentum",
        rate=RATE / depth,
        seed=0,
        target=TARGET,
        check_every=EVERY,
    )
    loss = result.loss.reshape(5, -1, EVERY).mean(axis=2)  # (seeds, 500s of steps)
    return {
        "steps": [None if np.isnan(n) else int(n) for n in result.steps],
        "score": result.score.round(3).tolist(),
        "loss": [[round(x, 4) for x in row if np.isfinite(x)] for row in loss.tolist()],
    }


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
