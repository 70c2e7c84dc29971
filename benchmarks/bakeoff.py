"""Every remedy alone on the same starved networks, for remedies/bakeoff.

    python benchmarks/bakeoff.py

Each network tries the same four rates, for a third of the steps and on a seed that is judged
nowhere (Adam a tenth of them), and two beyond while the best is at the edge; five are trained at
the best. A few of one seed go on to three times the steps, which shows whether late and stuck are
the right words. What a step costs is told in ratios to the plain network's: processor time of
steps that alternate in random order, five rounds of them, the plain network twice. A quarter of
an hour on one quiet core.
"""

import time
from functools import partial

import numpy as np
import records
import torch
from interleaved import ratios
from torch import nn

from vglib.experiments import bakeoff
from vglib.experiments.bakeoff import (
    JUDGED,
    PLACES,
    TUNING,
    build,
    remedies,
    task_of,
    trained,
)
from vglib.experiments.rates import Search, search
from vglib.training import OPTIMIZERS

COSTED = ("dense", "recall, 20")
SETTINGS = [
    dict(what="trained", place=place, remedy=remedy)
    for place in PLACES
    for remedy in remedies(place)
]
SETTINGS += [dict(what="cost", place=place, remedy="all of them") for place in COSTED]
SETTINGS += [
    dict(what="longer", place=place, remedy=remedy)
    for place, remedy in (
        ("dense", "orthogonal"),
        ("dense", "ReLU and He"),
        ("recall, 20", "Adam"),
        ("recall, 20", "GRU"),
        ("recall, 20", "LSTM"),
        ("adding, 20", "LSTM"),
        ("adding, 20", "orthogonal"),
        ("dense", "Xavier"),
        ("dense", "ReLU"),
        ("dense", "Adam"),
        ("dense", "layer norm"),
    )
]
ROUNDS, REPEATS = 5, 40


def run(what, place, remedy):
    """The best rate and what came of five networks; or of one that goes on; or what it costs."""
    torch.set_num_threads(1)
    if what == "cost":
        return cost(place)
    if what == "longer":
        return longer(place, remedy)
    rate = _searched(place, remedy).best
    result = trained(place, remedy, rate, JUDGED)
    return {"rate": rate} | {
        name: [_short(value) for value in result[name]]
        for name in ("right", "steps", "fifths", "before", "after")
    }


def longer(place, remedy):
    """The first judged network with three times the steps, until nine tenths are right."""
    rate, steps = bakeoff.on_record(place, remedy)["rate"], 3 * PLACES[place].steps
    went = trained(place, remedy, rate, JUDGED[:1], steps=steps, until=bakeoff.GOAL)
    return {name: _short(went[name][0]) for name in ("right", "steps")}


def _short(value):
    """Four digits; None for what is not finite."""
    if np.ndim(value):
        return [_short(one) for one in value]
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _searched(place, remedy):
    """The search, which goes on beyond the edge at most twice."""
    scores, rates = {}, bakeoff.rates(place, remedy)
    steps = PLACES[place].steps // bakeoff.SEARCHED
    for _ in range(3):
        scores |= search(
            rates,
            lambda rate: trained(place, remedy, rate, [TUNING], steps=steps),
            lambda one: (-one["right"][0], one["loss"][0]),
        ).scores
        found = Search(scores)
        if not found.at_edge:
            break
        rates = [found.best * 5 if found.best == max(scores) else found.best / 5]
    return found


def cost(place):
    """By remedy, as ratios to the plain network: time by round, parameters, memory kept."""
    inputs, targets = task_of(place).train.sample(bakeoff.BATCH, seed=0)
    steps, sizes = {}, {}
    for remedy in remedies(place):
        net, ways = build(place, remedy, seed=0), bakeoff.how(place, remedy)
        optimizer = OPTIMIZERS[ways["optimizer"]](net.parameters(), lr=1e-4)
        steps[remedy] = partial(_step, net, optimizer, ways["clip"], inputs, targets)
        parameters = sum(p.numel() for p in net.parameters())
        sizes[remedy] = (parameters, bakeoff.kept(net, inputs, targets))
    steps = {"plain": steps["plain"], "again": partial(steps["plain"])} | steps
    times = [
        ratios(steps, repeats=REPEATS, seed=seed, clock=time.process_time) for seed in range(ROUNDS)
    ]
    return {
        name: {"time": [round(float(np.median(one[name])), 3) for one in times]}
        | ({} if name == "again" else _relative(sizes[name], sizes["plain"]))
        for name in steps
    }


def _relative(sizes, plain):
    (parameters, kept), (of_parameters, of_kept) = sizes, plain
    return {"parameters": round(parameters / of_parameters, 3), "kept": round(kept / of_kept, 3)}


def _step(net, optimizer, clip, inputs, targets):
    optimizer.zero_grad()
    bakeoff.loss_of(net(inputs), targets).backward()
    if clip:
        nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimizer.step()


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
