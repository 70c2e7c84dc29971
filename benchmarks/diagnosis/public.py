"""The third hold-out: problems that real people reported in public, and healthy programs.

Written on 2026-11-28, after the instrument was last mended, by an author who had read setups.py,
label.py, records.py and the first 60 lines of second_holdout.py: neither the instrument nor its
rules, its scores or the other set-ups were seen, and it has not been run.

Most problems come from the collection of deepmufl (github.com/ali-ghanbari/deepmufl-ase-2023,
Apache License 2.0), which gathers 109 Keras programs from questions on Stack Overflow; their
numbers stand in the names: so_31880720 is stackoverflow.com/questions/31880720. Where DeepLocalize
(github.com/Wardat-ISU/DeepLocalize, no licence file) has the same or another question with a mended
program, its mend was followed. at_… are networks that AUTOTRAINER (github.com/shiningrain/
AUTOTRAINER, no licence file) was tried on, as listed in github.com/DeepDiagnosis/ICSE2022 (no
licence file). gh_… are threads on GitHub, named in a comment. From all of them only facts were
taken: the shape of a network, activations, initialisation, loss, optimizer, rate and kind of data.
All code here is new. Images, sequences and tables were made small, and the data are synthetic or
come with scikit-learn, as most collections replaced them, too.

A loss, a label or an activation at the output that does not fit has no word of its own among the
causes: such problems are of kind other with the nearest word, data.

All set-ups but those under a heading that says otherwise were written and committed before the
first training, apart from a dry run of ten steps each that looked at seconds and errors alone.
72 are meant to be faulty, 87 healthy. None was altered or taken out after it, and none added. By
training, of the 72 problems 62 are faulty, 9 ambiguous and 1 healthy (gh_indrnn_9); of the 87
healthy programs 86 are healthy and 1 is ambiguous.
"""

import math
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from setups import batched, collection, digits
from sklearn import datasets
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.optim import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
)

SETUPS, setup = collection()
RMS = partial(RMSprop, alpha=0.9)  # as Keras has it


def classes(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def squares(model, batch):
    return F.mse_loss(model(batch[0]), batch[1])


def distances(model, batch):
    return F.l1_loss(model(batch[0]), batch[1])


def rebuild(model, batch):
    return F.mse_loss(model(batch[0]), batch[0])


def logits(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch[0]), batch[1])


def binary(model, batch):
    """Cross-entropy of probabilities, clipped as Keras does."""
    p = model(batch[0]).clamp(1e-7, 1 - 1e-7)
    return -(batch[1] * p.log() + (1 - batch[1]) * (1 - p).log()).mean()


def categorical(model, batch):
    """Cross-entropy of outputs that Keras divides by their sum and clips."""
    p = model(batch[0])
    p = (p / (p.sum(dim=-1, keepdim=True) + 1e-7)).clamp(1e-7, 1 - 1e-7)
    return F.nll_loss(p.log(), batch[1])


def relative(model, batch):
    """A judge: the squared error in units of the variance of the targets."""
    return F.mse_loss(model(batch[0]).float(), batch[1].float()) / batch[1].float().var()


def wrong(model, batch):
    """A judge: the share of rows whose largest output is not the class."""
    return (model(batch[0]).argmax(dim=-1) != batch[1]).float().mean()


def wrong_half(model, batch):
    """A judge: the share of outputs on the wrong side of 1/2."""
    return ((model(batch[0]) > 0.5).float() != batch[1]).float().mean()


def wrong_rounded(model, batch):
    """A judge: one output is rounded to a class, of many the largest is taken."""
    found = model(batch[0])
    found = found.argmax(dim=-1) if found.shape[-1] > 1 else found[:, 0].round()
    return (found != batch[1].flatten()).float().mean()


def state():
    """A random state for scikit-learn, from the seed."""
    return int(torch.randint(2**31 - 1, ()))


def two_classes(count, columns, **more):
    x, y = datasets.make_classification(count, columns, random_state=state(), **more)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def labelled(count, columns, **more):
    """The same with targets of one column in [0, 1]."""
    x, y = two_classes(count, columns, **more)
    return x, y[:, None].float()


def regression(count, columns, targets=1, **more):
    x, y = datasets.make_regression(count, columns, n_targets=targets, random_state=state(), **more)
    y = y.reshape(count, targets)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def unit(values):
    return (values - values.mean(dim=0)) / values.std(dim=0)


def table(load):
    x, y = load(return_X_y=True)
    order = torch.randperm(len(y))
    return torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]


def circles(count=1024):
    x, y = datasets.make_circles(count, noise=0.1, factor=0.4, random_state=state())
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def blobs(count=1024):
    x, y = datasets.make_blobs(count, centers=3, cluster_std=1.5, random_state=state())
    return unit(torch.tensor(x, dtype=torch.float32)), torch.tensor(y)


def moons(count=1024):
    x, y = datasets.make_moons(count, noise=0.1, random_state=state())
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def friedman(count=1024):
    x, y = datasets.make_friedman1(count, random_state=state())
    return torch.tensor(x, dtype=torch.float32), unit(torch.tensor(y, dtype=torch.float32)[:, None])


XOR = [[0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]


def xor():
    rows = torch.tensor(XOR)
    return [(rows[:, :2], rows[:, 2:])]


def mlp(*widths, act=nn.ReLU, last=()):
    """Linear layers with ``act`` between them; modules in ``last`` follow."""
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), act()]
    return nn.Sequential(*layers[:-1], *last)


def init(model, fill, kinds=(nn.Linear, nn.Conv1d, nn.Conv2d)):
    """Fill the weights by ``fill``, with biases of zero, as in Keras."""
    for module in model.modules():
        if isinstance(module, kinds):
            fill(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def glorot(model):
    return init(model, nn.init.xavier_uniform_)


def he(model):
    return init(model, nn.init.kaiming_uniform_)


def lecun(model):
    return init(model, partial(nn.init.kaiming_normal_, nonlinearity="linear"))


def tight(model):
    """Keras' 'uniform': weights in [-0.05, 0.05]."""
    return init(model, partial(nn.init.uniform_, a=-0.05, b=0.05))


def narrow(model):
    """Keras' 'normal': weights of deviation 0.05."""
    return init(model, partial(nn.init.normal_, std=0.05))


class Last(nn.Module):
    """A recurrent network, and a head on its last state."""

    def __init__(self, rnn, head):
        super().__init__()
        self.rnn = rnn
        self.head = head

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Each(nn.Module):
    """A recurrent network, and a head on each of its states."""

    def __init__(self, rnn, head):
        super().__init__()
        self.rnn = rnn
        self.head = head

    def forward(self, x):
        return self.head(self.rnn(x)[0])


# Problems from Stack Overflow: an output, a loss or a label that does not fit


@setup("dense", "other", "data", remedy="a sigmoid, not a softmax over one unit", where=("6", "7"))
def so_31880720(cured):
    # Rows of ones or zeros, a softmax over one unit: always 1, no gradient
    y = torch.randint(2, (1024, 1)).float()
    layers = [nn.Linear(128, 50), nn.ReLU(), nn.Dropout(0.2), nn.Linear(50, 50), nn.ReLU()]
    layers += [nn.Dropout(0.2), nn.Linear(50, 1), nn.Sigmoid() if cured else nn.Softmax(dim=-1)]
    model = nn.Sequential(*layers)
    return glorot(model), binary, batched(y.repeat(1, 128), y), partial(RMS, lr=1e-3)


@setup(
    "regression",
    "other",
    "data",
    remedy="a linear output; inputs and targets divided by their range",
    where=("6", "7"),
    judge=relative,
)
def so_33969059(cured):
    x = 10000 * torch.rand(2048, 3)
    y = x @ torch.tensor([[2.0], [1.0], [0.5]]) + 2.2
    if cured:
        x, y = x / 10000, y / 35000
    layers = [nn.Linear(3, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 2), nn.Tanh()]
    layers += [nn.Dropout(0.5), nn.Linear(2, 1), nn.Identity() if cured else nn.Softmax(dim=-1)]
    model = tight(nn.Sequential(*layers))
    return model, squares, batched(x, y), partial(SGD, lr=0.1, momentum=0.9, nesterov=True)


@setup("dense", "other", "data", remedy="a sigmoid output and a faster optimizer", where=("4", "5"))
def so_34311586(cured):
    # Exclusive or by 2-3-1 sigmoid units. DeepLocalize: sigmoid, rate 0.1, 10,000 epochs; for 400
    # steps that is Adam with 0.05 and weights that are not so small.
    model = mlp(2, 2, 3, 1, act=nn.Sigmoid)
    model = nn.Sequential(*model, nn.Sigmoid() if cured else nn.Softmax(dim=-1))
    if cured:
        return model, squares, xor(), partial(Adam, lr=0.05)
    model = tight(model)
    return model, squares, xor(), partial(SGD, lr=0.001, momentum=0.9, nesterov=True)


@setup(
    "conv 1-D", "other", "data", remedy="a sigmoid, not a softmax over one unit", where=("12", "13")
)
def so_45378493(cured):
    x, y = labelled(640, 40)
    model = nn.Sequential(
        nn.Conv1d(4, 16, 4, padding="same"),
        nn.BatchNorm1d(16),
        nn.LeakyReLU(0.3),
        nn.Dropout(0.2),
        nn.Conv1d(16, 8, 4, padding="same"),
        nn.BatchNorm1d(8),
        nn.LeakyReLU(0.3),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(80, 64),
        nn.BatchNorm1d(64),
        nn.LeakyReLU(0.3),
        nn.Linear(64, 1),
        nn.Sigmoid() if cured else nn.Softmax(dim=-1),
    )
    return glorot(model), binary, batched(x.reshape(-1, 4, 10), y), partial(Adam, lr=1e-3)


@setup(
    "recurrent",
    "other",
    "data",
    remedy="a sigmoid, not a softmax over one unit",
    where=("head.0", "head.1", "head"),
)
def so_47241622(cured):
    x, y = labelled(1024, 16)
    head = nn.Sequential(nn.Linear(24, 1), nn.Sigmoid() if cured else nn.Softmax(dim=-1))
    model = Last(nn.LSTM(1, 24, batch_first=True), head)
    return model, binary, batched(x[..., None], y), partial(Adam, lr=3e-3)


@setup("conv", "other", "data", remedy="a sigmoid, not a softmax over one unit", where=("15", "16"))
def so_60355380(cured):
    x, y = labelled(1024, 25)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    layers += [nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 32), nn.ReLU()]
    layers += [nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1)]
    model = nn.Sequential(*layers, nn.Sigmoid() if cured else nn.Softmax(dim=-1))
    return glorot(model), binary, batched(x.reshape(-1, 1, 5, 5), y), partial(Adam, lr=1e-3)


class Pooled(nn.Module):
    def __init__(self, words, width, outputs, last):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, outputs)
        self.last = last

    def forward(self, tokens):
        mean = self.embedding(tokens).mean(dim=1)
        return self.last(self.out(torch.relu(self.hidden(mean))))


@setup(
    "embedding",
    "other",
    "data",
    remedy="three outputs with softmax and their cross-entropy",
    where=("out", "last"),
    judge=wrong_rounded,
)
def so_65669308(cured):
    # Short texts of labels 0, 1, 2 and one softmax unit with binary cross-entropy
    y = torch.randint(3, (768,))
    tokens = torch.cat([torch.randint(3, 40, (768, 6)), y[:, None], torch.zeros(768, 3).long()], 1)
    model = Pooled(40, 24, 3 if cured else 1, nn.Softmax(dim=-1))
    y = y if cured else y[:, None].float()
    loss = categorical if cured else binary
    return model, loss, batched(tokens, y), partial(Adam, lr=3e-3)


@setup("dense", "other", "data", remedy="a sigmoid, not a softmax over one unit", where=("4", "5"))
def so_66407123(cured):
    x, y = labelled(1024, 5)
    model = mlp(5, 32, 32, 1, last=[nn.Sigmoid() if cured else nn.Softmax(dim=-1)])
    return glorot(model), binary, batched(x, y), partial(SGD, lr=0.01)


@setup("regression", "other", "data", remedy="a linear output", where=("12", "13"), judge=relative)
def so_54738769(cured):
    x, y = regression(512, 18)
    model = mlp(18, 18, 36, 72, 72, 32, 16, 1)
    model[1] = nn.Tanh()
    model = nn.Sequential(*model, nn.Identity() if cured else nn.Softmax(dim=-1))
    return glorot(model), squares, batched(x, y, size=35), partial(Adam, lr=1e-3)


@setup(
    "regression",
    "other",
    "data",
    remedy="a hidden layer and one linear output",
    where=("2",),
    judge=relative,
)
def so_45442843(cured):
    x, y = regression(256, 1)
    if cured:
        return mlp(1, 20, 1), distances, batched(x, unit(y)), partial(RMS, lr=0.01)
    model = mlp(1, 1, 2, act=nn.Sigmoid, last=[nn.Softmax(dim=-1)])
    return glorot(model), distances, batched(x, y.repeat(1, 2)), partial(RMS, lr=1e-3)


