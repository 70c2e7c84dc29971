"""Deep sigmoid networks trained a layer at a time, or helped by read-outs on the way up.

Several networks are held side by side: a list of ``(weights, biases)`` of shapes (networks, fan_in,
fan_out) and (networks, 1, fan_out), layer 1 first, the read-out last. Their steps are those of SGD
with momentum 0.9, each network at its own rate. Greedy pretraining: Bengio et al. (2007).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vglib.batch import Task
from vglib.nets import mlp
from vglib.tasks import digits
from vglib.training import accuracy

WIDTH, BATCH, PER_EPOCH = 32, 128, 11
STEPS = 440  # updates of each weight, pretraining included
FIRST = 220  # of them, where there are two phases, in the first
Layers = list[tuple[torch.Tensor, torch.Tensor]]


@cache
def task() -> Task:
    """The digits, in single precision."""
    return digits(dtype=torch.float32)


def draw(
    depth: int,
    seeds: Sequence[int],
    *,
    gain: float | None = None,
    init: str = "normal",
    centred: bool = False,
) -> Layers:
    """Sigmoid networks of ``depth`` layers, a network for each of ``seeds``.

    With PyTorch's weights; with ``gain``, those of ``init``, normal or orthogonal, and no biases.
    In ``centred`` ones each bias is minus half the sum of its weights: a sigmoid gives ½ at 0.
    """
    law = dict(init="torch") if gain is None else dict(init=init, gain=gain)
    how = dict(depth=depth, width=WIDTH, activation="sigmoid", dtype=torch.float32, **law)
    nets = [mlp(**how, seed=seed) for seed in seeds]
    linear = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in nets]
    layers = [
        (
            torch.stack([one.weight.detach().T for one in level]),
            torch.stack([one.bias.detach()[None] for one in level]),
        )
        for level in zip(*linear, strict=True)
    ]
    if centred:
        half = [(w, -w.sum(dim=1, keepdim=True) / 2) for w, _ in layers[1:-1]]
        layers = [layers[0], *half, layers[-1]]
    return layers


def forward(layers: Layers, x: torch.Tensor) -> tuple[torch.Tensor, list]:
    """The outputs, (networks, examples, 10), and the activations of each layer."""
    h, kept = x.expand(len(layers[0][0]), *x.shape), []
    for weights, biases in layers[:-1]:
        h = torch.baddbmm(biases, h, weights).sigmoid()
        kept.append(h)
    weights, biases = layers[-1]
    return torch.baddbmm(biases, h, weights), kept


def losses(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each network, (networks,)."""
    each = F.cross_entropy(outputs.flatten(0, 1), targets.repeat(len(outputs)), reduction="none")
    return each.view(len(outputs), -1).mean(dim=1)


