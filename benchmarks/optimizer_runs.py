"""Optimizers on networks that starve, for the lesson remedies/optimizers.

    python benchmarks/optimizer_runs.py

First the rates: five for each network and optimizer, on seeds that are judged nowhere. Then the
networks that take too long for a lesson, at the best of these, on the seeds 0 to 4.
"""

import json

import numpy as np
import records

from vglib.experiments import optimizers
from vglib.experiments.optimizers import METHODS, NETWORKS, RATES

TUNING = range(900, 903)
STARVED = [name for name in NETWORKS if "gain" not in name]
LONG = ("sigmoid, 10 layers", "sigmoid, 20 layers")
ONLY = {"adam, small ε": LONG[1:], "adamw": ()}  # on fewer networks
PAIRS = [(name, m) for m in METHODS for name in STARVED if name in ONLY.get(m, STARVED)]
SEARCHES = [
    {"network": name, "method": method, "rate": rate, "tuning": True}
    for name, method in PAIRS
    for rate in RATES
]
JUDGED = [
    {"network": name, "method": method, "frozen": False}
    for name, method in PAIRS
    if name in LONG or (name, method) == ("tanh, 20 layers", "rprop")
]
JUDGED += [{"network": name, "method": "adam", "frozen": True} for name in LONG]
CLIPPED = [
    {"network": "tanh, gain 2, 20 layers", "method": "momentum", "rate": rate, "clip": clip}
    for rate in RATES
    for clip in (None, 1.0)
]
SETTINGS = SEARCHES + CLIPPED + JUDGED


def best(network, method):
    """The best rate, from the runs that this script has just kept."""
    runs = json.loads((records.FOLDER / "optimizer_runs.json").read_text("utf-8"))["runs"]
    found = {}
    for one in runs:
        wanted = {"network": network, "method": method, "tuning": True}
        if one["settings"].items() >= wanted.items():
            found[one["settings"]["rate"]] = np.mean(one["values"]["share"])
    return max(found, key=found.get)


def run(network, method, rate=None, tuning=False, frozen=False, clip=None):
    """Share, gradient left and way of layer 1, of each seed."""
    rate = best(network, method) if rate is None else rate
    seeds = TUNING if tuning else range(5)
    values = optimizers.run(network, method, rate, seeds, frozen=frozen, clip=clip)
    shown = {k: [None if x is None else float(f"{x:.4g}") for x in v] for k, v in values.items()}
    return {"rate": rate} | shown


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