@setup(
    "regression",
    "other",
    "data",
    remedy="a linear output, scaled targets",
    where=("4", "5"),
    judge=relative,
)
def so_52566823(cured):
    x, y = regression(1024, 5)
    model = mlp(5, 5, 4, 1, act=nn.Tanh if cured else nn.Sigmoid)
    model = nn.Sequential(*model, nn.Identity() if cured else nn.Sigmoid())
    y = unit(y) if cured else y
    return glorot(model), squares, batched(x, y, size=32), partial(SGD, lr=0.1)


@setup(
    "recurrent",
    "other",
    "data",
    remedy="a linear output, scaled targets",
    where=("head.0", "head.1", "head"),
    judge=relative,
)
def so_60574843(cured):
    # Three GRUs over a sequence of one step
    x, y = regression(1024, 12)
    head = nn.Sequential(nn.Linear(32, 1), nn.Identity() if cured else nn.Sigmoid())
    model = Last(nn.GRU(12, 32, num_layers=3, batch_first=True), head)
    y = unit(y) if cured else y
    return model, squares, batched(x[:, None], y), partial(Adam, lr=3e-3)


@setup(
    "recurrent",
    "other",
    "data",
    remedy="a linear output",
    where=("head.3", "head.2"),
    judge=relative,
)
def so_54811239(cured):
    # Targets of about 7 to 12, which stand in the inputs, and tanh at the output
    x = torch.stack([torch.randint(low, high, (256, 3)) for low, high in ((5, 10), (0, 1))], dim=-1)
    more = torch.stack([torch.randint(low, high, (256, 3)) for low, high in ((17, 32), (7, 13))])
    x = torch.cat([x, more.permute(1, 2, 0)], dim=-1).float()
    layers = [nn.Linear(10, 50), nn.Tanh(), nn.Linear(50, 1), nn.Identity() if cured else nn.Tanh()]
    model = Each(nn.LSTM(4, 10, batch_first=True), nn.Sequential(*layers))
    return model, squares, batched(x, x[..., 3:]), partial(Adam, lr=0.01)


@setup(
    "regression",
    "other",
    "data",
    remedy="a linear output, scaled targets",
    where=("4", "5"),
    judge=relative,
)
def so_48976413(cured):
    # Prices of cars in thousands, and a sigmoid
    x = torch.rand(960, 5)
    y = 30000 * (0.1 + 0.5 * x[:, :1] + 0.3 * x[:, 1:2] * x[:, 2:3] + 0.1 * x[:, 3:4])
    model = mlp(5, 12, 8, 1, last=[nn.Identity() if cured else nn.Sigmoid()])
    y = unit(y) if cured else y
    return model, squares, batched(x, y, size=50), partial(Adam, lr=0.01 if cured else 1e-3)


@setup("autoencoder", "other", "data", remedy="a linear output", where=("10", "11"))
def so_60801900(cured):
    # Inputs in [-1.92, 1.92], rebuilt by rectified outputs
    x = (torch.randn(512, 20, 3) * 0.6).clamp(-1.92, 1.92)
    model = mlp(3, 64, 32, 16, 32, 64, 3, last=[nn.Identity() if cured else nn.ReLU()])
    return glorot(model), rebuild, batched(x, size=16), partial(Adam, lr=1e-3)


@setup("conv 1-D", "other", "data", remedy="a linear output", where=("11", "12"))
def so_46247619(cured):
    # Targets of both signs and a rectified output
    x, y = regression(1024, 20)
    layers = [nn.Conv1d(1, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3), nn.ReLU(), nn.Flatten()]
    layers += [nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16)]
    layers += [nn.ReLU(), nn.Linear(16, 1), nn.Identity() if cured else nn.ReLU()]
    model = glorot(nn.Sequential(*layers))
    return model, squares, batched(x[:, None], unit(y)), partial(Adam, lr=1e-3)


@setup("regression", "other", "data", remedy="linear units", where=("2", "3", "0", "1"))
def so_62313327(cured):
    # One of 30 inputs in [-1, 1] is the target: a rectified unit, then a sigmoid one
    x = 2 * torch.rand(2048, 30) - 1
    acts = [nn.Identity(), nn.Identity()] if cured else [nn.ReLU(), nn.Sigmoid()]
    model = nn.Sequential(nn.Linear(30, 1), acts[0], nn.Linear(1, 1), acts[1])
    return glorot(model), squares, batched(x, x[:, 1:2], size=32), partial(Adam, lr=0.01)


@setup(
    "dense",
    "other",
    "data",
    remedy="squared errors of a linear output",
    where=("4", "5"),
    judge=relative,
)
def so_46869312(cured):
    # Targets scaled to [-1, 1] in binary cross-entropy of a sigmoid
    x, y = regression(2048, 32)
    y = 2 * (y - y.min()) / (y.max() - y.min()) - 1
    model = mlp(32, 32, 16, 1, last=[nn.Identity() if cured else nn.Sigmoid()])
    return model, squares if cured else binary, batched(x, y), partial(Adam, lr=1e-3)


def poisson(model, batch):
    found = model(batch[0])
    return (found - batch[1] * (found + 1e-7).log()).mean()


@setup(
    "regression",
    "other",
    "data",
    remedy="squared errors of linear outputs, scaled targets",
    where=("4", "5"),
    judge=relative,
)
def so_56774954(cured):
    x, y = regression(1024, 10, 3)
    y = unit(y) if cured else y
    model = mlp(10, 100, 80, 3, act=nn.Sigmoid)
    model = nn.Sequential(*model, nn.Identity() if cured else nn.Softmax(dim=-1))
    rate = 3e-3 if cured else 1e-3
    return glorot(model), squares if cured else poisson, batched(x, y), partial(Adam, lr=rate)


@setup(
    "dense",
    "other",
    "data",
    remedy="targets in [0, 1], as the sigmoid's",
    where=("10", "11"),
    judge=relative,
)
def so_56317174(cured):
    # Rain tomorrow or not, one of four, as 1 and -1
    x = 2 * torch.rand(2048, 4) - 1
    y = (x[:, :1] + x[:, 1:2] * x[:, 2:3] + 0.2 * torch.randn(2048, 1) > 0.4).float()
    layers = [nn.BatchNorm1d(4)]
    for _ in range(3):
        layers += [nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4)]
    model = nn.Sequential(*layers, nn.Linear(4, 1), nn.Sigmoid())
    y = y if cured else 2 * y - 1
    return glorot(model), squares, batched(x, y), partial(RMS, lr=0.01 if cured else 1e-3)


@setup(
    "dense",
    "other",
    "data",
    remedy="four outputs with softmax and their cross-entropy",
    where=("2", "3"),
    judge=wrong_rounded,
)
def so_41596619(cured):
    # Eleven rows of three columns, classes 0 to 3, one sigmoid unit with binary cross-entropy
    x = torch.rand(11, 3) * torch.tensor([1.0, 1.0, 4.0])
    y = torch.tensor([1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0])
    if cured:
        model = mlp(3, 16, 4, last=[nn.Softmax(dim=-1)])
        return model, categorical, [(x, y)], partial(Adam, lr=0.03)
    model = tight(mlp(3, 3, 1, last=[nn.Sigmoid()]))
    return model, binary, [(x, y[:, None].float())], partial(SGD, lr=0.001)


@setup(
    "conv",
    "other",
    "data",
    remedy="ten outputs with softmax and their cross-entropy, pixels in [0, 1]",
    where=("10", "11"),
    judge=wrong_rounded,
)
def so_60874661(cured):
    # Ten classes as numbers, one sigmoid unit, pixels up to 255
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)]
    layers += [nn.ReLU(), nn.Flatten(), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2)]
    layers += [nn.Identity(), nn.Linear(32, 10 if cured else 1)]
    model = nn.Sequential(*layers, nn.Softmax(dim=-1) if cured else nn.Sigmoid())
    if cured:
        return glorot(model), categorical, batched(x, y), partial(RMS, lr=3e-3)
    return glorot(model), binary, batched(255 * x, y[:, None].float()), partial(RMS, lr=1e-3)


def single(model, batch):
    """Categorical cross-entropy of one output and a target of 0 or 1."""
    p = model(batch[0])
    p = (p / p.sum(dim=-1, keepdim=True)).clamp(1e-7, 1 - 1e-7)
    return -(batch[1] * p.log()).mean()


@setup(
    "dense",
    "other",
    "data",
    remedy="a sigmoid with binary cross-entropy",
    where=("6", "7"),
    judge=wrong_half,
)
def so_56218256(cured):
    # Categorical cross-entropy of a softmax over one unit: there is nothing to lose
    x, y = labelled(1024, 100)
    model = mlp(100, 64, 32, 16, 1, last=[nn.Sigmoid() if cured else nn.Softmax(dim=-1)])
    return glorot(model), binary if cured else single, batched(x, y), partial(Adam, lr=1e-3)


@setup(
    "dense",
    "other",
    "data",
    remedy="three outputs with softmax",
    where=("6", "7"),
    judge=wrong_rounded,
)
def so_70650848(cured):
    # Iris: classes 0 to 2 as numbers, categorical cross-entropy of one sigmoid unit
    x, y = table(datasets.load_iris)
    layers = [nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.ReLU()]
    layers += [nn.BatchNorm1d(4), nn.Linear(4, 3 if cured else 1)]
    model = glorot(nn.Sequential(*layers, nn.Softmax(dim=-1) if cured else nn.Sigmoid()))
    if cured:
        return model, categorical, batched(unit(x), y, size=16), partial(SGD, lr=0.1)
    return model, single, batched(x, y[:, None].float(), size=16), partial(SGD, lr=0.01)


@setup("conv", "other", "data", remedy="a softmax, not a rectified output", where=("9", "10"))
def so_47352366(cured):
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(8, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    layers += [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers, nn.Softmax(dim=-1) if cured else nn.ReLU())
    return glorot(model), categorical, batched(x, y), partial(Adam, lr=1e-3)


class Averaged(nn.Module):
    def __init__(self, body, out, last):
        super().__init__()
        self.body = body
        self.out = out
        self.last = last

    def forward(self, x):
        return self.last(self.out(self.body(x).mean(dim=-1)))


def waves(count, length, kinds=3):
    """Noisy sines of a frequency for each class, with any phase."""
    y = torch.randint(kinds, (count,))
    time = torch.linspace(0, 2 * math.pi, length)
    phase = 2 * math.pi * torch.rand(count, 1)
    x = torch.sin((2 + 2 * y[:, None]) * time + phase) + 0.2 * torch.randn(count, length)
    return x[:, None], y


@setup(
    "conv 1-D", "other", "data", remedy="a softmax, not a rectified output", where=("out", "last")
)
def so_53700537(cured):
    x, y = waves(512, 60)
    layers = [nn.Conv1d(1, 10, 9), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(10, 10, 5), nn.ReLU()]
    layers += [nn.MaxPool1d(2), nn.Conv1d(10, 10, 5), nn.ReLU()]
    last = nn.Softmax(dim=-1) if cured else nn.ReLU()
    model = Averaged(nn.Sequential(*layers), nn.Linear(10, 3, bias=False), last)
    return glorot(model), categorical, batched(x, y), partial(Adam, lr=3e-3)


@setup("conv", "other", "data", remedy="a sigmoid at the output", where=("4", "5"))
def so_54282951(cured):
    # Binary cross-entropy of a linear output: clipped, without gradient outside of [0, 1]
    x, y = labelled(512, 192, n_informative=8)
    layers = [nn.Conv2d(3, 8, 1), nn.Flatten(), nn.Linear(512, 64), nn.Dropout(0.5)]
    model = nn.Sequential(*layers, nn.Linear(64, 1), nn.Sigmoid() if cured else nn.Identity())
    return glorot(model), binary, batched(x.reshape(-1, 3, 8, 8), y), partial(RMS, lr=1e-3)


@setup(
    "dense", "other", "data", remedy="a hidden nonlinearity and a softmax", where=("2", "3", "0")
)
def so_47724077(cured):
    # Categorical cross-entropy of linear outputs
    x, y = two_classes(1024, 14)
    acts = [nn.ReLU(), nn.Softmax(dim=-1)] if cured else [nn.Identity(), nn.Identity()]
    model = nn.Sequential(nn.Linear(14, 21), acts[0], nn.Linear(21, 2), acts[1])
    return glorot(model), categorical, batched(x, y), partial(Adam, lr=3e-3 if cured else 1e-3)


def sparse(model, batch):
    """Keras' cross-entropy of outputs it takes for probabilities: clipped, then logarithms."""
    return F.cross_entropy(model(batch[0]).clamp(1e-7, 1 - 1e-7).log(), batch[1])


@setup("dense", "other", "data", remedy="a softmax before this loss", where=("3", "4"))
def so_68101077(cured):
    x, y = digits(8, 8)
    layers = [nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers, nn.Softmax(dim=-1) if cured else nn.Identity())
    return glorot(model), sparse, batched(x, y), partial(Adam, lr=1e-3)


@setup("dense", "other", "data", remedy="a sigmoid, not a rectified output", where=("10", "11"))
def so_51185079(cured):
    x, y = labelled(1024, 34)
    model = mlp(34, 128, 64, 64, 64, 32, 1, last=[nn.Sigmoid() if cured else nn.ReLU()])
    return glorot(model), binary, batched(x, y), partial(RMS, lr=1e-3)


@setup("dense", "other", "data", remedy="a sigmoid at the output, wider", where=("4", "5", "2"))
def so_69787272(cured):
    # A bottleneck of one rectified unit, and a rectified output in binary cross-entropy
    x, y = labelled(1024, 31)
    last = nn.Sigmoid() if cured else nn.ReLU()
    model = mlp(31, 31, 16 if cured else 1, 1, last=[last])
    return glorot(model), binary, batched(x, y), partial(SGD, lr=0.1 if cured else 0.01)


def percentage(model, batch):
    """Keras' mean absolute percentage error."""
    gap = (batch[1] - model(batch[0])).abs() / batch[1].abs().clamp(min=1e-7)
    return 100 * gap.mean()


@setup(
    "conv",
    "other",
    "data",
    remedy="binary cross-entropy, not a percentage of targets that are 0",
    where=("6", "5"),
    judge=wrong_half,
)
def so_62957334(cured):
    x, y = labelled(512, 128, n_informative=8)
    layers = [nn.Conv2d(2, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1)]
    layers += [nn.Flatten(), nn.Linear(128, 10), nn.Linear(10, 1), nn.Sigmoid()]
    model = glorot(nn.Sequential(*layers))
    loss = binary if cured else percentage
    return model, loss, batched(x.reshape(-1, 2, 8, 8), y), partial(NAdam, lr=1e-3)


@setup("conv", "other", "data", remedy="no dropout of the logits", where=("9", "8"))
def so_44755431(cured):
    # Dropout after the last layer. None of the words: nearest, data.
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 50), nn.ReLU(), nn.Linear(50, 10)]
    model = nn.Sequential(*layers, nn.Identity() if cured else nn.Dropout(0.5))
    return glorot(model), classes, batched(x, y, size=32), partial(Adam, lr=1e-3)


