"""The one training loop, for a single network or a family at once."""

import copy
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional as F
from tqdm import tqdm

from vglib.batch import Batch, LossFn, Task, cross_entropy
from vglib.checks import as_list, at_least_one, choose, positive, settings_of
from vglib.names import ACTIVATIONS
from vglib.nets import Layer

SCORED = 1_000  # examples on which a score is measured
# Optimizers by name, as people use them; momentum is 0.9 where there is one.
OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "rprop": torch.optim.Rprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of examples whose largest output is the target's; over the next-to-last axis."""
    return (outputs.argmax(dim=-1) == targets).double().mean(dim=-1)


@dataclass(frozen=True)
class Training:
    """What happened in training. Arrays have shape (networks, steps) or (networks,).

    ``loss``: at each step, before its update; NaN after a network stopped. ``steps``: taken until
    the target was reached; NaN if it was not. ``score``: at the end, on the first 1,000 training
    examples. ``diverged``: the loss ceased to be finite; the network stopped there.
    """

    loss: np.ndarray
    steps: np.ndarray
    score: np.ndarray
    diverged: np.ndarray
    settings: tuple

    def __repr__(self):
        reached = np.isfinite(self.steps).sum()
        return (
            f"Training: {len(self.steps)} networks, {self.loss.shape[1]} steps, "
            f"median score {np.median(self.score):.3g}, {reached} reached the target, "
            f"{self.diverged.sum()} diverged"
        )


def train(
    nets: nn.Module | Iterable[nn.Module],
    task: Task,
    *,
    steps: int,
    batch_size: int,
    optimizer: str | Callable,
    seed: int,
    rate: float | None = None,
    loss_fn: LossFn = cross_entropy,
    score: Callable = accuracy,
    target: float | None = None,
    check_every: int = 50,
    clip: float | None = None,
    progress: bool = True,
) -> Training:
    """Train ``nets``, one module or a list, in place; returns a `Training`.

    ``optimizer`` is a name from OPTIMIZERS, with its learning ``rate``, or a function from
    parameters to a torch optimizer. ``loss_fn(model, batch)`` gives a scalar. At each step every
    network sees the same ``batch_size`` training examples; ``seed`` orders them, epoch by epoch.
    Every ``check_every`` steps ``score(outputs, targets)`` is measured; a network whose score is at
    least ``target`` stops there. ``clip`` is the largest norm of a network's gradient.

    Small networks of `nets.mlp` that differ only in their weights are trained side by side, which
    is faster; all others one after another. Both give the same to rounding for one step; after
    many, deep chaotic networks differ in any precision. Raises ValueError for bad sizes and an
    empty list.
    """
    nets = as_list(nets, "train")
    at_least_one(steps=steps, batch_size=batch_size, check_every=check_every)
    if batch_size > len(task.train.targets):
        raise ValueError(
            f"batch_size must be at most the {len(task.train.targets)} training examples, "
            f"not {batch_size}"
        )
    if clip is not None:
        positive("clip", clip)
    if isinstance(optimizer, str):
        positive("rate", rate)
        optimizer = partial(choose("optimizer", optimizer, OPTIMIZERS), lr=rate)
    elif rate is not None:
        raise ValueError(f"rate belongs to an optimizer's name, not to {optimizer!r}")
    order = _order(len(task.train.targets), steps, batch_size, seed)
    groups = _groups(nets, batch_size, optimizer)
    is_watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    if "TQDM_DISABLE" in os.environ:  # set where outputs are stored and compared
        is_watched = False
    bar = tqdm(total=len(groups) * steps, unit="step", disable=not (progress and is_watched))
    parts = []
    with bar:
        for group in groups:
            members = [nets[i] for i in group]
            family = _Family(members) if len(members) > 1 else _Single(members[0])
            stop = dict(score=score, target=target, check_every=check_every, clip=clip)
            parts.append(_loop(family, task, order, optimizer, loss_fn, bar, **stop))
    back = np.argsort(np.concatenate(groups))
    arrays = [np.concatenate(values)[back] for values in zip(*parts, strict=True)]
    return Training(*arrays, tuple(settings_of(net) for net in nets))


