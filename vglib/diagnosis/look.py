"""What one forward and one backward pass show of a reader's model, whatever it is made of."""

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten_with_path, tree_leaves, tree_map

from vglib.diagnosis.evidence import Trap
from vglib.layers import layers, multiplies
from vglib.numerics import norm
from vglib.trace import ROWS, Trace, as_found, first_tensor, leaves

HALVES = {torch.float16, torch.bfloat16}
REPEATED = 5  # a layer that runs this often in one forward pass is looked at by lag
PEAKED = 0.95  # mean largest share of a softmax above which it is taken for saturated
_SATURATING = {"sigmoid": (0.01, 0.99), "tanh": (-0.98, 0.98), "logsigmoid": (-4.6, -0.01)}
UNIT = (0.02, 20)  # what is called unit size
MANY = 0.1  # share of targets that outputs cannot reach, or of outputs that a loss clips
# What autograd calls an activation: what it can give.
BOUNDS = {"Relu": (0, math.inf), "Softplus": (0, math.inf), "Tanh": (-1, 1)}
BOUNDS |= {"Sigmoid": (0, 1), "Softmax": (0, 1)}
# Losses that take scores or log-probabilities, and what must not come before them.
OWN = {
    "cross_entropy": ("Softmax", "Sigmoid"),
    "binary_cross_entropy_with_logits": ("Softmax", "Sigmoid"),
    "nll_loss": ("Softmax", "Sigmoid"),
}
FITS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss")
DIFFERENCES = ("sub", "__sub__", "rsub", "__rsub__", "subtract")
# Operations that only show the same numbers in another shape.
_SAME = {"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "T"}
_SAME |= {"Clone", "ToCopy", "Select", "Slice", "Index", "Alias", "Expand", "Cat", "Stack"}


def parts_of(batch: Any) -> dict[str, torch.Tensor]:
    """The tensors of a batch, by where they stand in it: "[0]", "['labels']"."""
    found, _ = tree_flatten_with_path(batch)
    return {"".join(map(str, path)): leaf for path, leaf in found if is_part(leaf)}


def is_part(leaf: Any) -> bool:
    """Whether something in a batch is a tensor with a number at each place."""
    return isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided


def examples(batch: Any) -> int:
    """How many examples a batch has: the length of a part with a number for each; or 0."""
    parts = parts_of(batch).values()
    single = [len(t) for t in parts if t.ndim and t.numel() == len(t)]
    return single[0] if single else 0


class Outermost:
    """Hooks on the calls of a model; or of its parts, where they are called without it."""

    def __init__(self, model, before=None, after=None):
        self.depth, self._before, self._after = 0, before, after
        self._model, self._whole, self._handles = model, False, []
        for module in model.modules():
            self._handles += [
                module.register_forward_pre_hook(self._enter, with_kwargs=True),
                module.register_forward_hook(self._leave),
            ]

    def _counts(self, module, depth):
        # A part that runs again in a backward pass, under checkpoints, was called by the model.
        return self.depth == depth and (module is self._model or not self._whole)

    def _enter(self, module, arguments, keywords):
        self.depth += 1
        self._whole |= module is self._model
        if self._before and self._counts(module, 1):
            return self._before(module, arguments, keywords)
        return None

    def _leave(self, module, arguments, output):
        self.depth -= 1
        if self._after and self._counts(module, 0):
            return self._after(module, arguments, output)
        return None

    def remove(self) -> None:
        """Take all hooks away."""
        for handle in self._handles:
            handle.remove()


def look(model: nn.Module, loss_fn: Callable, batch: Any, check: Callable) -> dict:
    """Fields of `Evidence` from one pass over ``batch``; the model is left as it was found."""
    trace, eye = Trace(model, activations=True, inputs=True), _Eye(model, batch)
    with as_found(model):
        try:
            with eye:
                loss = trace.run(loss_fn, batch, check=partial(eye.before_backward, check))
        finally:
            eye.remove()
        lags = eye.lags(trace.given)
        if not lags:
            by_input = lag_of_input(model, loss_fn, batch)
            eye.steps, lags = len(by_input), {"": by_input} if by_input else {}
        rows = trace.sample()
    own = {id(p) for p in model.parameters()}
    order = list(dict.fromkeys(call.name for call in trace.calls))
    at = [list(trace.layers).index(name) for name in order]
    squash = trace.activations.squash
    return {
        "loss": float(loss.detach()),
        "layers": tuple(order),
        "sample": {what: rows[i, at].tolist() for i, what in enumerate(ROWS)},
        "entries": trace.entries(),
        "gains": {name: gain(trace.layers[name]) for name in order},
        "activations": dict(trace.activations.functions),
        "squash": tuple(name for name in squash if squash[name]),
        "halves": any(call.value.dtype in HALVES for call in trace.calls),
        "lags": lags,
        "gated": tuple(name for name in lags if eye.has_gates(name)),
        "squashed": tuple(name for name in lags if eye.is_squashed(name)),
        "ran": eye.ran,
        "outside": [leaf for key, leaf in eye.leaves.items() if key not in own],
        "peaked": tuple(eye.peaked),
        "flat_loss": eye.flat_loss,
        "constant": bool(eye.varied) and not any(eye.varied),
        "unscaled": any(eye.unscaled),
        "inputs": eye.inputs,
        "odd": tuple(odd_matrices(model)),
        "traps": (
            *eye.traps.values(),
            *unregistered(model, eye.leaves),
            *equal_units(trace),
            *one_token(eye.tokens),
            *out_of_reach(eye.answer, parts_of(batch), eye.inputs, (order or [eye.last])[-1]),
        ),
    }


class _Eye(TorchFunctionMode):
    """Hooks on every module, and an eye on the functions of torch that are called."""

    def __init__(self, model, batch):
        super().__init__()
        self.model, self.batch, self.count = model, batch, examples(batch)
        self.layers, self.outputs = layers(model), {}
        self.ran, self.traps, self.inputs = set(), {}, set()
        self.varied, self.unscaled = [], []
        self.peaked, self.flat_loss, self.calls = [], False, Counter()
        self.last, self.leaves, self.owners = "", {}, []  # owners of parameters, as they ran
        self.written, self.steps = {}, 0
        self.states = {}  # name: what the last call of a layer gave, to see what it is given next
        self._parts = {t.untyped_storage().data_ptr(): n for n, t in parts_of(batch).items()}
        self.tokens = {}  # embedding: whether all its indices are one
        self.answer, self._dropped = None, None  # what the model gives; what a dropout gave last
        self._outermost = Outermost(model, self._enter, self._leave)
        self._handles = []
        for name, module in model.named_modules():
            hook = partial(self._on_module, name)
            self._handles.append(module.register_forward_hook(hook, with_kwargs=True))

    def remove(self):
        self._outermost.remove()
        for handle in self._handles:
            handle.remove()

    def before_backward(self, check, loss):
        """What the loss depends on, and what needs the graph: gradients by lag."""
        check(loss, self)
        self.leaves = {id(t): t for t in leaves(loss)}
        try:
            for name, runs in self.outputs.items():
                if len(runs) >= REPEATED and not isinstance(self.layers[name], nn.RNNBase):
                    self.written[name] = _repeated_by_lag(runs)
        except RuntimeError:  # as reentrant checkpoints raise
            pass

    # Modules ----------------------------------------------------------------------------------

    def _enter(self, module, arguments, keywords):
        for x in tree_leaves((arguments, keywords)):
            if is_part(x) and not x.requires_grad:
                part = self._parts.get(x.untyped_storage().data_ptr())
                self.inputs |= {part} if part else set()
                if x.ndim and len(x) > 1:
                    self.varied.append(bool((x != x[:1]).any()))
                    self.unscaled.append(unscaled(x))

    def _leave(self, module, arguments, output):
        answer = first_tensor(output)
        if self._dropped is not None and answer is self._dropped:
            self._trap("dropout of the outputs", "outputs are dropped before the loss", self.last)
        if answer is not None and answer.requires_grad:
            self.answer = answer

    def _on_module(self, name, module, arguments, keywords, output):
        self.ran.add(name)
        if name in self.layers:
            tensors = [t for t in tree_leaves(output) if isinstance(t, torch.Tensor)]
            self.outputs.setdefault(name, []).append(tensors)
        if not any(True for _ in module.children()):
            self.last = name
        if any(True for _ in module.parameters(recurse=False)):
            self.owners.append(name)
        x = first_tensor([*arguments, *keywords.values()])
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            self._dropped = output
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and x is not None and x.numel() > 1:
            self.tokens[name] = bool((x == x.flatten()[0]).all())
        sequences = nn.RNNBase | nn.MultiheadAttention | nn.TransformerEncoderLayer
        sequences |= nn.TransformerDecoderLayer
        if isinstance(module, sequences) and x is not None and x.ndim == 3:
            first = (
                module.self_attn.batch_first if hasattr(module, "self_attn") else module.batch_first
            )
            if not first and x.shape[0] == self.count != x.shape[1]:
                kind = type(module).__name__
                saw = f"{kind} runs along the {self.count} examples of a batch, not over time"
                self._trap("wrong axis", saw, name)
        if isinstance(module, nn.RNNCellBase):
            self._follow_state(name, arguments, keywords, output)

    def _follow_state(self, name, arguments, keywords, output):
        """A cell whose state goes on as a number and not in the graph was cut between steps."""
        given = [t for t in tree_leaves((arguments[1:], keywords)) if isinstance(t, torch.Tensor)]
        runs, cut, carried, before = self.states.get(name, (0, 0, 0, []))
        for state in given:
            same = any(
                state.shape == old.shape and bool((state.detach() == old).all()) for old in before
            )
            carried += same
            cut += same and not state.requires_grad
        tensors = [t for t in tree_leaves(output) if isinstance(t, torch.Tensor)]
        kept = [t.detach().clone() for t in tensors if t.requires_grad]
        self.states[name] = runs + 1, cut, carried, kept
        if cut >= REPEATED - 1 and cut == carried:
            saw = "the state goes from step to step as a number only"
            self._trap("detached in time", saw, name)

    def _trap(self, name, saw, where):
        if (name, where) not in self.traps:
            self.traps[name, where] = Trap(name, saw, (where,) if where else ())

    # Functions --------------------------------------------------------------------------------

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        output = function(*arguments, **keywords)
        name = getattr(function, "__name__", "").rstrip("_")
        name = getattr(function, "__name__", "") if name.startswith("__") else name
        self.calls[name] += 1
        with torch.no_grad():
            self._look_at(name, [*arguments, *keywords.values()], keywords, output)
        return output

    def _look_at(self, name, given, keywords, output):
        inside = self._outermost.depth > 0
        tensors = [t for t in given[:2] if isinstance(t, torch.Tensor)]
        if name == "scaled_dot_product_attention":
            query, key = [t.detach() for t in given[:2]]
            self._look_at_shares(F.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1))
        if name in ("softmax", "log_softmax") and tensors:
            self._look_at_softmax(name, given, keywords, output, inside)
        if name in _SATURATING and not inside and self.ran:
            low, high = _SATURATING[name]
            flat = (output <= low) | (output >= high)
            self.flat_loss |= bool(flat.float().mean() > 0.9)
        if name in OWN and tensors:
            came = origin(tensors[0])
            if came in OWN[name] and name == "nll_loss":
                saw = f"nll_loss wants log-probabilities, and gets those of a {came.lower()}"
                self._trap("no logarithm", saw, self.last)
            elif came in OWN[name]:
                saw = f"a {came.lower()} comes before {name}, which has its own"
                self._trap("squashed twice", saw, self.last)
        if name in ("clamp", "clip", "clamp_min", "clamp_max") and tensors and not inside:
            self._look_at_clipping(tensors[0], output)
        if name in FITS and len(tensors) == 2 and tensors[0].shape != tensors[1].shape:
            self._look_at_shapes(*tensors, output.shape if output.ndim else None)
        if name in DIFFERENCES and len(tensors) == 2:
            one, two = tensors
            known = one.requires_grad != two.requires_grad
            if known and {one.ndim, two.ndim} == {1, 2} and output.shape == (len(one), len(two)):
                self._look_at_shapes(one, two, output.shape)

    def _look_at_clipping(self, given, output):
        share = float((given != output).float().mean())
        if self.ran and given.requires_grad and share > MANY:
            saw = f"the loss clips {share:.0%} of the outputs, and has no gradient there"
            self._trap("clipped outputs", saw, self.last)

    def _look_at_shapes(self, one, two, shape):
        n = max(one.numel(), two.numel())
        if one.numel() == two.numel() == n > 1 or shape == (n, n):
            saw = f"{tuple(one.shape)} against {tuple(two.shape)}: each output meets every target"
            self._trap("broadcast", saw, self.last)

    def _look_at_softmax(self, name, given, keywords, output, inside):
        dim = keywords.get("dim", given[1] if len(given) > 1 else None)
        if isinstance(dim, int) and output.ndim and output.requires_grad:
            size = output.shape[dim]
            if size == 1:
                saw = "a softmax over one entry is always 1"
                self._trap("softmax over one unit", saw, self.last)
            # Over the examples: each row should be one's own.
            if inside and output.ndim == 2 and dim % 2 == 0 and size == self.count > 1:
                saw = f"a softmax runs over the {size} examples of a batch"
                self._trap("wrong axis", saw, self.last)
        if name == "softmax" and inside:
            self._look_at_shares(output.detach())

    def _look_at_shares(self, shares):
        # The layers that ran last gave queries, keys and values.
        if shares.shape[-1] > 2 and float(shares.amax(dim=-1).mean()) > PEAKED:
            before = (
                list(self.outputs)[-3:] or self.owners[-3:]
            )  # of tables, where there is no layer
            self.peaked += [n for n in before if n not in self.peaked]

    # Time -------------------------------------------------------------------------------------

    def lags(self, given):
        """Sizes of the gradient of the last output by lag, relative to lag 0, by layer."""
        found = dict(self.written)
        for name in self.outputs:
            if isinstance(self.layers[name], nn.RNNBase):
                found[name] = _fused_by_lag(self.layers[name], given[name])
        found = {n: sizes for n, sizes in found.items() if sizes is not None and sizes[0] > 0}
        return {n: [size / sizes[0] for size in sizes] for n, sizes in found.items()}

    def _runs(self, name):
        return len(self.outputs[name]) if name else self.steps

    def is_squashed(self, name):
        """Whether a layer written out meets a sigmoid at each step, and no tanh."""
        runs = self._runs(name)
        return runs >= REPEATED and self.calls["sigmoid"] >= runs > self.calls["tanh"]

    def has_gates(self, name):
        """Whether a recurrent layer is an LSTM or GRU, or one written out."""
        module, runs = self.layers.get(name), self._runs(name)
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            return not isinstance(module, nn.RNN | nn.RNNCell)
        return self.calls["sigmoid"] >= runs <= self.calls["tanh"]


