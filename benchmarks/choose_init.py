"""How networks of ReLUs train from different inits, in runs too long for a lesson.

    convolutional   He's weights against the same draw divided by √2, Xavier's scale
    dense           the same in dense networks of 50 units, five times as long as in the lesson;
                    at 30 layers beside orthogonal ones, and LSUV
    fixed           weights of one standard deviation for all layers, whatever their width

The first two are judged at the best of the same rates, which is found on other seeds:
``{name: {rate, tried, scores, test}}``; ``scores`` on training and ``test`` on test examples. The
last keeps what each seed tells right at every rate: ``{name: [[score, …] of each rate, …]}``.

    python benchmarks/choose_init.py   about ten minutes on one core
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import records
import torch
from torch import nn

from vglib.experiments.families import at_best_rates, scores
from vglib.nets import convnet, mlp
from vglib.tasks import digits
from vglib.training import accuracy

torch.set_num_threads(1)

SEEDS, TUNING = range(5), (900, 901)
EPOCH = 44  # steps of 32 examples
RATES = {
    "sgd": (0.001, 0.003, 0.01, 0.03, 0.1),
    "momentum": (0.0003, 0.001, 0.003, 0.01),
    "adam": (0.0001, 0.0003, 0.001, 0.003),
}
GAINS = {"he": 2**0.5, "xavier": 1.0}
SCALES = {"0.01": 0.01, "0.02": 0.02, "0.05": 0.05, "0.1": 0.1, "1": 1.0, "he": None}


def network(kind, depth, width, seed, init="normal", gain=2**0.5):
    """A network of ReLUs; its normal draw does not depend on the gain."""
    how = dict(depth=depth, activation="relu", init=init, gain=gain, seed=seed)
    how |= dict(dtype=torch.float32)
    return convnet(channels=width, **how) if kind == "convolutional" else mlp(width=width, **how)


@torch.no_grad()
def of_scale(depth, width, scale, seed):
    """A dense network with one standard deviation for all weights, or He's for None."""
    net = network("dense", depth, width, seed)
    for module in net.modules():
        if scale is not None and isinstance(module, nn.Linear):
            module.weight *= scale * (module.in_features / 2) ** 0.5
    return net


@torch.no_grad()
def lsuv(depth, width, seed, inputs):
    """Orthogonal weights, each layer's divided by the spread of what it puts out."""
    net = network("dense", depth, width, seed, init="orthogonal")
    for layer in net:
        (linear,) = (module for module in layer.modules() if isinstance(module, nn.Linear))
        linear.weight /= layer(inputs).std()
        inputs = layer(inputs)
    return net


def run(kind, depth, width, optimizer, epochs):
    task = digits(shape="image" if kind == "convolutional" else "flat", dtype=torch.float32)
    how = dict(optimizer=optimizer, steps=EPOCH * epochs, batch_size=32, seed=0)
    rates = RATES[optimizer]
    if kind == "fixed":
        tried = [(s, rate, seed) for s in SCALES.values() for rate in rates for seed in SEEDS]
        nets = [of_scale(depth, width, s, seed) for s, _, seed in tried]
        told = scores(nets, task, rates=[rate for _, rate, _ in tried], **how)
        told = told.reshape(len(SCALES), len(rates), len(SEEDS))
        return {name: rounded(one) for name, one in zip(SCALES, told, strict=True)}
    contenders = {
        name: lambda seed, gain=gain: network(kind, depth, width, seed, gain=gain)
        for name, gain in GAINS.items()
    }
    if (kind, depth) == ("dense", 30):
        first = task.train.inputs[:128]
        contenders["orthogonal"] = lambda seed: network(kind, depth, width, seed, "orthogonal")
        contenders["lsuv"] = lambda seed: lsuv(depth, width, seed, first)
    found = at_best_rates(contenders, task, rates=rates, tuning=TUNING, seeds=SEEDS, **how)
    return {
        name: dict(
            rate=best.rate,
            tried=[-rounded(best.search.scores[rate]) for rate in rates],
            scores=rounded(best.scores),
            test=rounded([tested(net, task.test) for net in best.nets]),
        )
        for name, best in found.items()
    }


@torch.no_grad()
def tested(net, batch):
    return float(accuracy(net(batch.inputs), batch.targets))


def rounded(values):
    """Numbers, or lists of them, to three places."""
    return np.round(values, 3).tolist()


SETTINGS = [
    *(
        dict(kind="fixed", depth=depth, width=width, optimizer="sgd", epochs=10)
        for depth in (3, 10)
        for width in (25, 50)
    ),
    *(dict(kind="dense", depth=d, width=50, optimizer="sgd", epochs=50) for d in (22, 30)),
    dict(kind="convolutional", depth=20, width=16, optimizer="adam", epochs=10),
    dict(kind="convolutional", depth=20, width=16, optimizer="momentum", epochs=20),
]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
