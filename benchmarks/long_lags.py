"""Recurrent networks on lags too long for a lesson: recall, the adding problem, digits by pixels.

Settings as in lessons/remedies/gates_tasks.ipynb and gates_adding.ipynb, on longer sequences. First
a grid of learning rates, each on a seed that is not used again; then five seeds of every contender,
each with its best rate. Takes about twenty minutes on one core.
"""

import numpy as np
import records
import torch
from torch import nn

from vglib.batch import cross_entropy, squared_error
from vglib.claims import recorded
from vglib.recurrent import recurrent
from vglib.tasks import adding, digits, recall
from vglib.training import accuracy, train

torch.set_num_threads(1)

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
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
GRID_SEED, GRID_STEPS, SEEDS = 100, 1_000, range(5)
TOLERANCE = 0.08  # Hochreiter and Schmidhuber's 0.04, on a target twice as wide


def right(outputs, targets):
    """Share of sums within the tolerance."""
    return ((outputs - targets).abs() < TOLERANCE).double().mean(dim=(-2, -1))


# task: (make, inputs, outputs, steps of training, loss, score, target)
TASKS = {
    "recall": (recall, 10, 8, 1_500, cross_entropy, accuracy, 0.99),
    "adding": (adding, 2, 1, 2_300, squared_error, right, 0.99),  # 73,600 sequences
    "pixels": (digits, 1, 10, 2_000, cross_entropy, accuracy, None),
}


def examples(task, lag, seed):
    """Training and test examples; a lag is the number of time steps."""
    settings = dict(seed=seed, dtype=torch.float32)
    if task == "pixels":
        return digits(shape="pixels", **settings)
    return TASKS[task][0](steps=lag, test=2_560, **settings)


def network(contender, task, lag, seed):
    """One network of 32 units; chrono init gets the number of time steps."""
    inputs, outputs = TASKS[task][1:3]
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


def run(contender, task, lag, seed, rate, steps):
    """Train one network: steps to the target, loss by blocks of 100 steps, and test scores."""
    net, data = network(contender, task, lag, seed), examples(task, lag, seed)
    loss, score, target = TASKS[task][4:]
    done = train(
        net,
        data,
        steps=steps,
        batch_size=32,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=rate),
        seed=seed,
        loss_fn=loss,
        score=score,
        target=target,
        clip=1.0,
    )
    learnt = np.isfinite(done.steps[0])
    losses = np.where(np.isnan(done.loss[0]) & learnt, 0.0, done.loss[0])  # 0 once learnt
    blocks = losses.reshape(-1, 100).mean(axis=1)
    with torch.no_grad():
        outputs = net(data.test.inputs)
    return {
        "steps": int(done.steps[0]) if learnt else None,
        "losses": [_short(value) for value in blocks],
        "test_loss": _short(loss(lambda _: outputs, data.test)),
        "test_score": _short(score(outputs, data.test.targets)),
    }


def _short(value):
    return round(float(value), 4) if np.isfinite(float(value)) else None


def mean_loss(one):
    """What a rate is chosen by: the smaller, the sooner learnt; a loss not finite is the worst."""
    losses = one["values"]["losses"]
    return np.inf if None in losses else np.mean(losses)


def best_rate(runs, contender, task, lag):
    """The rate of the grid with the smallest mean training loss."""
    wanted = dict(contender=contender, task=task, lag=lag, seed=GRID_SEED)
    tried = [one for one in runs if one["settings"].items() >= wanted.items()]
    return min(tried, key=mean_loss)["settings"]["rate"]


# task: {lag: the lag at which its learning rate is sought}
LAGS = {"recall": {20: 20, 50: 50, 100: 50}, "adding": {100: 50}, "pixels": {64: 64}}
GRID = [
    dict(contender=c, task=t, lag=lag, seed=GRID_SEED, rate=rate, steps=GRID_STEPS)
    for t in TASKS
    for lag in sorted(set(LAGS[t].values()))
    for c in CONTENDERS
    for rate in RATES
]


def compared(runs):
    """Five seeds of each contender, at its rate of the grid."""
    return [
        dict(contender=c, task=t, lag=lag, seed=seed, rate=rate, steps=TASKS[t][3])
        for t in TASKS
        for lag, sought in LAGS[t].items()
        for c in CONTENDERS
        for rate in [best_rate(runs, c, t, sought)]
        for seed in SEEDS
    ]


if __name__ == "__main__":
    records.fill(__file__, run, GRID)
    records.fill(__file__, run, GRID + compared(recorded("long_lags")))
