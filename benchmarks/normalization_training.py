"""Deep networks with and without normalization, each at its best rate, for remedies/normalization.

    python benchmarks/normalization_training.py

Every network searches the same seven rates on two seeds that are judged nowhere, and goes on beyond
while the best is at the edge. Then five networks are trained at the best.
"""

import numpy as np
import records
import torch

from vglib.experiments.normalization import BATCH, PROPER, STEPS, TARGET, trained
from vglib.experiments.rates import search
from vglib.tasks import digits

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
FURTHER = (0.0001, 0.0003, 3.0, 10.0)
TUNING, JUDGED = range(900, 902), range(5)


def network(activation, init, norm=None, **other):
    """The settings of one network, complete."""
    sizes = dict(dropout=0.0, depth=30, width=64, steps=STEPS, batch_size=BATCH)
    return dict(activation=activation, init=init, norm=norm) | sizes | other


ACTS = [*PROPER]
SETTINGS = [
    network(act, init, norm)
    for act in ACTS
    for init in ("torch", PROPER[act])
    for norm in (None, "batch", "layer")
]
SETTINGS += [network(act, "torch", norm) for act in ACTS for norm in ("rms", "batch, after")]
SETTINGS += [
    network("relu", init, norm, steps=528) for init in ("torch", "he") for norm in (None, "batch")
]
SETTINGS += [network("relu", "he", "batch", depth=depth) for depth in (10, 50)]
SETTINGS += [network(act, "torch", depth=10) for act in ACTS]
SETTINGS += [network(act, "torch", dropout=0.5, depth=depth) for act in ACTS for depth in (10, 30)]
SETTINGS += [network("relu", "he", dropout=p) for p in (0.1, 0.5)]
SETTINGS += [
    network("relu", "he", norm, depth=10, steps=400, batch_size=size)
    for norm in ("batch", "layer")
    for size in (2, 4, 8, 32)
]
SETTINGS += [
    network("sigmoid", "torch", norm, depth=3, width=100, steps=528, batch_size=60)
    for norm in (None, "batch")
]


def outcome(result):
    """How bad a training is: misses, steps of the others, then digits wrong, then the loss."""
    late = np.isnan(result.steps)
    last = [history[np.isfinite(history)][-10:] for history in result.loss]
    losses = [one.mean() if len(one) else np.inf for one in last]
    steps = np.nan_to_num(result.steps, nan=result.loss.shape[1])
    return late.sum(), steps.mean(), 1 - result.score.mean(), np.mean(losses)


def run(steps, batch_size, **settings):
    """The best rate; then share told right and steps to the target (null: not reached), by seed.

    With small batches no network stops early, and the share is also that with batch norm in
    training mode, on batches of that size.
    """
    small = batch_size < 60
    how = settings | dict(steps=steps, batch_size=batch_size)
    how |= dict(target=None if small else 0.95 if settings["depth"] == 3 else TARGET)

    def train_at(rate):
        return trained(rate, TUNING, **how)[0]

    found = search(RATES, train_at, outcome)
    tried = dict(found.scores)
    while found.at_edge and (more := [r for r in FURTHER if r not in tried]):
        beyond = [r for r in more if (r > found.best) == (found.best == max(tried))]
        if not beyond:
            break
        rate = min(beyond, key=lambda r: abs(np.log(r / found.best)))
        tried |= search([rate], train_at, outcome).scores
        found = type(found)(tried)
    result, nets = trained(found.best, JUDGED, **how)
    values = {
        "rate": found.best,
        "at_edge": bool(found.at_edge),
        "right": [round(float(share), 4) for share in result.score],
        "steps": [None if np.isnan(n) else int(n) for n in result.steps],
    }
    if small:
        values["right_in_training_mode"] = [round(told(net, batch_size), 4) for net in nets]
    return values


@torch.no_grad()
def told(net, batch_size):
    """Share of 960 training digits told right in training mode, batch by batch."""
    inputs, targets = digits(dtype=torch.float32).train
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))[:960]
    net.train()
    batches = order.split(batch_size)
    right = [(net(inputs[b]).argmax(dim=1) == targets[b]).double().mean() for b in batches]
    return float(torch.stack(right).mean())


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
