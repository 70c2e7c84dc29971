"""Watching a training run: gradients and activations by layer, at every so many steps."""

import math
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.autograd import Variable

from vglib.checks import at_least_one
from vglib.probes import ActivationCalls, eager, norm, places

# Outside these a float32 norm may have lost entries whose squares underflow, or overflow; then it
# is taken again in float64.
_DOUBTFUL, _HUGE = 1e-15, 1e18
_SMALL = 10_000  # entries; for tensors up to this size, one call for many beats a call for each
# The rows of a sample, in the order of its array.
_WHAT = ("delta", "signal", "gradient", "update", "slope", "saturated", "dead")


@dataclass(frozen=True)
class MonitorRecord:
    """What a `Monitor` saw. Arrays have shape (samples, layers), layers in the order they ran.

    ``steps``: the step of each sample, from 0. ``delta``: RMS of δ_l. ``signal``: RMS of z_l.
    ``gradient``: norm of the gradient of the layer's own parameters, as backpropagation left it,
    before any clipping. ``update``: norm of the change of the layer's parameters over that step,
    divided by their norm. ``slope``, ``saturated`` and ``dead``: as in
    `probes.ActivationStatistics`. NaN where nothing arrived or was asked for. ``activations``: the
    name of the function after each layer, or None.
    """

    steps: np.ndarray
    layers: tuple
    delta: np.ndarray
    signal: np.ndarray
    gradient: np.ndarray
    update: np.ndarray
    slope: np.ndarray
    saturated: np.ndarray
    dead: np.ndarray
    activations: tuple


class Monitor:
    """Watch a model while your own loop trains it; at every ``every``-th step it takes a sample.

    ::

        with Monitor(net, every=10) as monitor:
            ...  # any training loop
        monitor.record()

    A step is a forward pass of ``net`` in training mode with gradients. Between samples there is
    one hook on the model and none on its layers. It sees true gradients: give the GradScaler, if
    there is one, as ``scaler``. ``updates`` also records how far each layer's parameters move, and
    ``saturation`` the slopes and the shares of saturated and of dead units after each layer. On
    leaving, every hook is gone. A model made by ``torch.compile`` runs eagerly at sampled steps.
    """

    def __init__(self, net, *, every=10, scaler=None, updates=False, saturation=False):
        at_least_one(every=every)
        self._net, self._every, self._scaler = net, every, scaler
        self._updates, self._saturation, self._calls = updates, saturation, ActivationCalls()
        self._layers = places(net)
        if not self._layers:
            raise ValueError(f"{type(net).__name__} has no layer with a weight matrix to watch")
        modules = net.modules()
        self._compiled = any(hasattr(m, "_orig_mod") or m._compiled_call_impl for m in modules)
        # Every parameter with the place of its layer.
        self._parameters = [
            (place, p) for place, m in enumerate(self._layers.values()) for p in m.parameters()
        ]
        self._hooks = [(m, partial(self._on_layer, i)) for i, m in enumerate(self._layers.values())]
        self._hooks.append((net, self._after_forward))
        self._step = -1
        self._order = {}  # places in the order in which their layers run
        self._steps, self._rows = [], []  # one row of shape (what, places) a sample
        self._overwritten = None  # places whose output an in-place activation overwrites
        self._handle, self._before = None, None
        self._listening, self._stack = False, ExitStack()

    def __enter__(self):
        self._handle = self._net.register_forward_pre_hook(self._on_forward)
        return self

    def __exit__(self, *exception):
        self._finish_update()
        self._stop_listening()
        self._stack.close()
        self._handle.remove()

    def record(self) -> MonitorRecord:
        """The `MonitorRecord` of all samples so far."""
        self._finish_update()
        order = list(self._order)
        rows = np.array(self._rows).reshape(-1, len(_WHAT), len(self._layers))[:, :, order]
        names = list(self._layers)
        return MonitorRecord(
            steps=np.array(self._steps, dtype=int),
            layers=tuple(names[place] for place in order),
            **{what: rows[:, i] for i, what in enumerate(_WHAT)},
            activations=tuple(self._calls.functions.get(place) for place in order),
        )

    def _on_forward(self, net, arguments):
        if self._before is not None:
            self._finish_update()
        if not (net.training and torch.is_grad_enabled()):
            return
        self._step += 1
        if self._step % self._every:
            return
        self._stop_listening()  # and begin anew, should the last forward pass have failed
        self._stack.close()
        self._row = np.full((len(_WHAT), len(self._layers)), np.nan)
        self._steps.append(self._step)
        self._rows.append(self._row)
        self._outputs, self._queued = [], False
        if self._compiled:  # compiled code does not run hooks that it has not seen
            self._stack.enter_context(eager())
        if self._saturation:
            self._calls.rows = {}
            self._stack.enter_context(self._calls)
        # What register_forward_hook does, less its bookkeeping, which would cost as much as a norm.
        self._listening = True
        for module, hook in self._hooks:
            module._forward_hooks[id(self)] = hook

    def _after_forward(self, net, arguments, output):
        self._stack.close()
        if self._saturation:
            for place, runs in self._calls.rows.items():
                self._row[-3:, place] = self._calls.average(runs)[-3:]
        for z in self._outputs:
            z.attach()  # reentrant checkpointing gives an output its gradient only afterwards
        # A layer inside a checkpointed part runs again in the backward pass, and only then with
        # gradients: go on listening.
        if all(z.attached for z in self._outputs):
            self._stop_listening()
        tensors = [z.tensor for z in reversed(self._outputs)]
        tensors += [output] if isinstance(output, torch.Tensor) else []
        last = next((tensor for tensor in tensors if tensor.requires_grad), None)
        if last is not None:
            last.register_hook(self._queue)

    def _stop_listening(self):
        if self._listening:
            self._listening = False
            for module, _ in self._hooks:
                module._forward_hooks.pop(id(self), None)

    def _on_layer(self, place, module, arguments, output):
        tensor = output
        while isinstance(tensor, tuple):  # of a recurrent layer; a packed sequence is one, too
            tensor = tensor[0]
        if self._queued and tensor.requires_grad:  # its second run, under checkpointing
            for z in self._outputs:
                if z.place == place and not z.attached:
                    z.tensor, z.version = tensor, tensor._version
                    z.attach()
                    return
        self._order.setdefault(place)
        if self._saturation:
            self._calls.after_layer(place)
        careful = self._overwritten is None or place in self._overwritten
        self._outputs.append(_Output(place, tensor, careful))

    def _queue(self, gradient):
        if not self._queued:
            self._queued = True
            Variable._execution_engine.queue_callback(self._after_backward)

    @torch.no_grad()
    def _after_backward(self):
        """All norms of one sample in a few calls: a call for each tensor would cost more."""
        self._stop_listening()
        outputs, self._outputs = self._outputs, []
        if self._overwritten is None:
            self._overwritten = {z.place for z in outputs if z.tensor._version != z.version}
        measured = []  # (row, place, tensor, entries to average over or 0 for a plain norm)
        for z in outputs:
            delta = z.take_delta()
            if delta is not None:
                measured.append((0, z.place, delta, delta.numel()))
            measured.append((1, z.place, z.value, z.value.numel()))
        measured += [(2, place, p.grad, 0) for place, p in self._parameters if p.grad is not None]
        # Plain numbers: a few dozen of them are faster so than in arrays.
        scale = 1.0 if self._scaler is None else self._scaler.get_scale()
        total, entries = {}, {}
        for (row, place, _, count), value in zip(
            measured, norms([z for _, _, z, _ in measured]), strict=True
        ):
            at = row, place
            total[at] = math.hypot(total.get(at, 0.0), value if row == 1 else value / scale)
            entries[at] = entries.get(at, 0) + count
        for at, value in total.items():
            self._row[at] = value / max(entries[at], 1) ** 0.5
        if self._updates:
            self._before = [p.clone() for _, p in self._parameters]

    @torch.no_grad()
    def _finish_update(self):
        if self._before is None:
            return
        moved, size = np.zeros((2, len(self._layers)))
        at = [place for place, _ in self._parameters]
        pairs = zip(self._parameters, self._before, strict=True)
        np.hypot.at(moved, at, norms([new - old for (_, new), old in pairs]))
        np.hypot.at(size, at, norms(self._before))
        self._row[_WHAT.index("update")] = np.divide(
            moved, size, out=np.full_like(size, np.nan), where=size > 0
        )
        self._before = None


