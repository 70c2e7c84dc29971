"""Usual mistakes in calling the instrument: each message says what was given and what is wanted."""

import copy
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.data import Dataset, IterableDataset

from vglib.diagnosis.look import parts_of
from vglib.layers import as_written

MEMORY = 2**30  # bytes of batches that are kept at most, once there are a few
FEW = 8
_LIKE = "lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])"


def taken(batches: Iterable, most: int) -> list:
    """The first ``most`` of ``batches``, or fewer where they are large."""
    if isinstance(batches, Dataset) and not isinstance(batches, IterableDataset):
        raise ValueError(
            f"batches is a {type(batches).__name__}, which gives single examples; give a loader of "
            "it: torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)"
        )
    if isinstance(batches, torch.Tensor | dict) or _is_one_batch(batches):
        raise ValueError(
            f"batches looks like one batch, {described(batches)}; give a list of batches, such as "
            "[batch], or a DataLoader"
        )
    try:
        stream = iter(batches)
    except TypeError:
        raise ValueError(f"batches must be a list or a loader, not {batches!r}") from None
    kept, size = [], 0
    for batch in islice(stream, most):
        kept.append(batch)
        size += sum(t.nbytes for t in parts_of(batch).values())
        if size > MEMORY and len(kept) >= FEW:
            break
    if not kept:
        raise ValueError("diagnose needs at least one batch; batches gave none")
    return kept


def _is_one_batch(batches):
    """A pair of tensors of one length but unlike shapes is inputs and targets."""
    if not isinstance(batches, tuple | list) or not 2 <= len(batches) <= 4:
        return False
    if not all(isinstance(t, torch.Tensor) and t.ndim for t in batches):
        return False
    unlike = len({(t.shape[1:], t.dtype) for t in batches}) > 1
    return unlike and len({len(t) for t in batches}) == 1


def own_copy(model: Any, loss_fn: Callable, batch: Any) -> nn.Module:
    """A copy of the reader's model as it was written, lazy modules built; its mode is respected."""
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            f"diagnose needs a torch module that takes hooks, not {type(model).__name__}"
        )
    if not callable(loss_fn) or isinstance(loss_fn, nn.Module):
        raise ValueError(
            "loss_fn must be a function of the model and a batch, such as "
            f"{_LIKE}; not {type(loss_fn).__name__}"
        )
    try:
        own = copy.deepcopy(as_written(model))
    except Exception as error:
        raise ValueError(f"the {type(model).__name__} cannot be copied: {error}") from error
    if any(is_lazy(p) for p in own.parameters()):
        with torch.no_grad():
            loss_fn(own, batch)
    for p in own.parameters():
        p.grad = None
    return own


def explained(loss_fn: Callable, batches: list) -> Callable:
    """``loss_fn``, whose errors say on which batch they came, and what often helps."""

    def safe(model, batch):
        try:
            return loss_fn(model, batch)
        except Exception as error:
            if isinstance(error, Unusable):
                raise
            place = next((f"batch {i}" for i, b in enumerate(batches) if b is batch), "a batch")
            raise Unusable(
                f"loss_fn(model, batch) failed on {place}, {described(batch)}: "
                f"{type(error).__name__}: {str(error).rstrip('.')}{_hint(error, model, batch)}"
            ) from error

    return safe


class Unusable(ValueError):
    """What the reader gave does not run."""


def _hint(error, model, batch):
    words = str(error)
    if isinstance(error, TypeError) and "argument" in words:
        return f". It is called with the model and a batch: {_LIKE}"
    if "Expected more than 1 value per channel" in words:
        return ". Batch norm needs two examples: DataLoader(…, drop_last=True), or model.eval()"
    types = {t.dtype for t in parts_of(batch).values() if t.is_floating_point()}
    own = next((p.dtype for p in model.parameters()), None)
    if "dtype" in words or ("type" in words.lower() and "expected" in words.lower()):
        given = ", ".join(str(t) for t in types) or "whole numbers"
        return f". The batch has {given}, the model {own}: convert one, as with x.float()"
    if isinstance(error, IndexError) and "Target" in words:
        return ". Labels must be whole numbers from 0 to the number of outputs less one"
    return ""


