"""Measurements on any torch module, which is left as it was found."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from vglib.batch import Batch, LossFn, cross_entropy
from vglib.checks import as_list, settings_of
from vglib.numerics import norm, rms
from vglib.recurrent import Recurrent, unroll
from vglib.trace import Activations, Trace, as_found, first_tensor


def state_of(ratio: float) -> str:
    """What a layer is called by its gradient over that of the layer next to the loss.

    At most a tenth is starved, ten times or more is exploding, else it is fed.
    """
    return "starved" if ratio <= 0.1 else "exploding" if ratio >= 10 else "fed"


@dataclass(frozen=True)
class GradientFlow:
    """Gradients by layer, of one or several networks of the same shape.

    Every array has shape (networks, layers); layer 1, next to the input, comes first and the
    read-out is left out. ``delta``: RMS of δ_l = ∂L/∂z_l over units and examples. ``weight``: RMS
    of ∂L/∂W_l. ``signal``: RMS of h_{l-1}, the input of layer l. ``layers``: the layers' names.
    ``settings``: one dict per network; ``versions``: of the software that measured.
    """

    delta: np.ndarray
    weight: np.ndarray
    signal: np.ndarray
    layers: tuple
    settings: tuple
    versions: dict

    @property
    def factor(self) -> np.ndarray:
        """Geometric mean over hidden layers, (RMS δ_1 / RMS δ_L)^(1/(L-1)), one per network.

        Below one the gradient vanishes on its way down. Raises ValueError for a single layer.
        """
        if len(self.layers) < 2:
            raise ValueError("a factor per layer needs depth 2 or more, not 1")
        return (self.delta[:, 0] / self.delta[:, -1]) ** (1 / (len(self.layers) - 1))

    def table(self) -> str:
        """Gradients by layer as text, the layer next to the loss on top; medians over networks.

        Layers that are not fed are called what `state_of` calls them.
        """
        delta, weight = np.median(self.delta, axis=0), np.median(self.weight, axis=0)
        ratio = np.median(self.delta / self.delta[:, -1:], axis=0)
        width = max(map(len, (*self.layers, "layer")))
        lines = [f"{'layer':<{width}}  RMS δ    relative   ∂ℒ/∂W"]
        for i in reversed(range(len(self.layers))):
            state = state_of(ratio[i]).replace("fed", "")
            lines.append(
                f"{self.layers[i]:<{width}}  {delta[i]:.1e}  {ratio[i]:.1e}    {weight[i]:.1e}"
                f"  {state}".rstrip()
            )
        return "\n".join(lines)

    def __repr__(self):
        networks, layers = self.delta.shape
        if networks == 1:
            return self.table()
        text = f"GradientFlow: {networks} networks, {layers} layers"
        if layers > 1:
            low, middle, high = np.quantile(self.factor, [0, 0.5, 1])
            text += f", factor {middle:.3g}"
            text += f" (from {low:.3g} to {high:.3g})"
        return text


def gradient_flow(
    nets: nn.Module | Iterable[nn.Module], batch: Any, *, loss_fn: LossFn = cross_entropy
) -> GradientFlow:
    """Measure the gradient at every hidden layer of ``nets``, one module or a list, on ``batch``.

    δ_l is taken on the stream of networks made by `nets`. In any other model a layer is a module
    that owns a weight of two or more axes (Linear, Conv, …), δ_l is taken at its output, layers are
    ordered as they run, and the last to run is the read-out. ``loss_fn(model, batch)`` gives a
    scalar; with one of your own, any batch will do. NaN stands where no gradient arrives: at layers
    that are detached, or the weights of frozen ones.

    Nothing of the model changes: parameters, ``.grad``, buffers, mode, hooks and torch's random
    state are as before. Raises ValueError for an empty batch, inputs that are not finite or not of
    the model's type, labels out of range, a model without trainable parameters or without two
    layers, a loss that is not a finite scalar, or networks of different shapes.
    """
    nets = as_list(nets, "gradient_flow")
    batch = _checked(batch) if loss_fn is cross_entropy else batch
    for net in nets:
        _check_model(net, batch)
    shapes = {tuple((name, tuple(p.shape)) for name, p in net.named_parameters()) for net in nets}
    if len(shapes) > 1:
        raise ValueError(
            f"the {len(nets)} networks are of {len(shapes)} different shapes; measure them apart"
        )
    results = [_one(net, batch, loss_fn) for net in nets]
    names = {result[0] for result in results}
    values = np.array([result[1] for result in results])  # (networks, 3, layers)
    return GradientFlow(
        delta=values[:, 0],
        weight=values[:, 1],
        signal=values[:, 2],
        layers=names.pop(),
        settings=tuple(settings_of(net) for net in nets),
        versions={"python": platform.python_version(), "torch": version("torch")},
    )


def _checked(batch):
    inputs, targets = batch
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise ValueError(
            "a batch needs at least one example and one target for each; "
            f"this one has {len(inputs)} inputs and {len(targets)} targets"
        )
    # A finite sum is the cheap proof; a large one may overflow all the same.
    if inputs.is_floating_point() and not inputs.sum().isfinite():
        bad = int((~inputs.isfinite()).sum())
        if bad:
            raise ValueError(
                f"the inputs must be finite; {bad} of {inputs.numel()} entries are not"
            )
    return Batch(inputs, targets)


def _check_model(net, batch):
    if isinstance(net, torch.jit.ScriptModule):
        raise ValueError("a TorchScript module takes no hooks; give the module it was made from")
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError(f"{type(net).__name__} has no trainable parameters, so it has no gradient")
    inputs = getattr(batch, "inputs", None)
    if inputs is not None and inputs.is_floating_point() and inputs.dtype != trainable[0].dtype:
        raise ValueError(
            f"the inputs are {inputs.dtype} and the model is {trainable[0].dtype}; "
            "convert one of them, for instance with model.double()"
        )


def _one(net, batch, loss_fn):
    """Names of the hidden layers of one network, and the rows (δ, ∂L/∂W, h) of their RMS."""
    trace = Trace(net, inputs=True, frozen=True)
    with as_found(net):
        trace.run(loss_fn, tree_map(_copied, batch), check=_check_loss)
        deltas = {}  # name: δ of each run, in the order in which layers ran last
        for call in trace.calls:
            deltas[call.name] = [*deltas.pop(call.name, []), call.delta]
        hidden = list(deltas) if hasattr(net, "vglib_layers") else list(deltas)[:-1]
        if not hidden:
            raise ValueError(
                f"a hidden layer and a read-out are needed; {type(net).__name__} ran "
                f"{len(deltas)} layer(s) with a weight matrix"
            )
        owned = [trace.layers[name].parameters() for name in hidden]
        weights = [[p.grad for p in ps if p.ndim >= 2 and p.requires_grad] for ps in owned]
        sizes = [[_rms_of_all(deltas[name]) for name in hidden], [*map(_rms_of_all, weights)]]
    return tuple(hidden), (*sizes, [rms(first_tensor(trace.given[name])) for name in hidden])


def _rms_of_all(gradients):
    """RMS over all entries of several gradients, NaN where none arrived."""
    arrived = [gradient.flatten() for gradient in gradients if gradient is not None]
    return rms(torch.cat(arrived)) if arrived else float("nan")


def _copied(leaf):
    """A copy, which the model may change in place, of what is a tensor."""
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf


def _check_loss(value):
    if not isinstance(value, torch.Tensor) or value.ndim != 0:
        got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"the loss must be a scalar tensor, not {got}")
    if not value.requires_grad:
        raise ValueError("the loss has no gradient: does it count, or does the model run detached?")
    if not value.isfinite():
        raise ValueError(f"the loss must be finite, not {value.item()}")


def _checked_loss(loss_fn, model, batch):
    value = loss_fn(model, batch)
    _check_loss(value)
    return value


@dataclass(frozen=True)
class ActivationStatistics:
    """What the activations φ do to their layers' outputs, of networks of the same shape.

    Every array has shape (networks, layers). ``mean`` and ``rms``: of h_l = φ(z_l) over units and
    examples. ``slope``: RMS of φ'(z_l). ``saturated``: share of units and examples where the size
    of φ'(z_l) is below a tenth of the largest slope of this φ; for a ReLU, where it is off.
    ``dead``: share of units that are so for every example.
    """

    mean: np.ndarray
    rms: np.ndarray
    slope: np.ndarray
    saturated: np.ndarray
    dead: np.ndarray
    layers: tuple
    settings: tuple


def activation_statistics(
    nets: nn.Module | Iterable[nn.Module], batch: Batch
) -> ActivationStatistics:
    """Measure what the activation after each layer does, in one module or a list, on ``batch``.

    Layers are those of `gradient_flow`, and the read-out where there is an activation after it.
    Counted is the first of torch's elementwise activation functions that runs after the layer; a
    unit is one entry of its output for one example. If a layer runs several times, the runs are
    averaged. Nothing of the model changes. Raises ValueError as `gradient_flow`, and if no
    activation runs.
    """
    nets = as_list(nets, "activation_statistics")
    batch = _checked(batch)
    by_network = []
    for net in nets:
        _check_model(net, batch)
        trace = Trace(net, activations=True)
        with as_found(net), torch.no_grad():
            trace.start()
            try:
                net(batch.inputs.clone())
            finally:
                trace.stop()
        if not trace.activations.rows:
            raise ValueError(f"no activation function of torch's ran in {type(net).__name__}")
        by_network.append(trace.activations.rows)
    orders = {tuple(rows) for rows in by_network}
    if len(orders) > 1:
        raise ValueError(f"the {len(nets)} networks have activations after different layers")
    layers = orders.pop()
    values = np.array([[Activations.average(rows[name]) for name in layers] for rows in by_network])
    return ActivationStatistics(
        *np.moveaxis(values, 2, 0), layers, tuple(settings_of(net) for net in nets)
    )


@dataclass(frozen=True)
class LagFlow:
    """Gradients by lag, of one or several recurrent networks of the same shape.

    Every array has shape (networks, lags); lag 0 is the last time step, where the loss is.
    ``hidden``: RMS of ∂L/∂h_t over units and examples. ``cell``: of ∂L/∂c_t, for LSTMs, else None.
    ``inputs``: of ∂L/∂x_t. ``settings``: one dict per network.
    """

    hidden: np.ndarray
    cell: np.ndarray | None
    inputs: np.ndarray
    settings: tuple

    @property
    def memory(self) -> np.ndarray:
        """What is carried over time: ``cell`` for LSTMs, else ``hidden``; relative to lag 0."""
        carried = self.hidden if self.cell is None else self.cell
        return carried / carried[:, :1]


def gradient_by_lag(
    nets: Recurrent | Iterable[Recurrent], batch: Batch, *, loss_fn: LossFn = cross_entropy
) -> LagFlow:
    """Measure ∂L/∂h_t, ∂L/∂c_t and ∂L/∂x_t by lag in networks of `recurrent`, step by step.

    Inputs of ``batch`` have shape (examples, time, features). The network runs in its written-out
    form, which is exact and slow; `input_gradient_by_lag` is for any model, and fast. Raises
    ValueError as `gradient_flow`.
    """
    nets = as_list(nets, "gradient_by_lag")
    batch = _checked_sequences(batch)
    rows = []
    for net in nets:
        _check_model(net, batch)
        with torch.enable_grad():
            x = batch.inputs.detach().requires_grad_()
            states, outputs = unroll(net, x)
            value = _checked_loss(loss_fn, lambda _, answer=outputs: answer, batch)
            wanted = [x, *(tensor for state in states for tensor in state)]
            gradients = torch.autograd.grad(value, wanted, allow_unused=True)
        size = len(states[0])
        by_step = [gradients[1 + k :: size] for k in range(size)]
        rows.append([*(_by_lag(kind) for kind in by_step), _inputs_by_lag(gradients[0])])
    values = [np.array(kind) for kind in zip(*rows, strict=True)]
    return LagFlow(
        hidden=values[0],
        cell=values[1] if len(values) == 3 else None,
        inputs=values[-1],
        settings=tuple(settings_of(net) for net in nets),
    )


def input_gradient_by_lag(
    net: nn.Module, batch: Batch, *, loss_fn: LossFn = cross_entropy
) -> np.ndarray:
    """RMS of ∂L/∂x_t by lag, shape (lags,), lag 0 last in time: of any model on sequences.

    Costs one forward and one backward pass of the model as it is, fused or not. The model is left
    as it was found. Raises ValueError as `gradient_flow`.
    """
    batch = _checked_sequences(batch)
    _check_model(net, batch)
    with as_found(net):
        x = batch.inputs.detach().requires_grad_()
        value = _checked_loss(loss_fn, net, Batch(x, batch.targets))
        (gradient,) = torch.autograd.grad(value, [x])
    return _inputs_by_lag(gradient)


def _checked_sequences(batch):
    batch = _checked(batch)
    if batch.inputs.ndim != 3 or not batch.inputs.is_floating_point():
        raise ValueError(
            "sequences need real numbers of shape (examples, time, features), not "
            f"{batch.inputs.dtype} of shape {tuple(batch.inputs.shape)}"
        )
    return batch


def _by_lag(gradients):
    """RMS of each step's gradient, the last step first; 0 where the loss does not see a state."""
    return [0.0 if gradient is None else rms(gradient) for gradient in reversed(gradients)]


def _inputs_by_lag(gradient):
    """RMS of each step of ∂L/∂x, shape (examples, time, features), the last step first."""
    norms = torch.linalg.vector_norm(gradient, dim=(0, 2), dtype=torch.float64).tolist()
    if not all(1e-140 < value < 1e140 for value in norms):  # else no square was lost
        norms = [norm(step) for step in gradient.unbind(dim=1)]
    entries = gradient[:, 0].numel()
    return np.array(norms[::-1]) / entries**0.5
