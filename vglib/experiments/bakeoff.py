"""Every remedy of the course alone on the same starved networks, with one budget for all.

``benchmarks/bakeoff.py`` trains all and keeps what came of it; the lesson trains a few again.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vglib import theory
from vglib.batch import Batch, Task, cross_entropy, squared_error
from vglib.checks import choose
from vglib.claims import recorded
from vglib.experiments import long_lags
from vglib.nets import convnet, mlp
from vglib.probes import gradient_flow, input_gradient_by_lag
from vglib.recurrent import recurrent
from vglib.tasks import adding, digits, recall
from vglib.training import OPTIMIZERS, accuracy

RATES = (0.002, 0.01, 0.05, 0.25)  # of SGD with momentum; Adam's are a tenth of these
TUNING, JUDGED = 900, range(5)
BATCH, GOAL = 60, 0.9
SEARCHED = 3  # a rate is tried for a third of the steps
FALLS = 0.95  # late: the last fifth's loss is at most this share of the fifth before


class Place(NamedTuple):
    """A task and the starved network that is trained on it, as keywords of its builder."""

    kind: str  # mlp, convnet or recurrent
    network: dict
    steps: int
    check_every: int
    data: dict


PLACES = {
    "dense": Place("mlp", dict(depth=30, width=64, activation="sigmoid"), 600, 25, {}),
    "convolutional": Place(
        "convnet", dict(depth=20, channels=8, activation="tanh"), 300, 25, {"shape": "image"}
    ),
    "recall, 20": Place("recurrent", dict(inputs=10, outputs=8), 600, 25, {"steps": 20}),
    "adding, 20": Place("recurrent", dict(inputs=2, outputs=1), 600, 25, {"steps": 20}),
    # networks that learn by themselves: what a remedy costs there
    "shallow": Place("mlp", dict(depth=3, width=64, activation="tanh"), 300, 25, {}),
    "rows": Place("recurrent", dict(inputs=8, outputs=10), 300, 25, {"shape": "rows"}),
}
STARVED = ("dense", "convolutional", "recall, 20", "adding, 20")

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


class OnTorus(nn.Conv2d):
    """A 3×3 convolution with circular padding of maps of 4×4, as one matrix product.

    On maps so small that is nearly twice as fast, and the same to rounding. Entry (c, p; d, q) of
    the matrix is the kernel's at the step from cell p to cell q, if there is one.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cells = x[0, 0].numel()
        matrix = (self.weight.flatten(2) @ self.steps).unflatten(2, (cells, cells))
        matrix = matrix.transpose(1, 2).flatten(2).flatten(0, 1)
        bias = self.bias.repeat_interleave(cells)
        return F.linear(x.flatten(1), matrix, bias).view_as(x)


def quicker(net: nn.Module) -> nn.Module:
    """The same network with its convolutions on maps of 4×4 as `OnTorus`; in place."""
    cell = torch.arange(4)
    for layer in net:
        conv = getattr(layer, "weights", None)
        if isinstance(conv, nn.Conv2d):
            # steps[i, p, q] along one axis: whether q is i - 1 cells after p, around the edge
            steps = (cell - cell[:, None]) % 4 == (torch.arange(3)[:, None, None] - 1) % 4
            both = torch.einsum("iyv,jxw->ijyxvw", steps.to(conv.weight), steps.to(conv.weight))
            conv.__class__ = OnTorus
            conv.register_buffer("steps", both.reshape(9, 256), persistent=False)
    return net


def remedies(place: str) -> dict:
    """The remedies that fit a place, each as what it changes; the first changes nothing."""
    return SEQUENTIAL if choose("place", place, PLACES).kind == "recurrent" else LAYERED


def task_of(place: str) -> Task:
    """The data of a place: digits, first tokens to be recalled, or sums; always the same."""
    at = choose("place", place, PLACES)
    if "steps" in at.data:
        make = recall if at.network["outputs"] > 1 else adding
        return make(**at.data, seed=0, train=10_000, test=1_000, dtype=torch.float32)
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
    place: str,
    remedy: str,
    rate: float,
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    until: float = np.inf,
) -> dict:
    """Train a network for each of ``seeds``; what came of it, by name, each a list by seed.

    ``right``: share of test examples told right after the budget, the place's own unless ``steps``
    is given. ``steps``: when it was first nine tenths, looked at every 25 steps; NaN if never.
    ``fifths``: the mean loss of each fifth of the steps, and ``loss`` of the last twentieth;
    infinite where it ceased to be finite. With ``until`` a network stops when that much is right.
    """
    task, runs = task_of(place), []
    for seed in seeds:
        runs.append(_one(place, remedy, rate, seed, task, steps, until))
    return {name: [one[name] for one in runs] for name in runs[0]}


