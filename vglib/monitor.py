"""Watching a training run: gradients and activations by layer, at every so many steps."""

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.autograd import Variable

from vglib.checks import at_least_one
from vglib.probes import places, rms

# Outside these a float32 norm may have lost entries whose squares underflow, or overflow; then it
# is taken again in float64.
_DOUBTFUL, _HUGE = 1e-15, 1e18
_SMALL = 50_000  # entries; tensors up to this size are copied together


@dataclass(frozen=True)
class MonitorRecord:
    """What a `Monitor` saw. Arrays have shape (samples, layers), layers in the order they ran.

    ``steps``: the step of each sample, from 0. ``delta``: RMS of δ_l. ``signal``: RMS of z_l.
    ``gradient``: norm of the gradient of the layer's own parameters, as backpropagation left it,
    before any clipping. ``update``: norm of the change of the layer's parameters over that step,
    divided by their norm. NaN where nothing arrived.
    """

    steps: np.ndarray
    layers: tuple
    delta: np.ndarray
    signal: np.ndarray
    gradient: np.ndarray
    update: np.ndarray


class Monitor:
    """Watch a model while your own loop trains it; at every ``every``-th step it takes a sample.

    ::

        with Monitor(net, every=10) as monitor:
            ...  # any training loop
        monitor.record()

    A step is a forward pass of ``net`` in training mode with gradients. Between samples there is
    one hook on the model and none on its layers. It sees true gradients: give the GradScaler, if
    there is one, as ``scaler``. ``updates`` also records how far each layer's parameters move. On
    leaving, every hook is gone. A model made by ``torch.compile`` runs eagerly at sampled steps.
    """

    def __init__(self, net, *, every=10, scaler=None, updates=False):
        at_least_one(every=every)
        self._net, self._every, self._scaler, self._updates = net, every, scaler, updates
        self._layers = places(net)
        if not self._layers:
            raise ValueError(f"{type(net).__name__} has no layer with a weight matrix to watch")
        self._parameters = {name: list(m.parameters()) for name, m in self._layers.items()}
        self._step = -1
        self._names = {}  # name → column, in the order in which layers run
        self._rows = []  # (step, {what: {name: value}})
        self._overwritten = None  # names of layers whose output an in-place activation overwrites
        self._handles, self._listening, self._stance, self._before = [], False, None, None

    def __enter__(self):
        self._handles = [
            self._net.register_forward_pre_hook(self._on_forward),
            self._net.register_forward_hook(self._after_forward, always_call=True),
        ]
        return self

    def __exit__(self, *exception):
        self._finish_update()
        self._stop_listening()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def record(self):
        """The `MonitorRecord` of all samples so far."""
        self._finish_update()
        columns = {
            what: np.array(
                [[row[what].get(name, np.nan) for name in self._names] for _, row in self._rows]
            ).reshape(len(self._rows), len(self._names))
            for what in ("delta", "signal", "gradient", "update")
        }
        steps = np.array([step for step, _ in self._rows], dtype=int)
        return MonitorRecord(steps=steps, layers=tuple(self._names), **columns)

    def _on_forward(self, net, arguments):
        self._finish_update()
        if not (net.training and torch.is_grad_enabled()):
            return
        self._step += 1
        if self._step % self._every:
            return
        self._row = defaultdict(dict)
        self._rows.append((self._step, self._row))
        self._seen = {}  # name → outputs z in the order of its runs, with what is known of them
        self._queued = False
        if hasattr(net, "_orig_mod"):  # compiled code does not run hooks that it has not seen
            self._stance = torch.compiler.set_stance("force_eager")
            self._stance.__enter__()
        # What register_forward_hook does, less its bookkeeping, which would cost as much as a norm.
        self._listening = True
        for name, module in self._layers.items():
            module._forward_hooks[id(self)] = partial(self._on_layer, name)

    def _after_forward(self, net, arguments, output):
        if not self._listening:
            return
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        outputs = [z for runs in self._seen.values() for z in runs]
        for z in outputs:
            z.attach()  # reentrant checkpointing gives an output its gradient only afterwards
        # A layer inside a checkpointed part runs again in the backward pass, and only then with
        # gradients: go on listening.
        if all(z.attached for z in outputs):
            self._stop_listening()
        last = next((z.tensor for z in reversed(outputs) if z.tensor.requires_grad), None)
        if last is None and isinstance(output, torch.Tensor) and output.requires_grad:
            last = output
        if last is not None:
            last.register_hook(self._queue)

    def _stop_listening(self):
        if self._listening:
            self._listening = False
            for module in self._layers.values():
                module._forward_hooks.pop(id(self), None)

    def _on_layer(self, name, module, arguments, output):
        tensor = output[0] if isinstance(output, tuple) else output
        runs = self._seen.setdefault(name, [])
        again = next((z for z in runs if not z.attached), None)
        if again is not None and tensor.requires_grad:  # its second run, under checkpointing
            again.tensor, again.version = tensor, tensor._version
            again.attach()
            return
        self._names.setdefault(name, len(self._names))
        careful = self._overwritten is None or name in self._overwritten
        runs.append(_Output(tensor, careful))

    def _queue(self, gradient):
        if not self._queued:
            self._queued = True
            Variable._execution_engine.queue_callback(self._after_backward)

    @torch.no_grad()
    def _after_backward(self):
        """All norms of one sample in a few calls: a call for each tensor would cost more."""
        self._stop_listening()
        scale = 1.0 if self._scaler is None else float(self._scaler.get_scale())
        outputs = [(name, z) for name, runs in self._seen.items() for z in runs]
        if self._overwritten is None:
            self._overwritten = {name for name, z in outputs if z.overwritten}
        deltas = [(name, z.take_delta()) for name, z in outputs]
        gradients = [(name, p.grad) for name, group in self._parameters.items() for p in group]
        wanted = {
            "delta": [(name, d) for name, d in deltas if d is not None],
            "gradient": [(name, g) for name, g in gradients if g is not None],
            "signal": [(name, z.tensor.detach()) for name, z in outputs if z.norm is None],
        }
        norms = iter(_norms([t for group in wanted.values() for _, t in group]))
        for what, group in wanted.items():
            total, sizes = defaultdict(float), defaultdict(int)
            by = 1.0 if what == "signal" else scale
            for name, tensor in group:
                total[name] = math.hypot(total[name], next(norms) / by)
                sizes[name] += 0 if what == "gradient" else tensor.numel()
            self._row[what] = {n: norm / max(sizes[n], 1) ** 0.5 for n, norm in total.items()}
        for name, z in outputs:
            if z.norm is not None:
                self._row["signal"][name] = float(z.norm) / z.tensor.numel() ** 0.5
        self._seen = {}
        if self._updates:
            self._before = {n: [p.clone() for p in ps] for n, ps in self._parameters.items()}

    @torch.no_grad()
    def _finish_update(self):
        if self._before is None:
            return
        for name, old in self._before.items():
            new = self._parameters[name]
            moved = sum((a - b).double().square().sum() for a, b in zip(new, old, strict=True))
            size = sum(b.double().square().sum() for b in old)
            self._row["update"][name] = float((moved / size).sqrt())
        self._before = None