def _order(examples, steps, batch_size, seed):
    """Indices of the examples of each step, (steps, batch_size): whole epochs, newly shuffled."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = examples // batch_size
    epochs = [torch.randperm(examples, generator=generator) for _ in range(-(-steps // per_epoch))]
    used = per_epoch * batch_size
    return torch.cat([epoch[:used].view(per_epoch, batch_size) for epoch in epochs])[:steps]


# The modules whose networks are trained side by side; all but Linear work entry by entry.
_STACKABLE = {nn.Sequential, Layer, nn.Linear, *(row.module for row in ACTIVATIONS.values())} - {
    nn.PReLU
}
_ENTRYWISE = {"SGD", "Adam", "AdamW", "RMSprop", "Rprop", "Adagrad", "Adadelta", "NAdam", "RAdam"}
# Beyond these sizes a layer takes so long to compute that there is no overhead worth saving, or
# the matrices of all networks no longer fit the cache: benchmarks/family_speed.py.
_OUTPUT, _WEIGHTS = 16_384, 65_536  # bytes


def _groups(nets, batch_size, optimizer):
    """Indices of the networks that are trained side by side, a list for each group."""
    groups = defaultdict(list)
    entrywise = type(optimizer([nn.Parameter(torch.zeros(1))])).__name__ in _ENTRYWISE
    for i, net in enumerate(nets):
        parameters = [(p.shape, p.dtype, p.requires_grad) for p in net.parameters()]
        stackable = entrywise and _can_be_stacked(net, batch_size)
        groups[(repr(net), *parameters) if stackable else i].append(i)
    return list(groups.values())


def _can_be_stacked(net, batch_size):
    modules = list(net.modules())
    parameters = list(net.parameters())
    return (
        all(type(module) in _STACKABLE for module in modules)
        and not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
        and all(module.bias is not None for module in modules if isinstance(module, nn.Linear))
        and not any(
            isinstance(module, Layer) and module.connection == "dense" for module in modules
        )
        and len(parameters) == len(list(net.named_parameters(remove_duplicate=False)))
        and max(p.shape[0] * p.itemsize for p in parameters) * batch_size < _OUTPUT
        and max(p.nbytes for p in parameters) <= _WEIGHTS
    )


class _Single:
    """One network, in the shape of a family of one."""

    def __init__(self, net):
        self.nets, self.size = [net], 1
        self.parameters = [p for p in net.parameters() if p.requires_grad]

    def __call__(self, x):
        return self.nets[0](x)[None]

    def norms(self):
        gradients = [p.grad.flatten() for p in self.parameters if p.grad is not None]
        return torch.linalg.vector_norm(torch.cat(gradients))[None]

    def scale_gradients(self, factors):
        for p in self.parameters:
            if p.grad is not None:
                p.grad *= factors[0].to(p.dtype)

    def store(self):
        pass


class _Family(_Single):
    """Networks of one shape, side by side: every parameter has a first axis (networks,)."""

    def __init__(self, nets):
        self.nets, self.size = nets, len(nets)
        self.together = copy.deepcopy(nets[0])
        for name, module in nets[0].named_modules():
            if isinstance(module, nn.Linear):
                self.together.set_submodule(name, _Linears([n.get_submodule(name) for n in nets]))
        self.parameters = [p for p in self.together.parameters() if p.requires_grad]

    def __call__(self, x):
        return self.together(x)

    def norms(self):
        squares = [p.grad.flatten(1).square().sum(dim=1) for p in self.parameters]
        return torch.stack(squares).sum(dim=0).sqrt()

    def scale_gradients(self, factors):
        for p in self.parameters:
            p.grad *= factors.to(p.dtype).view(-1, *[1] * (p.ndim - 1))

    def store(self):
        for module in self.together.modules():
            if isinstance(module, _Linears):
                module.store()


class _Linears(nn.Module):
    """Several ``nn.Linear`` side by side, from (networks, examples, fan_in) to (…, fan_out).

    ``torch.vmap`` does the same for any module, at several times the overhead.
    """

    def __init__(self, linears):
        super().__init__()
        self.linears = (*linears,)  # a tuple, so that torch does not count their parameters
        for name in ("weight", "bias"):
            parameters = [getattr(linear, name) for linear in linears]
            values = torch.stack([parameter.detach() for parameter in parameters])
            setattr(self, name, nn.Parameter(values, requires_grad=parameters[0].requires_grad))

    def forward(self, x):
        x = x.expand(len(self.weight), *x.shape[-2:])  # the input is the same for all networks
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)

    @torch.no_grad()
    def store(self):
        for linear, weight, bias in zip(self.linears, self.weight, self.bias, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)


def _loop(family, task, order, optimizer, loss_fn, bar, *, score, target, check_every, clip):
    losses, steps = [], len(order)
    reached = np.full(family.size, np.nan)
    diverged = np.zeros(family.size, dtype=bool)
    active = torch.ones(family.size, dtype=torch.bool)
    everyone = True
    step_optimizer = optimizer(family.parameters)
    for step, chosen in enumerate(order):
        x, y = task.train.inputs[chosen], task.train.targets[chosen]
        step_optimizer.zero_grad()
        values = _loss_by_network(loss_fn, family, Batch(x, y))
        current = values.detach()
        finite = current.isfinite()
        losses.append(current if everyone else current.masked_fill(~active, torch.nan))
        if not finite.all():
            diverged |= (active & ~finite).numpy()
            active &= finite
            everyone = False
        values.sum().backward()
        if clip is not None:
            family.scale_gradients((clip / family.norms()).clamp(max=1.0))
        if everyone:
            step_optimizer.step()
        else:
            _step_active(family, step_optimizer, active)
        bar.update()
        if target is not None and (step + 1) % check_every == 0:
            done = active & (_score(family, task, score) >= target)
            reached[done.numpy()] = step + 1
            active &= ~done
            everyone = bool(active.all())
        if not everyone and not active.any():
            bar.update(steps - step - 1)
            break
    family.store()
    history = np.full((family.size, steps), np.nan)
    history[:, : len(losses)] = torch.stack(losses, dim=1).double().numpy()
    return history, reached, _score(family, task, score).numpy(), diverged


def _loss_by_network(loss_fn, family, batch):
    """One loss for each network, (networks,)."""
    if family.size == 1:
        return loss_fn(family.nets[0], batch)[None]
    outputs = family(batch.inputs)  # (networks, examples, …)
    if loss_fn is cross_entropy:  # several times cheaper than by vmap
        targets = batch.targets.repeat(len(outputs))
        values = F.cross_entropy(outputs.flatten(0, 1), targets, reduction="none")
        return values.view(len(outputs), -1).mean(dim=1)
    return vmap(lambda output: loss_fn(lambda _: output, batch))(outputs)


def _step_active(family, step_optimizer, active):
    """One optimizer step that leaves networks that have stopped where they are."""
    if family.size > 1:
        stopped = ~active
        before = [p.detach()[stopped].clone() for p in family.parameters]
        step_optimizer.step()
        with torch.no_grad():
            for p, old in zip(family.parameters, before, strict=True):
                p[stopped] = old


@torch.no_grad()
def _score(family, task, score):
    modes = [(module, module.training) for net in family.nets for module in net.modules()]
    for net in family.nets:
        net.eval()
    outputs = family(task.train.inputs[:SCORED])
    for module, mode in modes:
        module.training = mode
    scores = [score(one, task.train.targets[:SCORED]) for one in outputs]
    return torch.stack([torch.as_tensor(s, dtype=torch.float64) for s in scores])
