"""Recurrent networks on lags too long for a lesson: recall, the adding problem, digits by pixels.

Networks and tasks as in the lessons gates_tasks and gates_adding, on longer sequences. First a grid
of learning rates, each on a seed that is not used again; then five seeds of every contender, each
with its best rate. Takes about twenty minutes on one core.
"""

import numpy as np
import records
import torch

from vglib.batch import cross_entropy, squared_error
from vglib.experiments.long_lags import CONTENDERS, GRID_SEED, best_rate, network, right
from vglib.tasks import adding, digits, recall
from vglib.training import accuracy, train

torch.set_num_threads(1)

RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
GRID_STEPS, SEEDS = 1_000, range(5)
# task: (make, steps of training, loss, score, target)
TASKS = {
    "recall": (recall, 1_500, cross_entropy, accuracy, 0.99),
    "adding": (adding, 2_300, squared_error, right, 0.99),  # 73,600 sequences
    "pixels": (digits, 2_000, cross_entropy, accuracy, None),
}


def examples(task, lag, seed):
    """Training and test examples; a lag is the number of time steps."""
    settings = dict(seed=seed, dtype=torch.float32)
    if task == "pixels":
        return digits(shape="pixels", **settings)
    return TASKS[task][0](steps=lag, test=2_560, **settings)


def run(contender, task, lag, seed, rate, steps):
    """Train one network: steps to the target, loss by blocks of 100 steps, and test scores."""
    net = network(contender, task=task, lag=lag, seed=seed)
    data = examples(task, lag, seed)
    loss, score, target = TASKS[task][2:]
    done = train(
        net,
        data,
        steps=steps,
        batch_size=32,
        optimizer="adam",
        rate=rate,
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


# task: {lag: the lag at which its learning rate is sought}
LAGS = {"recall": {20: 20, 50: 50, 100: 50}, "adding": {100: 50}, "pixels": {64: 64}}
GRID = [
    dict(contender=c, task=t, lag=lag, seed=GRID_SEED, rate=rate, steps=GRID_STEPS)
    for t in TASKS
    for lag in sorted(set(LAGS[t].values()))
    for c in CONTENDERS
    for rate in RATES
]


def compared():
    """Five seeds of each contender, at its rate of the grid."""
    return [
        dict(contender=c, task=t, lag=lag, seed=seed, rate=rate, steps=TASKS[t][1])
        for t in TASKS
        for lag, sought in LAGS[t].items()
        for c in CONTENDERS
        for rate in [best_rate(c, task=t, lag=sought)]
        for seed in SEEDS
    ]


if __name__ == "__main__":
    records.fill(__file__, run, GRID)
    records.fill(__file__, run, GRID + compared())
