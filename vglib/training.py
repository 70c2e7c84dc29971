"""The one training loop, for a single network or a family at once; and sweeps over settings."""

import sys
from dataclasses import dataclass
from itertools import product

import joblib
import numpy as np
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from tqdm import tqdm

from vglib.checks import as_list, at_least_one, positive, settings_of

SCORED = 1_000  # examples on which a score is measured


def accuracy(outputs, targets):
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
    nets,
    task,
    *,
    steps,
    batch_size,
    optimizer,
    seed,
    loss=F.cross_entropy,
    score=accuracy,
    target=None,
    check_every=50,
    clip=None,
    progress=True,
):
    """Train ``nets``, one module or a list of modules of one shape, in place; returns a `Training`.

    ``optimizer`` is a function from parameters to a torch optimizer. At each step every network
    sees the same ``batch_size`` training examples; ``seed`` orders them, epoch by epoch. Every
    ``check_every`` steps ``score(outputs, targets)`` is measured; a network whose score is at
    least ``target`` stops there. ``clip`` is the largest norm of a network's gradient. Dense
    networks without buffers or dropout are trained side by side, which is faster; all others one
    after another. Both give the same to rounding for one step; after many, deep chaotic networks
    differ in any precision. Raises ValueError for bad sizes and an empty list.
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
    order = _order(len(task.train.targets), steps, batch_size, seed)
    together = len(nets) > 1 and all(_can_be_stacked(net) for net in nets)
    groups = [nets] if together else [[net] for net in nets]
    seen = sys.stderr.isatty() or "ipykernel" in sys.modules
    bar = tqdm(total=len(groups) * steps, unit="step", disable=not (progress and seen))
    parts = []
    with bar:
        for group in groups:
            family = _Family(group) if together else _Single(group[0])
            stop = dict(score=score, target=target, check_every=check_every, clip=clip)
            parts.append(_loop(family, task, order, optimizer, loss, bar, **stop))
    arrays = [np.concatenate(values) for values in zip(*parts, strict=True)]
    return Training(*arrays, tuple(settings_of(net) for net in nets))


def _order(examples, steps, batch_size, seed):
    """Indices of the examples of each step, (steps, batch_size): whole epochs, newly shuffled."""
    generator = torch.Generator().manual_seed(seed)
    each = examples // batch_size
    epochs = [torch.randperm(examples, generator=generator) for _ in range(-(-steps // each))]
    return torch.cat([e[: each * batch_size].view(each, batch_size) for e in epochs])[:steps]


def _can_be_stacked(net):
    kinds = (nn.Conv1d, nn.Conv2d, nn.RNNBase, nn.Dropout, nn.BatchNorm1d, nn.MultiheadAttention)
    plain = not any(isinstance(module, kinds) for module in net.modules())
    return plain and next(net.buffers(), None) is None


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
        self.stacked, _ = stack_module_state(nets)
        trainable = [p.requires_grad for p in nets[0].parameters()]
        self.parameters = [p for p, t in zip(self.stacked.values(), trainable, strict=True) if t]
        for p, t in zip(self.stacked.values(), trainable, strict=True):
            p.requires_grad_(t)
        one = nets[0]
        self.run = vmap(lambda p, x: functional_call(one, p, (x,)), in_dims=(0, None))

    def __call__(self, x):
        return self.run(self.stacked, x)

    def norms(self):
        squares = [p.grad.flatten(1).square().sum(dim=1) for p in self.parameters]
        return torch.stack(squares).sum(dim=0).sqrt()

    def scale_gradients(self, factors):
        for p in self.parameters:
            p.grad *= factors.to(p.dtype).view(-1, *[1] * (p.ndim - 1))

    def store(self):
        with torch.no_grad():
            for name, values in self.stacked.items():
                for net, value in zip(self.nets, values, strict=True):
                    net.get_parameter(name).copy_(value)


def _loop(family, task, order, optimizer, loss, bar, *, score, target, check_every, clip):
    losses, steps = [], len(order)
    reached = np.full(family.size, np.nan)
    diverged = np.zeros(family.size, dtype=bool)
    active = torch.ones(family.size, dtype=torch.bool)
    everyone = True
    step_optimizer = optimizer(family.parameters)
    for step, chosen in enumerate(order):
        x, y = task.train.inputs[chosen], task.train.targets[chosen]
        step_optimizer.zero_grad()
        values = _loss_by_network(loss, family(x), y)
        seen = values.detach()
        finite = seen.isfinite()
        losses.append(seen if everyone else seen.masked_fill(~active, torch.nan))
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


def _loss_by_network(loss, outputs, y):
    """One loss for each network; outputs have shape (networks, examples, …)."""
    if len(outputs) == 1:
        return loss(outputs[0], y)[None]
    return vmap(loss, in_dims=(0, None))(outputs, y)


def _step_active(family, step_optimizer, active):
    """One optimizer step that leaves networks that have stopped where they are."""
    if family.size > 1:
        stopped = ~active
        kept = [p.detach()[stopped].clone() for p in family.parameters]
        step_optimizer.step()
        with torch.no_grad():
            for p, old in zip(family.parameters, kept, strict=True):
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


def sweep(function, *, n_jobs=-1, **settings):
    """Call ``function`` with every combination of ``settings``, lists of values by keyword.

    Returns a dict from a tuple of values, in the order of ``settings``, to what the function gave.
    Runs through joblib: inside ``joblib.parallel_config(backend="dask")`` the same call runs on a
    Dask cluster.
    """
    if not settings or not all(len(list(values)) for values in settings.values()):
        raise ValueError(f"sweep needs at least one value for each keyword, not {settings}")
    combinations = list(product(*settings.values()))
    calls = (
        joblib.delayed(function)(**dict(zip(settings, choice, strict=True)))
        for choice in combinations
    )
    return dict(zip(combinations, joblib.Parallel(n_jobs=n_jobs)(calls), strict=True))