def lag_of_input(model: nn.Module, loss_fn: Callable, batch: Any) -> list[float]:
    """Sizes of the gradient of a model's last output by lag of its first sequence, over lag 0.

    Empty for a model without an input of shape (examples, time, features), or where hardly
    anything changes from the last step to the first.
    """
    found = {}

    def before(module, arguments, keywords):
        return tree_map(follow, (arguments, keywords))

    def follow(x):
        fits = isinstance(x, torch.Tensor) and x.is_floating_point() and x.ndim == 3
        # An input that has a gradient already may be what the loss differentiates by.
        if "x" in found or not fits or x.requires_grad or x.shape[1] < REPEATED:
            return x
        # A copy, since a model may overwrite its input, but not a leaf that needs a gradient.
        found["x"] = x.detach().requires_grad_().clone()
        return found["x"]

    def after(module, arguments, output):
        tensors = [t for t in tree_leaves(output) if isinstance(t, torch.Tensor)]
        there = next((t for t in tensors if t.requires_grad and t.ndim), None)
        if there is not None and "x" in found:
            found.setdefault("output", there)

    hooks = Outermost(model, before, after)
    try:
        loss_fn(model, batch)
    finally:
        hooks.remove()
    if found.keys() != {"x", "output"}:
        return []
    x, output = found["x"], found["output"]
    last = output[:, -1] if output.shape[:2] == x.shape[:2] else output
    try:
        (gradient,) = torch.autograd.grad(last, x, torch.randn_like(last), allow_unused=True)
    except RuntimeError:  # as reentrant checkpoints raise
        return []
    sizes = [] if gradient is None else [norm(step) for step in reversed(gradient.unbind(1))]
    if not sizes or not sizes[0] > 0 or 0.01 < sizes[-1] / sizes[0] < 100:
        return []
    return [size / sizes[0] for size in sizes]