def told_wrong(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The share of examples that each network tells wrong, (networks,), in percent.

    Nine tenths, as by guessing, where an output is not finite.
    """
    wrong = 1 - accuracy(outputs, targets)
    return 100 * torch.where(outputs.isfinite().all(dim=2).all(dim=1), wrong, 0.9)


def order(steps: int, seed: int) -> torch.Tensor:
    """The examples of each step, (steps, batch): whole epochs, newly shuffled."""
    generator, count = torch.Generator().manual_seed(seed), len(task().train.targets)
    epochs = [torch.randperm(count, generator=generator) for _ in range(-(-steps // PER_EPOCH))]
    used = BATCH * PER_EPOCH
    return torch.cat([one[:used].view(PER_EPOCH, BATCH) for one in epochs])[:steps]


def _normal(seeds, *shape):
    """Numbers of a standard normal law, (networks, *shape), from a generator for each network."""
    drawn = [torch.randn(*shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.stack(drawn)


def pretrain(layers: Layers, seeds: Sequence[int], how: str, steps: int = FIRST) -> Layers:
    """Train one layer after another, each on what the trained ones below hand up.

    ``how``: ``"autoencoder"`` asks a linear decoder to give back what came in, each of its entries
    centred and all of them brought to a mean square of one; ``"supervised"`` asks a read-out for
    the digit. Both are thrown away. Adam at rate 0.01; the read-out of the network is not touched.
    """
    inputs, targets = task().train
    count, trained = len(seeds), []
    h = inputs.expand(count, *inputs.shape)
    for number, (weights, biases) in enumerate(layers[:-1]):
        wanted = h - h.mean(dim=1, keepdim=True)
        wanted = wanted / wanted.square().mean(dim=(1, 2), keepdim=True).sqrt()
        size = h.shape[2] if how == "autoencoder" else 10
        decoder = _normal([100 * seed + number for seed in seeds], WIDTH, size) / WIDTH**0.5
        parts = [weights.clone(), biases.clone(), decoder, torch.zeros(count, 1, size)]
        w, b, up, offset = (part.requires_grad_() for part in parts)
        optimizer = torch.optim.Adam([w, b, up, offset], lr=0.01)
        for chosen in order(steps, seeds[0]):
            code = torch.baddbmm(b, h[:, chosen], w).sigmoid()
            out = torch.baddbmm(offset, code, up)
            if how == "autoencoder":
                loss = (out - wanted[:, chosen]).square().mean(dim=(1, 2)).sum()
            else:
                loss = losses(out, targets[chosen]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trained.append((w.detach(), b.detach()))
        with torch.no_grad():
            h = torch.baddbmm(b, h, w).sigmoid()
    return [*trained, layers[-1]]


def shuffled(layers: Layers, seeds: Sequence[int]) -> Layers:
    """The same numbers in each matrix and among each layer's biases, in another order."""

    def mixed(values):
        rows = [
            one.flatten()[
                torch.randperm(one.numel(), generator=torch.Generator().manual_seed(seed))
            ].view_as(one)
            for one, seed in zip(values, seeds, strict=True)
        ]
        return torch.stack(rows)

    return [*((mixed(w), mixed(b)) for w, b in layers[:-1]), layers[-1]]


def scale_alone(layers: Layers, seeds: Sequence[int]) -> Layers:
    """Normal weights and biases with the standard deviations of each matrix and its biases."""
    new = [
        (
            w.std(dim=(1, 2), keepdim=True) * _normal([100 * s + k for s in seeds], *w.shape[1:]),
            b.std(dim=(1, 2), keepdim=True) * _normal([100 * s - k for s in seeds], *b.shape[1:]),
        )
        for k, (w, b) in enumerate(layers[:-1], start=1)
    ]
    return [*new, layers[-1]]


def recentred(layers: Layers) -> Layers:
    """The same weights; biases that give every unit a mean z of 0 on the training digits."""
    h = task().train.inputs
    h, new = h.expand(len(layers[0][0]), *h.shape), []
    for weights, _ in layers[:-1]:
        z = h @ weights
        middle = z.mean(dim=1, keepdim=True)
        new.append((weights, -middle))
        h = (z - middle).sigmoid()
    return [*new, layers[-1]]


def fit(
    layers: Layers,
    *,
    rates: Sequence[float],
    steps: int,
    seed: int,
    helped: int = 0,
    local: bool = False,
) -> tuple[np.ndarray, Layers]:
    """Train each network at each of ``rates``; the share of training digits it gets wrong.

    In the first ``helped`` steps every hidden layer has a read-out of its own, whose loss is added;
    then they are gone. If ``local``, nothing passes from one layer to the next below in those
    steps. Returns errors, (rates, networks), in percent, and the trained networks, rate by rate.
    """
    inputs, targets = task().train
    count, tried = len(layers[0][0]), len(rates)
    layers = [(w.repeat(tried, 1, 1), b.repeat(tried, 1, 1)) for w, b in layers]
    rate = torch.tensor(rates).repeat_interleave(count).view(-1, 1, 1)
    heads = []
    if helped:
        own = _normal([seed + k for k in range(len(layers) - 2)], WIDTH, 10) / WIDTH**0.5
        zero = torch.zeros(count * tried, 1, 10)
        heads = [(one.repeat(count * tried, 1, 1), zero.clone()) for one in own]
    values = [v.requires_grad_() for pair in layers + heads for v in pair]
    speed = [torch.zeros_like(v) for v in values]
    for step, chosen in enumerate(order(steps, seed)):
        x, y = inputs[chosen], targets[chosen]
        if step == helped:
            values, speed = values[: 2 * len(layers)], speed[: 2 * len(layers)]
        if step < helped and local:
            h, loss = x.expand(count * tried, *x.shape), 0.0
            for (w, b), (up, offset) in zip(layers[:-1], [*heads, layers[-1]], strict=True):
                h = torch.baddbmm(b, h.detach(), w).sigmoid()
                loss = loss + losses(torch.baddbmm(offset, h, up), y)
        else:
            outputs, kept = forward(layers, x)
            loss = losses(outputs, y)
            if step < helped:
                for h, (up, offset) in zip(kept[:-1], heads, strict=True):
                    loss = loss + losses(torch.baddbmm(offset, h, up), y)
        slopes = torch.autograd.grad(loss.sum(), values)
        with torch.no_grad():
            for v, m, slope in zip(values, speed, slopes, strict=True):
                v -= rate * m.mul_(0.9).add_(slope)
    layers = [(w.detach(), b.detach()) for w, b in layers]
    outputs, _ = forward(layers, inputs)
    return told_wrong(outputs, targets).view(tried, count).numpy(), layers


def share_left(layers: Layers) -> np.ndarray:
    """RMS δ at layer 1 over that at the layer next to the loss, of each network."""
    layers = [(w.double(), b.double()) for w, b in layers]
    inputs, targets = task().train
    h = inputs[:BATCH].double().expand(len(layers[0][0]), -1, -1)
    kept = []
    for weights, biases in layers[:-1]:
        z = torch.baddbmm(biases, h, weights).requires_grad_()
        kept.append(z)
        h = z.sigmoid()
    weights, biases = layers[-1]
    loss = losses(torch.baddbmm(biases, h, weights), targets[:BATCH]).sum()
    low, high = torch.autograd.grad(loss, [kept[0], kept[-1]])
    return (low.square().mean(dim=(1, 2)) / high.square().mean(dim=(1, 2))).sqrt().numpy()


def spread_left(layers: Layers) -> np.ndarray:
    """How far the digits stand apart at the top: the RMS of a unit's activation about its mean."""
    layers = [(w.double(), b.double()) for w, b in layers]
    _, kept = forward(layers, task().train.inputs.double())
    return kept[-1].std(dim=1).square().mean(dim=1).sqrt().numpy()


WAYS = {
    "as drawn": None,
    "autoencoders": None,
    "autoencoders, shuffled": None,
    "autoencoders, scale alone": None,
    "autoencoders, shuffled, centred": None,
    "supervised": None,
    "supervised, shuffled": None,
    "supervised, shuffled, centred": None,
    "larger": 4.0,
    "twice as large": 8.0,
    "larger, centred": 4.0,
    "orthogonal, centred": 4.0,
    "helpers": None,
    "helpers, then without": None,
    "helpers, nothing passes down": None,
}


def start(way: str, depth: int, seeds: Sequence[int]) -> Layers:
    """The networks that ``way`` begins its last phase with."""
    how, *changes = way.split(", ")
    pretrained = how in ("autoencoders", "supervised")
    init = "orthogonal" if how == "orthogonal" else "normal"
    centred = "centred" in changes and not pretrained
    layers = draw(depth, seeds, gain=WAYS[way], init=init, centred=centred)
    if pretrained:
        layers = pretrain(layers, seeds, how.removesuffix("s"))
        if "shuffled" in changes:
            layers = shuffled(layers, seeds)
        if "scale alone" in changes:
            layers = scale_alone(layers, seeds)
        if "centred" in changes:
            layers = recentred(layers)
    return layers


def finish(
    way: str, layers: Layers, *, rates: Sequence[float], seed: int
) -> tuple[np.ndarray, Layers]:
    """Train them on: `fit`, with the updates that ``way`` has left of STEPS."""
    pretrained = way.startswith(("autoencoders", "supervised"))
    helped = {"helpers": STEPS}.get(way, FIRST if way.startswith("helpers") else 0)
    steps = STEPS - FIRST * pretrained
    local = way.endswith("passes down")
    return fit(layers, rates=rates, steps=steps, seed=seed, helped=helped, local=local)