def _one(place, remedy, rate, seed, task, steps, until):
    at, ways = PLACES[place], how(place, remedy)
    steps = steps or at.steps
    net = build(place, remedy, seed=seed)
    if at.kind == "convnet":
        quicker(net)
    optimizer = OPTIMIZERS[ways["optimizer"]](net.parameters(), lr=rate)
    draw = torch.Generator().manual_seed(seed)
    losses, reached, examples = [], np.nan, len(task.train.targets)
    order = torch.cat(
        [torch.randperm(examples, generator=draw) for _ in range(1 + steps * BATCH // examples)]
    )
    before = share(place, net, task)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # for dropout
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            optimizer.zero_grad()
            loss = loss_of(net(task.train.inputs[rows]), task.train.targets[rows])
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                losses += [np.inf] * (steps - len(losses))
                break
            loss.backward()
            if ways["clip"]:
                nn.utils.clip_grad_norm_(net.parameters(), ways["clip"])
            optimizer.step()
            if np.isnan(reached) and (step + 1) % at.check_every == 0:
                right = told(net, task)
                if right >= GOAL:
                    reached = float(step + 1)
                if right >= until:
                    break
    return {
        "right": told(net, task),
        "steps": reached,
        "loss": float(np.mean(losses[-(steps // 20) :])),
        "fifths": [float(np.mean(part)) for part in np.array_split(losses, 5)],
        "before": before,
        "after": share(place, net, task),
    }


def loss_of(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of classes, squared error of sums."""
    return (F.cross_entropy if outputs.shape[1] > 1 else F.mse_loss)(outputs, targets)


def share(place: str, net: nn.Module, task: Task) -> float:
    """How much of the gradient arrives, by layer or by time; NaN if none leaves the loss.

    Of layers RMS δ at layer 1 over that next to the loss, of sequences RMS ∂L/∂x at the first step
    over the last; in double precision, on 128 training examples.
    """
    net = copy.deepcopy(net).double()
    inputs, targets = task.train.inputs[:128].double(), task.train.targets[:128]
    targets = targets.double() if targets.is_floating_point() else targets
    with torch.no_grad():
        if not net(inputs).isfinite().all():
            return np.nan
    if PLACES[place].kind == "recurrent":
        loss_fn = squared_error if targets.is_floating_point() else cross_entropy
        first, *_, last = reversed(
            input_gradient_by_lag(net, Batch(inputs, targets), loss_fn=loss_fn)
        )
    else:
        first, *_, last = gradient_flow(net, Batch(inputs, targets)).delta[0]
    return float(first / last) if last else np.nan


def verdict(right: Sequence, fifths: Sequence) -> str:
    """``learned``, ``late`` or ``stuck``, from what came of several seeds.

    Learned: the median right is nine tenths. Late: not learned, but in the median network the loss
    of the last fifth of the steps is at least a twentieth below that of the fifth before it.
    """
    if np.median(right) >= GOAL:
        return "learned"
    fifths = np.array(fifths, dtype=float)
    with np.errstate(invalid="ignore"):
        falls = np.nan_to_num(fifths[:, -1] / fifths[:, -2], nan=np.inf)
    return "late" if np.median(falls) <= FALLS else "stuck"


@torch.no_grad()
def told(net: nn.Module, task: Task) -> float:
    """Share of test examples that a network tells right, in evaluation mode.

    A sum is told right within the tolerance of `long_lags.right`.
    """
    net.eval()
    outputs, targets = net(task.test.inputs), task.test.targets
    right = (accuracy if outputs.shape[1] > 1 else long_lags.right)(outputs, targets).item()
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
        loss_of(net(inputs), targets)
    return sum(size for size, _ in seen.values())


def on_record(place: str, remedy: str, what: str = "trained") -> dict:
    """What the record has on a remedy at a place.

    ``what``: ``trained`` has lists by seed as `trained` gives them, and the rate; ``longer`` one
    network with three times the steps; ``cost`` ratios to the plain network, by remedy.
    """
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
