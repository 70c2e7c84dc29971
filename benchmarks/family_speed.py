"""A family of networks, side by side or one by one: python benchmarks/family_speed.py [--repeats 7]

How many times faster `training.train` is on the family than on its members one after another, at
depth 8; and the largest difference of any weight afterwards, relative to the largest weight. Where
`train` does not choose to batch, both do the same. One thread, median and range.
"""

import argparse
import time

import numpy as np
import torch

from vglib.nets import mlp
from vglib.tasks import digits
from vglib.training import train


def family(size, width, dtype, depth=8):
    keywords = dict(depth=depth, width=width, activation="tanh", init="xavier", dtype=dtype)
    return [mlp(**keywords, seed=seed) for seed in range(size)]


def seconds(groups, task, batch_size, steps=40):
    start = time.perf_counter()
    for group in groups:
        train(
            group,
            task,
            steps=steps,
            batch_size=batch_size,
            seed=0,
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
            progress=False,
        )
    return time.perf_counter() - start


def difference(apart, together):
    pairs = [
        pair
        for a, b in zip(apart, together, strict=True)
        for pair in zip(a.parameters(), b.parameters(), strict=True)
    ]
    largest = max(p.abs().max().item() for p, _ in pairs)
    return max((p - q).abs().max().item() for p, q in pairs) / largest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    tasks = {dtype: digits(dtype=dtype) for dtype in (torch.float32, torch.float64)}
    seconds([family(16, 16, torch.float32)], tasks[torch.float32], 32)  # warm up
    print("| networks | width | batch | type | one by one again | together | difference |")
    print("|---|---|---|---|---|---|---|")
    sizes = [(16, width, 32, torch.float32) for width in (16, 32, 64, 96, 128, 256)]
    sizes += [(16, 16, 128, torch.float32), (16, 32, 128, torch.float32)]
    sizes += [(16, width, 32, torch.float64) for width in (16, 32, 64)]
    sizes += [(16, 128, 16, torch.float32), (16, 256, 8, torch.float32)]
    sizes += [(count, width, 32, torch.float32) for count in (2, 4) for width in (16, 64)]
    for size, width, batch_size, dtype in sizes:
        control, speedup = [], []
        for _ in range(repeats):
            apart, together = family(size, width, dtype), family(size, width, dtype)
            again = family(size, width, dtype)
            one = seconds([[net] for net in apart], tasks[dtype], batch_size)
            both = seconds([together], tasks[dtype], batch_size)
            control.append(one / seconds([[net] for net in again], tasks[dtype], batch_size))
            speedup.append(one / both)
        print(
            f"| {size} | {width} | {batch_size} | {str(dtype)[6:]} | {np.median(control):.2f} | "
            f"{np.median(speedup):.2f} ({min(speedup):.2f} to {max(speedup):.2f}) | "
            f"{difference(apart, together):.0e} |",
            flush=True,
        )
    print("\n| depth | difference after one step |\n|---|---|")
    for depth in (1, 8, 30, 100):
        apart, together = (family(16, 32, torch.float32, depth) for _ in range(2))
        seconds([[net] for net in apart], tasks[torch.float32], 32, steps=1)
        seconds([together], tasks[torch.float32], 32, steps=1)
        print(f"| {depth} | {difference(apart, together):.0e} |")


if __name__ == "__main__":
    main()