def origin(tensor: torch.Tensor) -> str:
    """What made a tensor's numbers, in autograd's words, through changes of shape: "Softmax"."""
    node = tensor.grad_fn
    while node is not None:
        name = type(node).__name__.rstrip("0123456789").removesuffix("Backward")
        if name not in _SAME or not node.next_functions:
            return name
        node = node.next_functions[0][0]
    return ""


def unregistered(model: nn.Module, used: dict) -> list[Trap]:
    """Modules and parameters that a model keeps in lists and dicts, where torch does not look.

    ``used``: ids of what the loss depends on.
    """
    own, found = {id(p) for p in model.parameters()}, []
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if not isinstance(value, (list, tuple, dict)) or key in _OF_TORCH:
                continue
            hidden = [p for p in _parameters_in(value) if id(p) in used and id(p) not in own]
            if hidden:
                place = f"{name}.{key}".lstrip(".")
                kind = type(value).__name__
                saw = f"what is in {place}, a {kind}, is hidden from torch and its optimizers"
                found.append(Trap("not registered", saw, (place,)))
    return found


_OF_TORCH = set(vars(nn.Module()))


def one_token(tokens: dict) -> list[Trap]:
    """Embeddings of a model whose embeddings are all asked for one index only."""
    saw = "all indices of a batch are the same"
    return [Trap("one token", saw, tuple(tokens))] if tokens and all(tokens.values()) else []


