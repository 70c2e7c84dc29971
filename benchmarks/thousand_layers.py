"""Plain networks of up to 10,000 layers of tanh, orthogonal or Gaussian, trained on the digits.

No skips, no normalization, no biases; 64 units; 150 steps of SGD with momentum 0.9 on 128 digits.
With L layers the gain is 1 + ``gain``/√L and the learning rate ``rate``/L. The first constant is
from theory; the second was fixed in trials at 1,000 layers, on seeds 900 and 901. The seed TUNING
is also run at half and twice the rate, at two other gains, and as the Gaussian twin at a tenth and
ten times of the rate. One value a seed:

    train, test     accuracy on all digits of that split after training
    readout         the same on test digits, with all layers but the read-out left as they were
                    drawn; the best of three rates
    losses          at steps 1, 26, 51, …, and the last
    seconds, processor_seconds   of building and training, on one thread
    megabytes       most memory of the whole process, one value for all seeds
    moved, reset    of each tenth of the layers, from the input up: ‖W - W at the start‖ over
                    ‖W at the start‖, and the test accuracy when that tenth is put back to its start

    python benchmarks/thousand_layers.py   about ten minutes of one core
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import records
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vglib.tasks import digits
from vglib.training import accuracy

torch.set_num_threads(1)

WIDTH, STEPS, BATCH = 64, 150, 128
SEEDS, TUNING = [0, 1, 2, 3, 4], [900]
GAIN, RATE = 1.0, 0.3


def draw(depth, init, gain, seed):
    """Weights of all hidden layers, (layers, units, units), and of the read-out."""
    torch.manual_seed(seed)
    weights, readout = torch.empty(depth, WIDTH, WIDTH), torch.empty(10, WIDTH)
    for w in [*weights, readout]:
        if init == "orthogonal":
            nn.init.orthogonal_(w, gain)
        else:
            nn.init.normal_(w, std=gain / WIDTH**0.5)
    return weights, readout


def top(x, weights):
    for w in weights.unbind():
        x = torch.tanh(x @ w.T)
    return x


def batches(task, seed):
    """150 batches of 128 digits: whole epochs, newly shuffled."""
    torch.manual_seed(seed)
    count = len(task.train.targets)
    epochs = [torch.randperm(count)[: count // BATCH * BATCH] for _ in range(STEPS)]
    return torch.cat(epochs).view(-1, BATCH)[:STEPS]


def descend(parameters, outputs, task, rate, seed):
    """The loss at each step."""
    optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    losses = []
    for chosen in batches(task, seed):
        loss = cross_entropy(outputs(chosen), task.train.targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def one(depth, init, gain, rate, seed):
    task = digits(dtype=torch.float32)
    began, processor = time.perf_counter(), time.process_time()
    weights, readout = draw(depth, init, 1 + gain / depth**0.5, seed)
    start, first = weights.clone(), readout.clone()
    for tensor in (weights, readout):
        tensor.requires_grad_()
    x = task.train.inputs
    losses = descend(
        [weights, readout], lambda i: top(x[i], weights) @ readout.T, task, rate / depth, seed
    )
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

    def told(weights, readout, batch):
        with torch.no_grad():
            return float(accuracy(top(batch.inputs, weights) @ readout.T, batch.targets))

    tenths = [range(depth)[depth * k // 10 : depth * (k + 1) // 10] for k in range(10)]
    moved, reset = [], []
    weights.requires_grad_(False)
    for tenth in tenths if depth >= 10 else []:
        now, before = weights[tenth].clone(), start[tenth]
        moved.append(float((now - before).norm() / before.norm()))
        weights[tenth] = before
        reset.append(told(weights, readout, task.test))
        weights[tenth] = now
    values = dict(train=told(weights, readout, task.train), test=told(weights, readout, task.test))

    with torch.no_grad():
        h = top(x, start)
    alone = []
    for fast in (0.1, 1.0, 10.0):
        linear = first.clone().requires_grad_()
        descend([linear], lambda i, linear=linear: h[i] @ linear.T, task, fast, seed)
        alone.append(told(start, linear, task.test))
    return values | dict(
        readout=max(alone),
        losses=[*losses[::25], losses[-1]],
        seconds=seconds,
        processor_seconds=processor,
        moved=moved,
        reset=reset,
        megabytes=megabytes,
    )


def together(depth, init, gain, rate, seeds):
    rows = [one(depth, init, gain, rate, seed) for seed in seeds]
    values = {name: [rounded(row[name]) for row in rows] for name in rows[0]}
    return values | dict(megabytes=max(values["megabytes"]))


def rounded(value):
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}")


def run(**settings):
    # A process of its own, whose memory is that of these runs alone.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(together, **settings).result()


def setting(depth, init="orthogonal", gain=GAIN, rate=RATE, seeds=SEEDS):
    return dict(depth=depth, init=init, gain=gain, rate=rate, seeds=[*seeds])


SETTINGS = [
    setting(1_000),
    *(setting(1_000, rate=rate, seeds=TUNING) for rate in (0.15, 0.3, 0.6)),
    *(setting(1_000, gain=gain, seeds=TUNING) for gain in (0.0, 3.0)),
    *(setting(depth, init) for init in ("orthogonal", "gaussian") for depth in (3, 10, 30, 100)),
    setting(1_000, "gaussian"),
    *(setting(3_000, seeds=[seed]) for seed in SEEDS),
    *(setting(1_000, "gaussian", rate=rate, seeds=TUNING) for rate in (0.03, 3.0)),
    setting(10_000, seeds=[0]),
]

if __name__ == "__main__":
    records.fill(__file__, run, SETTINGS)
