"""Deep plain convolutional networks on two sets of real images, beside their mended twins.

Circular padding and a stem of stride 2, sixteen channels of ReLU, 150 steps of 32 images, or more.
A twin differs in one keyword: He's weights in place of PyTorch's; or skip connections (with
branches scaled by 1/√L where nothing is normalized). Each is judged at the better of two rates,
found on a seed that is not judged: ``{twin: {rate, scores, left}}``; ``left`` is the share of δ
that layer 1 has before training.

    python benchmarks/deep_convnets.py   about ten minutes on one core
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import records
import torch

from vglib.experiments.families import GUESSING, at_best_rates
from vglib.experiments.rates import search
from vglib.experiments.usable_depth import CONV_RATES, CONV_STEPS, image_classifier, image_task
from vglib.lesson import left
from vglib.probes import gradient_flow
from vglib.training import train

torch.set_num_threads(1)

SEEDS, TUNING = range(5), (900,)
NETWORKS = {
    "PyTorch": dict(init="torch"),
    "He": dict(init="he"),
    "He, skip": dict(init="he", connection="residual"),
    "norm": dict(init="torch", normalization="batch"),
    "norm, skip": dict(init="torch", normalization="batch", connection="residual"),
}


def build(name, depth, seed, images, dtype=torch.float32):
    how = dict(NETWORKS[name], classes=10 if images == "digits" else 2)
    if name == "He, skip":
        how |= dict(branch_scale=depth**-0.5)
    return image_classifier(depth, seed, dtype, **how)


def one_by_one(name, depth, images, task, rates, how):
    """What `at_best_rates` does, for networks that cannot train side by side."""

    def trained(rate, seeds):
        nets = [build(name, depth, seed, images) for seed in seeds]
        result = train(nets, task, rate=rate, **how)
        return np.where(result.diverged, GUESSING, result.score)

    found = search(rates, lambda rate: trained(rate, TUNING), lambda told: -told.mean())
    return found.best, trained(found.best, SEEDS)


def run(images, depth, twins, optimizer, steps=CONV_STEPS):
    task = image_task(images)
    name = {"SGD": "momentum", "Adam": "adam"}[optimizer]
    how = dict(optimizer=name, steps=steps, batch_size=32, seed=0)
    rates, values = CONV_RATES[optimizer], {}
    batch = image_task(images).train.sample(128, seed=0)
    batch = batch._replace(inputs=batch.inputs.double())
    for twin in twins:
        if twin in ("PyTorch", "He"):
            contender = {twin: lambda seed, twin=twin: build(twin, depth, seed, images)}
            best = at_best_rates(contender, task, rates=rates, tuning=TUNING, seeds=SEEDS, **how)
            rate, told = best[twin].rate, best[twin].scores
        else:
            rate, told = one_by_one(twin, depth, images, task, rates, how)
        nets = [build(twin, depth, seed, images, torch.float64) for seed in SEEDS]
        values[twin] = dict(
            rate=rate,
            scores=np.round(told, 3).tolist(),
            left=[float(f"{v:.3g}") for v in left(gradient_flow(nets, batch))],
        )
    return values


WEIGHTS, NORM = ["PyTorch", "He"], ["norm", "norm, skip"]
SETTINGS = [
    dict(images="digits", depth=20, twins=WEIGHTS, optimizer="SGD"),
    dict(images="digits", depth=5, twins=WEIGHTS, optimizer="SGD"),
    dict(images="digits", depth=10, twins=WEIGHTS, optimizer="SGD"),
    dict(images="digits", depth=20, twins=NORM, optimizer="SGD"),
    dict(images="digits", depth=20, twins=WEIGHTS, optimizer="Adam"),
    dict(images="photographs", depth=20, twins=WEIGHTS, optimizer="SGD"),
    dict(images="digits", depth=20, twins=["He, skip"], optimizer="SGD"),
    dict(images="digits", depth=20, twins=WEIGHTS, optimizer="SGD", steps=450),
]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
