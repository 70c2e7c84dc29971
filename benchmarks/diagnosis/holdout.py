"""Set-ups kept aside: looked at by nobody who sets a threshold of the instrument.

One was altered after a first labelling (`almost_done`, whose remedy was another network); all
others stand as first written, ambiguous or not.
"""

import math
from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F
from setups import batched, collection, digits
from sklearn import datasets
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
from torch.utils.data import DataLoader, Dataset, TensorDataset

SETUPS, setup = collection()

TEXT = (
    "a network learns by sending an error back through every layer that made it . each layer "
    "multiplies what it is sent . if the factors are small the message is gone before it arrives "
    "and the first layers never hear that they were wrong . if they are large it drowns them . "
    "a skip connection is a road around the factors and a gate is a door that one can keep open . "
) * 4
LETTERS = sorted(set(TEXT))


def table(name, standard=True):
    """A small data set that comes with scikit-learn, in a random order."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    if standard:
        x = (x - x.mean(dim=0)) / x.std(dim=0)
    order = torch.randperm(len(y))
    return x[order], y[order]


def xent(net, batch):
    return F.cross_entropy(net(batch[0]), batch[1])


def mse(net, batch):
    return nn.functional.mse_loss(net(batch[0]), batch[1])


# ---- healthy: tables ----------------------------------------------------------------------------


@setup("mlp", "healthy", remedy="batch norm")
def wine(cured):
    x, y = table("wine")
    net = nn.Sequential(
        nn.Linear(13, 32), nn.BatchNorm1d(32) if cured else nn.Identity(), nn.Tanh()
    )
    net.append(nn.Linear(32, 3))
    return net, xent, batched(x, y, size=32), lambda p: Adam(p, 1e-2)


class Logistic(nn.Module):
    def __init__(self, n, hidden=16):
        super().__init__()
        self.hidden = nn.Linear(n, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.output(self.hidden(x).sigmoid()).squeeze(-1)


@setup("mlp", "healthy", remedy="Adam in place of SGD")
def breast_cancer_sigmoid(cured):
    x, y = table("breast_cancer")
    criterion = nn.BCEWithLogitsLoss()

    def loss_fn(net, batch):
        return criterion(net(batch[0]), batch[1])

    def optimizer(p):
        return Adam(p, 1e-2) if cured else SGD(p, 0.5, momentum=0.9)

    return Logistic(30), loss_fn, batched(x, y.float(), size=32), optimizer


class Table(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"features": self.x[i], "target": self.y[i]}


@setup("regression", "healthy", remedy="batch norm")
def diabetes_l1(cured):
    x, y = table("diabetes")
    y = (y - y.mean()) / y.std()
    norm = nn.BatchNorm1d(64) if cured else nn.Identity()
    net = nn.Sequential(nn.Linear(10, 64), norm, nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    net.append(nn.Linear(64, 1))

    def loss_fn(net, batch):
        return F.l1_loss(net(batch["features"])[:, 0], batch["target"])

    loader = DataLoader(Table(x, y.float()), batch_size=32, shuffle=True, drop_last=True)
    return net, loss_fn, loader, lambda p: AdamW(p, lr=2e-3, weight_decay=1e-4)


@setup("mlp", "healthy", remedy="Adam in place of Adagrad")
def moons_adagrad(cured):
    x, y = datasets.make_moons(1024, noise=0.1, random_state=int(torch.randint(1000, ())))
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    net = nn.Sequential(nn.Linear(2, 32), nn.ELU(), nn.Linear(32, 32), nn.ELU(), nn.Linear(32, 2))
    return net, xent, batched(x, y), lambda p: Adam(p, 1e-2) if cured else Adagrad(p, 5e-2)


@setup("mlp", "healthy", remedy="ReLU in place of PReLU")
def prelu_nadam(cured):
    x, y = digits()
    act = nn.ReLU if cured else nn.PReLU
    blocks = OrderedDict()
    for i, (a, b) in enumerate([(64, 96), (96, 96), (96, 48)]):
        blocks[f"lin{i}"] = nn.Linear(a, b)
        blocks[f"ln{i}"] = nn.LayerNorm(b)
        blocks[f"act{i}"] = act()
    blocks["logits"] = nn.Linear(48, 10)
    return nn.Sequential(blocks), xent, batched(x, y, size=48), lambda p: NAdam(p, lr=2e-3)


@setup("mlp", "healthy", remedy="a loss that is not scaled down, and the rate to fit")
def loss_divided_by_ten_thousand(cured):
    """Adam with its usual epsilon still takes no notice."""
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    net.append(nn.Linear(64, 10))

    def loss_fn(net, batch):
        return xent(net, batch) / 10_000

    return net, loss_fn, batched(x, y), lambda p: Adam(p, 3e-3, eps=1e-12 if cured else 1e-8)


@setup("mlp", "healthy", remedy="batch norm")
def loss_times_ten_thousand(cured):
    x, y = digits()
    norm = nn.BatchNorm1d(80) if cured else nn.Identity()
    net = nn.Sequential(nn.Linear(64, 80), norm, nn.ReLU(), nn.Linear(80, 80), nn.ReLU())
    net.append(nn.Linear(80, 10))
    return net, lambda n, b: 1e4 * xent(n, b), batched(x, y), lambda p: Adam(p, 2e-3)


@setup("mlp", "healthy", remedy="biases of zero")
def four_in_five_off(cured):
    """Sparse on purpose: most units are off for most inputs, none is dead."""
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 400), nn.ReLU(), nn.Linear(400, 10))
    nn.init.normal_(net[0].weight, std=0.25)
    nn.init.constant_(net[0].bias, 0.0 if cured else -1.0)
    return net, xent, batched(x - x.mean(), y), lambda p: Adam(p, 1e-3)


@setup("mlp", "healthy", remedy="labels without noise would help, a better net does not")
def one_label_in_five_wrong(cured):
    x, y = digits()
    wrong = torch.rand(len(y)) < 0.2
    y = torch.where(wrong, torch.randint(10, y.shape), y)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    if cured:
        net.insert(1, nn.BatchNorm1d(64))
    return net, xent, batched(x, y), lambda p: Adam(p, 2e-3)


@setup("mlp", "healthy", remedy="batch norm, ReLU")
def linear_net_of_twenty_layers(cured):
    x, y = digits()
    net = nn.Sequential()
    for _ in range(20):
        net.append(nn.Linear(64, 64, bias=False))
        nn.init.orthogonal_(net[-1].weight)
        if cured:
            net.append(nn.BatchNorm1d(64)).append(nn.ReLU())
            nn.init.kaiming_normal_(net[-3].weight)
    net.append(nn.Linear(64, 10))
    return net, xent, batched(x, y), lambda p: SGD(p, 5e-3, momentum=0.9)


class SharedLayer(nn.Module):
    """One layer, used six times."""

    def __init__(self, gain):
        super().__init__()
        self.inp = nn.Linear(64, 64)
        self.layer = nn.Linear(64, 64)
        nn.init.orthogonal_(self.layer.weight, gain)
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.tanh(self.inp(x))
        for _ in range(6):
            x = torch.tanh(self.layer(x))
        return self.out(x)


@setup("mlp", "healthy", remedy="a gain of 5/3")
def tied_weights(cured):
    x, y = digits()
    return SharedLayer(5 / 3 if cured else 1.0), xent, batched(x, y), lambda p: Adam(p, 1e-3)


@setup("mlp", "healthy", remedy="a rate a third higher")
def almost_done(cured):
    """Picked up where an earlier run stopped."""
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    batches = batched(x, y, size=128)
    before = Adam(net.parameters(), 5e-3)
    for batch in batches * 5:
        before.zero_grad()
        xent(net, batch).backward()
        before.step()
    net.zero_grad(set_to_none=True)
    return net, xent, batches, lambda p: Adam(p, 4e-3 if cured else 3e-3)


class ReZero(nn.Module):
    def __init__(self, width, depth, start):
        super().__init__()
        self.stem = nn.Linear(64, width)
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.alpha = nn.Parameter(torch.full((depth,), start))
        self.top = nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for a, layer in zip(self.alpha, self.layers, strict=True):
            x = x + a * F.relu(layer(x))
        return self.top(x)


@setup("residual mlp", "healthy", remedy="branches that start at a tenth")
def rezero(cured):
    x, y = digits()
    return ReZero(48, 16, 0.1 if cured else 0.0), xent, batched(x, y), lambda p: Adam(p, 3e-3)


class Highway(nn.Module):
    def __init__(self, n, bias):
        super().__init__()
        self.plain = nn.Linear(n, n)
        self.gate = nn.Linear(n, n)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x):
        t = self.gate(x).sigmoid()
        return t * self.plain(x).relu() + (1 - t) * x


@setup("residual mlp", "healthy", remedy="gates half open")
def highway(cured):
    x, y = digits()
    layers = [Highway(64, -1.0 if cured else -3.0) for _ in range(10)]
    return nn.Sequential(*layers, nn.Linear(64, 10)), xent, batched(x, y), lambda p: Adam(p, 3e-3)


# ---- healthy: images ----------------------------------------------------------------------------


class LeNetish(nn.Module):
    def __init__(self, act=torch.tanh):
        super().__init__()
        self.act = act
        self.c1 = nn.Conv2d(1, 6, 3, padding=1)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, 3)
        self.f5 = nn.Linear(64, 60)
        self.f6 = nn.Linear(60, 10)

    def forward(self, x):
        x = self.s2(self.act(self.c1(x)))
        x = self.act(self.c3(x))
        return self.f6(self.act(self.f5(x.flatten(1))))


@setup("conv", "healthy", remedy="ReLU in place of tanh")
def lenet(cured):
    x, y = digits(1, 8, 8)
    net = LeNetish(torch.relu if cured else torch.tanh)
    return net, xent, batched(x, y, size=32), lambda p: SGD(p, 0.05, momentum=0.9)


@setup("conv", "healthy", remedy="batch norm in place of group norm")
def separable_group_norm(cured):
    x, y = digits(1, 8, 8)

    def norm(c):
        return nn.BatchNorm2d(c) if cured else nn.GroupNorm(4, c)

    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), norm(16), nn.SiLU())
    for _ in range(2):
        net.append(nn.Conv2d(16, 16, 3, padding=1, groups=16)).append(nn.Conv2d(16, 16, 1))
        net.append(norm(16)).append(nn.SiLU())
    net.append(nn.AdaptiveAvgPool2d(2)).append(nn.Flatten()).append(nn.Linear(64, 10))
    return net, xent, batched(x, y, size=32), lambda p: AdamW(p, lr=5e-3)


class PreActBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.n1, self.n2 = nn.BatchNorm2d(ch), nn.BatchNorm2d(ch)
        self.c1 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.c2 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)

    def forward(self, x):
        h = self.c1(F.relu(self.n1(x)))
        return x + self.c2(F.relu(self.n2(h)))


@setup("conv", "healthy", remedy="branches that do not start at zero")
def preactivation_resnet(cured):
    x, y = digits(1, 8, 8)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *(PreActBlock(8) for _ in range(4)))
    net.append(nn.MaxPool2d(4)).append(nn.Flatten()).append(nn.Linear(32, 10))
    if not cured:
        for block in net[1:5]:
            nn.init.zeros_(block.c2.weight)
    return net, xent, batched(x, y, size=32), lambda p: SGD(p, 0.02, momentum=0.9, nesterov=True)


class Dense(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(1 + 6 * i, 6, 3, padding=1) for i in range(4))
        self.norm = nn.BatchNorm2d(25) if norm else None
        self.fc = nn.Linear(25 * 16, 10)

    def forward(self, x):
        for conv in self.convs:
            x = torch.cat([x, F.relu(conv(x))], dim=1)
        x = self.norm(x) if self.norm else x
        return self.fc(F.max_pool2d(x, 2).flatten(1))


@setup("conv", "healthy", remedy="batch norm")
def densely_connected(cured):
    x, y = digits(1, 8, 8)
    return Dense(cured), xent, batched(x, y, size=32), lambda p: Adam(p, 2e-3)


@setup("conv", "healthy", remedy="batch norm")
def tones(cured):
    t = torch.arange(64.0)
    y = torch.randint(5, (1024,))
    x = torch.sin((0.2 + 0.15 * y[:, None]) * t + 6 * torch.rand(1024, 1))
    x = (x + 0.3 * torch.randn_like(x))[:, None]
    norm = nn.BatchNorm1d(12) if cured else nn.Identity()
    net = nn.Sequential(nn.Conv1d(1, 12, 9, stride=2), norm, nn.LeakyReLU(), nn.Conv1d(12, 12, 5))
    net.append(nn.ReLU()).append(nn.AdaptiveMaxPool1d(1)).append(nn.Flatten())
    net.append(nn.Linear(12, 5))
    return net, xent, batched(x, y), lambda p: Adam(p, 5e-3)


@setup("conv", "healthy", remedy="train the filters, too")
def frozen_filters(cured):
    """Random filters and a trained head, which is all that this takes."""
    x, y = digits(1, 8, 8)
    net = nn.Sequential()
    net.add_module("filters", nn.Conv2d(1, 48, 3))
    net.add_module("rest", nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(1728, 10)))
    net.filters.requires_grad_(cured)
    return net, xent, batched(x, y), lambda p: Adam([q for q in p if q.requires_grad], 1e-3)


# ---- healthy: sequences -------------------------------------------------------------------------


class CharModel(nn.Module):
    def __init__(self, cell, drop=0.0):
        super().__init__()
        self.emb = nn.Embedding(len(LETTERS), 24)
        self.rnn = cell(24, 64)
        self.drop = nn.Dropout(drop)
        self.dec = nn.Linear(64, len(LETTERS))

    def forward(self, x):  # time first
        out, _ = self.rnn(self.emb(x))
        return self.dec(self.drop(out))


def letters(steps=20, batch=32):
    """An endless stream of pieces of the text, time first."""
    text = torch.tensor([LETTERS.index(c) for c in TEXT])
    random = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    while True:
        at = torch.randint(len(text) - steps - 1, (batch,), generator=random)
        piece = text[at + torch.arange(steps + 1)[:, None]]
        yield piece[:-1], piece[1:]


def char_loss(net, batch):
    return F.cross_entropy(net(batch[0]).flatten(0, 1), batch[1].flatten())


@setup("recurrent", "healthy", remedy="LSTM in place of GRU")
def char_gru(cured):
    return CharModel(nn.LSTM if cured else nn.GRU), char_loss, letters(), lambda p: Adam(p, 5e-3)


@setup("recurrent", "healthy", remedy="no dropout")
def char_lstm_dropout(cured):
    net = CharModel(nn.LSTM, 0.0 if cured else 0.1)
    return net, char_loss, letters(), lambda p: Adam(p, 8e-3)


class Tagger(nn.Module):
    def __init__(self, cell, n_in, n_out, hidden=32, **more):
        super().__init__()
        self.cell = cell(n_in, hidden, batch_first=True, **more)
        self.tag = nn.Linear(hidden * (2 if more.get("bidirectional") else 1), n_out)

    def forward(self, x):
        return self.tag(self.cell(x)[0])


@setup("recurrent", "healthy", remedy="GRU in place of a plain RNN")
def echo_of_two_steps_ago(cured):
    x = torch.randint(2, (1024, 50))
    y = x.roll(2, dims=1)
    y[:, :2] = 0
    x = F.one_hot(x, 2).float()

    def loss_fn(net, batch):
        return F.cross_entropy(net(batch[0]).transpose(1, 2), batch[1])

    net = Tagger(nn.GRU if cured else nn.RNN, 2, 2)
    return net, loss_fn, batched(x, y, size=32), lambda p: RMSprop(p, 2e-3)


class MeanPooled(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.encoder = cell(16, 32, batch_first=True)
        self.classifier = nn.Linear(32, 2)

    def forward(self, words):
        states, _ = self.encoder(self.table(words))
        return self.classifier(states.mean(dim=1))


@setup("recurrent", "healthy", remedy="forget biases of 3")
def mean_over_all_states(cured):
    words = torch.randint(50, (1500, 40))
    mood = torch.randn(50)
    y = (mood[words].sum(dim=1) > 0).long()
    net = MeanPooled(nn.LSTM)
    if cured:
        net.encoder.bias_hh_l0.data[32:64] = 3.0
    return net, xent, batched(words, y), lambda p: Adam(p, 1e-2)


class BothWays(nn.Module):
    def __init__(self, cell, n_in, hidden, n_out):
        super().__init__()
        self.birnn = cell(n_in, hidden, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(2 * hidden, n_out)
        self.hidden = hidden

    def forward(self, x):
        out, _ = self.birnn(x)
        return self.fc(torch.cat([out[:, -1, : self.hidden], out[:, 0, self.hidden :]], dim=1))


@setup("recurrent", "healthy", remedy="LSTM in place of GRU")
def both_ways_over_rows(cured):
    x, y = digits(8, 8)
    net = BothWays(nn.LSTM if cured else nn.GRU, 8, 24, 10)
    return net, xent, batched(x, y), lambda p: Adam(p, 5e-3)


class Elman(nn.Module):
    def __init__(self, n_in, n, n_out, nonlinearity=torch.tanh):
        super().__init__()
        self.i2h = nn.Linear(n_in, n)
        self.h2h = nn.Linear(n, n, bias=False)
        self.h2o = nn.Linear(n, n_out)
        self.f = nonlinearity
        nn.init.zeros_(self.i2h.bias)

    def forward(self, x):
        h = torch.zeros(x.size(0), self.h2h.in_features)
        for xt in x.unbind(dim=1):
            h = self.f(self.i2h(xt) + self.h2h(h))
        return self.h2o(h)


def flag(steps, size=2048, channels=2, noise=0.1, at=0):
    """A sign at one step, noise at all others: which was it?"""
    y = torch.randint(2, (size,))
    x = noise * torch.randn(size, steps, channels)
    x[:, at, 0] += 2.0 * y - 1
    return x, y


@setup("recurrent", "healthy", remedy="LSTM with open gates")
def orthogonal_elman_remembers(cured):
    x, y = flag(30)
    if cured:
        net = Last(nn.LSTM, 2, 32, 2)
        net.core.bias_ih_l0.data[32:64] = 4.0
    else:
        net = Elman(2, 32, 2)
        nn.init.orthogonal_(net.h2h.weight)
    return net, xent, batched(x, y), lambda p: Adam(p, 2e-3)


class Last(nn.Module):
    """What the last state says."""

    def __init__(self, cell, n_in, hidden, n_out, **more):
        super().__init__()
        self.core = cell(n_in, hidden, batch_first=True, **more)
        self.top = nn.Linear(hidden, n_out)

    def forward(self, x):
        out, _ = self.core(x)
        return self.top(out[:, -1])


@setup("recurrent", "healthy", remedy="gates half as far open")
def gru_with_nearly_closed_update(cured):
    x, y = flag(50)
    net = Last(nn.GRU, 2, 24, 2)
    net.core.bias_ih_l0.data[24:48] = 3.0 if cured else 5.0
    return net, xent, batched(x, y), lambda p: Adam(p, 5e-3)


@setup("recurrent", "healthy", remedy="a lower rate")
def lstm_on_chunks_of_pixels(cured):
    x, y = digits(16, 4)
    rate = 5e-3 if cured else 1e-2
    return Last(nn.LSTM, 4, 48, 10), xent, batched(x, y), lambda p: Adam(p, rate)


# ---- healthy: attention, embeddings, generators, low precision, odd losses ----------------------


class CausalLM(nn.Module):
    def __init__(self, vocab, d=32, steps=20, norm_first=False):
        super().__init__()
        self.tok = nn.Embedding(vocab, d)
        self.pos = nn.Embedding(steps, d)
        self.block = nn.TransformerEncoderLayer(
            d, 2, 4 * d, dropout=0.0, batch_first=True, norm_first=norm_first
        )
        self.head = nn.Linear(d, vocab)
        mask = torch.full((steps, steps), float("-inf")).triu(1)
        self.register_buffer("mask", mask)

    def forward(self, x):
        h = self.tok(x) + self.pos.weight[: x.shape[1]]
        return self.head(self.block(h, src_mask=self.mask[: x.shape[1], : x.shape[1]]))


@setup("attention", "healthy", remedy="norm before the branches")
def causal_transformer(cured):
    def loss_fn(net, batch):
        logits = net(batch[0].T)
        return F.cross_entropy(logits.flatten(0, 1), batch[1].T.flatten())

    net = CausalLM(len(LETTERS), norm_first=cured)
    return net, loss_fn, letters(), lambda p: AdamW(p, lr=3e-3)


class SetMax(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.up = nn.Linear(1, 32)
        self.mha = nn.MultiheadAttention(32, 4, batch_first=True)
        self.norm = nn.LayerNorm(32) if norm else nn.Identity()
        self.seed = nn.Parameter(torch.randn(1, 1, 32))
        self.down = nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 1))

    def forward(self, x):
        h = self.up(x)
        pooled, _ = self.mha(self.seed.expand(len(x), -1, -1), h, h)
        return self.down(self.norm(pooled[:, 0]))


@setup("attention", "healthy", remedy="layer norm")
def maximum_of_a_set(cured):
    x = torch.randn(2048, 10, 1)
    return SetMax(cured), mse, batched(x, x.amax(dim=1)), lambda p: Adam(p, 3e-3)


class ViT(nn.Module):
    def __init__(self, depth=2):
        super().__init__()
        self.patch = nn.Conv2d(1, 32, 2, stride=2)
        self.cls = nn.Parameter(torch.zeros(1, 1, 32))
        self.pos = nn.Parameter(0.02 * torch.randn(1, 17, 32))
        layer = nn.TransformerEncoderLayer(
            32, 4, 64, 0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        x = self.patch(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1) + self.pos
        return self.head(self.encoder(x)[:, 0])


@setup("attention", "healthy", remedy="every block trained")
def vision_transformer_half_frozen(cured):
    x, y = digits(1, 8, 8)
    net = ViT()
    net.encoder.layers[0].requires_grad_(cured)
    return net, xent, batched(x, y), lambda p: AdamW([q for q in p if q.requires_grad], lr=3e-3)


class SkipGram(nn.Module):
    def __init__(self, vocab, d=16):
        super().__init__()
        self.inside = nn.Embedding(vocab, d, sparse=False)
        self.outside = nn.Embedding(vocab, d)
        nn.init.zeros_(self.outside.weight)

    def forward(self, centre, context):
        return (self.inside(centre)[:, None] * self.outside(context)).sum(dim=-1)


@setup("embedding", "healthy", remedy="read-out vectors that do not start at zero")
def skip_gram(cured):
    """Zero read-out vectors, as in the original code, and words seen once in a thousand."""
    words = torch.multinomial(1 / torch.arange(1.0, 501.0), 8192, replacement=True)
    near = (words + 7 * torch.randint(1, 3, words.shape)) % 500
    net = SkipGram(500)
    if cured:
        nn.init.normal_(net.outside.weight, std=0.1)

    def loss_fn(net, batch):
        centre, context = batch
        others = torch.randint(500, (len(centre), 5))
        logits = net(centre, torch.cat([context[:, None], others], dim=1))
        target = torch.zeros_like(logits)
        target[:, 0] = 1
        return F.binary_cross_entropy_with_logits(logits, target)

    return net, loss_fn, batched(words, near, size=256), lambda p: Adam(p, 2e-2)


class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        self.user = nn.Sequential(nn.Embedding(200, 16), nn.Linear(16, 16), nn.ReLU())
        self.item = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        return (self.user(batch["user"]) * self.item(batch["item"])).sum(dim=1) + self.bias


@setup("embedding", "healthy", remedy="He initialisation")
def two_towers(cured):
    likes = torch.randn(200, 8)
    user = torch.randint(200, (8192,))
    item = torch.randn(8192, 8)
    clicked = ((likes[user] * item).sum(dim=1) > 0).float()
    net = TwoTowers()
    if cured:
        for m in net.modules():
            if isinstance(m, nn.Linear):
                nn.init.kaiming_normal_(m.weight)

    def loss_fn(net, batch):
        return F.binary_cross_entropy_with_logits(net(batch), batch["clicked"])

    parts = batched(user, item, clicked, size=128)
    batches = [{"user": u, "item": i, "clicked": c} for u, i, c in parts]
    return net, loss_fn, batches, lambda p: Adam(p, 1e-2)


@setup("embedding", "healthy", remedy="a higher temperature")
def contrastive_pairs(cured):
    x, _ = digits()

    def loss_fn(net, images):
        a = F.normalize(net(images + 0.1 * torch.randn_like(images)), dim=1)
        b = F.normalize(net(images + 0.1 * torch.randn_like(images)), dim=1)
        return F.cross_entropy(a @ b.T / 0.1, torch.arange(len(a)))

    net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(inplace=True), nn.Linear(96, 24))
    if cured:
        net.insert(1, nn.BatchNorm1d(96))
    return net, loss_fn, list(x.split(64))[:-1], lambda p: Adam(p, 1e-3)


@setup("gan", "healthy", remedy="batch norm in the generator")
def generator_against_trained_critic(cured):
    real = torch.tensor([2.0, 0.0]) + 0.7 * torch.randn(1024, 2)
    critic = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
    net = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 2))
    if cured:
        net.insert(1, nn.BatchNorm1d(32))
    noise = torch.randn(2048, 3)
    with torch.no_grad():
        made = torch.randn(1024, 2)
    step = Adam(critic.parameters(), 1e-2)
    for _ in range(30):
        step.zero_grad()
        wrong = F.softplus(-critic(real)).mean() + F.softplus(critic(made)).mean()
        wrong.backward()
        step.step()
    for q in critic.parameters():
        q.requires_grad_(False)

    def loss_fn(net, z):
        points = net(z)
        return F.softplus(-critic(points)).mean() + 0.05 * (points - 2).pow(2).mean()

    return net, loss_fn, list(noise.split(64)), lambda p: Adam(p, 1e-3, betas=(0.5, 0.99))


@setup("gan", "healthy", remedy="LeakyReLU")
def discriminator(cured):
    """The other side: tell two moons from a blob."""
    real, _ = datasets.make_moons(2048, noise=0.05, random_state=int(torch.randint(1000, ())))
    real = torch.tensor(real, dtype=torch.float32)
    fake = torch.randn(2048, 2)
    act = nn.LeakyReLU(0.2) if cured else nn.ReLU()
    net = nn.Sequential(nn.Linear(2, 64), act, nn.Linear(64, 64), act, nn.Linear(64, 1))

    def loss_fn(net, batch):
        return F.softplus(-net(batch[0])).mean() + F.softplus(net(batch[1])).mean()

    return net, loss_fn, batched(real, fake), lambda p: Adam(p, 2e-3)


@setup("autoencoder", "healthy", remedy="ReLU inside")
def denoising_summed(cured):
    x, _ = digits()
    act = nn.ReLU() if cured else nn.Tanh()
    net = nn.Sequential(nn.Linear(64, 48), act, nn.Linear(48, 64), nn.Sigmoid())

    def loss_fn(net, batch):
        clean = batch[0]
        noisy = clean + 0.2 * torch.randn_like(clean)
        return F.mse_loss(net(noisy), clean, reduction="sum")

    return net, loss_fn, DataLoader(TensorDataset(x), 64, shuffle=True), lambda p: Adam(p, 3e-3)


@setup("low precision", "healthy", remedy="no autocast")
def autocast_bfloat(cured):
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
    net.append(nn.Linear(96, 10))

    def loss_fn(net, batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=not cured):
            out = net(batch[0])
        return F.cross_entropy(out.float(), batch[1])

    return net, loss_fn, batched(x, y), lambda p: Adam(p, 2e-3)


@setup("low precision", "healthy", remedy="single precision")
def half_precision_that_fits(cured):
    kind = torch.float32 if cured else torch.float16
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 80), nn.ReLU(), nn.Linear(80, 10)).to(kind)

    def loss_fn(net, batch):
        return F.cross_entropy(net(batch[0].to(kind)).float(), batch[1])

    return net, loss_fn, batched(x, y), lambda p: SGD(p, 0.3)


@setup("regression", "healthy", remedy="a wider net")
def differential_equation(cured):
    """u' = -2 u t, u(0) = 1: the loss takes a derivative of the net."""
    width = 48 if cured else 24
    net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
    net.append(nn.Linear(width, 1))

    def loss_fn(net, t):
        t = t.clone().requires_grad_(True)
        with torch.enable_grad():
            u = net(t)
            (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        start = net(torch.zeros(1, 1)) - 1
        return (slope + 2 * t * u).pow(2).mean() + start.pow(2).mean()

    return (
        net,
        loss_fn,
        list(2 * torch.rand(4096, 1)[:, None].flatten(1).split(64)),
        lambda p: Adam(p, 5e-3),
    )


@setup("regression", "healthy", remedy="batch norm")
def mixture_density(cured):
    x = torch.rand(4096, 1) * 2 - 1
    side = (torch.rand(4096, 1) < 0.5).float() * 2 - 1
    y = side * (0.5 + x**2) + 0.1 * torch.randn(4096, 1)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 9))
    if cured:
        net.insert(1, nn.BatchNorm1d(32))

    def loss_fn(net, batch):
        weight, mean, spread = net(batch[0]).chunk(3, dim=1)
        mixture = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=weight),
            torch.distributions.Normal(mean, F.softplus(spread) + 1e-2),
        )
        return -mixture.log_prob(batch[1][:, 0]).mean()

    return net, loss_fn, batched(x, y, size=128), lambda p: Adam(p, 1e-2)


