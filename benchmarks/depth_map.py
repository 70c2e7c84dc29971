"""Which tanh networks learn the digits, by depth and by the scale of their weights.

Twelve weight variances σ_w² (four of them for the longer runs), random biases of variance 0.05,
five seeds of each. All networks of a run train side by side, with momentum and a rate that falls
with depth. ``{σ_w²: [share of training digits told right, one a seed]}``.

    python benchmarks/depth_map.py   about ten minutes on one core
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import records
import torch

from vglib.experiments.usable_depth import VARIANCES, on_the_map

torch.set_num_threads(1)

SEEDS = range(5)
DEPTHS = (4, 8, 12, 16, 24, 32, 48, 64, 128)


def run(depth, steps, variances):
    told = on_the_map(depth, variances, SEEDS, steps=steps)
    return {str(v): told[i].round(3).tolist() for i, v in enumerate(variances)}


def parts(variances, size):
    return [list(variances[i : i + size]) for i in range(0, len(variances), size)]


SETTINGS = [
    dict(depth=d, steps=150, variances=some)
    for d in DEPTHS
    for some in parts(VARIANCES, 6 if d < 128 else 3)
]
SETTINGS += [
    dict(depth=d, steps=600, variances=some)
    for d in (16, 32, 64)
    for some in parts((0.75, 1.25, 2.25, 3.5), 2)
]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
