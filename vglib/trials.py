"""Short training runs of copies of a reader's model: as it is, and with one thing changed."""

import copy
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

from vglib.anatomy import HALVES, layers_of
from vglib.monitor import Monitor, MonitorRecord
from vglib.numerics import norm
from vglib.trace import eager

STEPS = 100  # of one trial
JUDGED = 8  # batches over which the loss is averaged at the end
# Modules whose output is not their weight times their input.
_OTHERWISE = nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention | nn.Embedding | nn.EmbeddingBag


@dataclass(frozen=True)
class Case:
    """A model to be copied and what trains it; ``batches`` is a list."""

    model: nn.Module
    loss_fn: object
    batches: list
    optimizer: object
    seed: int

    def optimizers(self, model: nn.Module) -> list:
        """The reader's optimizer or optimizers, for the trainable parameters of ``model``."""
        made = self.optimizer([p for p in model.parameters() if p.requires_grad])
        return list(made) if isinstance(made, (list, tuple)) else [made]


class Remedy(NamedTuple):
    """One change, in words: of the copied model, or of each group of the optimizer's."""

    words: str
    model: object = None
    group: object = None


@dataclass(frozen=True)
class Trial:
    """One short training run of a copy.

    ``losses``: at each step, before its update; it ends where a loss is not finite. ``loss``: mean
    over some batches at the end, infinite if it ever was not finite. ``blind``: the same with the
    model's outputs dealt out to other examples: what a model reaches that knows nothing about its
    inputs. NaN where outputs cannot be dealt out. ``update``: change of the matrices in the first
    step, relative to their size; ``unmoved``: share of their entries that it left as they were.
    ``record``: the Monitor's, None for a model without layers.
    """

    losses: np.ndarray
    loss: float
    blind: float
    update: float
    unmoved: float
    record: MonitorRecord | None