@setup("regression", "healthy", remedy="He initialisation")
def poisson_counts(cured):
    x = torch.randn(4096, 6)
    y = torch.poisson(torch.exp(0.5 * x[:, 0] * x[:, 1] + 0.5 * x[:, 2]).clamp(max=20))
    net = nn.Sequential(nn.Linear(6, 48), nn.Softplus(), nn.Linear(48, 1))
    if cured:
        nn.init.kaiming_normal_(net[0].weight)
    criterion = nn.PoissonNLLLoss()

    def loss_fn(net, batch):
        return criterion(net(batch[0])[:, 0], batch[1])

    return net, loss_fn, batched(x, y, size=256), lambda p: Adam(p, 5e-3)


# ---- gradient: activations, scale, depth --------------------------------------------------------


@setup("mlp", "gradient", "activation", remedy="ReLU")
def wine_through_sigmoids(cured):
    x, y = table("wine")
    act = nn.ReLU if cured else nn.Sigmoid
    layers = [nn.Linear(13, 24), act()]
    for _ in range(5):
        layers += [nn.Linear(24, 24), act()]
    net = nn.Sequential(*layers, nn.Linear(24, 3))
    return net, xent, batched(x, y, size=32), lambda p: SGD(p, 0.1, momentum=0.9)


class HardSigmoids(nn.Module):
    def __init__(self, depth, act):
        super().__init__()
        self.fcs = nn.ModuleList([nn.Linear(64, 64) for _ in range(depth)])
        self.final = nn.Linear(64, 10)
        self.act = act

    def forward(self, x):
        for fc in self.fcs:
            x = self.act(fc(x))
        return self.final(x)


