"""Seconds that `vglib.diagnose` takes on ten usual models, of one tree or of several:

    python benchmarks/diagnosis_seconds.py [TREE ...]

A tree is a checkout of the course, such as one of before a change (``git worktree add``); this one
if none is named. Each model is diagnosed in each tree in turn, by a process of its own, in one
thread; prints the seconds and what was said.
"""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

SIZE = 32


def batches_of(x, y):
    return list(zip(x.split(SIZE), y.split(SIZE), strict=True))


def digit_batches():
    from vglib.tasks import digits

    return batches_of(*digits(dtype=torch.float32).train)


def sequences(steps):
    """Which of eight tokens came first?"""
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.randint(8, (40 * SIZE, steps), generator=drawn)
    return batches_of(tokens, tokens[:, 0])


def classify(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def rebuild(model, batch):
    return F.mse_loss(model(batch[0]), batch[0])


def mlp(activation, depth, width=64, outputs=10):
    layers = [nn.Linear(64, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def convnet():
    layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 10))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        conv = partial(nn.Conv2d, 16, 16, 3, padding=1, bias=False)
        self.way = nn.Sequential(conv(), nn.BatchNorm2d(16), nn.ReLU(), conv(), nn.BatchNorm2d(16))

    def forward(self, x):
        return F.relu(x + self.way(x))


def resnet():
    stem = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    blocks = [Residual() for _ in range(6)]
    return nn.Sequential(*stem, *blocks, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 10))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.tokens, self.rnn = nn.Embedding(8, 32), kind(32, 32, batch_first=True)
        self.head = nn.Linear(32, 8)

    def forward(self, x):
        return self.head(self.rnn(self.tokens(x))[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.tokens = nn.Embedding(8, 32)
        self.places = nn.Parameter(0.1 * torch.randn(20, 32))
        self.body, self.head = nn.TransformerEncoder(layer, 4), nn.Linear(32, 8)

    def forward(self, x):
        return self.head(self.body(self.tokens(x) + self.places).mean(1))


def sgd(rate):
    return partial(torch.optim.SGD, lr=rate, momentum=0.9)


def adam(rate):
    return partial(torch.optim.Adam, lr=rate)


# Name: (model, loss, batches, optimizer).
MODELS = {
    "MLP 3×64": (partial(mlp, nn.ReLU, 3), classify, digit_batches, adam(1e-3)),
    "MLP 3×64, tanh, SGD": (partial(mlp, nn.Tanh, 3), classify, digit_batches, sgd(0.01)),
    "MLP 20×64, sigmoid": (partial(mlp, nn.Sigmoid, 20), classify, digit_batches, sgd(0.01)),
    "autoencoder": (partial(mlp, nn.ReLU, 3, outputs=64), rebuild, digit_batches, adam(1e-3)),
    "convnet, 4 layers": (convnet, classify, digit_batches, sgd(0.01)),
    "ResNet, 6 blocks": (resnet, classify, digit_batches, sgd(0.01)),
    "RNN, 30 steps": (partial(Recurrent, nn.RNN), classify, partial(sequences, 30), adam(1e-3)),
    "GRU, 50 steps": (partial(Recurrent, nn.GRU), classify, partial(sequences, 50), adam(1e-3)),
    "LSTM, 200 steps": (partial(Recurrent, nn.LSTM), classify, partial(sequences, 200), adam(1e-3)),
    "transformer, 4 blocks": (Transformer, classify, partial(sequences, 20), adam(1e-3)),
}


def timed(name):
    """Seconds of one diagnosis, and what it says."""
    from vglib.diagnosis import diagnose

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, loss_fn, batches, optimizer = MODELS[name]
    given = model(), loss_fn, batches()
    start = time.perf_counter()
    found = diagnose(*given, optimizer=optimizer)
    return time.perf_counter() - start, f"{found.verdict} {found.cause or ''}".strip()


def in_tree(tree, name):
    """The same in a process that imports vglib from ``tree``."""
    environment = os.environ | {"PYTHONPATH": str(Path(tree).resolve()), "PYTHONUTF8": "1"}
    command = [sys.executable, __file__, "--model", name]
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout.splitlines()[-1])


def main(arguments):
    if arguments[:1] == ["--model"]:
        print(json.dumps(timed(arguments[1])))
        return
    trees = arguments or [Path(__file__).parents[1]]
    print("| model | " + " | ".join(str(tree) for tree in trees) + " |")
    print("|---" * (len(trees) + 1) + "|")
    for name in MODELS:
        cells = [f"{seconds:.1f} s, {said}" for seconds, said in (in_tree(t, name) for t in trees)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
