"""How deep a network can be with PyTorch's weights, and how deep its mended twin.

Runs of the ladder of `vglib.experiments.usable_depth` that do not fit the lesson: ReLU, Adam, and
sigmoids five times as long. Twin → ``depth`` and ``starved``, one entry a seed.

    python benchmarks/depth_ladder.py   about two minutes on one core
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import records
import torch

from vglib.experiments.usable_depth import climb

torch.set_num_threads(1)

SEEDS = range(5)


def run(activation, optimizer, steps):
    found = climb(activation, optimizer, SEEDS, steps=steps)
    return {twin: {k: v.tolist() for k, v in one.items()} for twin, one in found.items()}


ACTIVATIONS = ("sigmoid", "tanh", "relu")
SETTINGS = [dict(activation="relu", optimizer="SGD", steps=200)]
SETTINGS += [dict(activation=one, optimizer="Adam", steps=200) for one in ACTIVATIONS]
SETTINGS += [dict(activation="sigmoid", optimizer="SGD", steps=1000)]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
