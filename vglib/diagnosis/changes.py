"""What is tried: single changes of a copy, its batches, its loss or its optimizer."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import (
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_unflatten,
)

from vglib.diagnosis.causes import LIMITS, fault
from vglib.diagnosis.evidence import Evidence, Run
from vglib.diagnosis.look import (
    DIFFERENCES,
    FITS,
    HALVES,
    OWN,
    Outermost,
    examples,
    is_part,
    look,
    odd_matrices,
    origin,
    parts_of,
)
from vglib.layers import layers, multiplies, units
from vglib.numerics import log10, rms
from vglib.trace import ACTIVATIONS

if TYPE_CHECKING:
    from vglib.diagnosis.experiments import Lab

UPDATES = (1e-2, 1e-3)  # relative steps that new learning rates aim at
BOLD = 1e-1  # the same, where nothing else has learnt much
DEEP = 10  # layers, from which on batch norm is tried
ROUNDS = 4  # of scaling, as slopes change with the weights
FUSED = nn.RNNBase | nn.RNNCellBase


@dataclass(frozen=True)
class Change:
    """One change: its kind, its words, and what it does.

    ``model(lab, copy)`` alters the copy, ``group(group)`` each group of the optimizer's,
    ``batches(batches)`` gives others, ``around()`` is a context around the loss,
    ``gradients(model)`` alters them before each step. ``own``: the loss is another one then, so
    that it has a yardstick of its own.
    """

    kind: str
    words: str
    model: Callable | None = None
    group: Callable | None = None
    batches: Callable | None = None
    around: Callable = nullcontext
    gradients: Callable | None = None
    factor: float = 1.0
    own: bool = False


def changes(lab: "Lab", evidence: Evidence) -> Iterator[Change]:
    """All that is worth a trial for this model, with what was seen of it so far."""
    groups, plain = lab.groups, evidence.as_it_is
    if evidence.halves or {p.dtype for p in lab.model.parameters()} & HALVES:
        yield Change("low precision", "single precision", in_single_precision, around=Precise)
    if any(map(_decays, groups)):
        yield Change("weight decay", "no weight decay", group=partial(_put, "weight_decay", 0.0))
    smallest = _smallest_gradient(lab.model, evidence)
    if any((group.get("eps") or 0.0) > 0.01 * smallest for group in groups):
        yield Change("optimizer epsilon", "ε of 1e-15", group=partial(_put, "eps", 1e-15))
    if evidence.unscaled:
        yield Change("data", "inputs standardised", standardise)
    far = [
        name
        for name, part in evidence.parts.items()
        if part["float"] and not part["input"] and part["far"]
    ]
    if far:
        words = f"targets standardised ({', '.join(far)})"
        yield Change("data", words, batches=partial(rescaled_parts, far), own=True)
    names = {trap.name for trap in evidence.traps}
    if names & REPAIRED.keys():
        words = " and ".join(REPAIRED[name] for name in sorted(names & REPAIRED.keys()))
        yield Change("trap", words, around=Repair, own=True)
    if is_sorted(lab.batches):
        yield Change("order", "examples shuffled over the batches", batches=shuffled, own=True)
    if not evidence.activations and not evidence.lags and len(evidence.layers) > 1:
        yield Change("activation", "a ReLU after each layer but the last", bend)
    whole = not hasattr(lab.model, "vglib_layers")  # whose read-out is none of its layers
    if whole and evidence.layers and evidence.activations.get(evidence.layers[-1]):
        words = f"no {evidence.activations[evidence.layers[-1]]} after the last layer"
        end = OpenEnd()
        yield Change("range", words, end.listen, around=lambda: end)
    if 0 < plain.update < math.inf:
        for aim in UPDATES:
            yield another_rate(plain, aim)
    yield Change("path", "weights rescaled layer by layer", rescale)
    if (path := evidence.path()) and path.lost > LIMITS.lost:
        places = fault(path, evidence.gains, LIMITS)[1]
        if len(places) < len(path.names):
            words = f"weights rescaled at {', '.join(places[:3])}{' …' * (len(places) > 3)} alone"
            yield Change("place", words, partial(rescale, only=places))
    if len(evidence.layers) >= DEEP:
        yield Change("path", "batch norm after each layer", normalise)
        yield Change("path", "a skip around each layer", add_skips)
    if evidence.peaked:
        yield Change("path", "the softmax's inputs at unit size", around=Calm)
    if any(isinstance(module, FUSED) for module in lab.model.modules()) and evidence.lags:
        longest = max(map(len, evidence.lags.values()))
        for words, chrono in (("gates open for all lags", False), ("chrono init", True)):
            opened = partial(open_memory, longest, chrono)
            yield Change("memory", f"recurrent weights of norm one, {words}", opened)
    elif any(evidence.lags):  # the input, by which others are told, has no name
        yield Change("memory", "recurrent weights rescaled over time", keep_over_time)
    if evidence.squashed:
        yield Change("memory", "tanh in place of the sigmoid", around=Centred)
    if not evidence.own > -LIMITS.half:
        clipped = lambda model: nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # noqa: E731
        yield Change("clip", "gradients clipped to a norm of 1", gradients=clipped)


def another_rate(plain: Run, aim: float) -> Change:
    """A learning rate whose first step changes the weights by a share ``aim`` of their size."""
    factor = aim / plain.update
    words = f"a learning rate {readable(factor)} times as high"
    return Change("learning rate", words, factor=factor)


def _decays(group):
    """Whether 300 steps of weight decay take a hundredth of the weights, or their share in steps.

    An optimizer that adds the decay to the gradient divides both by their size (Loshchilov and
    Hutter 2019), so there any decay may count.
    """
    decay, rate = group.get("weight_decay") or 0.0, float(group.get("lr", 1.0))
    return decay * rate * 300 > 0.01 or (decay > 0 and "betas" in group and decay >= 1e-3)


def _smallest_gradient(model, evidence):
    """The smallest RMS that any module's gradient had."""
    sizes = [0.0]
    for name, module in model.named_modules():
        count = sum(p.numel() for p in module.parameters(recurse=False))
        there = [size for size in evidence.gradients.get(name, ()) if size > 0]
        sizes += [size / count**0.5 for size in there] if count else []
    return min(sizes[1:], default=0.0)


