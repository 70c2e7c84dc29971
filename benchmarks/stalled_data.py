"""Test accuracy by number of training examples, two layers against eight, both healthy.

    python benchmarks/stalled_data.py

For the lesson consequences/price. Each draw of examples is learned by five networks, until they
know 98 % of them; the learning rates are the best of benchmarks/stalled_rates.py.
"""

import records
import torch

from vglib.experiments.stalled import ACTIVATIONS, best_rate, build
from vglib.tasks import Batch, Task, digits
from vglib.training import accuracy, train

NETWORKS = [(depth, a) for a in ACTIVATIONS for depth in (2, 8)]
COUNTS = [50, 100, 200, 400, 800, 1437]
SETTINGS = [
    {"depth": depth, "activation": activation, "draw": draw}
    for draw in range(900, 920)
    for depth, activation in NETWORKS
]


def run(depth, activation, draw, counts=COUNTS):
    """Mean test accuracy of five networks for each number of examples."""
    task = digits(dtype=torch.float32)
    drawn = task.train.sample(len(task.train.targets), seed=draw)
    rate = best_rate(depth, activation, "healthy")
    scores = []
    for count in counts:
        few = Task(Batch(*(values[:count] for values in drawn)), task.test)
        nets = [build(depth, activation, "healthy", 5 * draw + i) for i in range(5)]
        train(
            nets,
            few,
            steps=1500,
            batch_size=25,
            optimizer="momentum",
            rate=rate,
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