def out_of_reach(answer: torch.Tensor | None, parts: dict, inputs: set, last: str) -> list[Trap]:
    """Targets of the shape of the outputs that lie outside of what their activation can give."""
    bounds = BOUNDS.get(origin(answer)) if answer is not None else None
    found = []
    for name, part in parts.items() if bounds else ():
        # What is alone in a batch is its own target.
        target = (name not in inputs or len(parts) == 1) and part.numel() == answer.numel() > 1
        share = float(((part < bounds[0]) | (part > bounds[1])).float().mean()) if target else 0.0
        if share > MANY:
            what = origin(answer).lower()
            saw = f"{share:.0%} of the targets batch{name} lie outside of what {what} can give"
            found.append(Trap("bounded outputs", saw, (last,)))
    return found


def equal_units(trace: Trace) -> list[Trap]:
    """Layers whose units all start with the same weights, and so stay the same."""
    found = []
    for name, module in trace.layers.items():
        weight = module.weight.detach() if multiplies(module) else None
        if weight is not None and len(weight) > 1 and bool(weight.any()):
            if bool((weight == weight[:1]).all()):
                found.append(name)
    saw = "all units of a layer start with the same weights, and so learn the same"
    return [Trap("equal units", saw, tuple(found))] if found else []


def _parameters_in(value, depth=3):
    if isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, nn.Parameter) and value.requires_grad:
        yield value
    elif isinstance(value, (list, tuple, dict)) and depth:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parameters_in(item, depth - 1)