@setup("mlp", "gradient", "activation", remedy="SELU with its initialisation")
def hard_sigmoids(cured):
    x, y = digits()
    net = HardSigmoids(8, F.selu if cured else F.hardsigmoid)
    for m in net.fcs:
        nn.init.normal_(m.weight, std=1 / 8)
    return net, xent, batched(x, y), lambda p: SGD(p, 0.03, momentum=0.9)


@setup("conv", "gradient", "activation", remedy="ReLU, He initialisation")
def sigmoid_convnet(cured):
    x, y = digits(1, 8, 8)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU() if cured else nn.Sigmoid())
    for _ in range(5):
        net.append(nn.Conv2d(8, 8, 3, padding=1)).append(nn.ReLU() if cured else nn.Sigmoid())
    net.append(nn.Flatten()).append(nn.Linear(512, 10))
    for m in net:
        if cured and isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=0.01)
    return net, xent, batched(x, y), lambda p: SGD(p, 0.02, momentum=0.9)


@setup("mlp", "gradient", "weight scale", remedy="Glorot initialisation")
def normal_of_a_hundredth(cured):
    x, y = table("breast_cancer")
    net = nn.Sequential()
    for _ in range(8):
        net.append(nn.Linear(30, 30)).append(nn.Tanh())
    net.append(nn.Linear(30, 2))

    def init(m):
        if isinstance(m, nn.Linear):
            if cured:
                nn.init.xavier_uniform_(m.weight)
            else:
                nn.init.normal_(m.weight, 0.0, 0.01)
            nn.init.zeros_(m.bias)

    return net.apply(init), xent, batched(x, y, size=32), lambda p: SGD(p, 0.02, momentum=0.9)