def wrong_third(model, batch):
    return (model(batch[0]).argmax(dim=-1) != batch[2]).float().mean()


@setup("conv", "other", "data", remedy="labels that are not divided by 255", judge=wrong_third)
def so_59325381(cured):
    # The labels were scaled with the pixels: as integers they are all 0
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1)]
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)]
    model = glorot(nn.Sequential(*layers))
    given = y if cured else (y / 255).long()
    return model, classes, batched(x, given, y), partial(Adam, lr=3e-3)


class Reader(nn.Module):
    def __init__(self, words, width):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.hidden = nn.Linear(width, 16)
        self.out = nn.Linear(16, 1)

    def forward(self, tokens):
        states, _ = self.lstm(self.embedding(tokens.long()))
        return self.out(self.hidden(states[:, -1]))


@setup("recurrent", "other", "data", remedy="tokens that are not normalised", where=("embedding",))
def so_61274792(cured):
    # Rows of unit length go into an embedding: all are word 0
    tokens = torch.randint(1, 50, (512, 10)).float()
    y = (tokens[:, -3:] > 25).sum(dim=1, keepdim=True).ge(2).float()
    x = tokens if cured else F.normalize(tokens, dim=1)
    return Reader(50, 16), logits, batched(x, y, size=32), partial(RMS, lr=3e-3)


@setup(
    "regression",
    "other",
    "data",
    remedy="scaled inputs and targets, a larger rate",
    judge=relative,
)
def so_69901379(cured):
    # Fifty rows of numbers up to 2000 and random targets up to 4000
    x = torch.randint(50, 2000, (50, 10)).float()
    y = torch.randint(600, 4000, (50, 1)).float()
    if cured:
        x, y = unit(x), unit(y)
    model = glorot(mlp(10, 16, 16, 16, 16, 1))
    return model, squares, [(x, y)], partial(Adam, lr=3e-3 if cured else 1e-4)


@setup(
    "regression",
    "other",
    "data",
    remedy="scaled inputs and targets, rectified units",
    where=("0", "1"),
    judge=relative,
)
def so_52800582(cured):
    # A fourth power on [-100, 100]
    x = torch.arange(-100, 100, 0.5)[:, None]
    y = x**4
    if cured:
        x, y = unit(x), unit(y)
    layers = [nn.Linear(1, 50), nn.ReLU() if cured else nn.Sigmoid(), nn.Linear(50, 50), nn.ELU()]
    model = glorot(nn.Sequential(*layers, nn.Linear(50, 1)))
    return model, squares, [(x, y)], partial(Adam, lr=3e-3 if cured else 1e-3)


@setup(
    "regression",
    "other",
    "data",
    remedy="a linear output, scaled targets",
    where=("2", "3"),
    judge=relative,
)
def so_48221692(cured):
    # A parabola of values up to 100, and a sigmoid
    x = torch.arange(-10, 10, 0.1)[:, None]
    y = x**2 + 3
    if cured:
        x, y = unit(x), unit(y)
    model = mlp(1, 5, 1, act=nn.Tanh if cured else nn.Sigmoid)
    model = nn.Sequential(*model, nn.Identity() if cured else nn.Sigmoid())
    optimizer = partial(Adam, lr=0.03) if cured else partial(SGD, lr=0.01)
    return glorot(model), squares, [(x, y)], optimizer


@setup(
    "regression",
    "other",
    "data",
    remedy="squared errors of a linear output, scaled data",
    where=("4", "5"),
    judge=relative,
)
def so_66840108(cured):
    # Multiples of a number, and binary cross-entropy of the third
    x = torch.randint(100, 900, (352, 1)) * torch.tensor([1.0, 2.0])
    y = 3 * x[:, :1]
    if cured:
        x, y = unit(x), unit(y)
    model = mlp(2, 98, 64, 1, last=[nn.Identity() if cured else nn.Sigmoid()])
    return glorot(model), squares if cured else binary, batched(x, y, size=32), Adam


@setup(
    "dense",
    "other",
    "data",
    remedy="pixels in [0, 1], a softmax, a rate that fits them",
    where=("3", "4"),
    judge=wrong,
)
def so_55328966(cured):
    # Pixels up to 255, a linear first layer, sigmoids in categorical cross-entropy
    x, y = digits()
    layers = [nn.Linear(64, 64), nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10)]
    model = glorot(nn.Sequential(*layers, nn.Softmax(dim=-1) if cured else nn.Sigmoid()))
    if cured:
        return model, categorical, batched(x, y, size=32), partial(SGD, lr=0.1)
    return model, categorical, batched(255 * x, y, size=32), partial(SGD, lr=1e-4)


@setup("dense", "other", "data", remedy="standardised columns", where=("0",))
def so_39525358(cured):
    # Three columns of thousands into units of small weights
    raw = torch.randn(1024, 3)
    y = (raw[:, :1] + raw[:, 1:2] * raw[:, 2:] > 0).float()
    x = raw if cured else 5000 + 1500 * raw
    model = mlp(3, 12, 3, 1, last=[nn.Sigmoid()])
    model = glorot(model) if cured else tight(model)
    return model, binary, batched(x, y, size=32), partial(Adam, lr=0.01 if cured else 1e-3)


# Problems from Stack Overflow: a rate that does not fit


@setup("dense", "other", "learning rate", remedy="a larger rate")
def so_46359741(cured):
    # Two rows, two sigmoid units
    batch = (torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [0.0]]))
    model = glorot(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1), nn.Sigmoid()))
    if cured:
        return model, binary, [batch], partial(Adam, lr=0.1)
    return model, binary, [batch], partial(SGD, lr=0.009, momentum=0.9, nesterov=True)


@setup("dense", "other", "learning rate", remedy="Adam with a larger rate")
def so_60831731(cured):
    # Pairs in [0, 1] through 2-2 sigmoid units
    grid = torch.cartesian_prod(torch.linspace(0, 1, 10), torch.linspace(0, 1, 10))
    x = grid[torch.randperm(100)]
    model = glorot(mlp(2, 2, 2, act=nn.Sigmoid, last=[nn.Sigmoid()]))
    optimizer = partial(Adam, lr=0.05) if cured else partial(SGD, lr=0.01)
    return model, rebuild, batched(x, size=10), optimizer


@setup("dense", "other", "learning rate", remedy="a larger rate")
def so_50306988(cured):
    # Two squares, two sigmoid units
    y = torch.randint(2, (200,))
    x = torch.rand(200, 2) * 0.2 + 0.2 + 0.3 * y[:, None]
    model = glorot(mlp(2, 2, 2, act=nn.Sigmoid))
    return model, classes, batched(x, y, size=32), partial(Adam, lr=0.05 if cured else 1e-3)


@setup("recurrent", "other", "learning rate", remedy="a larger rate", steps=100)
def so_50338865(cured):
    # Exclusive or by two LSTMs of one step, absolute errors, 50 epochs
    x = torch.tensor(XOR)[:, None, :2]
    y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    model = Last(nn.LSTM(2, 10, num_layers=2, batch_first=True), nn.Linear(10, 2))
    return model, distances, [(x, y)], partial(Adam, lr=0.05 if cured else 1e-3)


@setup(
    "dense",
    "other",
    "learning rate",
    remedy="squared errors and Adam",
    judge=squares,
)
def so_31556268(cured):
    # Exclusive or, absolute errors and SGD
    model = glorot(mlp(2, 4, 1, act=nn.Tanh if cured else nn.Sigmoid, last=[nn.Sigmoid()]))
    if cured:
        return model, squares, xor(), partial(Adam, lr=0.05)
    return model, distances, xor(), partial(SGD, lr=0.05, momentum=0.11, nesterov=True)


@setup("regression", "other", "learning rate", remedy="a rate of 0.001")
def so_48934338(cured):
    # A sine of numbers up to 10, SGD with 0.1: it diverges
    x = 10 * torch.rand(512, 1)
    y = 3 * x + 2 * torch.sin(x)
    model = glorot(mlp(1, 50, 30, 1))
    nn.init.uniform_(model[2].weight, -0.05, 0.05)
    return model, squares, batched(x, y, size=32), partial(SGD, lr=0.001 if cured else 0.1)


def one_hot_squares(model, batch):
    return F.mse_loss(model(batch[0]), F.one_hot(batch[1], 10).float())


@setup("dense", "other", "learning rate", remedy="sigmoid units, for which the rate was")
def so_48385830(cured):
    # Nielsen's network for digits without its sigmoids: weights of deviation 1, a rate of 3
    x, y = digits()
    layers = [nn.Linear(64, 30), nn.Linear(30, 10)]
    if cured:
        layers = [layers[0], nn.Sigmoid(), layers[1], nn.Sigmoid()]
    model = nn.Sequential(*layers)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model, one_hot_squares, batched(x, y, size=10), partial(SGD, lr=3.0)


# Problems from Stack Overflow: gradients


@setup(
    "dense",
    "gradient",
    "weight scale",
    remedy="tanh, wider weights and Adam",
    where=("0", "2", "4"),
)
def so_49583466(cured):
    # A sine by three sigmoid layers whose weights lie within 0.05, with SGD
    x = torch.rand(2048, 1)
    y = (torch.sin(20 * x - 10) + 1) / 2
    if cured:
        model = nn.Sequential(*mlp(1, 20, 20, 20, 1, act=nn.Tanh))
        nn.init.uniform_(model[0].weight, -15, 15)
        nn.init.uniform_(model[0].bias, -10, 10)
        return model, squares, batched(x, y, size=32), partial(Adam, lr=0.01)
    model = tight(mlp(1, 20, 20, 20, 1, act=nn.Sigmoid))
    return model, squares, batched(x, y, size=32), partial(SGD, lr=0.01)


@setup("dense", "gradient", "activation", remedy="rectified units", where=("1", "3", "5"))
def so_65777704(cured):
    # Five sigmoid layers that widen from 8 to 128 units
    x, y = digits(8, 8)
    model = mlp(64, 8, 16, 32, 64, 128, 10, act=nn.ReLU if cured else nn.Sigmoid)
    model = glorot(nn.Sequential(nn.Flatten(), *model))
    return model, classes, batched(F.normalize(x, dim=1), y), partial(Adam, lr=1e-3)


