"""Networks that differ in their weights and learning rates, compared at the best of the same rates.

A fair comparison takes many rates and many seeds. Small networks take most of their time for
overhead, so all of them train side by side, each at its own rate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vglib.batch import Task
from vglib.checks import choose
from vglib.experiments.rates import Search, search
from vglib.training import SCORED, accuracy, train

GUESSING = 0.1  # the score of a network whose loss ceased to be finite


@dataclass(frozen=True)
class Best:
    """What came of a contender: its search, the share told right by each network, the networks."""

    search: Search
    scores: np.ndarray
    nets: list

    @property
    def rate(self) -> float:
        """The rate at which it was judged."""
        return self.search.best


def at_best_rates(
    contenders: Mapping[str, Callable],
    task: Task,
    *,
    rates: Sequence[float],
    tuning: Sequence[int],
    seeds: Sequence[int],
    **how,
) -> dict[str, Best]:
    """Train every contender at the best of the same ``rates``; name → `Best`.

    A contender is a function from a seed to a network. At each rate its networks of the seeds
    ``tuning`` train as long as those that are judged; the rate with the highest mean score is best,
    of equals the first. Then its networks of ``seeds`` train at that rate. All of this takes two
    calls of `scores`, which has the other keywords.
    """
    tried = [(name, rate, seed) for name in contenders for rate in rates for seed in tuning]
    nets = [contenders[name](seed) for name, _, seed in tried]
    found = scores(nets, task, rates=[rate for _, rate, _ in tried], **how)
    found = found.reshape(len(contenders), len(rates), len(tuning)).mean(axis=2)
    searches = {
        name: search(rates, dict(zip(rates, row, strict=True)).get, lambda score: -score)
        for name, row in zip(contenders, found, strict=True)
    }
    judged = [(name, seed) for name in contenders for seed in seeds]
    nets = [contenders[name](seed) for name, seed in judged]
    told = scores(nets, task, rates=[searches[name].best for name, _ in judged], **how)
    told, count = told.reshape(len(contenders), -1), len(seeds)
    return {
        name: Best(searches[name], told[i], nets[i * count : (i + 1) * count])
        for i, name in enumerate(contenders)
    }


def scores(
    nets: Sequence[nn.Module],
    task: Task,
    *,
    rates: Sequence[float],
    optimizer: str,
    steps: int,
    batch_size: int,
    seed: int,
) -> np.ndarray:
    """Train each of ``nets`` in place, at its own rate; the share told right by each.

    Dense networks must be such as `training.train` takes side by side, convolutional ones plain
    networks of `nets.convnet` with ReLU; all of one shape. The share is that of the first 1,000
    training examples; where the loss ceased to be finite it is a tenth, as by guessing.
    """
    if len(nets) != len(rates):
        raise ValueError(f"{len(nets)} networks need as many rates, not {len(rates)}")
    how = dict(steps=steps, batch_size=batch_size, seed=seed)
    how |= dict(optimizer=own_rates(optimizer, rates))
    if not any(isinstance(module, nn.Conv2d) for module in nets[0].modules()):
        result = train(nets, task, **how)
        return np.where(result.diverged, GUESSING, result.score)
    together = SideBySide(nets)
    train(together, task, loss_fn=_sum_of_losses, score=lambda outputs, targets: 0.0, **how)
    together.store()
    with torch.no_grad():
        outputs = together(task.train.inputs[:SCORED])
    told = accuracy(outputs.movedim(1, 0), task.train.targets[:SCORED])
    is_finite = outputs.isfinite().all(dim=2).all(dim=0)
    return torch.where(is_finite, told, GUESSING).numpy()


def own_rates(optimizer: str, rates: Sequence[float]) -> Callable:
    """An optimizer that takes each network's step at that network's own rate.

    For parameters with a first axis (networks,), as networks have that train side by side. It takes
    the step at rate 1 and scales it, which is right where steps are proportional to the rate.
    """
    kind = choose("optimizer", optimizer, ("sgd", "momentum", "adam"))
    base = torch.optim.Adam if kind == "adam" else torch.optim.SGD
    scale = torch.tensor([*rates], dtype=torch.float64)

    class Own(base):
        @torch.no_grad()
        def step(self):
            parameters = [p for group in self.param_groups for p in group["params"]]
            before = [p.clone() for p in parameters]
            super().step()
            for p, old in zip(parameters, before, strict=True):
                each = scale.to(p.dtype).view(-1, *[1] * (p.ndim - 1))
                p.copy_(old + each * (p - old))

    Own.__name__ = base.__name__  # by which `train` knows that it works entry by entry
    momentum = {"momentum": 0.9} if kind == "momentum" else {}
    return lambda parameters: Own(parameters, lr=1.0, **momentum)


class SideBySide(nn.Module):
    """Plain ReLU networks of `nets.convnet` as one, from (examples, 1, 8, 8) to (…, networks, 10).

    Every parameter has a first axis (networks,), and convolutions have a group for each network.
    Raises ValueError for networks of another kind.
    """

    def __init__(self, nets: Sequence[nn.Module]):
        super().__init__()
        for name, wanted in (
            ("activation", "relu"),
            ("connection", "plain"),
            ("normalization", None),
        ):
            given = {net.settings.get(name, wanted) for net in nets}
            if given != {wanted}:
                raise ValueError(f"the {name} of all networks must be {wanted!r}, not {given}")
        self.nets = (*nets,)  # a tuple, so that torch does not count their parameters
        stacks = zip(*(net.parameters() for net in nets), strict=True)
        self.stacks = nn.ParameterList(
            nn.Parameter(torch.stack([p.detach() for p in stack])) for stack in stacks
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *convolutions, weight, bias = self.stacks
        count = len(weight)
        z = x.repeat(1, count, 1, 1)
        for k, (kernel, offset) in enumerate(
            zip(convolutions[::2], convolutions[1::2], strict=True)
        ):
            z = F.pad(z.relu() if k else z, (1, 1, 1, 1), mode="circular")
            kernel, stride = kernel.flatten(0, 1), 1 if k else 2
            z = F.conv2d(z, kernel, offset.flatten(), stride=stride, groups=count)
        h = z.relu().mean(dim=(2, 3)).view(len(x), count, -1)
        return torch.einsum("bnc,nkc->bnk", h, weight) + bias

    @torch.no_grad()
    def store(self) -> None:
        """Give the networks the weights that they have here."""
        for k, net in enumerate(self.nets):
            for p, stack in zip(net.parameters(), self.stacks, strict=True):
                p.copy_(stack[k])


def _sum_of_losses(model, batch):
    """No entry belongs to two networks, so each gets the gradient of its own loss."""
    outputs = model(batch.inputs)
    targets = batch.targets[:, None].expand(outputs.shape[:2])
    losses = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    losses = losses.view(outputs.shape[:2]).mean(dim=0)
    return losses.where(losses.isfinite(), 0.0).sum()  # of those that are still finite