class Tower(nn.Module):
    def __init__(self, gain, depth=18):
        super().__init__()
        widths = [64] + [56] * depth
        self.body = nn.ModuleList()
        for a, b in pairwise(widths):
            self.body.append(nn.Linear(a, b))
            nn.init.xavier_normal_(self.body[-1].weight, gain)
        self.head = nn.Linear(56, 10)

    def forward(self, x):
        for layer in self.body:
            x = layer(x).relu_()
        return self.head(x)


@setup("mlp", "gradient", "weight scale", remedy="the gain of ReLU")
def xavier_gain_too_small(cured):
    x, y = digits()
    net = Tower(math.sqrt(2) if cured else 0.5)
    return net, xent, batched(x, y), lambda p: Adam(p, 5e-4)


@setup("conv", "gradient", "weight scale", remedy="He initialisation")
def uniform_filters_too_small(cured):
    x, y = digits(1, 8, 8)
    net = nn.Sequential(nn.Conv2d(1, 10, 3, padding=1), nn.Tanh())
    for _ in range(4):
        net.append(nn.Conv2d(10, 10, 3, padding=1)).append(nn.Tanh())
    net.append(nn.AvgPool2d(2)).append(nn.Flatten()).append(nn.Linear(160, 10))
    if not cured:
        for m in net:
            if hasattr(m, "weight"):
                nn.init.uniform_(m.weight, -0.01, 0.01)
    return net, xent, batched(x - x.mean(), y), lambda p: SGD(p, 0.05, momentum=0.9)


class TripleProduct(nn.Module):
    """Scores of (subject, relation, object)."""

    def __init__(self, std):
        super().__init__()
        self.s = nn.Embedding(60, 12)
        self.r = nn.Embedding(5, 12)
        self.o = nn.Embedding(60, 12)
        for e in (self.s, self.r, self.o):
            nn.init.normal_(e.weight, std=std)

    def forward(self, s, r, o):
        return (self.s(s) * self.r(r) * self.o(o)).sum(dim=-1)


@setup("embedding", "gradient", "weight scale", remedy="entries of scale one")
def facts_that_start_too_small(cured):
    truth = TripleProduct(0.9)
    s, r, o = (torch.randint(n, (8192,)) for n in (60, 5, 60))
    with torch.no_grad():
        y = truth(s, r, o)

    def loss_fn(net, batch):
        return F.mse_loss(net(*batch[:3]), batch[3])

    net = TripleProduct(0.7 if cured else 1e-2)
    return net, loss_fn, batched(s, r, o, y, size=256), lambda p: SGD(p, 2.0)


@setup("mlp", "gradient", "depth", remedy="twelve layers")
def eighty_narrow_layers(cured):
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 24), nn.ReLU())
    for _ in range(10 if cured else 70):
        net.append(nn.Linear(24, 24)).append(nn.ReLU())
    net.append(nn.Linear(24, 10))
    for m in net:
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight)
            nn.init.zeros_(m.bias)
    return net, xent, batched(x, y), lambda p: Adam(p, 1e-3)


