"""Every remedy of the course alone on the same starved networks, with one budget for all.

``benchmarks/bakeoff.py`` trains all and keeps what came of it; the lesson trains a few again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vglib import theory
from vglib.batch import Task
from vglib.checks import choose
from vglib.claims import recorded
from vglib.nets import convnet, mlp
from vglib.recurrent import recurrent
from vglib.tasks import digits, recall
from vglib.training import OPTIMIZERS, accuracy

RATES = (0.002, 0.01, 0.05, 0.25)  # of SGD with momentum; Adam's are a tenth of these
TUNING, JUDGED = 900, range(5)
BATCH, GOAL = 60, 0.9


class Place(NamedTuple):
    """A task and the starved network that is trained on it, as keywords of its builder."""

    kind: str  # mlp, convnet or recurrent
    network: dict
    steps: int
    check_every: int
    data: dict


PLACES = {
    "dense": Place("mlp", dict(depth=30, width=64, activation="sigmoid"), 230, 23, {}),
    "convolutional": Place(
        "convnet", dict(depth=20, channels=8, activation="tanh"), 115, 23, {"shape": "image"}
    ),
    "recall, 20": Place("recurrent", dict(inputs=10, outputs=8), 300, 50, {"steps": 20}),
    # networks that learn by themselves: what a remedy costs there
    "shallow": Place("mlp", dict(depth=3, width=64, activation="tanh"), 115, 23, {}),
    "rows": Place("recurrent", dict(inputs=8, outputs=10), 115, 23, {"shape": "rows"}),
}
STARVED = ("dense", "convolutional", "recall, 20")

# What each remedy changes, and nothing else. Some belong to stacks of layers, some to sequences.
LAYERED = {
    "plain": {},
    "ReLU": {"activation": "relu"},
    "leaky ReLU": {"activation": "leaky_relu"},
    "SELU": {"activation": "selu"},
    "Xavier": {"init": "xavier"},
    "He": {"init": "he"},
    "orthogonal": {"init": "orthogonal"},
    "batch norm": {"normalization": "batch"},
    "layer norm": {"normalization": "layer"},
    "skip connections": {"connection": "residual"},
    "Adam": {"optimizer": "adam"},
    "clipping": {"clip": 1.0},
    "dropout": {"dropout": 0.1},
    "ReLU and He": {"activation": "relu", "init": "he"},
    "all together": {
        "activation": "relu",
        "init": "he",
        "normalization": "batch",
        "connection": "residual",
        "optimizer": "adam",
    },
}
SEQUENTIAL = {
    "plain": {},
    "ReLU": {"activation": "relu"},
    "orthogonal": {"recurrent_init": "orthogonal"},
    "Adam": {"optimizer": "adam"},
    "clipping": {"clip": 1.0},
    "LSTM": {"kind": "lstm"},
    "LSTM, forget bias 1": {"kind": "lstm", "forget_bias": 1.0},
    "GRU": {"kind": "gru"},
    "attention": {"attention": True},
    "all together": {"kind": "lstm", "forget_bias": 1.0, "optimizer": "adam", "clip": 1.0},
}


class Attention(nn.Module):
    """An RNN whose last state looks back at all states: scores h_T W h_t, softmax, weighted mean.

    The read-out sees that mean beside h_T. Luong et al. (2015) call such a score “general”.
    """

    def __init__(self, cell, outputs):
        super().__init__()
        size = cell.hidden_size
        self.cell, self.look = cell, nn.Linear(size, size, bias=False)
        self.readout = nn.Linear(2 * size, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = self.cell(x)[0]  # (examples, time, units)
        last = states[:, -1]
        scores = (states @ self.look(last)[:, :, None])[..., 0]  # (examples, time)
        seen = (F.softmax(scores, dim=1)[..., None] * states).sum(dim=1)
        return self.readout(torch.cat([last, seen], dim=1))


def remedies(place: str) -> dict:
    """The remedies that fit a place, each as what it changes; the first changes nothing."""
    return SEQUENTIAL if choose("place", place, PLACES).kind == "recurrent" else LAYERED


def task_of(place: str) -> Task:
    """The data of a place: digits, or first tokens to be recalled; always the same."""
    at = choose("place", place, PLACES)
    if "steps" in at.data:
        return recall(**at.data, seed=0, train=10_000, test=1_000, dtype=torch.float32)
    return digits(**at.data, dtype=torch.float32)


def build(place: str, remedy: str, *, seed: int) -> nn.Module:
    """The network of a place, with PyTorch's own weights, and ``remedy`` added to it."""
    change = dict(choose("remedy", remedy, remedies(place)))
    at = PLACES[place]
    dropout, attention = change.pop("dropout", 0), change.pop("attention", False)
    for name in ("optimizer", "clip"):
        change.pop(name, None)
    if at.kind != "recurrent":
        keywords = dict(init="torch") | at.network | change | dict(seed=seed, dtype=torch.float32)
        if keywords["init"] == "orthogonal":
            keywords["gain"] = float(theory.critical_gain(keywords["activation"]))
        if keywords.get("connection") == "residual":
            keywords["branch_scale"] = keywords["depth"] ** -0.5
        net = {"mlp": mlp, "convnet": convnet}[at.kind](**keywords)
        if dropout:
            for layer in net[1:-1]:
                layer.activation = nn.Sequential(layer.activation, nn.Dropout(dropout))
        return net
    activation = change.pop("activation", None)
    keywords = dict(kind="rnn", hidden=32) | at.network | change
    net = recurrent(**keywords, seed=seed, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if activation:  # PyTorch draws the same weights as for tanh
            shape = net.cell.input_size, net.cell.hidden_size
            net.cell = nn.RNN(*shape, nonlinearity=activation, batch_first=True)
        if attention:
            net = Attention(net.cell, at.network["outputs"])
    return net


def how(place: str, remedy: str) -> dict:
    """Optimizer and clip of a remedy: SGD with momentum and none, unless it changes them."""
    change = remedies(place)[remedy]
    return dict(optimizer=change.get("optimizer", "momentum"), clip=change.get("clip"))


def rates(place: str, remedy: str) -> tuple:
    """The four rates that every network tries; a tenth of them with Adam."""
    tenth = 10 if how(place, remedy)["optimizer"] == "adam" else 1
    return tuple(rate / tenth for rate in RATES)


def trained(
    place: str, remedy: str, rate: float, seeds: Sequence[int], *, batch_size: int = BATCH
) -> dict:
    """Train a network for each of ``seeds``; what came of it, by name, each a list by seed.

    ``right``: share of test examples told right after the budget. ``steps``: when it was at least
    nine tenths, at one of ten checks or so; NaN if never. ``loss``: mean of the last ten.
    """
    task, runs = task_of(place), [[], [], []]
    for seed in seeds:
        for kept, one in zip(runs, _one(place, remedy, rate, seed, task, batch_size), strict=True):
            kept.append(one)
    return dict(zip(("right", "steps", "loss"), runs, strict=True))


def _one(place, remedy, rate, seed, task, batch_size):
    at, ways = PLACES[place], how(place, remedy)
    net = build(place, remedy, seed=seed)
    optimizer = OPTIMIZERS[ways["optimizer"]](net.parameters(), lr=rate)
    draw = torch.Generator().manual_seed(seed)
    losses, reached, examples = [], np.nan, len(task.train.targets)
    order = torch.cat(
        [
            torch.randperm(examples, generator=draw)
            for _ in range(1 + at.steps * batch_size // examples)
        ]
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # for dropout
        for step in range(at.steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            optimizer.zero_grad()
            loss = F.cross_entropy(net(task.train.inputs[rows]), task.train.targets[rows])
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                break
            loss.backward()
            if ways["clip"]:
                nn.utils.clip_grad_norm_(net.parameters(), ways["clip"])
            optimizer.step()
            last = step + 1 == at.steps
            if last or (np.isnan(reached) and (step + 1) % at.check_every == 0):
                right = told(net, task)
                if right >= GOAL and np.isnan(reached):
                    reached = float(step + 1)
        else:
            return right, reached, float(np.mean(losses[-10:]))
    return told(net, task), np.nan, np.inf


@torch.no_grad()
def told(net: nn.Module, task: Task) -> float:
    """Share of test examples that a network tells right, in evaluation mode."""
    net.eval()
    right = accuracy(net(task.test.inputs), task.test.targets).item()
    net.train()
    return right


def kept(net: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> int:
    """Bytes of what the forward pass keeps for the backward pass, without the parameters."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = (storage.nbytes(), storage)  # held, or its place is reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        F.cross_entropy(net(inputs), targets)
    return sum(size for size, _ in seen.values())


def on_record(place: str, remedy: str, what: str = "trained") -> dict:
    """What the record has: ``right`` and more by seed, or with ``what="cost"`` ratios."""
    wanted = dict(what=what, place=place, remedy=remedy)
    for one in recorded("bakeoff"):
        if one["settings"] == wanted:
            return one["values"]
    raise ValueError(f"the record of the bake-off has nothing on {wanted}")


def right(place: str, remedy: str) -> np.ndarray:
    """Share of test examples told right by the five networks of the record."""
    return np.array(on_record(place, remedy)["right"])


def starved_places(remedy: str) -> list[str]:
    """The starved networks, as far as a remedy fits them."""
    return [place for place in STARVED if remedy in remedies(place)]