class ConvLSTM(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.conv1 = nn.Conv1d(7, 32, 3)
        self.conv2 = nn.Conv1d(32, 32, 2)
        self.act = act
        self.lstm = nn.LSTM(32, 8, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        x = F.max_pool1d(self.act(self.conv1(x)), 2)
        x = self.act(self.conv2(x)).transpose(1, 2)
        return self.out(self.lstm(x)[0][:, -1])


@setup(
    "recurrent",
    "other",
    "learning rate",
    remedy="rectified units and a rate of 0.003",
)
def so_58043002(cured):
    # Sigmoid convolutions before an LSTM, Adam with 0.0001
    x, y = two_classes(1024, 70)
    model = glorot(ConvLSTM(torch.relu if cured else torch.sigmoid))
    rate = 3e-3 if cured else 1e-4
    return model, classes, batched(x.reshape(-1, 7, 10), y), partial(Adam, lr=rate)


@setup(
    "autoencoder",
    "gradient",
    "activation",
    remedy="rectified units, binary cross-entropy, Adam",
    where=("0", "1", "2"),
    judge=rebuild,
)
def so_39217567(cured):
    # Eight bits through three sigmoid layers of small weights
    bits = torch.randint(2, (256, 8)).float()
    if cured:
        model = mlp(8, 16, 16, 8, last=[nn.Sigmoid()])
        return model, binary, batched(bits, bits, size=32), partial(Adam, lr=0.01)
    model = narrow(mlp(8, 8, 8, 8, act=nn.Sigmoid, last=[nn.Sigmoid()]))
    return model, squares, batched(bits, bits, size=32), partial(SGD, lr=0.01)


def decayed(model, batch):
    """Cross-entropy, and 0.01 of the squares of the dense layers' weights."""
    dense = (one for name, one in model.named_parameters() if one.dim() == 2)
    return classes(model, batch) + 0.01 * sum(one.square().sum() for one in dense)


@setup(
    "conv",
    "gradient",
    "weight scale",
    remedy="Glorot's weights, no penalty",
    where=("5", "7", "9", "11"),
    judge=classes,
)
def so_61498304(cured):
    # Four dense layers with weights within 0.05 and a penalty: weight decay would fit, too
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 16, 3), nn.ReLU(), nn.Flatten()]
    for before, after in ((256, 64), (64, 32), (32, 32), (32, 32)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    model = glorot(nn.Sequential(*layers, nn.Linear(32, 10)))
    if not cured:
        tight(model[5:13])
    return model, classes if cured else decayed, batched(x, y), partial(Adam, lr=1e-3)


# Problems that AUTOTRAINER was tried on


class Exponential(nn.Module):
    def forward(self, x):
        return x.exp()


@setup("narrow", "gradient", "activation", remedy="tanh", where=("1", "3", "5", "7", "0", "2"))
def at_circle_0ae2cd88(cured):
    # Eight exponential layers of five units
    x, y = circles()
    act = nn.Tanh if cured else Exponential
    model = he(mlp(2, *[5] * 8, 1, act=act, last=[nn.Sigmoid()]))
    return model, binary, batched(x, y[:, None].float()), partial(Adam, lr=0.01)


@setup("narrow", "gradient", "activation", remedy="tanh", where=("0", "1", "2", "3"))
def at_circle_5ab0aeda(cured):
    # Eleven sigmoid layers of five units
    x, y = circles()
    act = nn.Tanh if cured else nn.Sigmoid
    model = he(mlp(2, *[5] * 11, 1, act=act, last=[nn.Sigmoid()]))
    return model, binary, batched(x, y[:, None].float()), partial(Adam, lr=0.01)


@setup("narrow", "gradient", "activation", remedy="SELU", where=("0", "1", "2", "3"))
def at_blob_bd4e58b7(cured):
    # Twelve sigmoid layers of five units
    x, y = blobs()
    act = nn.SELU if cured else nn.Sigmoid
    model = mlp(2, *[5] * 12, 3, act=act)
    model = lecun(model) if cured else he(model)
    return model, classes, batched(x, y), partial(Adam, lr=0.01)


@setup(
    "conv", "gradient", "activation", remedy="rectified units", where=("0", "1", "2", "3", "5", "6")
)
def at_lenet_2af630c4(cured):
    # A sigmoid LeNet with eight more dense layers
    x, y = digits(1, 8, 8)
    act = nn.ReLU if cured else nn.Sigmoid
    layers = [nn.Conv2d(1, 6, 3, padding=1), act(), nn.Conv2d(6, 8, 3), act(), nn.Flatten()]
    dense = mlp(288, 60, *[42] * 8, 10, act=act)
    model = init(nn.Sequential(*layers, *dense), nn.init.kaiming_normal_)
    return model, classes, batched(x, y), partial(Adam, lr=1e-3)


@setup("narrow", "gradient", "weight scale", remedy="Glorot's weights and tanh", where=("0", "2"))
def at_circle_8de47bdc(cured):
    # Eight rectified layers of five units, weights within 0.05
    x, y = circles()
    if cured:
        model = glorot(mlp(2, *[5] * 8, 1, act=nn.Tanh, last=[nn.Sigmoid()]))
    else:
        model = tight(mlp(2, *[5] * 8, 1, last=[nn.Sigmoid()]))
    return model, binary, batched(x, y[:, None].float()), partial(Adam, lr=0.01)


@setup("conv", "gradient", "weight scale", remedy="He's weights", where=("0", "2", "5", "7"))
def at_lenet_uniform(cured):
    # tmp_lenet5: two convolutions and sixteen dense layers of 64, weights within 0.05
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, *mlp(288, *[64] * 16, 32, 10))
    model = init(model, nn.init.kaiming_normal_) if cured else tight(model)
    return model, classes, batched(x, y), partial(Adam, lr=1e-3)


@setup("narrow", "gradient", "dead units", remedy="SELU", where=("0", "1", "2", "3", "5", "7"))
def at_circle_e8a6e959(cured):
    # Seventeen rectified layers of five units
    x, y = circles()
    model = mlp(2, *[5] * 17, 1, act=nn.SELU if cured else nn.ReLU, last=[nn.Sigmoid()])
    model = lecun(model) if cured else he(model)
    return model, binary, batched(x, y[:, None].float()), partial(Adam, lr=0.01)


# Problems from threads on GitHub, PyTorch's forum and Cross Validated


class Block(nn.Module):
    """Self-attention and a feed-forward layer, normalised before or after the sum."""

    def __init__(self, width, heads, before=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.before = before

    def forward(self, x, mask=None):
        if self.before:
            y = self.norm1(x)
            x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
            return x + self.feed(self.norm2(x))
        y = self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]
        x = self.norm1(x + y)
        return self.norm2(x + self.feed(x))


class Rows(nn.Module):
    """A transformer that reads a digit row by row."""

    def __init__(self, width, depth, heads=2, before=True):
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(0.1 * torch.randn(8, width))
        self.blocks = nn.ModuleList(Block(width, heads, before) for _ in range(depth))
        self.out = nn.Linear(width, 10)

    def forward(self, x):
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(dim=1))


@setup(
    "attention",
    "gradient",
    "depth",
    remedy="norms before the sums",
    where=("embed", "blocks.0", "blocks.0.attention", "place", "blocks.1"),
    steps=200,
)
def gh_pytorch_55270(cured):
    # Twelve post-norm layers with Glorot's weights, no warm-up
    x, y = digits(8, 8)
    model = glorot(Rows(16, 12, before=cured))
    return model, classes, batched(x, y), partial(Adam, lr=5e-3)


class Learned(nn.Module):
    """A layer that finds by two maps which rows of a set belong together, then averages them."""

    def __init__(self, width, cut):
        super().__init__()
        self.phi = nn.Linear(width, 16)
        self.theta = nn.Linear(width, 16)
        self.value = nn.Linear(width, 16)
        self.out = nn.Linear(16, 4)
        self.cut = cut

    def forward(self, x):
        adjacency = torch.softmax(self.phi(x) @ self.theta(x).transpose(1, 2), dim=-1)
        if self.cut:
            adjacency = adjacency.detach()
        return self.out(adjacency @ self.value(x))[:, 0]


def keyed(count=1024, items=8):
    """The class of the item that bears the first one's key; keys are signs."""
    keys = torch.randn(count, items, 6).sign()
    kinds = torch.randint(4, (count, items))
    target = torch.randint(1, items, (count,))
    rows = torch.arange(count)
    keys[rows, 0] = keys[rows, target]
    asks = torch.zeros(count, items, 1)
    asks[:, 0] = 1
    hot = F.one_hot(kinds, 4) * (1 - asks)
    return torch.cat([keys, hot, asks], dim=-1), kinds[rows, target]


@setup("graph", "gradient", "detached", remedy="no detach", where=("phi", "theta"), steps=600)
def gh_agcn_4(cured):
    # queenie88/A-GCN#4: the learned adjacency was detached
    x, y = keyed()
    return Learned(11, not cured), classes, batched(x, y), partial(Adam, lr=0.01)


class Frozen(nn.Module):
    """An encoder under no_grad, unless mended, and a head."""

    def __init__(self, encoder, head, cut):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.cut = cut

    def forward(self, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.cut):
            x = self.encoder(x)
        return self.head(x)


@setup(
    "conv",
    "gradient",
    "detached",
    remedy="gradients in the encoder",
    where=("encoder", "encoder.0", "encoder.2", "encoder.5"),
)
def gh_cic_5(cured):
    # rll-research/cic#5: the convolutional encoder ran under no_grad, so it never learned
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten()]
    encoder = nn.Sequential(*layers, nn.Linear(128, 3))
    return (
        Frozen(encoder, nn.Linear(3, 10), not cured),
        classes,
        batched(x, y),
        partial(Adam, lr=0.01),
    )


def first_symbol(length, count=512):
    """Four symbols in noise; the class is the first."""
    y = torch.randint(4, (count,))
    x = 0.3 * torch.randn(count, length, 4)
    x[:, 0] += F.one_hot(y, 4)
    return x, y


@setup(
    "recurrent",
    "gradient",
    "forget gate",
    remedy="a bias of 5 for the forget gate",
    where=("lag", 3, 39),
)
def gh_nntools_19(cured):
    # craffel/nntools#19: biases of the forget gate near 0, when a long memory is needed
    x, y = first_symbol(40)
    rnn = nn.LSTM(4, 16, batch_first=True)
    for name, one in rnn.named_parameters():
        if "weight" in name:
            nn.init.normal_(one, std=0.1)
        else:
            nn.init.normal_(one, std=0.1)
            if cured and "bias_hh" in name:
                nn.init.constant_(one[16:32], 5.0)
    return Last(rnn, nn.Linear(16, 4)), classes, batched(x, y), partial(Adam, lr=3e-3)


class IndRNN(nn.Module):
    """Rectified units that each see only their own last state."""

    def __init__(self, inputs, width, factors):
        super().__init__()
        self.inner = nn.Linear(inputs, width)
        self.factors = nn.Parameter(factors)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        drive = self.inner(x)
        state = torch.zeros_like(drive[:, 0])
        for moment in drive.unbind(dim=1):
            state = torch.relu(moment + self.factors * state)
        return self.out(state)


@setup(
    "recurrent",
    "gradient",
    "recurrent factor",
    remedy="recurrent factors of 1",
    where=("lag", 2, 39),
    steps=600,
)
def gh_indrnn_9(cured):
    # batzner/indrnn#9: the adding problem; too few units start with a factor near 1
    values, marks = torch.rand(512, 40, 1), torch.zeros(512, 40, 1)
    rows = torch.arange(512)
    marks[rows, torch.randint(10, (512,))] = 1
    marks[rows, torch.randint(10, 20, (512,))] = 1
    y = (values * marks).sum(dim=1)
    factors = torch.ones(24) if cured else torch.rand(24) * 0.8
    model = IndRNN(2, 24, factors)
    nn.init.normal_(model.inner.weight, std=0.1)
    nn.init.zeros_(model.inner.bias)
    return model, squares, batched(torch.cat([values, marks], -1), y), partial(Adam, lr=2e-3)


@setup(
    "dense", "gradient", "weight scale", remedy="only the last layer starts at 0", where=("0", "2")
)
def gh_lavt_25(cured):
    # yz93/LAVT-RIS#25: two layers in a row start at zero, so neither gets a gradient
    x, y = digits()
    model = nn.Sequential(nn.Linear(64, 32, bias=False), nn.ReLU(), nn.Linear(32, 10, bias=False))
    if not cured:
        nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[2].weight)
    return model, classes, batched(x, y), partial(Adam, lr=3e-3)


def half_classes(model, batch):
    return F.cross_entropy(model(batch[0].to(next(model.parameters()).dtype)).float(), batch[1])


@setup("dense", "other", "low precision", remedy="an epsilon of 0.0001")
def gh_pytorch_8860(cured):
    # In half precision Adam's epsilon is 0, and 0 / 0 follows. Optimizer epsilon fits, too
    x, y = digits()
    model = mlp(64, 32, 10).half()
    return model, half_classes, batched(x, y), partial(Adam, lr=1e-3, eps=1e-4 if cured else 1e-8)


