"""One instrumented pass over any module: what its layers are given, do, and are told.

Whatever torch modules do that makes this hard is dealt with here and nowhere else: activations that
overwrite their input, outputs that are tuples, dicts or packed sequences, checkpoints that run a
part again in the backward pass, compiled code that passes hooks by, layers that are called without
their parent's ``forward``. Everything is left as it was found.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from vglib.layers import layers, owns_a_weight
from vglib.numerics import norms, rms

# The rows of a sample, in the order of its array.
ROWS = ("delta", "signal", "gradient", "update", "slope", "saturated", "dead")


class Call:
    """One run of a layer: its output z, and δ = ∂L/∂z once there is one."""

    def __init__(self, name, tensor, careful):
        self.name, self.tensor, self.version = name, tensor, tensor._version
        self.delta, self.careful, self.attached = None, careful, False
        self.overwritten = False  # by an activation that works in place
        # A copy only where that may happen.
        self.value = tensor.detach().clone() if careful else tensor.detach()
        self.attach()

    def attach(self) -> None:
        """See to it that δ is kept, once z can have one."""
        if self.attached or not self.tensor.requires_grad:
            return
        self.attached = True
        if self.careful:
            self.tensor.register_hook(self._keep)
        else:
            self.tensor.retain_grad()

    def _keep(self, gradient):
        self.delta = gradient

    def close(self) -> None:
        """Let go of the graph; what `retain_grad` left on the model's tensor is taken away."""
        if self.tensor is None:
            return
        if self.attached and not self.careful:
            self.delta, self.tensor.grad = self.tensor.grad, None
        self.overwritten = self.tensor._version != self.version
        self.tensor = None  # its hook holds us, and the two would keep each other alive