@contextmanager
def set_aside(seed: int) -> Iterator[None]:
    """Random numbers start from ``seed`` here; outside, all random states are as before."""
    # A reader's loss may draw from numpy's global generator, so that one counts as well.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(), eager():
            _start_again(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _start_again(seed):
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def run(
    case: Case,
    remedy: Remedy | None = None,
    *,
    steps: int = STEPS,
    batches: list | None = None,
    judged: list | None = None,
) -> Trial:
    """Train a copy for ``steps`` steps and judge it; returns a `Trial`.

    Both over the case's batches, unless others are given.
    """
    batches = batches or case.batches
    model = copy.deepcopy(case.model)
    _start_again(case.seed)
    if remedy and remedy.model:
        remedy.model(model)
    optimizers = case.optimizers(model)
    if remedy and remedy.group:
        for group in [group for optimizer in optimizers for group in optimizer.param_groups]:
            remedy.group(group)
    _start_again(case.seed)
    losses, watch, moved = [], _watching(model, steps), (0.0, 0.0)
    with watch or nullcontext():
        for step in range(steps):
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = case.loss_fn(model, batches[step % len(batches)])
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                break
            loss.backward()
            before = [p.detach().clone() for p in model.parameters()] if step == 0 else None
            for optimizer in optimizers:
                optimizer.step()
            if before:
                moved = _moved(model, before)
    loss, blind = _judge(case, model, judged or batches)
    return Trial(
        losses=np.array(losses),
        loss=loss if np.isfinite(losses).all() else math.inf,
        blind=blind,
        update=moved[0],
        unmoved=moved[1],
        record=watch and watch.record(),
    )


def _watching(model, steps):
    every = max(1, (steps - 1) // 3)
    return Monitor(model, every=every, saturation=True) if layers_of(model) else None


@torch.no_grad()
def _moved(model, before):
    """How far all matrices moved, relative to their size, and the share of entries that stayed."""
    pairs = [(p, old) for p, old in zip(model.parameters(), before, strict=True) if p.ndim > 1]
    pairs = [(p.detach(), old) for p, old in pairs if p.grad is not None]
    size = math.hypot(*(norm(old) for _, old in pairs))
    moved = math.hypot(*(norm(p - old) for p, old in pairs))
    stayed = sum(int((p == old).sum()) for p, old in pairs)
    return moved / size if size > 0 else 0.0, stayed / max(sum(p.numel() for p, _ in pairs), 1)


def _judge(case, model, batches):
    """Loss over several batches, as it is and with the outputs dealt out to other examples."""
    chosen, dealt = batches[:JUDGED], []
    _start_again(case.seed)
    loss = _mean_loss(case, model, chosen)

    def deal(module, arguments, output):
        sizes = [len(t) for t in tree_leaves(output) if isinstance(t, torch.Tensor) and t.ndim]
        if not sizes or sizes[0] < 2:
            return None
        dealt.append(sizes[0])
        return tree_map(partial(_reorder, torch.randperm(sizes[0])), output)

    with model.register_forward_hook(deal):
        blind = _mean_loss(case, model, chosen)
    return loss if math.isfinite(loss) else math.inf, blind if dealt else math.nan


def _mean_loss(case, model, batches):
    # With gradients, as reentrant checkpoints complain without.
    return float(np.mean([case.loss_fn(model, batch).item() for batch in batches]))


def _reorder(order, leaf):
    fits = isinstance(leaf, torch.Tensor) and leaf.ndim and len(leaf) == len(order)
    return leaf[order.to(leaf.device)] if fits else leaf


def is_paired(case: Case) -> bool:
    """Whether the loss asks which output belongs to which example; a GAN's generator's does not."""
    model, losses = copy.deepcopy(case.model), []

    def made_up(dealt, module, arguments, output):
        def shaken(leaf):
            if not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point() or not leaf.ndim:
                return leaf
            # Between 0 and 1 if the outputs are: they may be probabilities.
            new = leaf * (0.5 + 0.4 * torch.rand_like(leaf)) + 0.1 * torch.rand_like(leaf)
            return new[torch.randperm(len(new)).to(new.device)] if dealt else new

        return tree_map(shaken, output)

    for dealt in (False, True):
        _start_again(case.seed)
        with model.register_forward_hook(partial(made_up, dealt)):
            losses.append(_mean_loss(case, model, case.batches[:1]))
    return not abs(losses[0] - losses[1]) <= 1e-6 * abs(losses[0])  # also where it is not finite


def _units(module, z):
    """The axis of an output that counts units: the last one, or the second for convolutions."""
    return 1 if module.weight.ndim > 2 else z.ndim - 1


def _scales(module):
    """Whether a module is a Linear, a Conv, or one of the reader's own of their kind."""
    weight = getattr(module, "weight", None)
    own = isinstance(weight, nn.Parameter) and weight.ndim > 1
    return own and not isinstance(module, _OTHERWISE)


def odd_matrices(model: nn.Module) -> dict:
    """Matrices outside Linear and Conv layers that are far from unit size: name → (it, size)s."""
    odd = {}
    for name, module in model.named_modules():
        recurrent = isinstance(module, nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention)
        if recurrent or _scales(module):
            continue
        for p in module.parameters(recurse=False):
            size = norm(p) / max(p.shape) ** 0.5 if p.ndim == 2 else 1.0
            if p.requires_grad and 0 < size < math.inf and not 0.1 < size < 10:
                odd.setdefault(name, []).append((p, size))
    return odd


def rescale(case: Case, model: nn.Module) -> None:
    """Give Linear and Conv layers outputs of RMS 1 on the first batch, one after another.

    After Mishkin and Matas (2016), but the weights keep their directions. Where the mean over
    examples outweighs the rest, as behind sigmoids or with all units off, the bias takes it away.
    The read-out stays as it is; layers that run several times are set at their first run. Other
    matrices far from unit size are brought to it.
    """
    with torch.no_grad():
        for p, size in [pair for pairs in odd_matrices(model).values() for pair in pairs]:
            p /= size
    done, handles = set(), []

    @torch.no_grad()
    def hook(name, module, arguments, z):
        if name in done:
            return None
        done.add(name)
        units = _units(module, z)
        other = [axis for axis in range(z.ndim) if axis != units]
        if not float(z.std()) > 1e-9 * float(z.abs().max()):
            nn.init.orthogonal_(module.weight)
            z = module.forward(*arguments)
        mean = z.mean(dim=other, keepdim=True)
        rest = z - mean
        bias = getattr(module, "bias", None)
        if bias is None or mean.square().mean() < 3 * rest.square().mean():
            mean, rest = torch.zeros_like(mean), z
        size = float(rest.square().mean() ** 0.5)
        if not 0 < size < math.inf:
            return None
        module.weight /= size
        if bias is not None:
            bias.copy_((bias - mean.flatten()) / size)
        # Neither without gradients, of which checkpoints complain, nor a leaf, which nothing may
        # overwrite.
        with torch.enable_grad():
            return (rest / size).requires_grad_().clone()

    for name, module in list(layers_of(model).items())[:-1]:
        if _scales(module) and module.weight.requires_grad:
            handles.append(module.register_forward_hook(partial(hook, name)))
    case.loss_fn(model, case.batches[0])
    for handle in handles:
        handle.remove()


def normalise(model: nn.Module) -> None:
    """Batch normalisation without parameters after each Linear and Conv layer but the last."""

    def hook(module, arguments, z):
        if _units(module, z) == 1:
            return F.batch_norm(z, None, None, training=True)
        return F.batch_norm(z.flatten(0, -2), None, None, training=True).view_as(z)

    for module in list(layers_of(model).values())[:-1]:
        if _scales(module):
            module.register_forward_hook(hook)


@torch.no_grad()
def open_memory(longest: int, chrono: bool, model: nn.Module) -> None:
    """Orthogonal recurrent matrices; gates that forget within ``longest`` steps.

    With ``chrono``, each unit within a time of its own (Tallec and Ollivier 2018), and input gates
    to match.
    """
    for module in model.modules():
        if not isinstance(module, nn.RNNBase | nn.RNNCellBase):
            continue
        size = module.hidden_size
        kind = "RNN" if isinstance(module, nn.RNN | nn.RNNCell) else "gated"
        for name, p in module.named_parameters():
            if kind == "RNN" and name.startswith("weight_hh"):
                nn.init.orthogonal_(p)
            if kind == "gated" and name.startswith("bias_"):
                # In torch's order: i f g o for an LSTM, r u n for a GRU. Two biases are added.
                times = torch.full((size,), float(longest))
                times = times.uniform_(1, max(longest - 1, 2)) if chrono else times
                drawn = times.log().to(p)
                p[size : 2 * size] = drawn if name.startswith("bias_ih") else 0
                if chrono and isinstance(module, nn.LSTM | nn.LSTMCell):
                    p[:size] = -drawn if name.startswith("bias_ih") else 0


def standardise(model: nn.Module) -> None:
    """Inputs of mean 0 and variance 1 over the examples of a batch, entry by entry."""

    def scaled(leaf):
        if not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point() or leaf.ndim < 2:
            return leaf
        spread = leaf.std(dim=0, keepdim=True).clamp(min=1e-6 * float(leaf.abs().max()) + 1e-30)
        return (leaf - leaf.mean(dim=0, keepdim=True)) / spread

    _before_forward(model, scaled)


def in_single_precision(model: nn.Module) -> None:
    """Weights in float32, and inputs of half precision with them."""

    def widened(leaf):
        half = isinstance(leaf, torch.Tensor) and leaf.dtype in HALVES
        return leaf.float() if half else leaf

    model.float()
    _before_forward(model, widened)


def _before_forward(model, change):
    def hook(module, arguments, keywords):
        return tree_map(change, (arguments, keywords))

    model.register_forward_pre_hook(hook, with_kwargs=True)
