"""Networks that do not train, each with what was tried on it: the cases of frontier/case_studies.

``benchmarks/case_studies.py`` trains all of them; the lesson trains a few again.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vglib.batch import Batch, Task
from vglib.checks import at_least_one, choose
from vglib.claims import recorded
from vglib.experiments.bakeoff import Attention
from vglib.lesson import left
from vglib.nets import convnet, mlp
from vglib.probes import gradient_flow, input_gradient_by_lag
from vglib.recurrent import recurrent
from vglib.tasks import digits
from vglib.training import OPTIMIZERS

TUNING, JUDGED = 900, range(5)
BATCH = 60
BANDS = 20
# Ten made-up vowels: three resonances each, in Hz.
VOWELS = [
    *((300, 2300, 3000), (400, 2000, 2600), (550, 1800, 2500), (700, 1700, 2400)),
    *((750, 1150, 2500), (600, 850, 2450), (450, 1050, 2250), (320, 850, 2250)),
    *((640, 1250, 2350), (500, 1400, 1750)),
]


class Case(NamedTuple):
    """What is trained, and how, unless a change says otherwise."""

    network: dict
    steps: int
    rates: tuple
    optimizer: str = "momentum"
    clip: float | None = None


_SPEECH = dict(inputs=9 * BANDS, width=64, activation="sigmoid", init="torch")
_RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
_SEQUENCE = dict(rates=(0.001, 0.003, 0.01), optimizer="adam", clip=1.0)
CASES = {
    "speech, 1 layer": Case(dict(depth=1, **_SPEECH), 300, _RATES),
    "speech, 3 layers": Case(dict(depth=3, **_SPEECH), 300, _RATES),
    "speech, 7 layers": Case(dict(depth=7, **_SPEECH), 300, _RATES),
    "speech, 15 layers": Case(dict(depth=15, **_SPEECH), 300, _RATES),
    "images": Case(
        dict(depth=13, channels=8, activation="relu", init="torch"), 115, (0.003, 0.01, 0.03, 0.1)
    ),
    "translation": Case(dict(kind="rnn", hidden=32), 400, **_SEQUENCE),
    "sentiment": Case(dict(kind="rnn", hidden=32), 300, **_SEQUENCE),
    "report": Case(
        dict(depth=3, width=64, activation="relu", init="torch", softmax=True), 300, (0.3,), "adam"
    ),
}
_CAREFUL = dict(init="normal", gain=4.0)  # of sigmoids
_GATED = {
    "LSTM": dict(kind="lstm"),
    "LSTM, forget bias 1": dict(kind="lstm", forget_bias=1.0),
    "GRU": dict(kind="gru"),
    "attention": dict(attention=True),
    # the way up of the one, the way down of the other
    "gradient alone": dict(carries_like="orthogonal"),
    "signal alone": dict(recurrent_init="orthogonal", carries_like="as it is"),
}
_ON_SPEECH = {
    "as it is": {},
    "careful weights": _CAREFUL,
    "tanh": dict(activation="tanh"),
    "tanh, careful weights": dict(activation="tanh", init="xavier"),
    "ReLU": dict(activation="relu"),
    "ReLU, careful weights": dict(activation="relu", init="he"),
}
_ON_RECURRENT = {"as it is": {}, "orthogonal": dict(recurrent_init="orthogonal"), **_GATED}
CHANGES = {
    "speech, 1 layer": {"as it is": {}},
    "speech, 3 layers": _ON_SPEECH,
    "speech, 15 layers": _ON_SPEECH,
    "speech, 7 layers": _ON_SPEECH
    | {
        "skips": dict(connection="residual", branch_scale=7**-0.5),
        "batch norm": dict(normalization="batch"),
        "Adam": dict(optimizer="adam"),
        "pretrained": dict(pretrained=True),
        "gradient alone": dict(carries_like="careful weights"),
        "signal alone": _CAREFUL | dict(carries_like="as it is"),
    },
    "images": {
        "as it is": {},
        "Adam": dict(optimizer="adam"),
        "He": dict(init="he"),
        "batch norm": dict(normalization="batch"),
        "skips": dict(connection="residual", branch_scale=13**-0.5),
        "He, four times the steps": dict(init="he", steps=460, rate=0.01),
    },
    "translation": _ON_RECURRENT
    | {"four times the units": dict(hidden=128), "reversed": dict(turned=True)},
    "sentiment": _ON_RECURRENT,
    "report": {
        "as it is": {},
        "no softmax": dict(softmax=False),
        "He": dict(init="he"),
        "batch norm": dict(normalization="batch"),
        "SGD": dict(optimizer="sgd"),
        "a hundredth of the rate": dict(rate=0.003),
        "both": dict(softmax=False, rate=0.003),
    },
}
_HOW = ("optimizer", "rate", "steps", "turned")  # of a change, what is no part of the network


def speech(*, seed: int, train: int = 2_000, test: int = 1_000, frames: int = 9) -> Task:
    """Frames of ten made-up vowels: inputs (examples, ``frames`` · 20), targets (examples,).

    A frame has the logarithmic energies of 20 bands up to 4 kHz. A voice of some pitch, a speaker
    of some size and a vowel make it: harmonics, under the envelope of three resonances. On their
    way through the window these glide from the vowel before to the one after; the target is the
    vowel in the middle. One mean and deviation of each band standardise all.
    """
    at_least_one(train=train, test=test, frames=frames)
    draw = torch.Generator().manual_seed(seed)
    count = train + test

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(count, *shape, generator=draw)

    vowels = torch.tensor(VOWELS, dtype=torch.float32)
    before, vowel, after = torch.randint(len(VOWELS), (3, count), generator=draw)
    place = torch.linspace(-0.5, 0.5, frames)[None, :, None]
    middle = vowels[vowel][:, None]
    glide = middle + place.clamp(min=0) * (vowels[after][:, None] - middle)
    glide = glide - place.clamp(max=0) * (vowels[before][:, None] - middle)
    glide = glide * uniform(0.85, 1.2, 1, 1)  # the speaker
    harmonics = uniform(90, 250, 1) * torch.arange(1, 45)  # (examples, harmonics)
    away = (harmonics[:, None, :, None] - glide[:, :, None, :]) / 80
    envelope = (torch.tensor([1.0, 0.6, 0.3]) / (1 + away.square())).sum(dim=3)
    centres = torch.linspace(100, 4_000, BANDS)
    bands = torch.exp(-((harmonics[..., None] - centres) / 150).square())
    energy = envelope.square() @ bands  # (examples, frames, bands)
    sound = torch.log(energy + 1e-3) + torch.randn(energy.shape, generator=draw)
    known = sound[:train].flatten(0, 1)
    sound = ((sound - known.mean(dim=0)) / known.std(dim=0)).flatten(1)
    return Task(Batch(sound[:train], vowel[:train]), Batch(sound[train:], vowel[train:]))


def translation(
    *,
    seed: int,
    length: int = 12,
    words: int = 8,
    turned: bool = False,
    train: int = 10_000,
    test: int = 1_000,
) -> Task:
    """Sentences of ``length`` words, to be translated word by word with a fixed dictionary.

    Inputs (examples, 2 · length, 2 · words + 1), one-hot: the sentence, read backwards if
    ``turned``; then a sign to begin, and the right translation so far. Targets (examples, length).
    """
    at_least_one(length=length, words=words)
    draw = torch.Generator().manual_seed(seed)
    said = torch.randint(words, (train + test, length), generator=draw)
    answer = torch.randperm(words, generator=draw)[said]
    begin = torch.full((train + test, 1), 2 * words)
    read = said.flip(1) if turned else said
    tokens = torch.cat([read, begin, words + answer[:, :-1]], dim=1)
    return _one_hot(tokens, answer, 2 * words + 1, train)


def sentiment(*, seed: int, length: int = 50, train: int = 10_000, test: int = 1_000) -> Task:
    """Reviews that say at the beginning what they think: inputs (examples, length, 20), one-hot.

    The second word is one of four kind or four unkind ones. The first is *not*, or one of eleven
    that mean nothing; so are all others. Targets (examples,): 1 for a kind review. *Not* turns it.
    """
    at_least_one(length=length - 1)
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(9, 20, (train + test, length), generator=draw)
    turned = torch.randint(2, (train + test,), generator=draw)
    tokens[:, 0] = torch.where(turned == 1, 8, tokens[:, 0])
    tokens[:, 1] = torch.randint(8, (train + test,), generator=draw)
    return _one_hot(tokens, (tokens[:, 1] < 4).long() ^ turned, 20, train)


def _one_hot(tokens, targets, size, train):
    inputs = F.one_hot(tokens, size).float()
    return Task(Batch(inputs[:train], targets[:train]), Batch(inputs[train:], targets[train:]))


@cache
def task_of(case: str, turned: bool = False) -> Task:
    """The data of a case, always the same."""
    choose("case", case, CASES)
    if case.startswith("speech"):
        return speech(seed=0)
    if case == "translation":
        return translation(seed=0, turned=turned)
    if case == "sentiment":
        return sentiment(seed=0)
    return digits(shape="image" if case == "images" else "flat", dtype=torch.float32)


def guessing(case: str) -> float:
    """The share that is told right by guessing."""
    return {"translation": 1 / 8, "sentiment": 1 / 2}.get(case, 1 / 10)


class Times(nn.Module):
    """Hands the signal up as it is, and multiplies the gradient by ``c`` on its way down."""

    def __init__(self, c: float):
        super().__init__()
        self.c = c

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        fixed = h.detach()
        return fixed + self.c * (h - fixed)


class Scaled(nn.Module):
    """An ``nn.RNN``, step by step, whose gradient is multiplied by ``c`` at each step back."""

    def __init__(self, cell: nn.RNN, c: float):
        super().__init__()
        self.cell, self.times = cell, Times(c)

    def forward(self, x: torch.Tensor, last: torch.Tensor | None = None) -> tuple:
        """As ``nn.RNN`` does: the states (examples, time, units), and the last."""
        cell = self.cell
        driven = x @ cell.weight_ih_l0.T + cell.bias_ih_l0 + cell.bias_hh_l0
        h = x.new_zeros(len(x), cell.hidden_size) if last is None else last[0]
        states = []
        for step in driven.unbind(dim=1):
            h = torch.tanh(step + self.times(h) @ cell.weight_hh_l0.T)
            states.append(h)
        return torch.stack(states, dim=1), h[None]


class Translator(nn.Module):
    """A reader whose last state is all that a writer begins with; outputs (examples, words, time).

    With ``look``, a square matrix, each state of the writer looks back at all of the reader's
    (“general” attention of Luong et al. 2015), and the read-out sees both.
    """

    def __init__(self, reader, writer, readout, look=None):
        super().__init__()
        self.reader, self.writer, self.readout, self.look = reader, writer, readout, look

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[1] // 2
        read, last = self.reader(x[:, :half])
        written, _ = self.writer(x[:, half:], last)
        if self.look is not None:
            weights = F.softmax(self.look(written) @ read.transpose(1, 2), dim=2)
            written = torch.cat([written, weights @ read], dim=2)
        return self.readout(written).transpose(1, 2)


def changes(case: str) -> dict:
    """What is tried on a case, by name; the first changes nothing."""
    return choose("case", case, CHANGES)


def build(case: str, name: str, *, seed: int) -> nn.Module:
    """The network of a case with the change ``name``, in single precision."""
    change = {k: v for k, v in choose("change", name, changes(case)).items() if k not in _HOW}
    keywords = CASES[case].network | change
    like = keywords.pop("carries_like", None)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = _made(case, keywords, seed)
        if like:
            _carry(net, case, like, seed)
    return net


def _made(case, keywords, seed):
    if case in ("translation", "sentiment"):
        return _sequential(case, seed=seed, **keywords)
    keywords = keywords | dict(seed=seed, dtype=torch.float32)
    if case == "images":
        return convnet(**keywords)
    pretrained, softmax = keywords.pop("pretrained", False), keywords.pop("softmax", False)
    net = mlp(**keywords)
    if pretrained:
        pretrain(net, task_of(case).train.inputs)
    return nn.Sequential(net, nn.Softmax(dim=1)) if softmax else net


def _sequential(case, *, seed, attention=False, **keywords):
    inputs, outputs = (17, 8) if case == "translation" else (20, 2)
    keywords |= dict(inputs=inputs, outputs=outputs, dtype=torch.float32)
    net, size = recurrent(**keywords, seed=seed), keywords["hidden"]
    if case == "sentiment":
        return Attention(net.cell, outputs) if attention else net
    reader = recurrent(**keywords, seed=seed + 500).cell
    if not attention:
        return Translator(reader, net.cell, net.readout)
    look = nn.Linear(size, size, bias=False)
    return Translator(reader, net.cell, nn.Linear(2 * size, outputs), look)


def _carry(net, case, like, seed):
    """Let as much of the gradient arrive as in the network with the change ``like``."""
    wanted = _arrives(case, build(case, like, seed=seed).double(), seed)
    if case == "sentiment":
        net.cell = Scaled(net.cell, 1.0)
    elif case == "translation":
        net.reader, net.writer = Scaled(net.reader, 1.0), Scaled(net.writer, 1.0)
    else:
        for layer in net[1:-1]:
            layer.activation = nn.Sequential(layer.activation, Times(1.0))
    times = [module for module in net.modules() if isinstance(module, Times)]
    ways = len(times) if case.startswith("speech") else task_of(case).train.inputs.shape[1] - 1
    for _ in range(30):  # once will do, but where the loss comes in at several steps
        missing = wanted / _arrives(case, net.double(), seed)
        if abs(np.log(missing)) < 1e-3:
            break
        for module in times:
            module.c *= missing ** (1 / ways)
    net.float()


def pretrain(net: nn.Sequential, inputs: torch.Tensor, *, steps: int = 100) -> None:
    """Let each layer of an `mlp` learn to give back what comes in, the lowest first.

    A linear decoder, thrown away afterwards, gives it back: Bengio et al. (2007). Adam, rate 0.01.
    """
    h = inputs
    for layer in net[:-1]:
        weights = layer if isinstance(layer, nn.Linear) else layer.weights
        decoder = nn.Linear(weights.out_features, weights.in_features)
        adam = torch.optim.Adam([*weights.parameters(), *decoder.parameters()], lr=0.01)
        middle, size = h.mean(dim=0), h.std() + 1e-6
        for _ in range(steps):
            rows = torch.randint(len(h), (BATCH,))
            wanted = (h[rows] - middle) / size
            adam.zero_grad()
            F.mse_loss(decoder(torch.sigmoid(weights(h[rows]))), wanted).backward()
            adam.step()
        with torch.no_grad():
            h = torch.sigmoid(weights(h))


def arrives(case: str, name: str, seeds: Sequence[int]) -> np.ndarray:
    """The share of the gradient that gets to the early part before training, for each of ``seeds``.

    RMS δ at layer 1 over that at the layer next to the loss; in sequences RMS ∂ℒ/∂x at the first
    word over that at the last step.
    """
    return np.array([_arrives(case, build(case, name, seed=s).double(), s) for s in seeds])


def _arrives(case, net, seed):
    inputs, targets = task_of(case).train.sample(128, seed=seed)
    batch = Batch(inputs.double(), targets)
    if case in ("translation", "sentiment"):
        gradient = input_gradient_by_lag(net, batch)
        return float(gradient[-1] / gradient[0])
    return float(left(gradient_flow(net, batch))[0])


def rates(case: str, name: str) -> tuple:
    """The rates that a network tries; tenths of them with Adam in place of SGD."""
    change, at = choose("change", name, changes(case)), CASES[case]
    if "rate" in change:
        return (change["rate"],)
    tenth = change.get("optimizer", at.optimizer) != at.optimizer and case != "report"
    return tuple(rate / 10 for rate in at.rates) if tenth else at.rates


def trained(case: str, name: str, rate: float, seeds: Sequence[int]) -> dict:
    """Train a network for each of ``seeds``.

    ``right``: share of test examples told right, at the end. ``loss``: mean of the last ten.
    """
    results = [_one(case, name, rate, seed) for seed in seeds]
    return dict(zip(("right", "loss"), map(list, zip(*results, strict=True)), strict=True))


def _one(case, name, rate, seed):
    at, change = CASES[case], changes(case)[name]
    task = task_of(case, change.get("turned", False))
    net = build(case, name, seed=seed)
    kind = change.get("optimizer", at.optimizer)
    optimizer = OPTIMIZERS[kind](net.parameters(), lr=rate)
    draw, examples, losses = torch.Generator().manual_seed(seed), len(task.train.targets), []
    steps = change.get("steps", at.steps)
    rounds = 1 + steps * BATCH // examples
    order = torch.cat([torch.randperm(examples, generator=draw) for _ in range(rounds)])
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        optimizer.zero_grad()
        loss = F.cross_entropy(net(task.train.inputs[rows]), task.train.targets[rows])
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            return guessing(case), np.inf
        loss.backward()
        if at.clip:
            nn.utils.clip_grad_norm_(net.parameters(), at.clip)
        optimizer.step()
    return told(net, task), float(np.mean(losses[-10:]))


@torch.no_grad()
def told(net: nn.Module, task: Task) -> float:
    """Share of test examples, or of their words, that a network tells right."""
    net.eval()
    right = net(task.test.inputs).argmax(dim=1) == task.test.targets
    net.train()
    return right.double().mean().item()


def on_record(case: str, name: str) -> dict:
    """What the record has: the ``rate``, and ``right`` and ``arrives`` by seed."""
    wanted = dict(case=case, name=name)
    for one in recorded("case_studies"):
        if one["settings"] == wanted:
            return one["values"]
    raise ValueError(f"the record of the cases has nothing on {wanted}")