def readable(number: float) -> str:
    """A factor in three digits or fewer."""
    return f"{number:.2g}" if number < 1000 else f"{number:.0e}"


def _put(name, value, group):
    if name in group:
        group[name] = value


# Of the loss and the batches ---------------------------------------------------------------------

REPAIRED = {
    "squashed twice": "scores given to the loss as they are",
    "no logarithm": "the logarithm given to the loss",
    "broadcast": "targets in the shape of the outputs",
}


class Repair(TorchFunctionMode):
    """While active, losses are given what they want: see `REPAIRED`."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords, name = keywords or {}, getattr(function, "__name__", "")
        if arguments and name in OWN:
            came, given = origin(arguments[0]), arguments[0]
            if came in OWN[name]:
                # The loss applies exp or sigmoid again: the inverse takes the first one away.
                tiny = torch.finfo(given.dtype).tiny
                bare = (
                    torch.logit(given, 1e-6) if came == "Sigmoid" else given.clamp_min(tiny).log()
                )
                arguments = (bare, *arguments[1:])
        pair = len(arguments) > 1 and all(isinstance(t, torch.Tensor) for t in arguments[:2])
        if pair and name in (*FITS, *DIFFERENCES):
            one, two = arguments[:2]
            if one.shape != two.shape and one.numel() == two.numel() > 1:
                arguments = (one, two.reshape(one.shape), *arguments[2:])
        return function(*arguments, **keywords)


class Precise(TorchFunctionMode):
    """While active, nothing is made half as precise, by a conversion or by autocast."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        name = getattr(function, "__name__", "")
        if name in ("half", "bfloat16"):
            return arguments[0].float()
        if name in ("to", "type"):
            arguments, keywords = tree_map(_single, (tuple(arguments), keywords or {}))
        tensor = next((leaf for leaf in tree_leaves(arguments) if is_part(leaf)), None)
        with torch.autocast(tensor.device.type if tensor is not None else "cpu", enabled=False):
            return function(*arguments, **keywords or {})


def _single(leaf):
    return torch.float32 if isinstance(leaf, torch.dtype) and leaf in HALVES else leaf


class Calm(TorchFunctionMode):
    """While active, what goes into a softmax has at most unit size."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        name = getattr(function, "__name__", "")
        if name == "softmax" and arguments:
            spread = (arguments[0] - arguments[0].mean(dim=-1, keepdim=True)).detach()
            arguments = (arguments[0] / max(rms(spread), 1.0), *arguments[1:])
        if name == "scaled_dot_product_attention" and len(arguments) > 1:
            size = rms(arguments[0]) * rms(arguments[1])
            arguments = (arguments[0] / max(size, 1.0), *arguments[1:])
        return function(*arguments, **keywords or {})


class Centred(TorchFunctionMode):
    """While active, tanh stands in for each sigmoid."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        name = getattr(function, "__name__", "").rstrip("_")
        return (torch.tanh if name == "sigmoid" else function)(*arguments, **keywords or {})


