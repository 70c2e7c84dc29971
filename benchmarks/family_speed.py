"""A family of 16 networks, side by side or one by one: python benchmarks/family_speed.py

How many times faster `training.train` is on the family than on its members one after another, at
depth 8 and batch 32, 40 steps; and the largest difference of any weight afterwards. One thread.
"""

import time

import numpy as np
import torch

from vglib.nets import mlp
from vglib.tasks import digits
from vglib.training import train

REPEATS = 7


def family(width):
    keywords = dict(depth=8, width=width, activation="tanh", init="xavier")
    return [mlp(**keywords, seed=seed, dtype=torch.float32) for seed in range(16)]


def seconds(nets, task, together):
    keywords = dict(
        steps=40,
        batch_size=32,
        seed=0,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
        progress=False,
    )
    start = time.perf_counter()
    for group in [nets] if together else nets:
        train(group, task, **keywords)
    return time.perf_counter() - start


def main():
    torch.set_num_threads(1)
    task = digits(dtype=torch.float32)
    seconds(family(16), task, True)
    print("| width | one by one / one by one | one by one / together | largest difference |")
    print("|---|---|---|---|")
    for width in (16, 32, 64, 128):
        control, speedup = [], []
        for _ in range(REPEATS):
            apart, together = family(width), family(width)
            one = seconds(apart, task, False)
            both = seconds(together, task, True)
            control.append(seconds(family(width), task, False) / one)
            speedup.append(one / both)
        difference = max(
            (p - q).abs().max().item()
            for a, b in zip(apart, together, strict=True)
            for p, q in zip(a.parameters(), b.parameters(), strict=True)
        )
        print(
            f"| {width} | {np.median(control):.2f} | {np.median(speedup):.2f} "
            f"({min(speedup):.2f} to {max(speedup):.2f}) | {difference:.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