class _Output:
    """One output z of a layer, and how its gradient δ is kept."""

    def __init__(self, place, tensor, careful):
        self.place, self.tensor, self.version = place, tensor, tensor._version
        self.delta, self.careful, self.attached = None, careful, False
        # A copy only where an in-place activation may overwrite what we were given.
        self.value = tensor.detach().clone() if careful else tensor.detach()
        self.attach()

    def attach(self):
        """See to it that δ is kept, once z has one."""
        if self.attached or not self.tensor.requires_grad:
            return
        self.attached = True
        if self.careful:
            self.tensor.register_hook(self.keep)
        else:
            self.tensor.retain_grad()

    def keep(self, gradient):
        self.delta = gradient

    def take_delta(self):
        """The gradient; what `retain_grad` left on the model's own tensor is taken away."""
        if self.attached and not self.careful:
            self.delta, self.tensor.grad = self.tensor.grad, None
        self.tensor = None  # its hook holds us, and the two would keep each other alive
        return self.delta


def norms(tensors: list[torch.Tensor]) -> list[float]:
    """Norms of all tensors as floats: small ones of one size at once, doubtful ones again."""
    groups = defaultdict(list)
    for i, tensor in enumerate(tensors):
        size = tensor.numel()
        groups[(size, tensor.dtype) if size <= _SMALL else i].append(i)
    values = [0.0] * len(tensors)
    for members in groups.values():
        chosen = [tensors[i] for i in members]
        try:
            flat = (torch.stack(chosen) if len(chosen) > 1 else chosen[0][None]).flatten(1)
        except RuntimeError:  # equal sizes, other shapes
            flat = torch.stack([tensor.flatten() for tensor in chosen])
        wide = torch.float32 if flat.dtype.itemsize < 4 else flat.dtype
        sizes = torch.linalg.vector_norm(flat, dim=1, dtype=wide).tolist()
        for i, value in zip(members, sizes, strict=True):
            values[i] = value if _DOUBTFUL < value < _HUGE else norm(tensors[i])
    return values
