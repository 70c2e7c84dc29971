"""Transformers of 12 and 24 layers on rows of digits: which of them learn, and with which rate.

    python benchmarks/deep_transformers.py

For remedies/attention. Each run trains five networks side by side for six epochs, with Adam, with
and without a warm-up. About six minutes on one core; a call that was stopped goes on.
"""

import records
import torch

from vglib.experiments.transformers import fit, transformer

torch.set_num_threads(1)

SEEDS = range(5)


def run(kind, depth, weights, rate, warm_up, scaled, epochs=6):
    """By seed: shares of training and test digits told right, and the loss of each epoch."""
    how = dict(kind=kind, depth=depth, weights=weights, scaled=scaled, dtype=torch.float32)
    nets = [transformer(seed=seed, **how) for seed in SEEDS]
    done = fit(nets, rate=rate, warm_up=warm_up, seed=0, epochs=epochs)
    return {name: values.round(4).tolist() for name, values in done.items()}


def one(kind, depth, rate, warm_up, weights="xavier", scaled=False):
    """A setting in full."""
    how = dict(kind=kind, depth=depth, weights=weights)
    return how | dict(rate=rate, warm_up=warm_up, scaled=scaled)


NORMS = ("post-LN", "pre-LN")
SETTINGS = [
    one(kind, depth, 1e-3, warm_up)
    for depth in (12, 24)
    for kind in NORMS
    for warm_up in (False, True)
]
SETTINGS += [one(kind, 24, 1e-3, False, weights="torch") for kind in NORMS]
SETTINGS += [one("post-LN", 24, 1e-3, False, scaled=True), one("no skips", 24, 1e-3, True)]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