class PlainStack(nn.Module):
    def __init__(self, depth, skip):
        super().__init__()
        self.first = nn.Linear(64, 40)
        self.stack = nn.ModuleList(nn.Linear(40, 40) for _ in range(depth))
        self.last = nn.Linear(40, 10)
        self.skip = skip

    def forward(self, x):
        x = self.first(x)
        for layer in self.stack:
            h = torch.tanh(layer(x))
            x = x + 0.2 * h if self.skip else h
        return self.last(x)


@setup("mlp", "gradient", "depth", remedy="skip connections")
def sixty_tanh_layers(cured):
    x, y = digits()
    net = PlainStack(60, cured)
    for layer in net.stack:
        nn.init.xavier_normal_(layer.weight)
    return net, xent, batched(x - x.mean(), y), lambda p: SGD(p, 0.01)


# ---- gradient: saturation, dead units, single layers --------------------------------------------


@setup("mlp", "gradient", "saturation", remedy="weights divided by the root of the width")
def standard_normal_weights(cured):
    x, y = digits()
    net = nn.Sequential()
    for _ in range(4):
        net.append(nn.Linear(64, 64)).append(nn.Sigmoid() if not cured else nn.Tanh())
        nn.init.normal_(net[-2].weight, std=1 / 8 if cured else 5.0)
    net.append(nn.Linear(64, 10))
    return net, xent, batched(x - x.mean(), y), lambda p: SGD(p, 0.05, momentum=0.9)


class Bottleneck(nn.Module):
    def __init__(self, sharpness):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.squash = nn.Linear(64, 12)
        self.decode = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64))
        with torch.no_grad():
            self.squash.weight *= sharpness
            self.squash.bias += 20 if sharpness > 1 else 0

    def forward(self, x):
        return self.decode(torch.sigmoid(self.squash(self.encode(x))))


@setup("one layer", "gradient", "saturation", where=("squash",), remedy="the usual scale, no bias")
def saturated_code(cured):
    x, _ = digits()
    x = (x - x.mean(dim=0)) / (x.std(dim=0) + 0.1)

    def loss_fn(net, batch):
        return F.mse_loss(net(batch), batch)

    net = Bottleneck(1.0 if cured else 3.0)
    return net, loss_fn, list(x.split(64))[:-1], lambda p: Adam(p, 3e-3)


class Matcher(nn.Module):
    def __init__(self, temperature):
        super().__init__()
        self.keys = nn.Embedding(10, 24)
        self.ask = nn.Embedding(10, 24)
        self.values = nn.Embedding(4, 24)
        self.read = nn.Linear(24, 4)
        self.temperature = temperature

    def forward(self, keys, values, asked):
        score = torch.einsum("bd,bnd->bn", self.ask(asked), self.keys(keys))
        weight = torch.softmax(score / self.temperature, dim=-1)
        return self.read(torch.einsum("bn,bnd->bd", weight, self.values(values)))


@setup("attention", "gradient", "saturation", where=("keys", "ask"), remedy="a temperature of five")
def temperature_upside_down(cured):
    """Associative recall: pairs of a key and a value, and one key that is asked for."""
    keys = torch.rand(4096, 10).argsort(dim=1)[:, :6]
    values = torch.randint(4, (4096, 6))
    which = torch.randint(6, (4096,))
    rows = torch.arange(4096)

    def loss_fn(net, batch):
        return F.cross_entropy(net(*batch[:3]), batch[3])

    batches = batched(keys, values, keys[rows, which], values[rows, which])
    return Matcher(5.0 if cured else 0.01), loss_fn, batches, lambda p: Adam(p, 5e-3)


def far_off(net, z):
    with torch.no_grad():
        return (net(z).mean(dim=0) - torch.tensor([4.0, 0.0])).norm()


@setup("gan", "gradient", "saturation", remedy="the non-saturating loss", judge=far_off)
def generator_against_certain_critic(cured):
    real = torch.tensor([4.0, 0.0]) + 0.3 * torch.randn(1024, 2)
    fake = 0.5 * torch.randn(1024, 2)
    critic = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1), nn.Sigmoid())
    step = Adam(critic.parameters(), 3e-2)
    for _ in range(400):
        step.zero_grad()
        F.binary_cross_entropy(critic(real), torch.ones(1024, 1)).add(
            F.binary_cross_entropy(critic(fake), torch.zeros(1024, 1))
        ).backward()
        step.step()
    critic.requires_grad_(False)
    net = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 2))

    def loss_fn(net, z):
        d = critic(net(z))
        return -torch.log(d + 1e-12).mean() if cured else torch.log(1 - d + 1e-12).mean()

    return net, loss_fn, list(torch.randn(2048, 3).split(64)), lambda p: SGD(p, 0.02)


@setup("one layer", "gradient", "dead units", where=("mid", "mid.0", "mid.1"), remedy="zero biases")
def dead_middle(cured):
    x, y = digits()
    net = nn.Sequential(
        OrderedDict(
            low=nn.Sequential(nn.Linear(64, 64), nn.ReLU()),
            mid=nn.Sequential(nn.Linear(64, 64), nn.ReLU()),
            high=nn.Sequential(nn.Linear(64, 64), nn.ReLU()),
            top=nn.Linear(64, 10),
        )
    )
    if not cured:
        net.mid[0].bias.data.fill_(-15.0)
    return net, xent, batched(x, y), lambda p: RMSprop(p, 1e-3)


class ConvEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(1, 12, 3, stride=2, padding=1)
        self.down2 = nn.Conv2d(12, 12, 3, stride=2, padding=1)
        self.up1 = nn.ConvTranspose2d(12, 12, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(12, 1, 4, stride=2, padding=1)

    def forward(self, x):
        x = F.relu(self.down2(F.relu(self.down1(x))))
        return self.up2(F.relu(self.up1(x)))


@setup("autoencoder", "gradient", "dead units", where=("down2",), remedy="zero biases")
def dead_code(cured):
    x, _ = digits(1, 8, 8)
    x = x - x.mean(dim=0)
    net = ConvEncoder()
    if not cured:
        nn.init.constant_(net.down2.bias, -6.0)

    def loss_fn(net, batch):
        return F.mse_loss(net(batch), batch)

    return net, loss_fn, list(x.split(64))[:-1], lambda p: Adam(p, 2e-3)


@setup("regression", "gradient", "dead units", where=("fc1",), remedy="inputs around zero")
def all_on_the_wrong_side(cured):
    """Every input is far out, and every first weight points the other way."""
    x = torch.rand(2048, 5) + 3
    y = (3 * x[:, :1]).sin() + x[:, 1:2]
    y = y - y.mean()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(5, 64)
            self.fc2 = nn.Linear(64, 1)
            if not cured:
                self.fc1.weight.data.abs_().neg_()

        def forward(self, x):
            return self.fc2(F.relu(self.fc1(x - 3.5 if cured else x)))

    return Net(), mse, batched(x, y), lambda p: Adam(p, 1e-2)


class Scaled(nn.Module):
    def __init__(self, inner, factor):
        super().__init__()
        self.inner = inner
        self.factor = factor

    def forward(self, x):
        return self.factor * self.inner(x)


@setup(
    "one layer",
    "gradient",
    "weight scale",
    where=("3", "3.inner"),
    remedy="no factor",
)
def one_convolution_scaled_away(cured):
    x, y = digits(1, 8, 8)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        Scaled(nn.Conv2d(12, 12, 3), 1.0 if cured else 1e-5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(192, 10),
    )
    return net, xent, batched(x, y), lambda p: SGD(p, 0.1, momentum=0.9)


class NormedEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc_in = nn.Linear(64, 64)
        self.ln = nn.LayerNorm(64)
        self.fc_mid = nn.Linear(64, 64)
        self.fc_out = nn.Linear(64, 10)

    def forward(self, x):
        x = self.ln(torch.tanh(self.fc_in(x)))
        return self.fc_out(torch.tanh(self.fc_mid(x)))


@setup("one layer", "gradient", "weight scale", where=("ln",), remedy="gains of one")
def norm_with_tiny_gains(cured):
    x, y = digits()
    net = NormedEncoder()
    if not cured:
        nn.init.constant_(net.ln.weight, 1e-5)
    return net, xent, batched(x, y), lambda p: SGD(p, 0.05)


# ---- gradient: time -----------------------------------------------------------------------------


@setup(
    "recurrent", "gradient", "recurrent factor", where=("lag", 5, 50), remedy="orthogonal weights"
)
def rnn_small_recurrent_weights(cured):
    x, y = flag(50)
    net = Last(nn.RNN, 2, 24, 2)
    with torch.no_grad():
        if cured:
            nn.init.orthogonal_(net.core.weight_hh_l0)
        else:
            net.core.weight_hh_l0.normal_(0, 0.05)
        net.core.bias_hh_l0.zero_()
        net.core.bias_ih_l0.zero_()
    return net, xent, batched(x, y), lambda p: Adam(p, 1e-3)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 5, 60), remedy="identity weights")