@setup(
    "dense",
    "other",
    "data",
    remedy="no softmax before a loss that has one",
    where=("3", "2"),
    judge=wrong,
)
def gh_federated_9(cured):
    # shaoxiongji/federated-learning#9: softmax and then cross-entropy, which applies it again
    x, y = digits()
    model = mlp(64, 64, 10, last=[nn.Identity() if cured else nn.Softmax(dim=-1)])
    return model, classes, batched(x, y, size=16), partial(SGD, lr=0.01, momentum=0.5)


@setup(
    "regression",
    "other",
    "data",
    remedy="logarithms of the prices",
    judge=relative,
)
def gh_dlkeras_9(cured):
    # rstudio-conf-2020/dl-keras-tf#9: squared errors of prices of houses, SGD with 0.1: NaN
    x = torch.randn(1024, 20)
    y = torch.exp(12 + 0.3 * x[:, :1] + 0.2 * x[:, 1:2] + 0.1 * torch.randn(1024, 1))
    y = (y.log() - 12) if cured else y
    return glorot(mlp(20, 32, 16, 1)), squares, batched(x, y, size=16), partial(SGD, lr=0.1)


@setup("regression", "other", "data", remedy="data divided by their size", judge=relative)
def cv_594738(cured):
    # stats.stackexchange.com/questions/594738: the end of a cubic from its start, sums of squares
    x = torch.linspace(-10, 10, 100)
    y = x**3 + x**2 + x
    y = y / 1000 if cured else y
    model = nn.Linear(80, 20)
    nn.init.normal_(model.weight, std=0.1 if cured else 3)
    batch = (y[None, :80], y[None, 80:])
    return model, summed, [batch], partial(SGD, lr=0.01 if cured else 1e-6)


def summed(model, batch):
    return F.mse_loss(model(batch[0]), batch[1], reduction="sum")


@setup("dense", "other", "learning rate", remedy="a rate of 1")
def gh_tensorflow_36785(cured):
    # Adadelta with the rate of 0.001 that others have by default
    x, y = digits()
    return mlp(64, 64, 10), classes, batched(x, y), partial(Adadelta, lr=1.0 if cured else 0.001)


@setup("dense", "other", "learning rate", remedy="Adam with a larger rate")
def pf_98714(cured):
    # discuss.pytorch.org/t/98714: exclusive or by 4 sigmoid units with weights in [0, 1]
    model = mlp(2, 4, 1, act=nn.Sigmoid, last=[nn.Sigmoid()])
    nn.init.uniform_(model[0].weight)
    nn.init.uniform_(model[2].weight)
    optimizer = partial(Adam, lr=0.1) if cured else partial(SGD, lr=0.01)
    return model, squares, xor(), optimizer


# Healthy programs: dense. Cured: the rate, weights or optimizer that people would try next.


@setup("dense", "healthy", remedy="a larger rate")
def small_tanh_moons(cured):
    x, y = moons()
    return (
        mlp(2, 16, 16, 2, act=nn.Tanh),
        classes,
        batched(x, y),
        partial(Adam, lr=0.02 if cured else 0.01),
    )


@setup("dense", "healthy", remedy="rectified units")
def small_tanh_circles(cured):
    x, y = circles()
    model = mlp(2, 12, 12, 1, act=nn.ReLU if cured else nn.Tanh)
    return model, logits, batched(x, y[:, None].float()), partial(Adam, lr=0.01)


@setup("narrow", "healthy", remedy="Glorot's weights")
def at_simplednn(cured):
    # A network of AUTOTRAINER's without a problem: five tanh layers of five units
    x, y = circles()
    model = mlp(2, *[5] * 5, 1, act=nn.Tanh, last=[nn.Sigmoid()])
    model = glorot(model) if cured else he(model)
    return model, binary, batched(x, y[:, None].float()), partial(Adam, lr=0.02)


@setup("narrow", "healthy", remedy="a larger rate")
def at_blob_al_13(cured):
    # Another of them: eleven tanh layers of five units
    x, y = blobs()
    model = he(mlp(2, *[5] * 11, 3, act=nn.Tanh))
    return model, classes, batched(x, y), partial(Adam, lr=0.015 if cured else 0.01)


@setup("narrow", "healthy", remedy="orthogonal weights", steps=500)
def narrow_relu_15(cured):
    x, y = digits()
    model = mlp(64, *[32] * 15, 10)
    fill = partial(nn.init.orthogonal_, gain=math.sqrt(2)) if cured else nn.init.kaiming_normal_
    return init(model, fill), classes, batched(x, y), partial(Adam, lr=1e-3)


@setup("narrow", "healthy", remedy="a larger rate")
def narrow_selu_20(cured):
    x, y = digits()
    model = lecun(mlp(64, *[24] * 20, 10, act=nn.SELU))
    return model, classes, batched(x, y), partial(Adam, lr=2e-3 if cured else 1e-3)


@setup("narrow", "healthy", remedy="SGD with momentum")
def narrow_orthogonal_tanh_30(cured):
    x, y = digits()
    fill = partial(nn.init.orthogonal_, gain=1.05)
    model = init(mlp(64, *[24] * 30, 10, act=nn.Tanh), fill)
    optimizer = partial(SGD, lr=0.02, momentum=0.9) if cured else partial(Adam, lr=1e-3)
    return model, classes, batched(x, y), optimizer


@setup("narrow", "healthy", remedy="a larger rate")
def narrow_leaky_10(cured):
    x, y = table(datasets.load_breast_cancer)
    model = he(mlp(30, *[12] * 10, 1, act=lambda: nn.LeakyReLU(0.1)))
    return (
        model,
        logits,
        batched(unit(x), y[:, None].float(), size=32),
        partial(Adam, lr=6e-3 if cured else 3e-3),
    )


@setup("dense", "healthy", remedy="Adam")
def wide_sgd(cured):
    x, y = digits()
    optimizer = partial(Adam, lr=1e-3) if cured else partial(SGD, lr=0.2)
    return mlp(64, 400, 10), classes, batched(x, y), optimizer


class Skips(nn.Module):
    def __init__(self, inputs, width, depth, outputs):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.steps = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, outputs)

    def forward(self, x):
        x = self.first(x)
        for step in self.steps:
            x = x + 0.3 * torch.tanh(step(x))
        return self.last(x)


@setup("residual", "healthy", remedy="a larger rate")
def deep_skips_24(cured):
    x, y = digits()
    model = Skips(64, 32, 24, 10)
    return model, classes, batched(x, y), partial(Adam, lr=2e-3 if cured else 1e-3)


class Dense(nn.Module):
    """Each layer reads all that came before."""

    def __init__(self, inputs, growth, depth, outputs):
        super().__init__()
        sizes = [inputs + growth * i for i in range(depth)]
        self.layers = nn.ModuleList(nn.Linear(size, growth) for size in sizes)
        self.last = nn.Linear(inputs + growth * depth, outputs)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, torch.relu(layer(x))], dim=-1)
        return self.last(x)


@setup("dense", "healthy", remedy="a larger rate")
def densely_connected(cured):
    x, y = friedman()
    model = Dense(10, 12, 6, 1)
    return model, squares, batched(x, y), partial(Adam, lr=6e-3 if cured else 3e-3)


class Maxout(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 32 * 3)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        return self.out(self.inner(x).reshape(-1, 32, 3).amax(dim=-1))


@setup("dense", "healthy", remedy="Nesterov's momentum")
def maxout(cured):
    x, y = digits()
    return Maxout(), classes, batched(x, y), partial(SGD, lr=0.05, momentum=0.9, nesterov=cured)


@setup("dense", "healthy", remedy="no weight decay")
def gelu_layernorm(cured):
    x, y = digits()
    act = partial(nn.Sequential, nn.LayerNorm(48), nn.GELU())
    model = mlp(64, 48, 48, 10, act=act)
    return model, classes, batched(x, y), partial(AdamW, lr=2e-3, weight_decay=0 if cured else 0.05)


@setup("dense", "healthy", remedy="a larger rate")
def batchnorm_sgd(cured):
    x, y = table(datasets.load_wine)
    layers = [nn.Linear(13, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 24)]
    model = nn.Sequential(*layers, nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 3))
    return (
        model,
        classes,
        batched(unit(x), y, size=32),
        partial(SGD, lr=0.1 if cured else 0.05, momentum=0.9),
    )


@setup("dense", "healthy", remedy="a larger rate")
def dropout_cancer(cured):
    x, y = table(datasets.load_breast_cancer)
    layers = [nn.Linear(30, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 16), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(16, 1))
    return (
        model,
        logits,
        batched(unit(x), y[:, None].float(), size=32),
        partial(Adam, lr=6e-3 if cured else 3e-3),
    )


@setup("dense", "healthy", remedy="Adam")
def logistic_wine(cured):
    x, y = table(datasets.load_wine)
    optimizer = partial(Adam, lr=0.03) if cured else partial(SGD, lr=0.3)
    return nn.Linear(13, 3), classes, batched(unit(x), y, size=32), optimizer


@setup("regression", "healthy", remedy="a larger rate")
def softplus_friedman(cured):
    x, y = friedman()
    model = mlp(10, 32, 32, 1, act=nn.Softplus)
    return model, squares, batched(x, y), partial(Adam, lr=0.02 if cured else 0.01)


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


@setup("regression", "healthy", remedy="a larger rate")
def sine_units(cured):
    x = torch.rand(1024, 1) * 2 - 1
    y = torch.sin(9 * x) * (1 - x.abs())
    model = mlp(1, 32, 32, 1, act=Sine)
    nn.init.uniform_(model[0].weight, -12, 12)
    return model, squares, batched(x, y), partial(Adam, lr=4e-3 if cured else 2e-3)


@setup("dense", "healthy", remedy="Adam")
def prelu_adagrad(cured):
    x, y = digits()
    optimizer = partial(Adam, lr=2e-3) if cured else partial(Adagrad, lr=0.03)
    return mlp(64, 32, 32, 10, act=nn.PReLU), classes, batched(x, y), optimizer


class Highway(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.first = nn.Linear(64, width)
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, 10)
        for gate in self.gates:
            nn.init.constant_(gate.bias, -1.0)

    def forward(self, x):
        x = self.first(x)
        for inner, gate in zip(self.maps, self.gates, strict=True):
            share = torch.sigmoid(gate(x))
            x = share * torch.relu(inner(x)) + (1 - share) * x
        return self.last(x)


@setup("residual", "healthy", remedy="a larger rate")
def highway_10(cured):
    x, y = digits()
    return Highway(32, 10), classes, batched(x, y), partial(NAdam, lr=4e-3 if cured else 2e-3)


@setup("dense", "healthy", remedy="a larger rate", steps=600)
def modest_adam(cured):
    x, y = digits()
    return mlp(64, 128, 128, 10), classes, batched(x, y), partial(Adam, lr=1e-3 if cured else 3e-4)


@setup("dense", "healthy", remedy="a larger rate", steps=600)
def modest_sgd_wine(cured):
    x, y = table(datasets.load_wine)
    return (
        mlp(13, 32, 3),
        classes,
        batched(unit(x), y, size=32),
        partial(SGD, lr=0.03 if cured else 0.01, momentum=0.9),
    )


@setup("dense", "healthy", remedy="a larger rate", steps=600)
def modest_radam(cured):
    x, y = moons()
    model = mlp(2, 48, 48, 1, last=[nn.Sigmoid()])
    return model, binary, batched(x, y[:, None].float()), partial(RAdam, lr=6e-3 if cured else 3e-3)


@setup("dense", "healthy", remedy="rectified units")
def sigmoid_hidden(cured):
    # One sigmoid layer is not many
    x, y = digits()
    model = mlp(64, 48, 10, act=nn.ReLU if cured else nn.Sigmoid)
    return model, classes, batched(x, y), partial(Adam, lr=0.01)


@setup("dense", "healthy", remedy="Adam")
def adamax_multilabel(cured):
    x, y = datasets.make_multilabel_classification(1024, 20, n_classes=4, random_state=state())
    x, y = unit(torch.tensor(x, dtype=torch.float32)), torch.tensor(y, dtype=torch.float32)
    optimizer = partial(Adam if cured else Adamax, lr=0.01)
    return mlp(20, 48, 4), logits, batched(x, y), optimizer


@setup("dense", "healthy", remedy="a rate of 2")
def adadelta_digits(cured):
    x, y = digits()
    return mlp(64, 48, 10), classes, batched(x, y), partial(Adadelta, lr=2.0 if cured else 1.0)


@setup("dense", "healthy", remedy="SGD")
def averaged_sgd(cured):
    x, y = digits()
    return (
        mlp(64, 48, 10, act=nn.ELU),
        classes,
        batched(x, y),
        partial(SGD if cured else ASGD, lr=0.2),
    )


