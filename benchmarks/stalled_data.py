"""Test accuracy by number of training examples, two layers against eight, both healthy.

    python benchmarks/stalled_data.py

For the lesson consequences/stalled. Each draw of examples is learned by five networks, until they
know 98 % of them; the learning rates are the best of benchmarks/stalled_rates.py.
"""

import records
import torch

from vglib.nets import mlp
from vglib.tasks import Batch, Task, digits
from vglib.theory import critical_gain
from vglib.training import accuracy, train

RATES = {  # each divided by the depth
    (2, "sigmoid"): 1.0,
    (8, "sigmoid"): 0.3,
    (2, "tanh"): 0.3,
    (8, "tanh"): 0.3,
    (2, "relu"): 0.1,
    (8, "relu"): 0.1,
}
COUNTS = [50, 100, 200, 400, 800, 1437]
SETTINGS = [
    {"depth": depth, "activation": activation, "draw": draw}
    for draw in range(900, 920)
    for depth, activation in RATES
]


def run(depth, activation, draw, counts=COUNTS):
    """Mean test accuracy of five networks for each number of examples."""
    task = digits(dtype=torch.float32)
    drawn = task.train.sample(len(task.train.targets), seed=draw)
    gain, rate = critical_gain(activation), RATES[depth, activation] / depth
    keywords = dict(depth=depth, width=32, activation=activation, init="normal", gain=gain)
    scores = []
    for count in counts:
        few = Task(Batch(*(values[:count] for values in drawn)), task.test)
        nets = [mlp(**keywords, seed=5 * draw + i, dtype=torch.float32) for i in range(5)]
        train(
            nets,
            few,
            steps=1500,
            batch_size=25,
            optimizer=lambda p: torch.optim.SGD(p, lr=rate, momentum=0.9),
            seed=draw,
            target=0.98,
            check_every=25,
        )
        with torch.no_grad():
            each = [accuracy(net(task.test.inputs), task.test.targets) for net in nets]
        scores.append(round(float(torch.stack(each).mean()), 4))
    return {"examples": list(counts), "accuracy": scores}


if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
