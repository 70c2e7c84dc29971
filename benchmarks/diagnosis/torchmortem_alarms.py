"""What torchmortem says of each set-up: python benchmarks/diagnosis/torchmortem_alarms.py public

torchmortem 0.1.1 (PyPI, 2026) watches the first 100 steps of a set-up as it is, as the rules of
baselines.py do. Kept is whether it has a finding that is a warning or worse, or one that is
critical; what it cannot watch is no alarm. It is no requirement of ours: install it into another
environment that has this one's packages.
"""

import itertools
import sys
from functools import partial

import baselines
import label
import records
import torch
from setups import load


def run(split, name, source, seed):
    """Whether it warns, and whether it calls anything critical."""
    from torchmortem import Autopsy, Severity

    model, loss_fn, batches, make_optimizer = load(split)[name].build(seed)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            optimizer = make_optimizer(model.parameters())
            with Autopsy(model, optimizer=optimizer) as autopsy:
                for batch in itertools.islice(label.endless(batches), baselines.STEPS):
                    optimizer.zero_grad()
                    loss = loss_fn(model, batch)
                    loss.backward()
                    optimizer.step()
                    autopsy.step(loss=loss.item())
    except Exception as error:
        return {"warning": False, "critical": False, "error": repr(error)[:200]}
    worst = max((one.severity for one in autopsy.get_report().findings), default=Severity.INFO)
    return {"warning": worst >= Severity.WARNING, "critical": worst >= Severity.CRITICAL}


def path(split):
    return label.HERE / "records" / f"torchmortem_{split}.json"


if __name__ == "__main__":
    split = sys.argv[1]
    records.fill(
        __file__,
        partial(run, split),
        baselines.settings(split),
        sources=baselines.SOURCES,
        path=path(split),
    )