def rescaled_parts(names: list, batches: list) -> list:
    """Parts of batches with mean 0 and variance 1 over all examples, column by column."""
    found = {}
    for name in names:
        leaves = [_part(batch, name) for batch in batches]
        every = torch.cat([leaf.reshape(len(leaf), -1) for leaf in leaves])
        mean, spread = every.mean(dim=0), every.std(dim=0)
        found[name] = mean, torch.where(spread > 0, spread, torch.ones_like(spread))

    def scaled(name, leaf):
        if name not in found:
            return leaf
        mean, spread = found[name]
        return ((leaf.reshape(len(leaf), -1) - mean) / spread).view_as(leaf)

    return [_mapped(scaled, batch) for batch in batches]


def labels(batches: list) -> list:
    """The whole numbers, one for each example, that batches have; empty without."""
    for place, leaf in enumerate(parts_of(batches[0]).values()):
        if leaf.ndim == 1 and not leaf.is_floating_point() and len(leaf) == examples(batches[0]):
            return [list(parts_of(batch).values())[place] for batch in batches]
    return []


def is_sorted(batches: list) -> bool:
    """Whether batches are of one class each, or nearly, of several that there are."""
    found = labels(batches)
    if len(found) < 4 or min(map(len, found)) < 8:
        return False
    own = sum(len(one.unique()) for one in found) / len(found)
    return own <= 0.5 * len(torch.cat(found).unique()) and own < 2


def shuffled(batches: list) -> list:
    """The same examples in another order, over all batches of the first one's size."""
    same = [parts_of(batch) for batch in batches]
    same = [p for p in same if all(p[n].shape == t.shape for n, t in same[0].items())]
    count, size = len(same), examples(batches[0])
    order = torch.randperm(count * size, generator=torch.Generator().manual_seed(0))

    def mixed(i, name, leaf):
        if not isinstance(leaf, torch.Tensor) or not leaf.ndim or len(leaf) != size:
            return leaf
        return torch.cat([p[name] for p in same])[order[i * size : (i + 1) * size]]

    return [_mapped(partial(mixed, i), batches[0]) for i in range(count)]


def _part(batch, name):
    return next(
        leaf for path, leaf in tree_flatten_with_path(batch)[0] if "".join(map(str, path)) == name
    )


def _mapped(function, batch):
    pairs, shape = tree_flatten_with_path(batch)
    return tree_unflatten([function("".join(map(str, path)), leaf) for path, leaf in pairs], shape)


# Of the model ------------------------------------------------------------------------------------


def rescale(lab: "Lab", model: nn.Module, only: tuple = ()) -> None:
    """Give Linear and Conv layers outputs of RMS 1 on the first batch, one after another.

    After Mishkin and Matas (2016), but the weights keep their directions. Where the mean over
    examples outweighs the rest, as behind sigmoids or with all units off, the bias takes it away.
    The read-out stays as it is; layers that run several times are set at their first run. Other
    matrices far from unit size are brought to it. ``only``: no other layers.
    """
    with torch.no_grad():
        for name, pairs in odd_matrices(model).items():
            for p, size in pairs if not only or name in only else ():
                p /= size
    done, handles = set(), []

    @torch.no_grad()
    def hook(name, module, arguments, z):
        if name in done or not isinstance(z, torch.Tensor):
            return None
        done.add(name)
        own = units(module, z)
        other = [axis for axis in range(z.ndim) if axis != own]
        if not float(z.std()) > 1e-9 * float(z.abs().max()):
            nn.init.orthogonal_(module.weight)
            z = module.forward(*arguments)
        mean = z.mean(dim=other, keepdim=True)
        rest = z - mean
        bias = getattr(module, "bias", None)
        if bias is None or mean.square().mean() < 3 * rest.square().mean():
            mean, rest = torch.zeros_like(mean), z
        else:  # without the bias, whose digits would hide what the weights do
            bias.zero_()
            z = module.forward(*arguments)
            mean = z.mean(dim=other, keepdim=True)
            rest = z - mean
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

    for name, module in _below_the_top(lab, model):
        if module.weight.requires_grad and (not only or name in only):
            handles.append(module.register_forward_hook(partial(hook, name)))
    try:
        lab.loss_fn(model, lab.batches[0])
    finally:
        for handle in handles:
            handle.remove()


def _below_the_top(lab, model):
    """Linear and Conv layers but the last to run."""
    found = layers(model)
    return [(n, found[n]) for n in lab.layers[:-1] if n in found and multiplies(found[n])]


def bend(lab: "Lab", model: nn.Module) -> None:
    """A ReLU after each Linear and Conv layer but the last."""
    for _, module in _below_the_top(lab, model):
        module.register_forward_hook(lambda module, arguments, z: z.relu())


