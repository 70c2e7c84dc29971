"""Watching a training run: a `Trace` of every so many steps."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.autograd import Variable

from vglib.checks import at_least_one
from vglib.numerics import norms
from vglib.trace import ROWS, Trace


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

    `start` and `stop` do the same where a loop has no such place. A step is a forward pass of
    ``net`` in training mode with gradients; where its parts are called without it, one of the part
    that is called first. Between samples there is one hook and none on the layers. It sees true
    gradients: give the GradScaler, if there is one, as ``scaler``. ``updates`` also records how far
    each layer's parameters move, and ``saturation`` the slopes and the shares of saturated and of
    dead units after each layer. On leaving, every hook is gone. A model made by ``torch.compile``
    runs eagerly at sampled steps.
    """

    def __init__(self, net, *, every=10, scaler=None, updates=False, saturation=False):
        at_least_one(every=every)
        self._net, self._every, self._scaler, self._updates = net, every, scaler, updates
        self._trace = Trace(net, activations=saturation)
        self._layers = list(self._trace.layers)
        if not self._layers:
            raise ValueError(f"{type(net).__name__} has no layer with a weight matrix to watch")
        # Every parameter with the place of its layer.
        self._parameters = [
            (place, p)
            for place, m in enumerate(self._trace.layers.values())
            for p in m.parameters()
        ]
        self._step, self._before = -1, None
        self._order = {}  # layers in the order in which they run
        self._entries = {}  # numbers in their outputs
        self._steps, self._rows = [], []  # one array of shape (rows, places) a sample
        self._handles, self._root, self._depth, self._sampling = {}, None, 0, False

    def start(self) -> "Monitor":
        """Begin to watch."""
        # Whichever module is called first is the one whose calls are steps.
        for module in self._net.modules():
            hook = partial(self._first, module)
            self._handles[module] = module.register_forward_pre_hook(hook)
        return self

    def stop(self) -> None:
        """Take every hook away."""
        self._finish_update()
        self._end()
        for handle in self._handles.values():
            handle.remove()
        self._handles = {}

    __enter__ = start

    def __exit__(self, *exception):
        self.stop()

    def record(self) -> MonitorRecord:
        """The `MonitorRecord` of all samples so far."""
        return self.last(len(self._rows))

    def last(self, samples: int) -> MonitorRecord:
        """The `MonitorRecord` of the last ``samples``."""
        self._finish_update()
        order = [self._layers.index(name) for name in self._order]
        first = max(0, len(self._rows) - samples)
        rows = np.array(self._rows[first:]).reshape(-1, len(ROWS), len(self._layers))[:, :, order]
        functions = self._trace.activations.functions if self._trace.activations else {}
        return MonitorRecord(
            steps=np.array(self._steps[first:], dtype=int),
            layers=tuple(self._order),
            **{what: rows[:, i] for i, what in enumerate(ROWS)},
            activations=tuple(functions.get(name) for name in self._order),
        )

    def _first(self, module, *given):
        self._root = module
        if not (self._net.training and torch.is_grad_enabled()):
            return
        for handle in self._handles.values():
            handle.remove()
        self._handles = {module: module.register_forward_pre_hook(self._on_forward)}
        self._on_forward(module)

    def _on_forward(self, module, *given):
        if self._before is not None:
            self._finish_update()
        if not (self._net.training and torch.is_grad_enabled()):
            return
        self._step += 1
        if self._step % self._every:
            return
        self._end()  # and begin anew, should the last forward pass have failed
        self._row = np.full((len(ROWS), len(self._layers)), np.nan)
        self._steps.append(self._step)
        self._rows.append(self._row)
        self._sampling, self._depth = True, 0
        self._trace.start()
        if module is self._net:
            module._forward_hooks[id(self)] = self._after_forward
            return
        for part in self._net.modules():
            part._forward_pre_hooks[id(self)] = self._before_part
            part._forward_hooks[id(self)] = self._after_part
        self._depth = 1

    def _end(self):
        if self._sampling:
            self._sampling = False
            self._trace.stop()
            for module in [self._net] if self._root is self._net else self._net.modules():
                module._forward_pre_hooks.pop(id(self), None)
                module._forward_hooks.pop(id(self), None)

    def _before_part(self, part, arguments):
        self._depth += 1
        if self._depth == 1:
            self._trace.surround()

    def _after_part(self, part, arguments, output):
        self._depth -= 1
        if self._depth == 0:
            self._trace.heard(part=True)
            self._call_back(output)

    def _after_forward(self, net, arguments, output):
        self._trace.heard()
        self._call_back(output)

    def _call_back(self, output):
        tensors = [call.tensor for call in reversed(self._trace.calls)]
        tensors += [output] if isinstance(output, torch.Tensor) else []
        last = next((tensor for tensor in tensors if tensor.requires_grad), None)
        if last is not None:
            last.register_hook(self._queue)

    def _queue(self, gradient):
        if not self._trace.backward:
            self._trace.backward = True
            Variable._execution_engine.queue_callback(self._after_backward)

    @torch.no_grad()
    def _after_backward(self):
        self._end()
        for call in self._trace.calls:
            self._order.setdefault(call.name)
        scale = 1.0 if self._scaler is None else self._scaler.get_scale()
        self._row[:] = self._trace.sample(scale)
        self._entries = self._trace.entries()
        self._trace.calls = []
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
        self._row[ROWS.index("update")] = np.divide(
            moved, size, out=np.full_like(size, np.nan), where=size > 0
        )
        self._before = None
