"""How often `vglib.Watch` warns, by what training says: python benchmarks/diagnosis/watching.py

It looks every 10 steps at each set-up of all splits, trained as it is for 200 steps from seed 0.
Prints the share of set-ups with a warning, for each cause, and the names of healthy ones.
"""

import itertools
import sys
import warnings
from collections import defaultdict

import score
import torch
from setups import load

from vglib.diagnosis import Watch

STEPS, BATCHES = 200, 100


def warned(setup):
    """Whether the watch warns; None where it finds no layer to watch."""
    model, loss_fn, batches, optimizer = setup.build(0)
    kept = list(itertools.islice(batches, BATCHES))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        optimizer = optimizer([p for p in model.parameters() if p.requires_grad])
        try:
            watch = Watch(model, every=10)
        except ValueError:
            return None
        with watch:
            for batch in itertools.islice(itertools.cycle(kept), STEPS):
                optimizer.zero_grad()
                loss = loss_fn(model, batch)
                loss.backward()
                optimizer.step()
                watch(loss)
    return watch.warned


def main():
    found = defaultdict(list)
    for split in ("development", "holdout", "strangers", "second_holdout"):
        setups = load(split)
        for name, one in score.truth(split).items():
            if one["label"] != "ambiguous":
                answer = warned(setups[name])
                found[one["kind"], one["cause"] or ""].append(answer)
                if answer and one["label"] == "healthy":
                    print(f"a healthy one: {name}", file=sys.stderr)
    for (kind, cause), answers in sorted(found.items()):
        print(f"{kind:9} {cause:18} {answers.count(True)} of {len(answers)}", end="")
        print(f", {answers.count(None)} without a layer to watch" if None in answers else "")


if __name__ == "__main__":
    main()
