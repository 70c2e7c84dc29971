"""Residual networks with two layers of weights in each branch, with and without batch norm.

The stream z begins as a linear map of the input, and block after block adds to it::

    z  ←  z + s (W₂ relu(W₁ relu(z) + b₁) + b₂)

The read-out is linear in relu(z). Weights are He's, biases zero. What differs is ``way``:

==============  ===================================================================
unscaled        s = 1
scaled          s = 1/√L for L blocks
Fixup           W₁ times 1/√L, W₂ and the read-out zero, a multiplier s = 1 and four
                more biases, of one number each, that are learned (Zhang et al. 2019)
ReZero          s is learned, and starts at 0 (Bachlechner et al. 2021); as in Fixup the last
                bias is added after it
batch norm      s = 1, z normalised before the first relu and before the read-out
==============  ===================================================================

Several networks are held side by side: each parameter has a first axis (networks,).
"""

from collections.abc import Sequence

import numpy as np
import torch

from vglib.checks import at_least_one, choose
from vglib.experiments.layerwise import BATCH, losses, order, task, told_wrong

WAYS = ("unscaled", "scaled", "Fixup", "ReZero", "batch norm")
WIDTH = 32
STEPS = 66  # six epochs
FAST = 0.5  # the mean loss of an epoch at which a network counts as having learned


def draw(
    way: str, blocks: int, seeds: Sequence[int], *, dtype: torch.dtype = torch.float32
) -> dict:
    """The parameters of a network for each of ``seeds``, by name."""
    choose("way", way, WAYS)
    at_least_one(blocks=blocks)
    drawn = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        shapes = (64, WIDTH), (blocks, WIDTH, WIDTH), (blocks, WIDTH, WIDTH), (WIDTH, 10)
        weights = [torch.randn(*shape, generator=generator) for shape in shapes]
        drawn.append([w * (2 / w.shape[-2]) ** 0.5 for w in weights])
    stem, first, second, out = (torch.stack(one).to(dtype) for one in zip(*drawn, strict=True))
    count = len(stem)

    def level(value, *shape):
        return torch.full((count, *shape), value, dtype=dtype)

    net = dict(stem=stem, first=first, second=second, out=out, offset=level(0.0, 1, 10))
    net["start"] = level(0.0, 1, WIDTH)
    net["bias1"], net["bias2"] = (level(0.0, blocks, 1, WIDTH) for _ in range(2))
    if way == "Fixup":
        net["first"] = first * blocks**-0.5
        net["second"], net["out"] = torch.zeros_like(second), torch.zeros_like(out)
        net["before1"], net["before2"] = (level(0.0, blocks, 1, 1) for _ in range(2))
        net["scale"], net["last"] = level(1.0, blocks, 1, 1), level(0.0, 1, 1)
    if way == "ReZero":
        net["scale"] = level(0.0, blocks, 1, 1)
    if way == "batch norm":
        net["gain"], net["shift"] = level(1.0, blocks, 1, WIDTH), level(0.0, blocks, 1, WIDTH)
        net["top_gain"], net["top_shift"] = level(1.0, 1, WIDTH), level(0.0, 1, WIDTH)
    return net


def _normed(z, gain, shift):
    z = z - z.mean(dim=1, keepdim=True)
    return z / (z.square().mean(dim=1, keepdim=True) + 1e-5).sqrt() * gain + shift


def forward(net: dict, way: str, x: torch.Tensor) -> tuple[torch.Tensor, list]:
    """The outputs, (networks, examples, 10), and the stream before each block and after the last.

    Batch norm takes its mean and variance from these examples.
    """
    blocks = net["first"].shape[1]
    each = {name: v.unbind(1) for name, v in net.items() if v.ndim == 4}
    z = torch.baddbmm(net["start"], x.expand(len(net["stem"]), *x.shape), net["stem"])
    kept = [z]
    for k in range(blocks):
        h = z
        if way == "batch norm":
            h = _normed(h, each["gain"][k], each["shift"][k])
        h = h.relu()
        if way == "Fixup":
            h = h + each["before1"][k]
        h = torch.baddbmm(each["bias1"][k], h, each["first"][k]).relu()
        if way == "Fixup":
            h = h + each["before2"][k]
        if way in ("Fixup", "ReZero"):
            second = torch.bmm(h, each["second"][k])
            h = torch.addcmul(each["bias2"][k], each["scale"][k], second)
        else:
            h = torch.baddbmm(each["bias2"][k], h, each["second"][k])
        z = z + (blocks**-0.5 * h if way == "scaled" else h)
        kept.append(z)
    if way == "batch norm":
        z = _normed(z, net["top_gain"], net["top_shift"])
    h = z.relu()
    if way == "Fixup":
        h = h + net["last"]
    return torch.baddbmm(net["offset"], h, net["out"]), kept