class Trace:
    """Listens to one pass of ``model``, and to another after each `start`.

    ``calls`` are the runs of its layers, in order. ``activations``: look at the activation after
    each layer as well. ``inputs``: keep in ``given`` what each layer's weights are given first.
    ``frozen``: where nothing has a gradient that far down, let outputs have one all the same.

    `run` makes a pass of our own and leaves the model as it was found. A loop that is somebody
    else's calls `start` before its forward pass, `heard` after it, and `sample` after its backward
    pass.
    """

    def __init__(self, model, *, activations=False, inputs=False, frozen=False):
        self.model, self.layers = model, layers(model)
        self.activations = Activations() if activations else None
        self.calls, self.given = [], {}
        self.backward = False  # whether the backward pass has begun
        self._inputs, self._frozen = inputs, frozen
        self._hooks = [(m, partial(self._on_layer, name)) for name, m in self.layers.items()]
        self._place = {name: place for place, name in enumerate(self.layers)}
        self._parameters = [
            (place, p) for place, m in enumerate(self.layers.values()) for p in m.parameters()
        ]
        modules = [*model.modules()]
        self._compiled = any(hasattr(m, "_orig_mod") or m._compiled_call_impl for m in modules)
        self._overwritten = None  # layers whose output an in-place activation overwrites
        self._stack, self._listening = ExitStack(), False

    def start(self) -> None:
        """Begin to listen, and forget the last pass."""
        self.stop()
        self.calls, self.backward, self._listening = [], False, True
        # What register_forward_hook does, less its bookkeeping, which would cost as much as a norm.
        for module, hook in self._hooks:
            module._forward_hooks[id(self)] = hook
        if self.activations:
            self.activations.rows = {}
        self.surround()

    def surround(self) -> None:
        """Enter what must be around the forward pass, or around a part that is called by itself."""
        self._stack.close()
        if self._compiled:  # compiled code does not run hooks that it has not seen
            self._stack.enter_context(eager())
        if self.activations:
            self._stack.enter_context(self.activations)

    def heard(self, *, part: bool = False) -> None:
        """The forward pass, or a part that was called by itself, is over."""
        self._stack.close()
        for call in self.calls:
            call.attach()  # reentrant checkpointing gives an output its gradient only afterwards
        # A layer inside a checkpointed part runs again in the backward pass, and only then with
        # gradients: go on listening.
        if not part and all(call.attached for call in self.calls):
            self._deafen()

    def stop(self) -> None:
        """Listen no more."""
        self._stack.close()
        self._deafen()

    def _deafen(self):
        if self._listening:
            self._listening = False
            for module, _ in self._hooks:
                module._forward_hooks.pop(id(self), None)

    def _on_layer(self, name, module, arguments, output):
        tensor, changed = first_tensor(output), None
        if tensor is None:
            return None
        if self.backward:  # a second run, under checkpointing
            first = (c for c in self.calls if c.name == name and not c.attached)
            call = next(first, None) if tensor.requires_grad else None
            if call:
                call.tensor, call.version = tensor, tensor._version
                call.attach()
            return None
        frozen = self._frozen and not tensor.requires_grad and torch.is_grad_enabled()
        if frozen and tensor.is_floating_point():
            tensor = tensor.detach().requires_grad_()
            changed = _with_first(output, tensor.clone())
        careful = self._overwritten is None or name in self._overwritten
        self.calls.append(Call(name, tensor, careful))
        if self.activations:
            self.activations.layer = name
        return changed

    def _on_input(self, name, module, arguments, keywords):
        self.given.setdefault(name, _kept(next(iter([*arguments, *keywords.values()]), None)))

    def run(self, loss_fn: Callable, batch: Any, check: Callable | None = None) -> torch.Tensor:
        """A forward and a backward pass; returns the loss, about which ``check`` may complain.

        The gradients of the model's parameters are for the caller to put back (`as_found`).
        """
        handles = []
        try:
            for name, module in self.layers.items() if self._inputs else ():
                owner = next(filter(owns_a_weight, module.modules()), module)
                hook = partial(self._on_input, name)
                handles.append(owner.register_forward_pre_hook(hook, with_kwargs=True))
            self.start()
            loss = loss_fn(self.model, batch)
            self.heard()
            if check:
                check(loss)
            self.backward = True
            own = {id(p) for p in self.model.parameters()} | {id(c.tensor) for c in self.calls}
            with aside([t for t in leaves(loss) if id(t) not in own]):
                loss.backward()
        finally:
            self.stop()
            for handle in handles:
                handle.remove()
            for call in self.calls:
                call.close()
        return loss

    @torch.no_grad()
    def sample(self, scale: float = 1.0) -> np.ndarray:
        """All sizes of a pass, shape (`ROWS`, layers), in a few calls: one for each costs more.

        ``scale``: of the loss, to be divided out. The row of updates is left to the caller.
        """
        self.stop()
        measured = []  # (row, place, tensor, entries to average over or 0 for a plain norm)
        for call in self.calls:
            call.close()
            place = self._place[call.name]
            if call.delta is not None:
                measured.append((0, place, call.delta, call.delta.numel()))
            measured.append((1, place, call.value, call.value.numel()))
        if self._overwritten is None:
            self._overwritten = {call.name for call in self.calls if call.overwritten}
        measured += [(2, place, p.grad, 0) for place, p in self._parameters if p.grad is not None]
        sizes = norms([tensor for _, _, tensor, _ in measured])
        # Plain numbers: a few dozen of them are faster so than in arrays.
        total, entries = {}, {}
        for (row, place, _, count), value in zip(measured, sizes, strict=True):
            at = row, place
            total[at] = math.hypot(total.get(at, 0.0), value if row == 1 else value / scale)
            entries[at] = entries.get(at, 0) + count
        found = np.full((len(ROWS), len(self.layers)), np.nan)
        for at, value in total.items():
            found[at] = value / max(entries[at], 1) ** 0.5
        if self.activations:
            for name, runs in self.activations.rows.items():
                found[-3:, self._place[name]] = self.activations.average(runs)[-3:]
        return found

    def entries(self) -> dict[str, int]:
        """How many numbers the outputs of each layer have, all its runs together."""
        count = dict.fromkeys([call.name for call in self.calls], 0)
        for call in self.calls:
            count[call.name] += call.value.numel()
        return count


def first_tensor(output: Any) -> torch.Tensor | None:
    """The tensor that a module's output is, or has first: of a tuple, a dict, a packed sequence."""
    while output is not None and not isinstance(output, torch.Tensor):
        if isinstance(output, Mapping):
            output = next(iter(output.values()), None)
        elif isinstance(output, (tuple, list)):
            output = output[0] if output else None
        else:
            output = next(iter(getattr(output, "__dict__", {}).values()), None)
    return output


def _with_first(output, tensor):
    if isinstance(output, torch.Tensor):
        return tensor
    if isinstance(output, PackedSequence):
        return output._replace(data=tensor)
    if isinstance(output, tuple) and isinstance(output[0], torch.Tensor):
        return (tensor, *output[1:])
    return None


def _kept(given):
    """A copy of what a layer is given, which the model may overwrite."""
    if isinstance(given, PackedSequence):
        return given._replace(data=given.data.detach().clone())
    return given.detach().clone() if isinstance(given, torch.Tensor) else given