def described(batch: Any) -> str:
    """A batch in words: the shapes and types of its tensors."""
    parts = parts_of(batch)
    if isinstance(batch, torch.Tensor):
        return f"a tensor of shape {tuple(batch.shape)}"
    if not parts:
        return f"a {type(batch).__name__}"
    shapes = ", ".join(
        f"{name} {tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}"
        for name, t in parts.items()
    )
    return f"a {type(batch).__name__} of {shapes}"


def check_loss(loss: Any, ran: set, model: nn.Module) -> None:
    """Raise ValueError unless a loss is a scalar tensor of this model, not yet differentiated."""
    if isinstance(loss, dict | tuple | list):
        raise ValueError(
            f"loss_fn must return a scalar tensor, not {type(loss).__name__}; take the loss alone"
        )
    if not isinstance(loss, torch.Tensor):
        raise ValueError(
            f"loss_fn must return a scalar tensor, not {type(loss).__name__}; leave out .item()"
        )
    if loss.numel() != 1:
        raise ValueError(
            f"loss_fn must return a scalar tensor, not {tuple(loss.shape)}; take its mean"
        )
    if not ran:
        raise ValueError(
            f"loss_fn ran no part of the {type(model).__name__} that it was given; it must use its "
            "argument, not a model from outside"
        )
    if any(p.grad is not None for p in model.parameters()):
        raise ValueError("loss_fn must not call backward: diagnose does; return the loss alone")


class Steps:
    """What the reader trains with, for one copy: optimizers, and schedules that come after.

    A schedule that starts below its rate, to warm up, moves at each step, others after each pass
    over the batches.
    """

    def __init__(self, make: Callable, model: nn.Module, batches: int = 1):
        if isinstance(make, torch.optim.Optimizer):
            name = type(make).__name__
            raise ValueError(
                f"optimizer must be a function from parameters to an optimizer, not one that "
                f"holds your model's: copies are trained. Give lambda p: torch.optim.{name}(p, "
                f"lr={make.defaults.get('lr')})"
            )
        given = [p for p in model.parameters() if p.requires_grad]
        try:
            made = make(given)
        except TypeError as error:
            raise ValueError(
                "optimizer must be a function of the parameters, such as lambda p: "
                f"torch.optim.Adam(p, lr=0.001): {error}"
            ) from error
        made = list(made) if isinstance(made, list | tuple) else [made]
        self.optimizers = [
            one for one in made if hasattr(one, "zero_grad") and hasattr(one, "step")
        ]
        self.schedules = [one for one in made if one not in self.optimizers]
        if not self.optimizers or not all(hasattr(one, "step") for one in self.schedules):
            kinds = ", ".join(type(one).__name__ for one in made)
            raise ValueError(f"optimizer must return an optimizer, or several, not {kinds}")
        if any(isinstance(one, torch.optim.LBFGS) for one in self.optimizers):
            raise ValueError("diagnose takes plain steps; LBFGS needs a closure: give another")
        own = {id(p) for p in model.parameters()}
        held = {id(p) for group in self.groups for p in group["params"]}
        if self.groups and given and not held & own:
            raise ValueError(
                "optimizer made an optimizer of other parameters than those it was given; use its "
                "argument: lambda p: torch.optim.Adam(p, lr=0.001)"
            )
        self.held = held if self.groups else own
        warms_up = any(g["lr"] < g.get("initial_lr", g["lr"]) for g in self.groups if "lr" in g)
        self._taken, self._pass = 0, 1 if warms_up else batches

    @property
    def groups(self) -> list[dict]:
        """The groups of all optimizers, also of those in a wrapper."""
        inner = [
            one if hasattr(one, "param_groups") else getattr(one, "optimizer", None)
            for one in self.optimizers
        ]
        return [group for one in inner for group in getattr(one, "param_groups", [])]

    @property
    def is_scheduled(self) -> bool:
        """Whether something else sets the rate as training goes."""
        known = all(isinstance(one, torch.optim.Optimizer) for one in self.optimizers)
        return bool(self.schedules) or not known

    def zero_grad(self) -> None:
        for one in self.optimizers:
            one.zero_grad()

    def step(self, loss: torch.Tensor) -> None:
        for one in self.optimizers:
            one.step()
        self._taken += 1
        for one in self.schedules if self._taken % self._pass == 0 else ():
            plateau = isinstance(one, torch.optim.lr_scheduler.ReduceLROnPlateau)
            one.step(loss.detach()) if plateau else one.step()
