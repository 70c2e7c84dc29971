"""How far back networks learn with SGD and with Adam, and real sequences, by length.

    python benchmarks/forgotten_past.py

For consequences/forgotten_past. Each run trains five networks of one kind at the best of some
rates, which are tried on one network that is not judged; recall with Adam and the digits take
theirs from the record of long lags. About ten minutes on one core; a call that was stopped goes on.
"""

import numpy as np
import records
import torch

from vglib.experiments.forgotten_past import chunked, manual, reader
from vglib.experiments.long_lags import best_rate
from vglib.tasks import recall
from vglib.training import accuracy, train

torch.set_num_threads(1)

TUNING, SEEDS = 100, range(5)
SHOWN = (1, 2, 4, 8, 16, 32, 64)  # of a text: its last characters
RATES = {
    "recall, SGD": (0.1, 0.3, 1.0, 3.0),
    "text": (0.001, 0.003, 0.01, 0.03),
}
TRAINING = {"recall, SGD": 1_500, "recall, Adam": 1_500, "digits": 2_000, "text": 800}


def examples(what, steps, seed):
    """The data, its number of inputs and of outputs."""
    if what.startswith("recall"):
        return recall(steps=steps, seed=seed, dtype=torch.float32), 10, 8
    if what == "digits":
        return chunked(steps=steps, seed=seed), 64 // steps, 10
    return manual(steps=steps, seed=seed), 29, 8


def fit(what, contender, steps, seed, rate, shorter=1):
    """One trained network, its data, and how the training went."""
    data, inputs, outputs = examples(what, steps, seed)
    net = reader(contender, inputs=inputs, outputs=outputs, steps=steps, seed=seed)
    how = dict(optimizer="sgd" if "SGD" in what else "adam", rate=rate, clip=1.0)
    how |= dict(target=0.99 if what.startswith("recall") else None)
    done = train(
        net, data, steps=TRAINING[what] // shorter, batch_size=32, seed=seed, progress=False, **how
    )
    return net, data, done


def mean_loss(done):
    """Over all steps; 0 once learnt, without bound where it left the numbers."""
    if done.diverged[0]:
        return np.inf
    return float(np.nan_to_num(done.loss[0]).mean())


def run(what, contender, steps):
    """The rate, and by seed: steps to the target, test scores, and scores by what is shown."""
    name = contender if "," in contender else f"{contender}, torch"
    if what == "recall, Adam":
        rate = best_rate(name, task="recall", lag=20)
    elif what == "digits":
        rate = best_rate(name, task="pixels", lag=64)
    else:
        tried = {
            rate: mean_loss(fit(what, contender, steps, TUNING, rate, shorter=2)[2])
            for rate in RATES[what]
        }
        rate = min(tried, key=tried.get)
    values = {"rate": rate, "learnt": [], "scores": [], "train_scores": [], "shown": []}
    for seed in SEEDS:
        net, data, done = fit(what, contender, steps, seed, rate)
        x, y = data.test.inputs, data.test.targets
        with torch.no_grad():
            values["scores"].append(round(accuracy(net(x), y).item(), 4))
            if what == "text":
                parts = [accuracy(net(x[:, -k:]), y).item() for k in SHOWN]
                values["shown"].append([round(part, 4) for part in parts])
        values["train_scores"].append(round(float(done.score[0]), 4))
        values["learnt"].append(int(done.steps[0]) if np.isfinite(done.steps[0]) else None)
    return values


GATED = ("LSTM", "LSTM, forget bias 1", "LSTM, chrono", "GRU", "GRU, chrono")
PLAIN = ("RNN", "RNN, orthogonal")
SETTINGS = [
    dict(what="recall, Adam", contender=c, steps=steps)
    for steps in (5, 10)
    for c in (*PLAIN, *GATED)
]
SETTINGS += [
    dict(what="recall, SGD", contender=c, steps=steps)
    for steps in (5, 10, 20)
    for c in (*PLAIN, "LSTM", "LSTM, chrono", "GRU")
]
SETTINGS += [dict(what="text", contender=c, steps=64) for c in (*PLAIN, *GATED)]
SETTINGS += [
    dict(what="digits", contender=c, steps=8) for c in (*PLAIN, "LSTM", "LSTM, chrono", "GRU")
]

if __name__ == "__main__":
    torch.set_flush_denormal(True)  # here, as it would change other tests
    records.fill(__file__, run, SETTINGS)