class _Output:
    """One output z of a layer, its gradient δ, and its norm if z may be overwritten."""

    def __init__(self, tensor, careful):
        self.tensor, self.version = tensor, tensor._version
        self.delta, self.careful, self.attached = None, careful, False
        # A norm now costs more than one of many later, so only where it is needed.
        self.norm = torch.linalg.vector_norm(tensor.detach()) if careful else None
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

    @property
    def overwritten(self):
        return self.tensor._version != self.version

    def take_delta(self):
        """The gradient; what `retain_grad` left on the model's own tensor is taken away."""
        if self.attached and not self.careful:
            self.delta, self.tensor.grad = self.tensor.grad, None
        return self.delta


def _norms(tensors):
    """Norms of all tensors as floats: small ones of one shape at once, doubtful ones again."""
    groups = defaultdict(list)
    for i, tensor in enumerate(tensors):
        small = tensor.numel() <= _SMALL
        groups[tensor.shape if small else i, tensor.dtype].append(i)
    values = [0.0] * len(tensors)
    for members in groups.values():
        chosen = [tensors[i] for i in members]
        flat = torch.stack(chosen).flatten(1) if len(chosen) > 1 else chosen[0].reshape(1, -1)
        for i, value in zip(members, torch.linalg.vector_norm(flat, dim=1).tolist(), strict=True):
            doubtful = not _DOUBTFUL < value < _HUGE
            values[i] = rms(tensors[i]) * tensors[i].numel() ** 0.5 if doubtful else value
    return values