class OpenEnd(TorchFunctionMode):
    """While active, the activation after the last layer of a copy does nothing."""

    def __init__(self):
        super().__init__()
        self._next = False

    def listen(self, lab: "Lab", model: nn.Module) -> None:
        """Learn from a copy when its last layer has run, inside the model."""
        layers(model)[lab.layers[-1]].register_forward_hook(self._after(True))
        model.register_forward_hook(self._after(False))

    def _after(self, is_next):
        def hook(*given):
            self._next = is_next

        return hook

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        name = getattr(function, "__name__", "").rstrip("_")
        if self._next and name in ACTIVATIONS:
            self._next = False
            return [*arguments, *(keywords or {}).values()][0]
        return function(*arguments, **keywords or {})


def add_skips(lab: "Lab", model: nn.Module) -> None:
    """What a Linear or Conv layer is given, added to its output where the two have one shape.

    Its weights are rescaled, and divided by the root of the number of layers: the sum of all that
    is added stays in bounds.
    """
    rescale(lab, model)
    inner = _below_the_top(lab, model)

    def hook(module, arguments, z):
        x = arguments[0]
        return x + z / len(inner) ** 0.5 if x.shape == z.shape else z

    for _, module in inner:
        module.register_forward_hook(hook)


def normalise(lab: "Lab", model: nn.Module) -> None:
    """Batch normalisation without parameters after each Linear and Conv layer but the last."""

    def hook(module, arguments, z):
        if units(module, z) == 1:
            return F.batch_norm(z, None, None, training=True)
        return F.batch_norm(z.flatten(0, -2), None, None, training=True).view_as(z)

    for _, module in _below_the_top(lab, model):
        module.register_forward_hook(hook)


@torch.no_grad()
def open_memory(longest: int, chrono: bool, lab: "Lab", model: nn.Module) -> None:
    """Orthogonal recurrent matrices, or the identity where ReLUs follow (Le et al. 2015).

    Gates forget within ``longest`` steps. With ``chrono``, each unit within a time of its own
    (Tallec and Ollivier 2018), and input gates to match.
    """
    for module in model.modules():
        if not isinstance(module, FUSED):
            continue
        size = module.hidden_size
        kind = "RNN" if isinstance(module, nn.RNN | nn.RNNCell) else "gated"
        for name, p in module.named_parameters():
            if kind == "RNN" and name.startswith("weight_hh"):
                (nn.init.eye_ if module.nonlinearity == "relu" else nn.init.orthogonal_)(p)
            if kind == "gated" and name.startswith("bias_"):
                # In torch's order: i f g o for an LSTM, r u n for a GRU. Two biases are added.
                times = torch.full((size,), float(longest))
                times = times.uniform_(1, max(longest - 1, 2)) if chrono else times
                drawn = times.log().to(p)
                p[size : 2 * size] = drawn if name.startswith("bias_ih") else 0
                if chrono and isinstance(module, nn.LSTM | nn.LSTMCell):
                    p[:size] = -drawn if name.startswith("bias_ih") else 0


def keep_over_time(lab: "Lab", model: nn.Module) -> None:
    """Matrices of layers that carry a state, scaled until its gradient keeps its size by lag."""
    for _ in range(ROUNDS):
        lags = look(model, lab.loss_fn, lab.batches[0], lambda *given: None)["lags"]
        for name, sizes in lags.items() if any(lags) else ():
            factor = 10 ** (-log10(sizes[-1]) / (len(sizes) - 1))
            with torch.no_grad():
                for p in layers(model)[name].parameters():
                    if p.ndim > 1:
                        p *= min(max(factor, 0.2), 5.0)


def standardise(lab: "Lab", model: nn.Module) -> None:
    """Inputs of mean 0 and variance 1 over the examples of a batch, entry by entry."""

    def scaled(leaf):
        floats = isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.ndim > 1
        if not floats or len(leaf) < 2:
            return leaf
        spread = leaf.std(dim=0, keepdim=True).clamp(min=1e-6 * float(leaf.abs().max()) + 1e-30)
        return (leaf - leaf.mean(dim=0, keepdim=True)) / spread

    _before_forward(model, scaled)


def in_single_precision(lab: "Lab", model: nn.Module) -> None:
    """Weights in float32, and inputs of half precision with them."""

    def widened(leaf):
        half = isinstance(leaf, torch.Tensor) and leaf.dtype in HALVES
        return leaf.float() if half else leaf

    model.float()
    _before_forward(model, widened)


def _before_forward(model, change):
    Outermost(model, lambda module, *given: tree_map(change, given))