def unscaled(x: torch.Tensor) -> bool:
    """Whether the largest entry of an example is, by its RMS over examples, far from 1."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or not x.ndim or not len(x):
        return False
    wide = x.detach().cpu().double().flatten(1 if x.ndim > 1 else 0)
    return not UNIT[0] < float(wide.square().mean(0).max() ** 0.5) < UNIT[1]


def odd_matrices(model: nn.Module) -> dict:
    """Matrices outside Linear and Conv layers that are far from unit size: name → (it, size)s."""
    odd = {}
    for name, module in model.named_modules():
        recurrent = isinstance(module, nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention)
        if recurrent or multiplies(module):
            continue
        for p in module.parameters(recurse=False):
            size = norm(p) / max(p.shape) ** 0.5 if p.ndim == 2 and p.numel() else 1.0
            if p.requires_grad and 0 < size < math.inf and not 0.1 < size < 10:
                odd.setdefault(name, []).append((p, size))
    return odd


def gain(module: nn.Module) -> float:
    """By how much a layer's weights alone scale the norm of a random gradient."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim < 2:
        return math.nan
    return norm(weight) / len(weight) ** 0.5


def _fused_by_lag(module, x):
    if isinstance(x, nn.utils.rnn.PackedSequence):
        x, _ = nn.utils.rnn.pad_packed_sequence(x, batch_first=module.batch_first)
    axis = 1 if module.batch_first and x.ndim == 3 else 0
    # Under autocast it may have been in half precision, which the module by itself refuses.
    leaf = x.detach().to(next(module.parameters()).dtype, copy=True).requires_grad_()
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
