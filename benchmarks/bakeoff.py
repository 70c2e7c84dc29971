"""Every remedy alone on the same starved networks, for remedies/bakeoff.

    python benchmarks/bakeoff.py

Each network tries the same four rates on a seed that is judged nowhere (Adam a tenth of them), and
two beyond while the best is at the edge; five are trained at the best. What a step costs is told
in ratios to the plain network's, from steps that alternate in random order.
"""

from functools import partial

import numpy as np
import records
import torch
from interleaved import ratios
from torch import nn
from torch.nn import functional as F

from vglib.experiments import bakeoff
from vglib.experiments.bakeoff import JUDGED, PLACES, TUNING, build, remedies, task_of, trained
from vglib.experiments.rates import Search, search
from vglib.training import OPTIMIZERS

COSTED = ("dense", "convolutional", "recall, 20")
SMALL = [dict(what="batches of 2", place="shallow", remedy=r) for r in ("plain", "batch norm")]
SMALL += [dict(what="batches of 2", place="shallow", remedy="layer norm")]
SETTINGS = [
    dict(what="trained", place=place, remedy=remedy)
    for place in PLACES
    for remedy in remedies(place)
]
SETTINGS += SMALL
SETTINGS += [dict(what="cost", place=place, remedy="all of them") for place in COSTED]


def run(what, place, remedy):
    """The best rate, and what came of five networks; or what steps and memory cost."""
    if what == "cost":
        return cost(place)
    size = {} if what == "trained" else dict(batch_size=2)
    tried = partial(trained, place, remedy, **size)
    found = _searched(bakeoff.rates(place, remedy), lambda rate: tried(rate, [TUNING]))
    result = tried(found.best, JUDGED)
    return {
        "rate": found.best,
        "at_edge": bool(found.at_edge),
        "right": [round(share, 4) for share in result["right"]],
        "steps": [None if np.isnan(n) else int(n) for n in result["steps"]],
    }


def _searched(rates, train_at):
    """The search, which goes on beyond the edge at most twice."""
    scores = {}
    for _ in range(3):
        scores |= search(rates, train_at, lambda one: (-one["right"][0], one["loss"][0])).scores
        found = Search(scores)
        if not found.at_edge:
            break
        rates = [found.best * 5 if found.best == max(scores) else found.best / 5]
    return found


def cost(place):
    """By remedy: ratios to the plain network of time (with quartiles), parameters, memory kept."""
    torch.set_num_threads(1)
    inputs, targets = task_of(place).train.sample(bakeoff.BATCH, seed=0)
    steps, sizes = {}, {}
    for remedy in remedies(place):
        net, ways = build(place, remedy, seed=0), bakeoff.how(place, remedy)
        optimizer = OPTIMIZERS[ways["optimizer"]](net.parameters(), lr=1e-4)
        steps[remedy] = partial(_step, net, optimizer, ways["clip"], inputs, targets)
        parameters = sum(p.numel() for p in net.parameters())
        sizes[remedy] = (parameters, bakeoff.kept(net, inputs, targets))
    steps = {"plain": steps["plain"], "again": partial(steps["plain"])} | steps
    times = ratios(steps, repeats=40)
    return {
        name: {"time": [round(float(q), 3) for q in np.quantile(times[name], [0.25, 0.5, 0.75])]}
        | ({} if name == "again" else _relative(sizes[name], sizes["plain"]))
        for name in times
    }


def _relative(sizes, plain):
    (parameters, kept), (of_parameters, of_kept) = sizes, plain
    return {"parameters": round(parameters / of_parameters, 3), "kept": round(kept / of_kept, 3)}


def _step(net, optimizer, clip, inputs, targets):
    optimizer.zero_grad()
    F.cross_entropy(net(inputs), targets).backward()
    if clip:
        nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimizer.step()


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