def leaves(loss: torch.Tensor) -> list[torch.Tensor]:
    """The leaf tensors that a loss was computed from, as far as its graph shows them."""
    found, queue, visited = [], [loss.grad_fn], set()
    while queue:
        node = queue.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        queue += [parent for parent, _ in node.next_functions]
    return found


@contextmanager
def aside(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Leaves have no gradient inside, and what they had again afterwards.

    No hook runs on what a backward pass brings them: some take an optimizer's step.
    """
    before = [(t, t.grad, t._post_accumulate_grad_hooks) for t in tensors]
    stilled = [(hooks, dict(hooks)) for _, _, hooks in before if hooks]
    try:
        for hooks, _ in stilled:
            hooks.clear()  # torch gives the dict itself no second time
        for t, *_ in before:
            t.grad = None
        yield
    finally:
        for t, gradient, _ in before:
            t.grad = gradient
        for hooks, own in stilled:
            hooks.update(own)


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Whatever happens inside: buffers, gradients and torch's random state are as before."""
    buffers = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    try:
        for own, before in buffers:  # the model works on copies
            own.update({name: b if b is None else b.clone() for name, b in before.items()})
        with aside(model.parameters()), torch.random.fork_rng(), torch.enable_grad(), eager():
            yield
    finally:
        for own, before in buffers:
            own.clear()
            own.update(before)


def eager() -> AbstractContextManager:
    """Compiled modules run as written, or they would pass our hooks by."""
    compiling = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiling else nullcontext()


# The elementwise activation functions, by the names under which torch calls them; those that work
# in place have a "_" at the end.
ACTIVATIONS = {
    *("sigmoid", "tanh", "hardtanh", "hardsigmoid", "softsign", "softplus", "logsigmoid"),
    *("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish"),
    *("hardswish", "tanhshrink", "softshrink", "hardshrink"),
}
SATURATED = 0.1  # of the largest slope


def _same(tensor):
    return tensor


class Activations(TorchFunctionMode):
    """While active, looks at the first activation function that runs after each layer.

    Set ``layer`` to the name of each layer when it has run. ``rows``: name → rows (mean, RMS, RMS
    slope, saturated share, dead share), one for each run. ``functions``: name → the name of the
    function. ``squash``: name → whether it is flat on both sides, and steep between.
    """

    def __init__(self):
        super().__init__()
        self.rows, self.functions, self.squash, self.layer, self._known = {}, {}, {}, None, {}

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        name = getattr(function, "__name__", "").rstrip("_")
        if self.layer is None or name not in ACTIVATIONS:
            return function(*arguments, **keywords)
        z = (arguments[0] if arguments else keywords["input"]).detach().clone()
        output = function(*arguments, **keywords)
        options = {key: value for key, value in keywords.items() if key != "input"}

        def slope(at):
            # Inside a checkpointed part, what we save is not the model's to compute again.
            with torch.enable_grad(), saved_tensors_hooks(_same, _same):
                at = at.clone().requires_grad_()
                # Of a copy, for functions that work in place.
                value = function(at.clone(), *arguments[1:], **options)
                return torch.autograd.grad(value.sum(), at)[0].abs()

        learnt = any(
            isinstance(value, torch.Tensor) for value in (*arguments[1:], *options.values())
        )
        known = None if learnt else self._known.get((name, repr(options), arguments[1:]))
        if known is None:
            # PReLU has a slope for each channel, along the second axis; else one column will do.
            columns = z.shape[1] if learnt and z.ndim > 1 else 1
            grid = torch.linspace(-10, 10, 2001, dtype=z.dtype, device=z.device)
            steep = slope(grid[:, None].expand(-1, columns))
            largest = steep.max()
            flat = (steep < SATURATED * largest).all(dim=1)
            known = largest, bool(flat[0] and flat[-1] and not flat[950] and not flat[1050])
            if not learnt:
                self._known[name, repr(options), arguments[1:]] = known
        slopes = slope(z)
        low = slopes < SATURATED * known[0]
        self.functions[self.layer], self.squash[self.layer] = name, known[1]
        self.rows.setdefault(self.layer, []).append(
            (
                float(output.detach().double().mean()),
                rms(output),
                rms(slopes),
                float(low.double().mean()),
                float(low.all(dim=0).double().mean()),
            )
        )
        self.layer = None
        return output

    @staticmethod
    def average(rows: list) -> list[float]:
        """One row from those of several runs of a layer."""
        mean, *sizes, saturated, dead = np.array(rows).T
        roots = [np.sqrt(np.mean(np.square(size))) for size in sizes]
        return [mean.mean(), *roots, saturated.mean(), dead.mean()]
