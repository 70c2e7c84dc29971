"""How deep a network can be: accuracy over depth and weights, and twins that climb a ladder.

The lesson on depth runs small versions of what ``benchmarks/depth_map.py``,
``benchmarks/depth_ladder.py`` and ``benchmarks/deep_convnets.py`` keep on record.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_sample_images

from vglib.batch import Batch, Task
from vglib.checks import choose
from vglib.experiments.families import scores
from vglib.lesson import left
from vglib.nets import convnet, mlp
from vglib.probes import gradient_flow
from vglib.tasks import digits

VARIANCES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0)  # σ_w² of the map
BIAS_SCALE = 0.05**0.5
LADDER = (2, 4, 8, 16, 32, 64)
TWINS = {"PyTorch": "torch", "mended": "critical"}  # the init of each
RATES = {"SGD": (0.03, 0.1, 0.3), "Adam": (0.0003, 0.001, 0.003)}  # SGD's divided by the depth
_OPTIMIZERS = {"SGD": "momentum", "Adam": "adam"}
LEARNED = 0.5  # share of the training digits told right
CONV_RATES = {"SGD": (0.003, 0.01), "Adam": (0.001, 0.003)}
CONV_STEPS = 150


def on_the_map(
    depth: int, variances: Sequence[float], seeds: Sequence[int], *, steps: int = 150
) -> np.ndarray:
    """Share of training digits told right by tanh networks of width 64, (variances, seeds).

    ``variances`` are σ_w²; biases have the variance 0.05. Batches of 32, momentum 0.9, at the rate
    0.1 divided by the depth.
    """
    nets = [
        mlp(
            depth=depth,
            width=64,
            activation="tanh",
            init="normal",
            gain=variance**0.5,
            bias_scale=BIAS_SCALE,
            seed=seed,
            dtype=torch.float32,
        )
        for variance in variances
        for seed in seeds
    ]
    how = dict(optimizer="momentum", steps=steps, batch_size=32, seed=seeds[0])
    told = scores(nets, _digits(), rates=[0.1 / depth] * len(nets), **how)
    return told.reshape(len(variances), len(seeds))


@cache
def _digits(shape="flat"):
    return digits(shape=shape, dtype=torch.float32)


def climb(
    activation: str, optimizer: str, seeds: Sequence[int], *, steps: int = 200
) -> dict[str, dict[str, np.ndarray]]:
    """The usable depth of networks and of their mended twins, and whether the limit starves.

    Networks of width 32 climb `LADDER`. At each depth every draw trains at three rates, and it has
    managed the depth if half of the digits are told right at one of them; it stops at the first
    that it does not manage. Twin → ``depth``, the last that each seed managed, or 1, and
    ``starved``: whether layer 1 was starved before training at the first that it did not, False
    where it managed all.
    """
    rates = choose("optimizer", optimizer, RATES)
    seeds = list(seeds)
    deepest = {twin: np.ones(len(seeds)) for twin in TWINS}
    starved = {twin: np.zeros(len(seeds), dtype=bool) for twin in TWINS}
    climbing = [(twin, i) for twin in TWINS for i in range(len(seeds))]
    for depth in LADDER:
        how = dict(depth=depth, width=32, activation=activation)
        draws = [dict(how, init=TWINS[twin], seed=seeds[i]) for twin, i in climbing]
        nets = [mlp(**draw, dtype=torch.float32) for draw in draws for _ in rates]
        divided = depth if optimizer == "SGD" else 1
        told = scores(
            nets,
            _digits(),
            rates=[rate / divided for _ in draws for rate in rates],
            optimizer=_OPTIMIZERS[optimizer],
            steps=steps,
            batch_size=32,
            seed=seeds[0],
        )
        best = told.reshape(len(draws), len(rates)).max(axis=1)
        for (twin, i), draw, score in zip(climbing, draws, best, strict=True):
            if score >= LEARNED:
                deepest[twin][i] = depth
            else:
                batch = digits().train.sample(128, seed=seeds[i])
                starved[twin][i] = left(gradient_flow(mlp(**draw), batch))[0] <= 0.1
        climbing = [one for one, score in zip(climbing, best, strict=True) if score >= LEARNED]
        if not climbing:
            break
    return {twin: dict(depth=deepest[twin], starved=starved[twin]) for twin in TWINS}


def photographs(*, seed: int = 0, dtype: torch.dtype = torch.float32) -> Task:
    """Pieces of two photographs, 8×8 pixels in grey: which of the two is it from?

    1,440 training and 360 test pieces, half of them of each, cut on a grid out of the temple and
    the flower that come with scikit-learn; one mean and one standard deviation standardise all.
    ``seed`` draws the pieces.
    """
    pieces = []
    rng = np.random.default_rng(seed)
    for image in load_sample_images().images:
        grey = image[:424].astype(float).mean(axis=2)
        cut = grey.reshape(53, 8, 80, 8).swapaxes(1, 2).reshape(-1, 8, 8)
        pieces.append(cut[rng.permutation(len(cut))[:900]])
    pieces = np.concatenate(pieces)
    order = rng.permutation(1800)
    targets = torch.tensor(order // 900)
    x = pieces[order]
    x = torch.tensor((x - x[:1440].mean()) / x[:1440].std(), dtype=dtype)[:, None]
    return Task(Batch(x[:1440], targets[:1440]), Batch(x[1440:], targets[1440:]))


def image_task(name: str) -> Task:
    """``digits`` as images, or `photographs`; single precision."""
    choose("images", name, ("digits", "photographs"))
    return photographs() if name == "photographs" else _digits("image")


def image_classifier(
    depth: int, seed: int, dtype: torch.dtype = torch.float32, **keywords
) -> torch.nn.Sequential:
    """A convolutional network of ReLUs with 16 channels, and what ``keywords`` change."""
    how = dict(init="torch") | keywords
    return convnet(depth=depth, channels=16, activation="relu", seed=seed, dtype=dtype, **how)