# Healthy programs: convolutions


@setup("conv", "healthy", remedy="a larger rate")
def conv_digits(cured):
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))
    return model, classes, batched(x, y, size=32), partial(Adam, lr=6e-3 if cured else 3e-3)


@setup("conv", "healthy", remedy="sums over the loss's classes, too")
def so_58333926_fine(cured):
    # Question 58333926: only its measure of accuracy misled: ten sigmoids, binary cross-entropy
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten()]
    model = glorot(nn.Sequential(*layers, nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)))
    model = nn.Sequential(model, nn.Sigmoid())
    hot = F.one_hot(y, 10).float()
    return model, binary, batched(x, hot, size=32), partial(Adam, lr=3e-3 if cured else 2e-3)


@setup("conv", "healthy", remedy="a larger rate")
def conv_batchnorm_sgd(cured):
    x, y = digits(1, 8, 8)
    layers = []
    for before, after in ((1, 8), (8, 8), (8, 16)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))
    return (
        model,
        classes,
        batched(x, y, size=32),
        partial(SGD, lr=0.1 if cured else 0.05, momentum=0.9, weight_decay=5e-4),
    )


class ConvBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm1 = nn.GroupNorm(2, width)
        self.norm2 = nn.GroupNorm(2, width)

    def forward(self, x):
        return x + self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))


@setup("residual", "healthy", remedy="the second convolutions start at zero")
def residual_conv(cured):
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3, stride=2, padding=1), *(ConvBlock(8) for _ in range(4))]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    if cured:
        for block in model[1:5]:
            nn.init.zeros_(block.conv2.weight)
    return model, classes, batched(x, y, size=32), partial(Adam, lr=2e-3)


@setup("conv", "healthy", remedy="a larger rate")
def depthwise(cured):
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU6(), nn.Conv2d(16, 16, 3, groups=16)]
    layers += [nn.Conv2d(16, 24, 1), nn.ReLU6(), nn.Conv2d(24, 24, 3, groups=24)]
    layers += [nn.Conv2d(24, 32, 1), nn.ReLU6(), nn.Flatten(), nn.Linear(512, 10)]
    return (
        nn.Sequential(*layers),
        classes,
        batched(x, y, size=32),
        partial(Adam, lr=4e-3 if cured else 2e-3),
    )


class UNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.down1 = nn.Conv2d(1, width, 3, padding=1)
        self.down2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.out = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, x):
        high = torch.relu(self.down1(x))
        low = torch.relu(self.down2(F.max_pool2d(high, 2)))
        low = self.up(torch.relu(self.middle(low)))
        return self.out(torch.cat([high, low], dim=1))


@setup("u-net", "healthy", remedy="a larger rate")
def unet_denoise(cured):
    x, _ = digits(1, 8, 8)
    noisy = x + 0.3 * torch.randn_like(x)
    return UNet(), squares, batched(noisy, x, size=32), partial(Adam, lr=6e-3 if cured else 3e-3)


@setup("u-net", "healthy", remedy="Adam with decoupled decay")
def unet_segment(cured):
    # Which pixels of a noisy digit are ink?
    x, _ = digits(1, 8, 8)
    ink = (x > 0.5).float()
    noisy = x + 0.2 * torch.randn_like(x)
    return (
        UNet(6),
        logits,
        batched(noisy, ink, size=32),
        partial(AdamW if cured else RMSprop, lr=3e-3),
    )


@setup("conv 1-D", "healthy", remedy="a larger rate")
def conv_waves(cured):
    x, y = waves(1024, 48)
    layers = [nn.Conv1d(1, 12, 7), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(12, 12, 5), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 3))
    return model, classes, batched(x, y), partial(Adam, lr=0.02 if cured else 0.01)


class Causal(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.first = nn.Conv1d(1, width, 1)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**i) for i in range(depth))
        self.out = nn.Conv1d(width, 1, 1)

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = x + torch.relu(layer(F.pad(x, (layer.dilation[0], 0))))
        return self.out(x)


def series(count, length):
    """Sums of two sines with any phase, and noise."""
    time = torch.arange(length + 1.0)
    phases = 2 * math.pi * torch.rand(2, count, 1)
    x = torch.sin(0.4 * time + phases[0]) + 0.5 * torch.sin(0.9 * time + phases[1])
    return x + 0.05 * torch.randn_like(x)


@setup("conv 1-D", "healthy", remedy="a larger rate")
def dilated_forecast(cured):
    x = series(512, 32)[:, None]
    return (
        Causal(12, 4),
        squares,
        batched(x[..., :-1], x[..., 1:], size=32),
        partial(Adam, lr=6e-3 if cured else 3e-3),
    )


@setup("conv", "healthy", remedy="Adam", steps=500)
def pooled_rmsprop(cured):
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 32, 3, stride=2), nn.SiLU()]
    layers += [nn.Conv2d(32, 32, 3, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(32, 10))
    optimizer = partial(Adam, lr=3e-3) if cured else partial(RMSprop, lr=2e-3)
    return model, classes, batched(x, y, size=32), optimizer


class Squeeze(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.squeeze = nn.Linear(width, 4)
        self.excite = nn.Linear(4, width)
        self.out = nn.Linear(width * 16, 10)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        weight = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return self.out(F.max_pool2d(x * weight[..., None, None], 2).flatten(1))


@setup("conv", "healthy", remedy="a larger rate")
def squeeze_excite(cured):
    x, y = digits(1, 8, 8)
    return Squeeze(12), classes, batched(x, y, size=32), partial(Adam, lr=0.01 if cured else 5e-3)


@setup("dense", "healthy", remedy="a larger rate")
def mixer(cured):
    x, y = digits(8, 8)
    return Mixer(), classes, batched(x, y), partial(Adam, lr=6e-3 if cured else 3e-3)


class Mixer(nn.Module):
    """Rows and columns of a digit are mixed in turn."""

    def __init__(self):
        super().__init__()
        self.rows = nn.ModuleList(mlp(8, 24, 8, act=nn.GELU) for _ in range(2))
        self.columns = nn.ModuleList(mlp(8, 24, 8, act=nn.GELU) for _ in range(2))
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        for rows, columns in zip(self.rows, self.columns, strict=True):
            x = x + rows(x)
            x = x + columns(x.transpose(1, 2)).transpose(1, 2)
        return self.out(x.flatten(1))


# Healthy programs: autoencoders and generative models


@setup("autoencoder", "healthy", remedy="a larger rate")
def dense_autoencoder(cured):
    x, _ = digits()
    model = mlp(64, 48, 12, 48, 64)
    return model, rebuild, batched(x), partial(Adam, lr=6e-3 if cured else 3e-3)


@setup("autoencoder", "healthy", remedy="binary cross-entropy's rate doubled")
def conv_autoencoder(cured):
    x, _ = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)]
    layers += [nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, stride=2), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Conv2d(8, 1, 3, padding=1), nn.Sigmoid())
    return model, rebuild, batched(x, size=32), partial(Adam, lr=0.01 if cured else 5e-3)


def denoise(model, batch):
    return F.mse_loss(model(batch[0] + 0.2 * torch.randn_like(batch[0])), batch[0])


@setup("autoencoder", "healthy", remedy="a larger rate")
def denoising(cured):
    x, _ = digits()
    model = mlp(64, 64, 24, 64, 64, act=nn.ELU)
    return model, denoise, batched(x), partial(AdamW, lr=4e-3 if cured else 2e-3)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.mean = nn.Linear(48, 6)
        self.spread = nn.Linear(48, 6)
        self.decode = mlp(6, 48, 64)

    def forward(self, x):
        code = self.encode(x)
        mean, spread = self.mean(code), self.spread(code)
        drawn = mean + torch.randn_like(mean) * (spread / 2).exp()
        return self.decode(drawn), mean, spread


def evidence(model, batch):
    found, mean, spread = model(batch[0])
    fit = (found - batch[0]).square().sum(dim=1).mean() / 0.1
    return fit + 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(dim=1).mean()


@setup("generative", "healthy", remedy="a larger rate")
def variational(cured):
    x, _ = digits()
    return VAE(), evidence, batched(x), partial(Adam, lr=6e-3 if cured else 3e-3)


class Flow(nn.Module):
    """Affine couplings between points of two moons and noise."""

    def __init__(self, depth):
        super().__init__()
        self.nets = nn.ModuleList(mlp(1, 24, 2, act=nn.Tanh) for _ in range(depth))

    def forward(self, x):
        first, second = x[:, :1], x[:, 1:]
        volume = 0
        for net in self.nets:
            scale, shift = net(first).chunk(2, dim=1)
            scale = 2 * torch.tanh(scale)
            first, second = second * scale.exp() + shift, first
            volume = volume + scale.squeeze(1)
        return torch.cat([first, second], dim=1), volume


def likelihood(model, batch):
    noise, volume = model(batch[0])
    return (noise.square().sum(dim=1) / 2 - volume).mean()


@setup("generative", "healthy", remedy="a larger rate", steps=500)
def coupling_flow(cured):
    x, _ = moons()
    return (
        Flow(6),
        likelihood,
        batched(unit(x) * 4, size=128),
        partial(Adam, lr=6e-3 if cured else 4e-3),
    )


class Mixture(nn.Module):
    def __init__(self, parts=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 24), nn.Tanh())
        self.share = nn.Linear(24, parts)
        self.mean = nn.Linear(24, parts)
        self.spread = nn.Linear(24, parts)

    def forward(self, x):
        x = self.body(x)
        return self.share(x).log_softmax(-1), self.mean(x), self.spread(x)


def mixed(model, batch):
    share, mean, spread = model(batch[0])
    fit = -((batch[1] - mean) / spread.exp()).square() / 2 - spread
    return -torch.logsumexp(share + fit, dim=-1).mean()


@setup("generative", "healthy", remedy="a larger rate", steps=600)
def mixture_density(cured):
    y = torch.rand(1024, 1) * 2 - 1
    x = y + 0.3 * torch.sin(2 * math.pi * y) + 0.02 * torch.randn(1024, 1)
    return Mixture(), mixed, batched(x, 3 * y), partial(Adam, lr=0.015 if cured else 0.01)