def flow(way: str, blocks: int, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Signal and gradient at init, in double precision: each (networks, blocks + 1), bottom first.

    The mean square of the stream before each block and after the last, over that before the first;
    the RMS of its gradient, over that after the last. Fixup's read-out starts at zero and lets no
    gradient pass, so that its gradient is taken with He's read-out.
    """
    net = draw(way, blocks, seeds, dtype=torch.float64)
    if way == "Fixup":
        net["out"] = draw("unscaled", blocks, seeds, dtype=torch.float64)["out"]
    batch = task().train.sample(BATCH, seed=0)
    net["start"].requires_grad_()
    outputs, kept = forward(net, way, batch.inputs.double())
    slopes = torch.autograd.grad(losses(outputs, batch.targets).sum(), kept)
    signal, gradient = (
        torch.stack([one.detach().square().mean(dim=(1, 2)) for one in level], dim=1)
        for level in (kept, slopes)
    )
    return (signal / signal[:, :1]).numpy(), (gradient / gradient[:, -1:]).sqrt().numpy()


def predicted(way: str, blocks: int) -> np.ndarray:
    """The gradient that `flow` should find at init where nothing is normalised, bottom first.

    Its RMS over that after the last block, (blocks + 1,), in wide layers: a block multiplies the
    square by 1 + s², and leaves it alone where its branch starts at zero. The signal's square grows
    alike, from the bottom up. Raises ValueError for batch norm.
    """
    choose("way", way, WAYS)
    added = {"unscaled": 1.0, "scaled": 1 / blocks, "Fixup": 0.0, "ReZero": 0.0}
    if way == "batch norm":
        raise ValueError("there is no prediction for batch norm here")
    return (1 + added[way]) ** (np.arange(blocks, -1, -1) / 2)


def fit(
    way: str,
    blocks: int,
    seeds: Sequence[int],
    *,
    rates: Sequence[float],
    seed: int,
    steps: int = STEPS,
) -> tuple[np.ndarray, np.ndarray]:
    """Train a network of each of ``seeds`` at each of ``rates``, by SGD with momentum 0.9.

    Returns two arrays of shape (rates, networks): the share of training digits told wrong at the
    end, in percent, and the step after which the mean loss of eleven steps was FAST at most, NaN
    where it never was.
    """
    inputs, targets = task().train
    net = draw(way, blocks, [one for _ in rates for one in seeds])
    rate = torch.tensor(rates).repeat_interleave(len(seeds))
    values = [v.requires_grad_() for v in net.values()]
    own = [rate.view(-1, *[1] * (v.ndim - 1)) for v in values]
    speed = [torch.zeros_like(v) for v in values]
    history = []
    for chosen in order(steps, seed):
        outputs, _ = forward(net, way, inputs[chosen])
        loss = losses(outputs, targets[chosen])
        slopes = torch.autograd.grad(loss.sum(), values)
        history.append(loss.detach())
        with torch.no_grad():
            for v, m, r, slope in zip(values, speed, own, slopes, strict=True):
                v -= r * m.mul_(0.9).add_(slope)
    with torch.no_grad():
        outputs, _ = forward(net, way, inputs)
    window = torch.stack(history).unfold(0, 11, 1).mean(dim=2) <= FAST  # (windows, networks)
    first = window.double().argmax(dim=0) + 11.0
    first = torch.where(window.any(dim=0), first, torch.nan)
    shape = len(rates), len(seeds)
    return told_wrong(outputs, targets).view(shape).numpy(), first.view(shape).numpy()