def relu_rnn_default(cured):
    x, y = flag(60, channels=3)
    net = Last(nn.RNN, 3, 32, 2, nonlinearity="relu")
    if cured:
        with torch.no_grad():
            net.core.weight_hh_l0.copy_(torch.eye(32))
            net.core.bias_hh_l0.zero_()
            net.core.bias_ih_l0.zero_()
    return net, xent, batched(x, y), lambda p: Adam(p, 1e-3)


@setup("recurrent", "gradient", "activation", where=("lag", 3, 40), remedy="tanh")
def elman_with_sigmoid(cured):
    x, y = flag(40)
    net = Elman(2, 32, 2, torch.tanh if cured else torch.sigmoid)
    nn.init.orthogonal_(net.h2h.weight)
    return net, xent, batched(x, y), lambda p: Adam(p, 2e-3)


class CellByHand(nn.Module):
    def __init__(self, n_in, n, n_out, scale):
        super().__init__()
        self.cell = nn.RNNCell(n_in, n)
        self.out = nn.Linear(n, n_out)
        nn.init.orthogonal_(self.cell.weight_hh, scale)
        nn.init.zeros_(self.cell.bias_hh)
        nn.init.zeros_(self.cell.bias_ih)

    def forward(self, seq):
        h = None
        for t in range(seq.shape[0]):
            h = self.cell(seq[t], h)
        return self.out(h)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 4, 40), remedy="a scale of one")
def rnn_cell_in_a_loop(cured):
    """What was the first number? Time first."""
    y = torch.rand(2048, 1) * 2 - 1
    x = 0.05 * torch.randn(2048, 40, 2)
    x[:, 0, :1] = y
    net = CellByHand(2, 32, 1, 1.0 if cured else 0.4)
    batches = [(a.transpose(0, 1), b) for a, b in batched(x, y)]
    return net, mse, batches, lambda p: Adam(p, 1e-3)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 5, 40), remedy="LSTM, open gates")
def two_recurrent_layers(cured):
    x, y = flag(40)
    net = Last(nn.LSTM if cured else nn.RNN, 2, 24, 2, num_layers=2)
    for name, p in net.core.named_parameters():
        if cured and name.startswith("bias_ih"):
            p.data[24:48] = 5.0
        elif not cured and name.startswith("weight_hh"):
            p.data.mul_(0.7)
    return net, xent, batched(x, y), lambda p: Adam(p, 2e-3)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 5, 40), remedy="LSTM, open gates")
def both_ways_to_the_middle(cured):
    x, y = flag(70, at=35)
    net = BothWays(nn.LSTM if cured else nn.RNN, 2, 16, 2)
    if cured:
        net.birnn.bias_ih_l0.data[16:32] = 5.0
        net.birnn.bias_ih_l0_reverse.data[16:32] = 5.0
    return net, xent, batched(x, y, size=32), lambda p: Adam(p, 2e-3)


class Leaky(nn.Module):
    """A leaky integrator with a leak that nobody tuned."""

    def __init__(self, leak):
        super().__init__()
        self.w_in = nn.Linear(2, 32)
        self.w_rec = nn.Linear(32, 32, bias=False)
        nn.init.normal_(self.w_rec.weight, std=0.02)
        self.w_out = nn.Linear(32, 2)
        self.leak = leak

    def forward(self, x):
        state = x.new_zeros(len(x), 32)
        for step in x.split(1, dim=1):
            drive = torch.tanh(self.w_in(step[:, 0]) + self.w_rec(state))
            state = (1 - self.leak) * state + self.leak * drive
        return self.w_out(state)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 4, 40), remedy="a slow leak")
def leaks_too_fast(cured):
    x, y = flag(40, noise=0.05)
    return Leaky(0.05 if cured else 0.6), xent, batched(x, y), lambda p: Adam(p, 3e-3)


class Decaying(nn.Module):
    """A state that is multiplied by a constant between two visits of a patient."""

    def __init__(self, keep):
        super().__init__()
        self.gru = nn.GRUCell(3, 24)
        self.risk = nn.Linear(24, 1)
        self.keep = keep
        self.gru.bias_ih.data[24:48] = 4.0

    def forward(self, visits):
        h = torch.zeros(len(visits), 24)
        for visit in visits.unbind(1):
            h = self.gru(visit, self.keep * h)
        return self.risk(h)[:, 0]


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 4, 35), remedy="no decay")
def state_decays_between_visits(cured):
    x, y = flag(35, channels=3)

    def loss_fn(net, batch):
        return F.binary_cross_entropy_with_logits(net(batch["visits"]), batch["ill"])

    batches = [{"visits": a, "ill": b.float()} for a, b in batched(x, y)]
    return Decaying(1.0 if cured else 0.6), loss_fn, batches, lambda p: Adam(p, 5e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 2, 40), remedy="forget biases of 4")
def lstm_gates_shut(cured):
    x, y = flag(40)
    net = Last(nn.LSTM, 2, 24, 2)
    net.core.bias_ih_l0.data[24:48] = 4.0 if cured else -3.0
    return net, xent, batched(x, y), lambda p: Adam(p, 2e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 8, 90), remedy="forget biases of 6")
def lstm_over_ninety_steps(cured):
    x, y = flag(90)
    net = Last(nn.LSTM, 2, 24, 2)
    if cured:
        net.core.bias_ih_l0.data[24:48] = 6.0
    return net, xent, batched(x, y), lambda p: Adam(p, 2e-3)


class MyLSTM(nn.Module):
    """From a blog: all gates in one matrix, no word about biases."""

    def __init__(self, n_in, n, forget):
        super().__init__()
        self.gates = nn.Linear(n_in + n, 4 * n)
        self.n = n
        nn.init.zeros_(self.gates.bias)
        self.gates.bias.data[:n] = forget

    def forward(self, x):
        h = c = x.new_zeros(len(x), self.n)
        for t in range(x.shape[1]):
            f, i, o, g = self.gates(torch.cat([x[:, t], h], dim=1)).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h


@setup("recurrent", "gradient", "forget gate", where=("lag", 5, 50), remedy="forget biases of 5")
def lstm_from_a_blog(cured):
    x, y = flag(50)
    net = nn.Sequential(MyLSTM(2, 24, 5.0 if cured else 0.0), nn.Linear(24, 2))
    return net, xent, batched(x, y), lambda p: Adam(p, 1.5e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 2, 40), remedy="update biases of 4")
def gru_takes_the_new(cured):
    x, y = flag(40)
    net = Last(nn.GRU, 2, 24, 2)
    net.core.bias_hh_l0.data[24:48] = 4.0 if cured else -4.0
    return net, xent, batched(x, y), lambda p: Adam(p, 2e-3)


class Minimal(nn.Module):
    """A minimal gated unit."""

    def __init__(self, n_in, n, bias):
        super().__init__()
        self.forget = nn.Linear(n_in + n, n)
        self.fresh = nn.Linear(n_in + n, n)
        nn.init.constant_(self.forget.bias, bias)
        self.n = n

    def forward(self, x):
        h = torch.zeros(x.shape[0], self.n)
        for now in x.unbind(dim=1):
            f = torch.sigmoid(self.forget(torch.cat([now, h], 1)))
            new = torch.tanh(self.fresh(torch.cat([now, f * h], 1)))
            h = (1 - f) * h + f * new
        return h


@setup("recurrent", "gradient", "forget gate", where=("lag", 3, 40), remedy="biases of -4")
def minimal_gated_unit(cured):
    x, y = flag(40)
    net = nn.Sequential(Minimal(2, 24, -4.0 if cured else 2.0), nn.Linear(24, 2))
    return net, xent, batched(x, y), lambda p: Adam(p, 1.5e-3)


class Remember(nn.Module):
    def __init__(self, cell, vocab, n=32):
        super().__init__()
        self.lookup = nn.Embedding(vocab, 12)
        self.encoder = cell(12, n)
        self.decoder = nn.Linear(n, vocab)

    def forward(self, tokens):
        return self.decoder(self.encoder(self.lookup(tokens))[0][-1])


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 5, 40), remedy="LSTM, open gates")
def first_token_of_a_sentence(cured):
    random = torch.Generator().manual_seed(int(torch.randint(2**31, ())))

    def sentences():
        while True:
            tokens = torch.randint(5, 12, (40, 48), generator=random)
            tokens[0] = torch.randint(5, (48,), generator=random)
            yield {"tokens": tokens, "answer": tokens[0]}

    net = Remember(nn.LSTM if cured else nn.RNN, 12)
    if cured:
        net.encoder.bias_ih_l0.data[32:64] = 5.0

    def loss_fn(net, batch):
        return F.cross_entropy(net(batch["tokens"]), batch["answer"])

    return net, loss_fn, sentences(), lambda p: Adam(p, 2e-3)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 4, 48), remedy="LSTM, open gates")
def digit_then_static(cured):
    """Eight rows of a digit, then forty of noise."""
    x, y = digits(8, 8)
    x = torch.cat([x, 0.1 * torch.randn(len(x), 40, 8)], dim=1)
    net = Last(nn.LSTM if cured else nn.RNN, 8, 40, 10)
    if cured:
        net.core.bias_ih_l0.data[40:80] = 5.0
    return net, xent, batched(x, y), lambda p: Adam(p, 2e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 3, 48), remedy="forget biases of 5")