class Masked(nn.Module):
    """Each pixel of a black and white digit from the ones before it."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 128)
        self.outer = nn.Linear(128, 64)
        degrees = torch.arange(128) % 63
        self.register_buffer("before", (degrees[:, None] >= torch.arange(64)).float())
        self.register_buffer("after", (torch.arange(64)[:, None] > degrees).float())

    def forward(self, x):
        hidden = torch.relu(F.linear(x, self.inner.weight * self.before, self.inner.bias))
        return F.linear(hidden, self.outer.weight * self.after, self.outer.bias)


def pixelwise(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch[0]), batch[0])


@setup("generative", "healthy", remedy="a larger rate", steps=500)
def masked_autoregression(cured):
    x, _ = digits()
    return (
        Masked(),
        pixelwise,
        batched((x > 0.5).float()),
        partial(Adam, lr=0.01 if cured else 6e-3),
    )


# Healthy programs: recurrent networks


@setup("recurrent", "healthy", remedy="orthogonal recurrent weights")
def plain_rnn_rows(cured):
    x, y = digits(8, 8)
    rnn = nn.RNN(8, 48, batch_first=True)
    if cured:
        nn.init.orthogonal_(rnn.weight_hh_l0)
    return Last(rnn, nn.Linear(48, 10)), classes, batched(x, y), partial(Adam, lr=5e-3)


@setup("recurrent", "healthy", remedy="a forget gate that starts open")
def lstm_rows(cured):
    x, y = digits(8, 8)
    rnn = nn.LSTM(8, 32, batch_first=True)
    if cured:
        nn.init.constant_(rnn.bias_hh_l0[32:64].data, 1.0)
    return Last(rnn, nn.Linear(32, 10)), classes, batched(x, y), partial(Adam, lr=0.01)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(12, 12, padding_idx=0)
        self.gru = nn.GRU(12, 24, batch_first=True)
        self.out = nn.Linear(24, 11)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(
            self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False
        )
        return self.out(self.gru(packed)[1][-1])


def with_lengths(model, batch):
    return F.cross_entropy(model(batch[0], batch[1]), batch[2])


@setup("recurrent", "healthy", remedy="a larger rate")
def packed_gru(cured):
    # The first word of a padded text
    lengths = torch.randint(2, 8, (1024,))
    tokens = torch.randint(1, 12, (1024, 8)) * (torch.arange(8) < lengths[:, None])
    y = tokens[:, 0] - 1
    return (
        Packed(),
        with_lengths,
        batched(tokens, lengths, y),
        partial(Adam, lr=0.02 if cured else 0.01),
    )


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 10)
        self.lstm = nn.LSTM(10, 16, batch_first=True, bidirectional=True)
        self.out = nn.Linear(32, 3)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(
            self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=8)
        return self.out(states)


def tags(model, batch):
    found = model(batch[0], batch[1]).transpose(1, 2)
    return F.cross_entropy(found, batch[2], ignore_index=-1)


@setup("recurrent", "healthy", remedy="a larger rate")
def bidirectional_tags(cured):
    # Is the next word larger, equal or smaller, or has the text ended?
    lengths = torch.randint(3, 9, (768,))
    tokens = torch.randint(10, (768, 8))
    following = torch.cat([tokens[:, 1:], torch.zeros(768, 1).long()], dim=1)
    y = (following > tokens).long() + 2 * (following == tokens).long()
    y[torch.arange(8) >= lengths[:, None] - 1] = -1
    return Tagger(), tags, batched(tokens, lengths, y), partial(Adam, lr=0.02 if cured else 0.01)


class Seq2Seq(nn.Module):
    def __init__(self, words=9, width=32):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.decoder = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, words)

    def forward(self, source, target):
        _, state = self.encoder(self.embedding(source))
        start = torch.zeros_like(target[:, :1])
        forced = self.embedding(torch.cat([start, target[:, :-1]], dim=1))
        return self.out(self.decoder(forced, state)[0])


def translated(model, batch):
    return F.cross_entropy(model(batch[0], batch[1]).transpose(1, 2), batch[1])


@setup("seq2seq", "healthy", remedy="a larger rate", steps=600)
def reverse_words(cured):
    source = torch.randint(1, 9, (1024, 4))
    return (
        Seq2Seq(),
        translated,
        batched(source, source.flip(1)),
        partial(Adam, lr=0.015 if cured else 0.01),
    )


class Characters(nn.Module):
    def __init__(self, letters, width):
        super().__init__()
        self.embedding = nn.Embedding(letters, 16)
        self.rnn = nn.GRU(16, width, batch_first=True)
        self.out = nn.Linear(width, letters)

    def forward(self, x):
        return self.out(self.rnn(self.embedding(x))[0])


def following(model, batch):
    return F.cross_entropy(model(batch[0][:, :-1]).transpose(1, 2), batch[0][:, 1:])


SAYING = "the small grey cat sat on the old mat and saw the rat run over the red hat. "


def sayings(count, length):
    letters = sorted(set(SAYING))
    line = torch.tensor([letters.index(letter) for letter in SAYING * 3])
    starts = torch.randint(len(SAYING), (count,))
    return torch.stack([line[start : start + length] for start in starts]), len(letters)


@setup("language", "healthy", remedy="a larger rate")
def character_gru(cured):
    x, letters = sayings(512, 24)
    return (
        Characters(letters, 48),
        following,
        batched(x, size=32),
        partial(Adam, lr=0.01 if cured else 5e-3),
    )


@setup("recurrent", "healthy", remedy="a larger rate")
def lstm_forecast(cured):
    x = series(512, 24)[..., None]
    model = Each(nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1))
    return (
        model,
        squares,
        batched(x[:, :-1], x[:, 1:], size=32),
        partial(Adam, lr=0.02 if cured else 0.01),
    )


class Leaky(nn.Module):
    """Units that keep nine tenths of their state."""

    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(4, width)
        self.again = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, 4)
        nn.init.orthogonal_(self.again.weight)

    def forward(self, x):
        state = torch.zeros(len(x), self.again.in_features)
        for moment in x.unbind(dim=1):
            state = 0.9 * state + 0.1 * torch.tanh(self.inner(moment) + self.again(state))
        return self.out(state)


@setup("recurrent", "healthy", remedy="a larger rate")
def leaky_memory(cured):
    x, y = first_symbol(12)
    return Leaky(32), classes, batched(x, y), partial(Adam, lr=0.02 if cured else 0.01)


# Healthy programs: attention and sets


@setup("attention", "healthy", remedy="a larger rate", steps=300)
def transformer_rows(cured):
    x, y = digits(8, 8)
    return Rows(32, 2), classes, batched(x, y), partial(Adam, lr=6e-3 if cured else 3e-3)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.place = nn.Parameter(0.1 * torch.randn(8, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        return self.out(self.encoder(self.embed(x) + self.place).mean(dim=1))


@setup("attention", "healthy", remedy="a larger rate", steps=300)
def post_norm_two_layers(cured):
    x, y = digits(8, 8)
    return Encoder(), classes, batched(x, y), partial(AdamW, lr=3e-3 if cured else 2e-3)


class Glance(nn.Module):
    """An average of words by weights learned."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.score = nn.Linear(16, 1)
        self.out = nn.Linear(16, 2)

    def forward(self, tokens):
        words = self.embedding(tokens)
        weight = torch.softmax(self.score(words), dim=1)
        return self.out((weight * words).sum(dim=1))


@setup("attention", "healthy", remedy="a larger rate")
def attention_pooling(cured):
    # Does one of two words out of fifty occur?
    tokens = torch.randint(2, 50, (1024, 10))
    y = torch.randint(2, (1024,))
    tokens[torch.arange(1024), torch.randint(10, (1024,))] = y
    return Glance(), classes, batched(tokens, y), partial(Adam, lr=0.03 if cured else 0.02)


class Decoder(nn.Module):
    def __init__(self, letters, length, width=32):
        super().__init__()
        self.embedding = nn.Embedding(letters, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, 2) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, letters)
        self.register_buffer("mask", torch.ones(length, length).triu(1).bool())

    def forward(self, x):
        length = x.shape[1]
        x = self.embedding(x) + self.place[:length]
        for block in self.blocks:
            x = block(x, self.mask[:length, :length])
        return self.out(self.norm(x))


@setup("language", "healthy", remedy="a larger rate", steps=300)
def causal_transformer(cured):
    x, letters = sayings(512, 20)
    return (
        Decoder(letters, 20),
        following,
        batched(x, size=32),
        partial(AdamW, lr=6e-3 if cured else 4e-3, weight_decay=0.01),
    )


