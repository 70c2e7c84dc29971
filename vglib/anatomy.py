"""What one forward and one backward pass show of a reader's model, whatever it is made of."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from vglib.batch import LossFn
from vglib.layers import layers as layers_of
from vglib.numerics import norm

HALVES = {torch.float16, torch.bfloat16}
REPEATED = 5  # a layer that runs this often in one forward pass is looked at by lag
PEAKED = 0.95  # mean largest share of a softmax above which it is taken for saturated
_SATURATING = {"sigmoid": (0.01, 0.99), "tanh": (-0.98, 0.98), "logsigmoid": (-4.6, -0.01)}


@dataclass(frozen=True)
class Anatomy:
    """A model in one pass over one batch. Layers are those of `probes.places`, by name.

    ``entries``: numbers in all outputs of a layer. ``gains``: by how much its weights alone scale
    the norm of a random gradient, ‖W‖/√(outputs). ``halves``: whether some outputs are in half
    precision. ``lags``: for layers that carry a state from step to step, the gradient of a random
    projection of the last output, by lag, over its value at lag 0; where there are none, and the
    gradient of the output by the time steps of an input changes by two decades, the same for the
    model as a whole, under the name "". ``gated``: those of them that have gates; ``squashed``:
    those that pass their state through a sigmoid. ``idle``: modules that ran, and none of whose
    trainable parameters gets a gradient. ``peaked``: layers that ran just before a softmax that
    gives nearly all to one entry. ``flat_loss``: whether an activation in the loss is saturated.
    ``constant``: whether all examples are the same to the model; ``finite``: whether its inputs
    are; ``unscaled``: whether some are far from unit size, ``unscaled_batch`` whether anything in
    the batch is. ``outside``: parameters that are not the model's, as those of a GAN's other
    network.
    """

    entries: dict
    gains: dict
    halves: bool
    lags: dict
    gated: frozenset
    squashed: frozenset
    idle: tuple
    peaked: tuple
    flat_loss: bool
    constant: bool
    finite: bool
    unscaled: bool
    unscaled_batch: bool
    outside: tuple


def anatomy(model: nn.Module, loss_fn: LossFn, batch: Any) -> Anatomy:
    """Run ``loss_fn(model, batch)`` once, forward and backward, and return an `Anatomy`.

    Raises ValueError if the loss is not a scalar, or not of this model.
    """
    watch = _Watch(model)
    with torch.enable_grad(), watch:
        loss = loss_fn(model, batch)
    watch.remove()
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        got = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise ValueError(f"loss_fn must return a scalar tensor, not {got}")
    if not watch.ran:
        raise ValueError(
            f"loss_fn ran no part of the {type(model).__name__} that it was given; it must use its "
            "argument, not a model from outside"
        )
    own = {id(p) for p in model.parameters()}
    outside = tuple((p, p.grad) for p in _leaves(loss) if id(p) not in own)
    for p, _ in outside:  # so that nothing is added to what is there
        p.grad = None
    lags = {}
    for name, runs in watch.outputs.items():
        sizes = watch.by_lag(name, runs)
        if sizes is not None and sizes[0] > 0:
            lags[name] = np.array(sizes) / sizes[0]
    if not lags:
        lags = watch.by_input_lag()
    if loss.requires_grad:
        loss.backward()
    ran = {name: model.get_submodule(name).parameters(recurse=False) for name in watch.ran}
    idle = {name for name, ps in ran.items() if all(p.grad is None for p in ps if p.requires_grad)}
    return Anatomy(
        entries={n: sum(r[0].numel() for r in runs) for n, runs in watch.outputs.items()},
        gains={name: _gain(model.get_submodule(name)) for name in watch.outputs},
        halves=any(
            t.dtype in HALVES for runs in watch.outputs.values() for run in runs for t in run
        ),
        lags=lags,
        gated=frozenset(name for name in lags if watch.has_gates(name)),
        squashed=frozenset(name for name in lags if watch.is_squashed(name)),
        idle=tuple(name for name, _ in model.named_modules() if name in idle),
        peaked=tuple(watch.peaked),
        flat_loss=watch.flat_loss,
        constant=bool(watch.varied) and not any(watch.varied),
        finite=all(watch.finite),
        unscaled=any(watch.unscaled),
        unscaled_batch=any(map(_is_unscaled, tree_leaves(batch))),
        outside=outside,
    )


class _Watch(TorchFunctionMode):
    """Hooks on every module, and an eye on the functions of torch that are called."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.outputs, self.inputs, self.ran = {}, {}, set()
        self.varied, self.finite, self.unscaled = [], [], []
        self.peaked, self.flat_loss, self.calls = [], False, Counter()
        self.sequence, self.answer = None, None
        self._inside = False
        self._handles = [
            model.register_forward_pre_hook(self._enter, with_kwargs=True),
            model.register_forward_hook(self._leave),
        ]
        layers = layers_of(model)
        for name, module in model.named_modules():
            if any(p.requires_grad for p in module.parameters(recurse=False)):
                self._add(module, lambda *_, name=name: self.ran.add(name))
            if name in layers:
                self._add(module, self._keep(name), with_kwargs=True)

    def _add(self, module, hook, **options):
        self._handles.append(module.register_forward_hook(hook, **options))

    def remove(self):
        """Take all hooks away."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, module, arguments, keywords):
        self._inside = True
        for x in tree_leaves((arguments, keywords)):
            if isinstance(x, torch.Tensor) and x.ndim and len(x) > 1:
                self.varied.append(bool((x != x[:1]).any()))
                if x.is_floating_point():
                    self.finite.append(bool(x.isfinite().all()))
                    self.unscaled.append(_is_unscaled(x))
        return tree_map(self._follow, (arguments, keywords))

    def _follow(self, x):
        """Keep the first input of shape (examples, time, features), ready for a gradient."""
        fits = isinstance(x, torch.Tensor) and x.is_floating_point() and x.ndim == 3
        # An input that has a gradient already may be what the loss differentiates by.
        if self.sequence is not None or not fits or x.requires_grad or x.shape[1] < REPEATED:
            return x
        # A copy, since a model may overwrite its input, but not a leaf that needs a gradient.
        self.sequence = x.detach().requires_grad_().clone()
        return self.sequence

    def _leave(self, module, arguments, output):
        self._inside = False
        if self.answer is None:
            tensors = [t for t in tree_leaves(output) if isinstance(t, torch.Tensor)]
            self.answer = next((t for t in tensors if t.requires_grad), None)

    def _keep(self, name):
        def hook(module, arguments, keywords, output):
            tensors = [t for t in tree_leaves(output) if isinstance(t, torch.Tensor)]
            self.outputs.setdefault(name, []).append(tensors)
            self.inputs.setdefault(name, [*arguments, *keywords.values()])
            # An in-place activation must not overwrite what is kept.
            return tree_map(lambda t: t.clone() if isinstance(t, torch.Tensor) else t, output)

        return hook

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        output = function(*arguments, **keywords)
        name = getattr(function, "__name__", "").rstrip("_")
        self.calls[name] += 1
        with torch.no_grad():
            if name == "scaled_dot_product_attention":
                query, key = [t.detach() for t in (*arguments, *keywords.values())[:2]]
                self._look_at_shares(F.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1))
            if name == "softmax" and self._inside:
                self._look_at_shares(output.detach())
            if name in _SATURATING and not self._inside and self.ran:
                low, high = _SATURATING[name]
                flat = (output <= low) | (output >= high)
                self.flat_loss |= bool(flat.float().mean() > 0.9)
        return output

    def _look_at_shares(self, shares):
        # Two of them at most: the layers that gave queries and keys.
        if shares.shape[-1] > 2 and float(shares.amax(dim=-1).mean()) > PEAKED:
            self.peaked += [name for name in list(self.outputs)[-3:] if name not in self.peaked]

    def by_lag(self, name, runs):
        """Sizes of the gradient of the last output by lag, or None where nothing is carried on."""
        module = self.model.get_submodule(name)
        if isinstance(module, nn.RNNBase):
            return _fused_by_lag(module, self.inputs[name][0])
        return _repeated_by_lag(runs) if len(runs) >= REPEATED else None

    def by_input_lag(self):
        """{"": sizes of the gradient of the model's output by lag}, or {} if it hardly changes."""
        x, output = self.sequence, self.answer
        if x is None or output is None:
            return {}
        last = output[:, -1] if output.shape[:2] == x.shape[:2] else output
        (gradient,) = torch.autograd.grad(
            last, x, torch.randn_like(last), retain_graph=True, allow_unused=True
        )
        sizes = [] if gradient is None else [norm(step) for step in reversed(gradient.unbind(1))]
        if not sizes or not sizes[0] > 0 or 0.01 < sizes[-1] / sizes[0] < 100:
            return {}
        return {"": np.array(sizes) / sizes[0]}

    def _runs(self, name):
        return len(self.outputs[name]) if name else self.sequence.shape[1]

    def is_squashed(self, name):
        """Whether a layer written out meets a sigmoid at each step, and no tanh."""
        runs = self._runs(name)
        return runs >= REPEATED and self.calls["sigmoid"] >= runs > self.calls["tanh"]

    def has_gates(self, name):
        """Whether a recurrent layer is an LSTM or GRU, or one written out."""
        module, runs = self.model.get_submodule(name), self._runs(name)
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            return not isinstance(module, nn.RNN | nn.RNNCell)
        return self.calls["sigmoid"] >= runs <= self.calls["tanh"]


def _is_unscaled(x):
    """Whether the largest entry of an example is, by its RMS over examples, far from 1."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or not x.ndim:
        return False
    size = float(x.detach().double().flatten(1 if x.ndim > 1 else 0).square().mean(0).max() ** 0.5)
    return not 0.02 < size < 20


def _gain(module):
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim < 2:
        return math.nan
    return norm(weight) / len(weight) ** 0.5


def _leaves(loss):
    """The leaf tensors that a loss was computed from."""
    leaves, queue, visited = [], [loss.grad_fn], set()
    while queue:
        node = queue.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        queue += [parent for parent, _ in node.next_functions]
    return leaves


def _fused_by_lag(module, x):
    if isinstance(x, nn.utils.rnn.PackedSequence):
        x, _ = nn.utils.rnn.pad_packed_sequence(x, batch_first=module.batch_first)
    axis = 1 if module.batch_first and x.ndim == 3 else 0
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        last = module(leaf)[0].select(axis, -1)
    (gradient,) = torch.autograd.grad(last, leaf, torch.randn_like(last))
    return [norm(step) for step in reversed(gradient.unbind(axis))]


def _repeated_by_lag(runs):
    last = [t for t in runs[-1] if t.requires_grad]
    flat = [t for run in runs for t in run if t.requires_grad]
    if not last:
        return None
    projections = [torch.randn_like(t) for t in last]
    gradients = torch.autograd.grad(last, flat, projections, retain_graph=True, allow_unused=True)
    sizes = {id(t): norm(g) for t, g in zip(flat, gradients, strict=True) if g is not None}
    by_run = [math.hypot(*(sizes.get(id(t), 0.0) for t in run)) for run in runs]
    return by_run[::-1] if any(by_run[:-1]) else None  # else a shared layer that carries nothing
