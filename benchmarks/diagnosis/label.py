"""Labels by training: is a set-up faulty? ``python label.py development`` (or holdout).

Each set-up is trained as it is and with its remedy, from three seeds, for as many steps as it says
(400 unless said). The rule, written down before the first run:

- A run's late loss is the median over the last tenth of its steps, infinite if one is not finite.
- Its share is (start - late) / (start - best): start is the smaller of the two initial losses of
  its seed (the median over five batches before any step), best the smallest late loss of all runs.
- faulty: in every seed, the run as it is has a share of at most 2/3 of the cured run's.
- healthy: in every seed, it has a positive share of at least 9/10 of the cured run's.
- ambiguous: everything else. Such set-ups are left out of the scores, and counted.

What the author intended plays no part. Where training disagrees, it decides (`truth` in score.py).
"""

import itertools
import math
import sys
from functools import partial
from pathlib import Path
from statistics import median

import torch
from setups import load

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
import records  # noqa: E402

SOURCES = [HERE / "setups.py"]  # under the key; a run names its set-up's own source, too
SEEDS = (0, 1, 2)
FAULTY, HEALTHY = 2 / 3, 0.9


def endless(batches):
    while True:
        yield from batches


def train(setup, seed, cured, steps):
    """Loss before training, and at each step; where there is a judge, its numbers instead."""
    model, loss_fn, batches, optimizer = setup.build(seed, cured)
    judge = setup.judge or loss_fn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stream = endless(batches)
        first = list(itertools.islice(stream, 5))
        with torch.no_grad():
            initial = median(judge(model, batch).item() for batch in first)
        optimizer = optimizer(model.parameters())
        losses = []
        for batch in itertools.islice(itertools.chain(first, stream), steps):
            optimizer.zero_grad()
            loss = loss_fn(model, batch)
            loss.backward()
            optimizer.step()
            losses.append((judge(model, batch) if setup.judge else loss).item())
    return initial, losses


def run(split, name, source, cured, seed):
    setup = load(split)[name]
    initial, losses = train(setup, seed, cured, setup.steps)
    end = losses[-(len(losses) // 10) :]
    late = median(end) if all(map(math.isfinite, end)) else None
    return {"initial": initial if math.isfinite(initial) else None, "late": late}


def shares(runs):
    """Shares of one set-up's runs as they are and cured, in pairs, one for each seed."""
    arms = {(one["settings"]["cured"], one["settings"]["seed"]): one["values"] for one in runs}
    seeds = sorted({seed for _, seed in arms})

    def value(cured, seed, which):
        found = arms[cured, seed][which]
        return math.inf if found is None else found

    best = min(value(cured, seed, "late") for cured, seed in arms)
    pairs = []
    for seed in seeds:
        start = min(value(cured, seed, "initial") for cured in (False, True))
        room = start - best
        pairs.append(tuple((start - value(cured, seed, "late")) / room for cured in (False, True)))
    return pairs


def label(runs):
    """faulty, healthy or ambiguous."""
    pairs = shares(runs)
    if all(cured > 0 and as_is <= FAULTY * cured for as_is, cured in pairs):
        return "faulty"
    if all(as_is > 0 and as_is >= HEALTHY * cured for as_is, cured in pairs):
        return "healthy"
    return "ambiguous"


def path(split):
    return HERE / "records" / f"labels_{split}.json"


def settings(split):
    return [
        {"name": name, "source": setup.source, "cured": cured, "seed": seed}
        for name, setup in load(split).items()
        for seed in SEEDS
        for cured in (False, True)
    ]


if __name__ == "__main__":
    split = sys.argv[1]
    records.fill(__file__, partial(run, split), settings(split), sources=SOURCES, path=path(split))
