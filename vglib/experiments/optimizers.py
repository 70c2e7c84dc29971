"""Networks that starve, trained with every optimizer, each at the best of the same rates.

The lesson on optimizers trains some of them; ``benchmarks/optimizer_runs.py`` searches the rates,
and has the runs that take longer.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch
from torch import nn

from vglib.batch import Batch, Task
from vglib.claims import recorded
from vglib.experiments.rates import Search, search
from vglib.nets import mlp
from vglib.probes import gradient_flow
from vglib.tasks import digits
from vglib.training import OPTIMIZERS, train

NETWORKS = {  # name → activation, depth, gain of normal weights or None: PyTorch's own
    "sigmoid, 6 layers": ("sigmoid", 6, None),
    "sigmoid, 10 layers": ("sigmoid", 10, None),
    "sigmoid, 20 layers": ("sigmoid", 20, None),
    "tanh, 20 layers": ("tanh", 20, None),
    "tanh, gain 2, 20 layers": ("tanh", 20, 2.0),
    "tanh, gain 1, 20 layers": ("tanh", 20, 1.0),
}
RATES = (0.001, 0.01, 0.1, 1.0, 10.0)
STEPS, BATCH = 440, 32  # ten times through the digits
FULL_STEPS = 100  # of Rprop, which sees all digits at each step
METHODS = OPTIMIZERS | {"adam, small ε": partial(torch.optim.Adam, eps=1e-30)}
CHANCE = 0.2  # a share of at most this counts as guessing, 0.1


def build(network: str, seed: int, frozen: bool = False) -> nn.Sequential:
    """A network of width 32 by its name; ``frozen``: its lower half is not trained."""
    activation, depth, gain = NETWORKS[network]
    weights = dict(init="torch") if gain is None else dict(init="normal", gain=gain)
    net = mlp(depth=depth, width=32, activation=activation, seed=seed, **weights)
    for name in net.vglib_layers[: depth // 2] if frozen else ():
        net.get_submodule(name).requires_grad_(False)
    return net


def run(
    network: str,
    method: str | Callable,
    rate: float,
    seeds: Sequence[int],
    *,
    frozen: bool = False,
    task: Task | None = None,
    **how,
) -> dict:
    """Train one network per seed, and measure; a list with one entry a network for each name.

    ``share``: of training digits told right. ``left``: δ at layer 1 over that next to the loss,
    after training, on 128 digits (null: not finite). ``moved``: change of layer 1's weights, over
    their size. ``how``: more keywords of `train`.
    """
    task = digits() if task is None else task
    nets = [build(network, seed, frozen) for seed in seeds]
    first = [net.layer1.weight.detach().clone() for net in nets]
    usual = dict(steps=STEPS, batch_size=BATCH, seed=seeds[0])
    if method == "rprop":
        usual |= dict(steps=FULL_STEPS, batch_size=len(task.train.targets))
    optimizer = partial(METHODS.get(method, method), lr=rate)
    result = train(nets, task, optimizer=optimizer, **usual | how)
    moved = [
        float((net.layer1.weight.detach() - was).norm() / was.norm())
        for net, was in zip(nets, first, strict=True)
    ]
    return {
        "share": result.score.tolist(),
        "left": [_left(net, task) for net in nets],
        "moved": moved,
    }


def _left(net, task):
    net.requires_grad_()
    try:
        delta = gradient_flow(net, Batch(*(part[:128] for part in task.train))).delta[0]
    except ValueError:  # a loss that is not finite
        return None
    ratio = float(delta[0] / delta[-1]) if delta[-1] > 0 else 0.0
    return ratio if np.isfinite(ratio) else None


def told_right(shares: Sequence[float]) -> np.ndarray:
    """Shares, with all up to `CHANCE` counted as guessing."""
    shares = np.array(shares, dtype=float)
    return np.where(shares <= CHANCE, 0.1, shares)


@cache
def searched(network: str, method: str) -> Search:
    """The search for a rate out of the record: the highest mean share of digits told right."""
    wanted = dict(network=network, method=method, tuning=True)
    tried = {
        one["settings"]["rate"]: one["values"]["share"]
        for one in recorded("optimizer_runs")
        if one["settings"].items() >= wanted.items()
    }
    return search(RATES, tried.__getitem__, lambda shares: -np.mean(shares))


def best_rate(network: str, method: str) -> float:
    """The best of `RATES` for a network and an optimizer."""
    return searched(network, method).best
