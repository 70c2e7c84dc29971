"""Networks with gates and without, on tasks with long lags, all built and trained in one way.

The lessons gates_tasks and gates_adding train a few of them; ``benchmarks/long_lags.py`` trains all
of them on longer sequences, and first searches each one's learning rate.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from vglib.claims import recorded
from vglib.recurrent import recurrent
from vglib.theory import chrono_share, lstm_cell_factor

CONTENDERS = {
    "RNN, torch": dict(kind="rnn"),
    "RNN, orthogonal": dict(kind="rnn", recurrent_init="orthogonal"),
    "RNN, identity": dict(kind="rnn", recurrent_init="identity"),
    "RNN, identity, ReLU": dict(kind="rnn", recurrent_init="identity"),
    "LSTM, torch": dict(kind="lstm"),
    "LSTM, forget bias 1": dict(kind="lstm", forget_bias=1.0),
    "LSTM, chrono": dict(kind="lstm"),
    "GRU, torch": dict(kind="gru"),
    "GRU, chrono": dict(kind="gru"),
}
SIZES = {"recall": (10, 8), "adding": (2, 1), "pixels": (1, 10)}  # task: inputs, outputs
GRID_SEED = 100  # of the search for rates
TOLERANCE = 0.08  # Hochreiter and Schmidhuber's 0.04, on a target twice as wide


def right(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of sums within the tolerance."""
    return ((outputs - targets).abs() < TOLERANCE).double().mean(dim=(-2, -1))


def network(contender: str, *, task: str, lag: int, seed: int) -> nn.Module:
    """One network of 32 units; chrono init gets ``lag``, the number of time steps."""
    inputs, outputs = SIZES[task]
    shape = dict(hidden=32, inputs=inputs, outputs=outputs, seed=seed, dtype=torch.float32)
    longest = dict(longest_lag=lag) if "chrono" in contender else {}
    net = recurrent(**shape, **CONTENDERS[contender], **longest)
    if contender.endswith("ReLU"):
        _as_le(net)
    return net


def _as_le(net):
    """ReLU instead of tanh, and all weights but the recurrent as in Le et al. (2015)."""
    size = net.cell.input_size, net.cell.hidden_size
    net.cell = nn.RNN(*size, nonlinearity="relu", batch_first=True)
    nn.init.eye_(net.cell.weight_hh_l0)
    for bias in (net.cell.bias_ih_l0, net.cell.bias_hh_l0, net.readout.bias):
        nn.init.zeros_(bias)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(net.settings["seed"])
        for weight in (net.cell.weight_ih_l0, net.readout.weight):
            nn.init.normal_(weight, std=0.001)


def runs(contender: str, *, task: str, lag: int, seeds: Sequence[int] = range(5)) -> list[dict]:
    """The runs in the record with these seeds: one dict each, of its settings and its values."""
    wanted = dict(contender=contender, task=task, lag=lag)
    recorded_runs = [one["settings"] | one["values"] for one in recorded("long_lags")]
    return [one for one in recorded_runs if wanted.items() <= one.items() and one["seed"] in seeds]


def searched(contender: str, *, task: str, lag: int) -> dict[float, float]:
    """Learning rate → mean training loss, of the search in the record.

    The smaller, the sooner learnt; a loss that is not finite is the worst.
    """
    tried = runs(contender, task=task, lag=lag, seeds=[GRID_SEED])
    return {
        one["rate"]: np.inf if None in one["losses"] else float(np.mean(one["losses"]))
        for one in tried
    }


def best_rate(contender: str, *, task: str, lag: int) -> float:
    """The learning rate of the search with the smallest mean training loss."""
    tried = searched(contender, task=task, lag=lag)
    return min(tried, key=tried.get)


def predicted_share(contender: str, steps: int) -> np.ndarray:
    """The share of the memory's gradient at lags 0 to ``steps`` - 1 before training, by theory.

    1/√3 a step for PyTorch's plain RNN, 1 for orthogonal and identity matrices, whose tanh is left
    out; the gate and its loop for LSTM and GRU, and the average over the gates by chrono init.
    """
    lags = np.arange(steps)
    if "chrono" in contender:
        return chrono_share(lags, longest_lag=steps)
    init = CONTENDERS[contender]
    if init["kind"] == "rnn":
        factor = 3**-0.5 if "recurrent_init" not in init else 1.0
    else:
        factor = lstm_cell_factor(forget_bias=init.get("forget_bias", 0.0)) + 3**-0.5 / 4
    return factor**lags
