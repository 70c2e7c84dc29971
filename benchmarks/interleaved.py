"""Ratios of running times from interleaved runs: what the other benchmarks share."""

import time

import numpy as np


def ratios(variants, *, repeats, seed=0, clock=time.perf_counter):
    """Time every variant once per repeat, in random order; name → ratios to the first, (repeats,).

    ``variants``: name → function without arguments. Name the first one twice for an A/A control.
    ``clock``: `time.process_time` counts this process's seconds alone, if the machine is shared.
    """
    order = np.random.default_rng(seed)
    names = list(variants)
    times = {name: [] for name in names}
    for name in names:
        variants[name]()  # warm up
    for _ in range(repeats):
        for name in order.permutation(names):
            start = clock()
            variants[name]()
            times[name].append(clock() - start)
    base = np.array(times[names[0]])
    return {name: np.array(times[name]) / base for name in names}


def row(label, values):
    """A row of a Markdown table: the median ratio of each variant, with its quartiles."""
    cells = []
    for ratio in values.values():
        low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
        cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
    return f"| {label} | " + " | ".join(cells) + " |"