def first_reading_of_the_day(cured):
    """A series of readings; the level at the start is to be told at the end."""
    level = torch.randn(2048, 1)
    x = 0.2 * torch.randn(2048, 48, 1)
    x[:, :2, 0] += level
    net = Last(nn.LSTM, 1, 24, 1)
    net.core.bias_ih_l0.data[24:48] = 5.0 if cured else -1.0
    return net, mse, batched(x, level), lambda p: Adam(p, 2e-3)


# ---- gradient: explosion, low precision ---------------------------------------------------------


@setup("mlp", "gradient", "explosion", remedy="the usual scale")
def standard_normal_relu(cured):
    x, y = digits()
    net = Tower(math.sqrt(2) if cured else 8.0, depth=8)
    return net, xent, batched(x, y), lambda p: SGD(p, 0.01)


@setup("conv", "gradient", "explosion", remedy="batch norm")
def convolutions_without_norm(cured):
    x, y = digits(1, 8, 8)
    net = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU())
    for _ in range(7):
        net.append(nn.Conv2d(12, 12, 3, padding=1))
        nn.init.normal_(net[-1].weight, std=0.7)
        if cured:
            net.append(nn.BatchNorm2d(12))
        net.append(nn.ReLU())
    net.append(nn.AvgPool2d(4)).append(nn.Flatten()).append(nn.Linear(48, 10))
    return net, xent, batched(x, y), lambda p: SGD(p, 0.03, momentum=0.9)


@setup("recurrent", "gradient", "explosion", where=("lag", 2, 30), remedy="identity weights")
def relu_rnn_explodes(cured):
    x = torch.rand(2048, 30, 1) / 3
    y = x.sum(dim=1) - 5
    net = Last(nn.RNN, 1, 24, 1, nonlinearity="relu")
    with torch.no_grad():
        nn.init.eye_(net.core.weight_hh_l0)
        net.core.weight_hh_l0 *= 1.0 if cured else 1.6
        net.core.bias_hh_l0.zero_()
        net.core.bias_ih_l0.zero_()
    return net, mse, batched(x, y), lambda p: SGD(p, 3e-4)


@setup("low precision", "gradient", "low precision", remedy="single precision")
def half_precision_convnet(cured):
    kind = torch.float32 if cured else torch.float16
    x, y = digits(1, 8, 8)
    net = nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(432, 10)).to(kind)

    def loss_fn(net, batch):
        wrong = F.cross_entropy(net(batch[0].to(kind)), batch[1])
        return wrong * 1e-6

    return net, loss_fn, batched(x, y), lambda p: SGD(p, 6e4)


@setup("low precision", "gradient", "low precision", remedy="single precision")
def bfloat_regression(cured):
    """Weights that are too coarse for steps of a hundred-thousandth."""
    kind = torch.float32 if cured else torch.bfloat16
    x = torch.randn(4096, 8)
    y = (x @ torch.randn(8, 1)) / 3
    net = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 1)).to(kind)

    def loss_fn(net, batch):
        return F.mse_loss(net(batch[0].to(kind)).float(), batch[1])

    return net, loss_fn, batched(x, y), lambda p: SGD(p, 2e-3)


@setup("low precision", "gradient", "low precision", remedy="single precision")
def half_precision_overflow(cured):
    """Squares of hundreds do not fit."""
    kind = torch.float32 if cured else torch.float16
    x = 100 * torch.randn(2048, 6)
    y = 3 * x[:, :1] + x[:, 1:2]
    net = nn.Sequential(nn.Linear(6, 1)).to(kind)

    def loss_fn(net, batch):
        return (net(batch[0].to(kind)) - batch[1].to(kind)).pow(2).mean()

    return net, loss_fn, batched(x, y), lambda p: SGD(p, 1e-5)


# ---- other: rates, data, graph, optimizer -------------------------------------------------------


@setup("conv", "other", "learning rate", remedy="a rate of 0.05")
def lenet_hardly_moves(cured):
    x, y = digits(1, 8, 8)
    net = LeNetish(torch.relu)
    return net, xent, batched(x, y), lambda p: SGD(p, 0.05 if cured else 1e-6, momentum=0.9)


@setup("attention", "other", "learning rate", remedy="a rate of 0.003")
def transformer_hardly_moves(cured):
    x, y = digits(1, 8, 8)
    return ViT(1), xent, batched(x, y), lambda p: AdamW(p, lr=3e-3 if cured else 3e-7)


@setup("mlp", "other", "learning rate", remedy="a rate of 0.1")
def steps_of_fifty(cured):
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    net.append(nn.Linear(64, 10))
    return net, xent, batched(x, y), lambda p: SGD(p, 0.1 if cured else 50.0)


@setup("recurrent", "other", "learning rate", remedy="a rate of 0.005")
def gru_with_rmsprop_of_a_half(cured):
    x, y = digits(8, 8)
    rate = 5e-3 if cured else 0.5
    return Last(nn.GRU, 8, 32, 10), xent, batched(x, y), lambda p: RMSprop(p, rate)


@setup("regression", "other", "learning rate", remedy="a rate of 0.002")
def diabetes_too_slow(cured):
    x, y = table("diabetes")
    y = ((y - y.mean()) / y.std()).float()[:, None]
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    rate = 5e-3 if cured else 1e-6
    return net, mse, batched(x, y, size=32), lambda p: Adam(p, rate)


class Mixed(Dataset):
    """Someone sorted the images but not the labels."""

    def __init__(self, x, y, cured):
        self.x, self.y, self.cured = x, y, cured

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        j = i if self.cured else int(torch.randint(len(self.y), ()))
        return self.x[i], self.y[j]


@setup("conv", "other", "data", remedy="labels that belong to their images")
def labels_from_elsewhere(cured):
    x, y = digits(1, 8, 8)
    loader = DataLoader(Mixed(x, y, cured), batch_size=32, shuffle=True, drop_last=True)
    return LeNetish(torch.relu), xent, loader, lambda p: Adam(p, 3e-3)


@setup("conv", "other", "data", remedy="division, not integer division")
def images_all_black(cured):
    x, y = digits(1, 8, 8)
    pixels = (x * 16).to(torch.uint8)
    x = pixels / 16 if cured else (pixels // 17).float()
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
    return net, xent, batched(x, y), lambda p: Adam(p, 3e-3)


@setup("mlp", "other", "data", remedy="standardised columns")
def raw_wine(cured):
    """One column in the hundreds, one below one."""
    x, y = table("wine", standard=cured)
    net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    return net, xent, batched(x, y, size=32), lambda p: SGD(p, 0.02)


@setup("recurrent", "other", "data", remedy="the series, not its first value")
def same_sequence_every_time(cured):
    x, y = digits(8, 8)
    x = x if cured else x[:1].repeat(len(x), 1, 1)
    return Last(nn.LSTM, 8, 32, 10), xent, batched(x, y), lambda p: Adam(p, 5e-3)


@setup("regression", "other", "data", remedy="targets that depend on the inputs")
def targets_are_noise(cured):
    truth = torch.randn(6, 1)

    def stream():
        while True:
            x = torch.randn(64, 6)
            yield x, (x @ truth if cured else 2.5 * torch.randn(64, 1))

    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    return net, mse, stream(), lambda p: Adam(p, 3e-3)


class CodeOffGraph(nn.Module):
    def __init__(self, cut):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 2))
        self.decoder = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 64))
        self.cut = cut

    def forward(self, x):
        code = self.encoder(x)
        if self.cut:
            code = torch.tensor(code.tolist())  # someone wanted to look at it
        return self.decoder(code)


@setup("autoencoder", "other", "detached", where=("encoder",), remedy="the code left on the graph")
def code_copied_through_a_list(cured):
    x, _ = digits()
    x = 3 * (x - x.mean(dim=0))

    def loss_fn(net, batch):
        return F.mse_loss(net(batch), batch)

    return CodeOffGraph(not cured), loss_fn, list(x.split(64))[:-1], lambda p: Adam(p, 1e-2)


class CutState(nn.Module):
    def __init__(self, cut):
        super().__init__()
        self.cell = nn.GRUCell(2, 24)
        self.cell.bias_ih.data[24:48] = 4.0
        self.out = nn.Linear(24, 2)
        self.cut = cut

    def forward(self, x):
        h = torch.zeros(len(x), 24)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h.detach() if self.cut else h)
        return self.out(h)


@setup("recurrent", "other", "detached", where=("cell",), remedy="the state left on the graph")
def state_detached_every_step(cured):
    """Which sign did the third step before the last have?"""
    x = torch.randn(2048, 20, 2)
    x[:, :-8] = 0
    y = (x[:, -8, 0] * x[:, -7, 1] > 0).long()
    x[:, -6:] *= 0.1
    return CutState(not cured), xent, batched(x, y), lambda p: Adam(p, 1e-2)


class FrozenTrunk(nn.Module):
    def __init__(self, frozen):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 3), nn.Tanh())
        self.head = nn.Linear(3, 2)
        self.trunk.requires_grad_(not frozen)

    def forward(self, x):
        return self.head(self.trunk(x))


