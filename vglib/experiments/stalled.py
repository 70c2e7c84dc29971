"""Starved networks and their healthy twins on the digits, and the learning rate of each.

The lessons on stalled learning and on its price train a few of them; ``benchmarks/stalled_*.py``
searches the rates, and has the runs that take longer.
"""

from functools import cache

import torch

from vglib.claims import recorded
from vglib.experiments.rates import Search, misses_and_steps, search
from vglib.nets import mlp
from vglib.theory import critical_gain

ACTIVATIONS, DEPTHS, TWINS = ("sigmoid", "tanh", "relu"), (2, 3, 4, 6, 8), ("starved", "healthy")
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # each divided by the depth
SEARCHED = 2_000  # steps
TARGET = 0.9  # share of the training digits told right


def gain_of(activation: str, twin: str) -> float:
    """The gain of a twin: 1/√3, the scale of PyTorch's default, or the critical one."""
    return critical_gain(activation) if twin == "healthy" else 3**-0.5


def build(
    depth: int, activation: str, twin: str, seed: int, dtype: torch.dtype = torch.float32
) -> torch.nn.Sequential:
    """A network of width 32: ``starved`` or ``healthy``, which differ in their gain alone.

    Weights are Gaussian, biases zero.
    """
    sizes = dict(depth=depth, width=32, seed=seed, dtype=dtype)
    gain = gain_of(activation, twin)
    return mlp(activation=activation, init="normal", gain=gain, **sizes)


@cache
def searched(depth: int, activation: str, twin: str) -> Search:
    """The search for the rate (times the depth) of one network, out of the record."""
    network = dict(depth=depth, activation=activation, twin=twin)
    tried = {
        one["settings"]["rate"]: one["values"]["steps"]
        for one in recorded("stalled_rates")
        if one["settings"].items() >= network.items()
    }
    return search(RATES, tried.__getitem__, lambda steps: misses_and_steps(steps, SEARCHED))


def best_rate(depth: int, activation: str, twin: str) -> float:
    """The rate that brings most seeds to the target, of those the fastest on average.

    Where no rate brings any seed there, that of the next shallower network, times the depth.
    """
    shallower = reversed(DEPTHS[: DEPTHS.index(depth)])
    for candidate in (depth, *shallower):
        tried = searched(candidate, activation, twin)
        missed, _ = tried.scores[tried.best]
        if missed < 5:  # of five seeds
            return tried.best / depth
    raise ValueError(f"no rate brings any {twin} {activation} network to the target")