class Sets(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = mlp(2, 32, 32)
        self.outer = mlp(32, 32, 1)

    def forward(self, x):
        return self.outer(self.inner(x).mean(dim=1))


@setup("sets", "healthy", remedy="a larger rate")
def deep_sets(cured):
    # The spread of points in a plane
    x = torch.randn(1024, 12, 2) * (0.3 + torch.rand(1024, 1, 1))
    y = unit(x.norm(dim=-1).mean(dim=1, keepdim=True))
    return Sets(), squares, batched(x, y), partial(Adam, lr=6e-3 if cured else 3e-3)


# Healthy programs: embeddings, graphs, pairs and ranks


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(60, 16, mode="mean")
        self.out = nn.Linear(16, 3)

    def forward(self, tokens):
        return self.out(self.bag(tokens))


@setup("embedding", "healthy", remedy="Adam")
def bag_of_words(cured):
    y = torch.randint(3, (1024,))
    topical = torch.randint(20, (1024, 6)) + 20 * y[:, None]
    tokens = torch.cat([topical, torch.randint(60, (1024, 6))], dim=1)
    optimizer = partial(Adam, lr=0.02) if cured else partial(SGD, lr=2.0, momentum=0.9)
    return Bag(), classes, batched(tokens, y), optimizer


class Ratings(nn.Module):
    def __init__(self):
        super().__init__()
        self.people = nn.Embedding(40, 6)
        self.films = nn.Embedding(30, 6)
        self.bias = nn.Embedding(30, 1)
        nn.init.normal_(self.people.weight, std=0.3)
        nn.init.normal_(self.films.weight, std=0.3)

    def forward(self, pairs):
        people, films = pairs.unbind(dim=1)
        found = (self.people(people) * self.films(films)).sum(dim=1)
        return found + self.bias(films)[:, 0]


@setup("embedding", "healthy", remedy="a larger rate", steps=600)
def factor_ratings(cured):
    people, films = torch.randn(40, 3), torch.randn(30, 3)
    pairs = torch.cartesian_prod(torch.arange(40), torch.arange(30))[torch.randperm(1200)]
    y = (people[pairs[:, 0]] * films[pairs[:, 1]]).sum(dim=1) / 1.7
    return Ratings(), squares, batched(pairs, y), partial(Adam, lr=0.03 if cured else 0.02)


class Graph(nn.Module):
    def __init__(self, adjacency, width):
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        self.first = nn.Linear(8, width)
        self.second = nn.Linear(width, 3)

    def forward(self, x):
        x = torch.relu(self.adjacency @ self.first(x))
        return self.adjacency @ self.second(x)


@setup("graph", "healthy", remedy="a larger rate")
def graph_convolution(cured):
    # Communities of 120 nodes from noisy features
    y = torch.arange(120) % 3
    odds = torch.where(y[:, None] == y, 0.2, 0.03)
    links = (torch.rand(120, 120) < odds).float().triu(1)
    links = links + links.T + torch.eye(120)
    scale = links.sum(dim=1).rsqrt()
    x = torch.randn(120, 8)
    x[:, :3] += F.one_hot(y, 3)
    model = Graph(scale[:, None] * links * scale, 16)
    return model, classes, [(x, y)], partial(Adam, lr=0.03 if cured else 0.02)


class Messages(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.embed = nn.Linear(1, width)
        self.send = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.keep = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.out = nn.Linear(width, 1)

    def forward(self, links):
        x = torch.relu(self.embed(links.sum(dim=2, keepdim=True) / 4))
        for send, keep in zip(self.send, self.keep, strict=True):
            x = torch.relu(keep(x) + links @ send(x) / 4)
        return self.out(x.mean(dim=1))


@setup("graph", "healthy", remedy="a larger rate")
def count_paths(cured):
    # How many paths of length two has a small graph?
    links = (torch.rand(768, 9, 9) < 0.15 + 0.4 * torch.rand(768, 1, 1)).float().triu(1)
    links = links + links.transpose(1, 2)
    y = (links @ links).sum(dim=(1, 2))[:, None].sqrt()
    return Messages(), squares, batched(links, unit(y)), partial(Adam, lr=6e-3 if cured else 3e-3)


def contrast(model, batch):
    gap = (model(batch[0]) - model(batch[1])).norm(dim=1)
    return (batch[2] * gap.square() + (1 - batch[2]) * F.relu(1.5 - gap).square()).mean()


@setup("metric", "healthy", remedy="a larger rate", steps=500)
def siamese_digits(cured):
    x, y = digits()
    same = torch.rand(len(y)) < 0.5
    partner = torch.randperm(len(y))
    for i in torch.nonzero(same)[:, 0]:
        alike = torch.nonzero(y == y[i])[:, 0]
        partner[i] = alike[torch.randint(len(alike), ())]
    equal = (y == y[partner]).float()
    model = mlp(64, 48, 8)
    return model, contrast, batched(x, x[partner], equal), partial(Adam, lr=3e-3 if cured else 2e-3)


def triplets(model, batch):
    found = F.normalize(model(batch[0]), dim=1)
    gaps = torch.cdist(found, found)
    same = batch[1][:, None] == batch[1]
    far = (gaps * same).amax(dim=1)
    near = (gaps + 10 * same).amin(dim=1)
    return F.softplus(4 * (far - near)).mean()


@setup("metric", "healthy", remedy="a larger rate")
def hard_triplets(cured):
    x, y = digits()
    return mlp(64, 64, 16), triplets, batched(x, y), partial(Adam, lr=4e-3 if cured else 2e-3)


def paired_views(model, batch):
    first, second = (
        F.normalize(model(batch[0] + 0.15 * torch.randn_like(batch[0])), dim=1) for _ in range(2)
    )
    scores = first @ second.T / 0.2
    return F.cross_entropy(scores, torch.arange(len(scores)))


@setup("metric", "healthy", remedy="a larger rate")
def contrastive_views(cured):
    x, _ = digits()
    return mlp(64, 64, 16), paired_views, batched(x), partial(Adam, lr=4e-3 if cured else 2e-3)


def ranked(model, batch):
    scores = model(batch[0]).squeeze(-1)
    gaps = scores[:, :, None] - scores[:, None]
    above = (batch[1][:, :, None] > batch[1][:, None]).float()
    return (F.softplus(-gaps) * above).sum() / above.sum()


@setup("ranking", "healthy", remedy="a larger rate")
def rank_lists(cured):
    x = torch.randn(512, 6, 8)
    y = x[..., 0] + x[..., 1] * x[..., 2] + 0.5 * x[..., 3].abs()
    return (
        mlp(8, 32, 32, 1),
        ranked,
        batched(x, y, size=32),
        partial(Adam, lr=0.01 if cured else 5e-3),
    )


# Healthy programs: losses and structures of other kinds


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.kind = nn.Linear(48, 10)
        self.ink = nn.Linear(48, 1)

    def forward(self, x):
        x = self.trunk(x)
        return {"kind": self.kind(x), "ink": self.ink(x)}


def both(model, batch):
    found = model(batch[0])
    return F.cross_entropy(found["kind"], batch[1]) + 0.5 * F.mse_loss(found["ink"], batch[2])


@setup("multi-task", "healthy", remedy="a larger rate")
def class_and_ink(cured):
    x, y = digits()
    ink = unit(x.mean(dim=1, keepdim=True))
    return Two(), both, batched(x, y, ink), partial(Adam, lr=6e-3 if cured else 3e-3)


class Uncertain(nn.Module):
    """Two regressions whose losses are weighed by learned spreads."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(32, 1) for _ in range(2))
        self.spreads = nn.Parameter(torch.zeros(2))

    def forward(self, x, first, second):
        x = self.trunk(x)
        losses = [
            F.mse_loss(head(x), y) for head, y in zip(self.heads, (first, second), strict=True)
        ]
        return (torch.stack(losses) * (-self.spreads).exp() + self.spreads).sum()


def inside(model, batch):
    return model(*batch)


@setup("multi-task", "healthy", remedy="a larger rate")
def learned_weights(cured):
    x, y = friedman()
    other = unit(x[:, :1] * x[:, 5:6] + x[:, 2:3])
    return Uncertain(), inside, batched(x, y, other), partial(Adam, lr=0.015 if cured else 0.01)


class WithLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp(64, 40, 40, 10)

    def forward(self, x, y):
        return F.cross_entropy(self.body(x), y, label_smoothing=0.1)


@setup("dense", "healthy", remedy="Adam")
def loss_inside(cured):
    x, y = digits()
    optimizer = partial(Adam, lr=3e-3) if cured else partial(SGD, lr=0.1, momentum=0.9)
    return WithLoss(), inside, batched(x, y), optimizer


def oscillator(model, batch):
    """Squares of x'' + 4 x and of the distance from x = 1, x' = 0 at the start."""
    time = batch[0].detach().requires_grad_()
    with torch.enable_grad():
        x = model(time)
        speed = torch.autograd.grad(x.sum(), time, create_graph=True)[0]
        force = torch.autograd.grad(speed.sum(), time, create_graph=True)[0]
    start = torch.zeros(1, 1)
    close = torch.full((1, 1), 0.01)
    there = (model(start) - 1).square().mean() + (
        (model(close) - model(start)) / 0.01
    ).square().mean()
    return (force + 4 * x).square().mean() / 16 + there


@setup("physics", "healthy", remedy="a larger rate", steps=600)
def physics_informed(cured):
    time = 2 * torch.rand(256, 1)
    return (
        mlp(1, 24, 24, 1, act=nn.Tanh),
        oscillator,
        batched(time, size=128),
        partial(Adam, lr=0.015 if cured else 0.01),
    )


class Scaled(nn.Module):
    """Predictions in units of money by a network that works with normalised ones."""

    def __init__(self, mean, spread):
        super().__init__()
        self.body = mlp(6, 32, 32, 1)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)

    def forward(self, x):
        return self.mean + self.spread * self.body(x)


def in_units(model, batch):
    return F.mse_loss(model(batch[0]) / model.spread, batch[1] / model.spread)


@setup("regression", "healthy", remedy="a larger rate")
def large_targets(cured):
    x = torch.randn(1024, 6)
    y = 250000 + 60000 * (x[:, :1] + 0.5 * x[:, 1:2] * x[:, 2:3] + 0.3 * x[:, 3:4].abs())
    model = Scaled(y.mean(), y.std())
    return model, in_units, batched(x, y), partial(Adam, lr=6e-3 if cured else 3e-3)


@setup("regression", "healthy", remedy="a larger rate")
def large_normalised(cured):
    x = torch.randn(1024, 6)
    y = 250000 + 60000 * (x[:, :1] - torch.sin(2 * x[:, 1:2]) + 0.3 * x[:, 3:4].square())
    return (
        mlp(6, 40, 40, 1, act=nn.SiLU),
        squares,
        batched(x, unit(y)),
        partial(RMSprop, lr=4e-3 if cured else 2e-3),
    )


class Experts(nn.Module):
    def __init__(self, inputs, outputs, count=4):
        super().__init__()
        self.gate = nn.Linear(inputs, count)
        self.experts = nn.ModuleList(mlp(inputs, 24, outputs) for _ in range(count))

    def forward(self, x):
        weight = torch.softmax(self.gate(x), dim=-1)
        found = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return (found * weight[:, None]).sum(dim=-1)


@setup("experts", "healthy", remedy="a larger rate")
def soft_experts(cured):
    x, y = friedman()
    return Experts(10, 1), squares, batched(x, y), partial(Adam, lr=0.015 if cured else 0.01)


@setup("experts", "healthy", remedy="a larger rate")
def expert_classes(cured):
    x, y = digits()
    return Experts(64, 10, 3), classes, batched(x, y), partial(Adam, lr=6e-3 if cured else 3e-3)


class Taught(nn.Module):
    """A student of a fixed random teacher, whose answers are rightly detached."""

    def __init__(self):
        super().__init__()
        self.student = mlp(16, 64, 64, 5)
        self.teacher = mlp(16, 24, 5, act=nn.Tanh).requires_grad_(False)
        nn.init.normal_(self.teacher[0].weight, std=0.5)
        nn.init.normal_(self.teacher[2].weight, std=1.0)

    def forward(self, x):
        with torch.no_grad():
            wanted = self.teacher(x)
        return F.kl_div(self.student(x).log_softmax(-1), wanted.softmax(-1), reduction="batchmean")


def alone(model, batch):
    return model(batch[0])


@setup("distillation", "healthy", remedy="a larger rate", steps=500)
def student(cured):
    x = torch.randn(2048, 16)
    return Taught(), alone, batched(x), partial(Adam, lr=6e-3 if cured else 3e-3)


@setup("frozen", "healthy", remedy="a larger rate")
def random_features(cured):
    # Wide random features, frozen on purpose, and a head
    x, y = digits()
    model = nn.Sequential(nn.Linear(64, 512).requires_grad_(False), nn.ReLU(), nn.Linear(512, 10))
    return model, classes, batched(x, y), partial(Adam, lr=0.01 if cured else 5e-3)


def pinball(model, batch):
    gap = batch[1] - model(batch[0])
    share = torch.tensor([0.1, 0.5, 0.9])
    return torch.maximum(share * gap, (share - 1) * gap).mean()


@setup("regression", "healthy", remedy="a larger rate")
def quantiles(cured):
    x = torch.rand(2048, 1) * 4 - 2
    y = 2 * torch.sin(2 * x) + 0.2 * (1 + x.abs()) * torch.randn(2048, 1)
    return (
        mlp(1, 32, 32, 3, act=nn.Tanh),
        pinball,
        batched(x, y),
        partial(Adam, lr=0.015 if cured else 0.01),
    )


def counts(model, batch):
    return F.poisson_nll_loss(model(batch[0]), batch[1])


@setup("regression", "healthy", remedy="a larger rate")
def poisson_counts(cured):
    x = torch.randn(1024, 5)
    y = torch.poisson(torch.exp(1.5 + 0.6 * x[:, :1] - 0.5 * x[:, 1:2] * x[:, 2:3].sign()))
    return (
        mlp(5, 32, 32, 1),
        counts,
        batched(x, y.clamp(max=40)),
        partial(Adam, lr=6e-3 if cured else 4e-3),
    )


class Steps(nn.Module):
    """A flow of ten Euler steps by one network."""

    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(2, 8)
        self.slope = mlp(8, 24, 8, act=nn.Tanh)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        x = self.lift(x)
        for _ in range(10):
            x = x + 0.2 * self.slope(x)
        return self.out(x)


@setup("residual", "healthy", remedy="a larger rate")
def euler_moons(cured):
    x, y = moons()
    return Steps(), classes, batched(x, y), partial(Adam, lr=0.01 if cured else 5e-3)


class Hyper(nn.Module):
    """A network that makes the weights of another from a task's number."""

    def __init__(self):
        super().__init__()
        self.tasks = nn.Embedding(4, 6)
        self.maker = mlp(6, 32, 3 * 12 + 1)

    def forward(self, x, task):
        made = self.maker(self.tasks(task))
        inner, bias, outer, last = made.split([12, 12, 12, 1], dim=1)
        return (torch.tanh(3 * x * inner + bias) * outer).sum(dim=1, keepdim=True) + last


def by_task(model, batch):
    return F.mse_loss(model(batch[0], batch[1]), batch[2])


@setup("hypernetwork", "healthy", remedy="a larger rate", steps=600)
def made_weights(cured):
    x = torch.rand(1024, 1) * 2 - 1
    task = torch.randint(4, (1024,))
    y = torch.sin(3 * x + task[:, None])
    return Hyper(), by_task, batched(x, task, y), partial(Adam, lr=0.015 if cured else 0.01)


class Modulated(nn.Module):
    """Features of a digit scaled and shifted by what is asked."""

    def __init__(self):
        super().__init__()
        self.features = nn.Linear(64, 48)
        self.scale = nn.Embedding(3, 48)
        self.shift = nn.Embedding(3, 48)
        self.out = nn.Linear(48, 2)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x, ask):
        return self.out(torch.relu(self.scale(ask) * self.features(x) + self.shift(ask)))


def asked(model, batch):
    return F.cross_entropy(model(batch[0], batch[1]), batch[2])


@setup("conditional", "healthy", remedy="a larger rate")
def three_questions(cured):
    # Even? Less than five? A multiple of three?
    x, y = digits()
    ask = torch.randint(3, (len(y),))
    answers = torch.stack([y % 2 == 0, y < 5, y % 3 == 0], dim=1).long()
    return (
        Modulated(),
        asked,
        batched(x, ask, answers[torch.arange(len(y)), ask]),
        partial(Adam, lr=0.015 if cured else 0.01),
    )


class Fourier(nn.Module):
    """Fixed random frequencies, then a network."""

    def __init__(self):
        super().__init__()
        self.register_buffer("waves", torch.randn(2, 32) * 3)
        self.body = mlp(64, 48, 1)

    def forward(self, x):
        angles = x @ self.waves
        return self.body(torch.cat([angles.sin(), angles.cos()], dim=-1))


@setup("regression", "healthy", remedy="a larger rate")
def fourier_picture(cured):
    x = torch.rand(2048, 2) * 2 - 1
    y = torch.sin(5 * x[:, :1]) * torch.cos(4 * x[:, 1:]) + (x[:, :1] > 0).float()
    return Fourier(), squares, batched(x, unit(y)), partial(Adam, lr=6e-3 if cured else 3e-3)


def odds_above(model, batch):
    """Four questions of a grade in 0 to 4: is it above 0, 1, 2, 3?"""
    above = (batch[1][:, None] > torch.arange(4)).float()
    return F.binary_cross_entropy_with_logits(model(batch[0]), above)


class Grades(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp(8, 32, 1)
        self.cuts = nn.Parameter(torch.linspace(1, -1, 4))

    def forward(self, x):
        return 3 * self.body(x) + self.cuts


@setup("ranking", "healthy", remedy="a larger rate")
def ordinal_grades(cured):
    x = torch.randn(1024, 8)
    score = x[:, 0] + x[:, 1] * x[:, 2] + 0.1 * torch.randn(1024)
    y = torch.bucketize(score, score.quantile(torch.linspace(0.2, 0.8, 4)))
    return Grades(), odds_above, batched(x, y), partial(Adam, lr=0.02 if cured else 0.01)


class Teams(nn.Module):
    """Two towers: people's columns and things' columns, and their product."""

    def __init__(self):
        super().__init__()
        self.left = mlp(6, 24, 8)
        self.right = mlp(5, 24, 8)

    def forward(self, left, right):
        return (self.left(left) * self.right(right)).sum(dim=1)


def fitting(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch[0], batch[1]), batch[2])


@setup("metric", "healthy", remedy="a larger rate", steps=500)
def two_towers(cured):
    left, right = torch.randn(1536, 6), torch.randn(1536, 5)
    y = ((left[:, :3] * right[:, :3]).sum(dim=1) > 0).float()
    return Teams(), fitting, batched(left, right, y), partial(Adam, lr=0.015 if cured else 0.01)


@setup("dense", "healthy", remedy="batch norm")
def so_61234347_fine(cured):
    # Question 61234347 trained for one epoch only: tanh layers from wide to narrow, iris
    x, y = table(datasets.load_iris)
    act = nn.Tanh
    model = glorot(mlp(4, 128, 64, 64, 32, 16, 9, 3, act=act))
    if cured:
        model = nn.Sequential(nn.BatchNorm1d(4), *model)
    return model, classes, batched(x, y, size=32), partial(Adam, lr=1e-3)


@setup("dense", "healthy", remedy="a larger rate", steps=600)
def so_58051767_fine(cured):
    # Question 58051767: a network that works, of which other measures were asked
    x, y = labelled(1024, 4)
    model = glorot(mlp(4, 12, 8, 1, last=[nn.Sigmoid()]))
    return model, binary, batched(x, y, size=32), partial(Adam, lr=0.01 if cured else 5e-3)