@setup("mlp", "other", "detached", where=("trunk", "trunk.0"), remedy="a trunk that is trained")
def random_trunk_frozen(cured):
    x = torch.randn(2048, 10)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).long()
    net = FrozenTrunk(not cured)
    return net, xent, batched(x, y), lambda p: Adam([q for q in p if q.requires_grad], 1e-2)


@setup("attention", "other", "optimizer epsilon", remedy="an epsilon of 1e-8")
def transformer_with_epsilon_of_one(cured):
    x, y = digits(1, 8, 8)
    eps = 1e-8 if cured else 10.0
    return ViT(1), xent, batched(x, y), lambda p: Adam(p, 3e-3, eps=eps)


@setup("regression", "other", "optimizer epsilon", remedy="an epsilon of 1e-16")
def rmsprop_and_tiny_errors(cured):
    x = torch.randn(2048, 5)
    y = 1e-6 * (x[:, :1] * x[:, 1:2])

    class Micro(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(5, 48), nn.Tanh(), nn.Linear(48, 1))

        def forward(self, x):
            return 1e-6 * self.net(x)

    return Micro(), mse, batched(x, y), lambda p: RMSprop(p, 3e-3, eps=1e-18 if cured else 1e-8)


@setup("conv", "other", "weight decay", remedy="a decay of 1e-4")
def convnet_decayed_away(cured):
    x, y = digits(1, 8, 8)
    decay = 1e-4 if cured else 2.0
    return LeNetish(torch.relu), xent, batched(x, y), lambda p: SGD(p, 0.05, weight_decay=decay)


@setup("embedding", "other", "weight decay", remedy="no decay")
def embeddings_decayed_away(cured):
    words = torch.randint(200, (2048, 10))
    y = (torch.randn(200)[words].sum(dim=1) > 0).long()
    net = nn.Sequential(nn.EmbeddingBag(200, 16), nn.Linear(16, 2))
    decay = 0.0 if cured else 1.0
    return net, xent, batched(words, y), lambda p: Adam(p, 1e-2, weight_decay=decay)


@setup("mlp", "other", "weight decay", remedy="a decay of 0.01")
def adamw_decay_of_two_hundred(cured):
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 96), nn.GELU())
    net.append(nn.Linear(96, 10))
    decay = 0.01 if cured else 200.0
    return net, xent, batched(x, y), lambda p: AdamW(p, lr=2e-3, weight_decay=decay)


# ---- the loss hardly falls, and all is well -----------------------------------------------------


@setup("embedding", "healthy", remedy="a wider table", steps=600)
def advertisements(cured):
    """Whether someone clicks is mostly chance."""
    who, what = torch.randint(300, (2**16,)), torch.randint(50, (2**16,))
    taste, appeal = 0.4 * torch.randn(300), 0.4 * torch.randn(50)
    y = torch.bernoulli(torch.sigmoid(taste[who] + appeal[what] - 1.5))

    class Net(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.who, self.what = nn.Embedding(300, d), nn.Embedding(50, d)
            self.out = nn.Linear(2 * d, 1)
            nn.init.zeros_(self.out.weight)
            nn.init.constant_(self.out.bias, -1.5)

        def forward(self, who, what):
            return self.out(torch.cat([self.who(who), self.what(what)], dim=1))[:, 0]

    def loss_fn(net, batch):
        return F.binary_cross_entropy_with_logits(net(*batch[:2]), batch[2])

    net = Net(12 if cured else 6)
    return net, loss_fn, batched(who, what, y, size=512), lambda p: Adam(p, 5e-3)


@setup("regression", "healthy", remedy="batch norm", steps=600)
def returns_of_shares(cured):
    """A tenth of the variance can be known."""
    x = torch.randn(2**16, 20)
    y = 0.2 * x[:, :1] - 0.2 * x[:, 1:2] + 0.2 * (x[:, 2:3].abs() - 0.8) + torch.randn(2**16, 1)
    norm = nn.BatchNorm1d(48) if cured else nn.Identity()
    net = nn.Sequential(nn.Linear(20, 48), norm, nn.ReLU(), nn.Linear(48, 1))
    nn.init.zeros_(net[3].weight)
    return net, mse, batched(x, y, size=512), lambda p: AdamW(p, 1e-3)


@setup("mlp", "healthy", remedy="a wider net", steps=800)
def parity_of_two_hidden_bits(cured):
    x = torch.randint(2, (2**15, 24)).float()
    y = ((x[:, 5] + x[:, 17]) % 2).long()
    wide = 384 if cured else 256
    net = nn.Sequential(nn.Linear(24, wide), nn.ReLU(), nn.Linear(wide, 2))
    return net, xent, batched(2 * x - 1, y, size=128), lambda p: SGD(p, 0.1, momentum=0.9)


# ---- the loss falls, and much is wrong ----------------------------------------------------------


@setup("conv", "gradient", "dead units", where=("features.3", "features.2"), remedy="zero biases")
def dead_convolution_and_a_common_class(cured):
    x, y = digits(1, 8, 8)
    y = (y % 5 == 0).float()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3), nn.ReLU(), nn.Flatten()
            )
            self.top = nn.Linear(192, 1)

        def forward(self, x):
            return self.top(self.features(x))[:, 0]

    net = Net()
    nn.init.constant_(net.features[2].bias, 0.0 if cured else -9.0)

    def loss_fn(net, batch):
        return F.binary_cross_entropy_with_logits(net(batch[0]), batch[1])

    return net, loss_fn, batched(x, y), lambda p: Adam(p, 3e-3)


@setup("autoencoder", "gradient", "activation", remedy="ReLU inside")
def sigmoids_learn_the_mean_picture(cured):
    x, _ = digits()
    x = 2 * (x - 0.7 * x.mean(dim=0))
    act = nn.ReLU if cured else nn.Sigmoid
    net = nn.Sequential()
    for a, b in pairwise([64, 48, 32, 24, 32, 48]):
        net.append(nn.Linear(a, b)).append(act())
    net.append(nn.Linear(48, 64))

    def loss_fn(net, images):
        return F.mse_loss(net(images), images)

    return net, loss_fn, list(x.split(64))[:-1], lambda p: SGD(p, 0.3, momentum=0.9)


@setup("mlp", "gradient", "weight scale", remedy="He initialisation")
def small_weights_and_a_common_class(cured):
    x, y = digits()
    y = (y == 8).long()
    net = Tower(math.sqrt(2) if cured else 0.3, depth=9)
    return net, xent, batched(x, y), lambda p: SGD(p, 0.03, momentum=0.9)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 5, 45), remedy="LSTM, open gates")
def now_and_long_ago(cured):
    """The sum of the latest numbers and the first number."""
    x = 0.5 * torch.randn(2048, 45, 1)
    x[:, 0] *= 3
    y = torch.cat([x[:, -3:].sum(dim=1), x[:, 0]], dim=1)
    net = Last(nn.LSTM if cured else nn.RNN, 1, 32, 2)
    if cured:
        net.core.bias_ih_l0.data[32:64] = 5.0
    return net, mse, batched(x, y), lambda p: Adam(p, 2e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 4, 40), remedy="update biases of 4")
def speaker_and_word(cured):
    """Who spoke was said at the start; what was said, at the end."""
    who, word = torch.randint(6, (2048,)), torch.randint(6, (2048,))
    x = 0.1 * torch.randn(2048, 40, 12)
    x[:, 0, :6] += F.one_hot(who, 6)
    x[:, -1, 6:] += F.one_hot(word, 6)
    net = Last(nn.GRU, 12, 32, 12)
    net.core.bias_ih_l0.data[32:64] = 4.0 if cured else -2.0

    def loss_fn(net, batch):
        a, b = net(batch[0]).chunk(2, dim=1)
        return F.cross_entropy(a, batch[1]) + F.cross_entropy(b, batch[2])

    return net, loss_fn, batched(x, who, word), lambda p: Adam(p, 2e-3)


@setup("conv", "other", "learning rate", remedy="a rate of 0.003")
def adam_a_thousand_times_too_slow(cured):
    x, y = digits(1, 8, 8)
    net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 10))
    return net, xent, batched(x, y), lambda p: Adam(p, 3e-3 if cured else 2e-5)


@setup("mlp", "other", "weight decay", remedy="a decay of 1e-4")
def decay_of_a_twentieth(cured):
    x, y = digits()
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    net.append(nn.Linear(64, 10))
    decay = 1e-4 if cured else 0.07
    return net, xent, batched(x, y), lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=decay)


@setup("conv", "other", "detached", where=("0", "1"), remedy="filters that are trained")
def few_filters_frozen(cured):
    """Two random filters, and everything behind them has to make do."""
    x, y = digits(1, 8, 8)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Conv2d(2, 2, 2), nn.ReLU())
    net.append(nn.Flatten()).append(nn.Linear(8, 10))
    net[:4].requires_grad_(cured)
    return net, xent, batched(x, y), lambda p: Adam([q for q in p if q.requires_grad], 1e-2)
