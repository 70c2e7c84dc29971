"""Set-ups on which the instrument may be tuned.

Sixteen of the first eighty were altered after a first labelling, in which eleven were ambiguous and
five contradicted the intention: smaller rates, longer lags, stronger remedies. The ten at the end
stand as first written.
"""

import math
from functools import partial
from itertools import pairwise

import torch
from setups import batched, collection, digits
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SETUPS, setup = collection()


def classify(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y)


def fit(model, batch):
    x, y = batch
    return F.mse_loss(model(x), y)


def adam(rate=1e-3, **more):
    return lambda parameters: optim.Adam(parameters, lr=rate, **more)


def sgd(rate=0.1, **more):
    return lambda parameters: optim.SGD(parameters, lr=rate, **more)


def stack(sizes, activation, norm=False):
    """Linear layers with an activation between them."""
    layers = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(fan_in, fan_out))
        if i < len(sizes) - 2:
            layers += [nn.BatchNorm1d(fan_out)] * norm + [activation()]
    return nn.Sequential(*layers)


def linears(model):
    return [m for m in model.modules() if isinstance(m, nn.Linear)]


def he(model):
    for layer in linears(model):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return model


def orthogonal(model, gain=1.0):
    for layer in linears(model):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return model


# --- Multilayer perceptrons: healthy -------------------------------------------------------------


@setup("mlp", "healthy", remedy="batch norm")
def relu_mlp_he(cured):
    x, y = digits()
    model = he(stack([64, 128, 128, 128, 10], nn.ReLU, norm=cured))
    return model, classify, batched(x, y), adam()


@setup("mlp", "healthy", remedy="batch norm")
def loss_in_millionths(cured):
    x, y = digits()
    model = he(stack([64, 64, 64, 10], nn.ReLU, norm=cured))

    def loss(model, batch):
        return 1e-6 * classify(model, batch)

    return model, loss, batched(x, y), sgd(1e5)


@setup("mlp", "healthy", remedy="tanh in place of sigmoid")
def shallow_sigmoid(cured):
    x, y = digits()
    model = stack([64, 50, 10], nn.Tanh if cured else nn.Sigmoid)
    return model, classify, batched(x, y, size=32), adam(1e-2)


@setup("mlp", "healthy", remedy="layer norm before each tanh")
def deep_tanh_orthogonal(cured):
    x, y = digits()
    model = orthogonal(stack([64] * 31 + [10], nn.Tanh))
    if cured:
        layers = []
        for layer in model:
            layers += [nn.LayerNorm(64), layer] if isinstance(layer, nn.Tanh) else [layer]
        model = nn.Sequential(*layers)
    return model, classify, batched(x - x.mean(), y), sgd(0.02, momentum=0.9)


class FunctionalNet(nn.Module):
    def __init__(self, act=F.gelu):
        super().__init__()
        self.act = act
        self.fc1 = nn.Linear(64, 100)
        self.norm1 = nn.LayerNorm(100)
        self.fc2 = nn.Linear(100, 100)
        self.norm2 = nn.LayerNorm(100)
        self.out = nn.Linear(100, 10)

    def forward(self, x):
        x = self.act(self.norm1(self.fc1(x)))
        x = self.act(self.norm2(self.fc2(x)))
        return self.out(x)


@setup("mlp", "healthy", remedy="ReLU in place of GELU")
def gelu_layer_norm(cured):
    x, y = digits()
    model = FunctionalNet(F.relu if cured else F.gelu)
    data = TensorDataset(x, y)
    return model, classify, DataLoader(data, batch_size=64, shuffle=True), adam(2e-3)


@setup("mlp", "healthy", remedy="mean in place of sum, with the same step")
def summed_loss(cured):
    x, y = digits()
    model = stack([64, 96, 96, 10], nn.ReLU)

    def loss(model, batch):
        inputs, classes = batch
        return F.cross_entropy(model(inputs), classes, reduction="sum")

    return model, loss, batched(x, y, size=100), sgd(2e-3, momentum=0.9 if cured else 0.8)


@setup("mlp", "healthy", remedy="He initialisation")
def big_batch(cured):
    x, y = digits()
    model = stack([64, 64, 64, 10], nn.ReLU)
    return he(model) if cured else model, classify, batched(x, y, size=896), adam(5e-3)


@setup("mlp", "healthy", remedy="train every layer")
def fine_tuning(cured):
    x, y = digits()
    model = he(stack([64, 128, 128, 128, 10], nn.ReLU))
    old = y < 5
    first = optim.Adam(model.parameters(), 2e-3)
    for inputs, classes in batched(x[old], y[old]) * 5:
        first.zero_grad()
        F.cross_entropy(model(inputs), classes).backward()
        first.step()
    model.zero_grad()
    nn.init.normal_(model[6].weight, std=0.01)
    for parameter in model[:4].parameters():
        parameter.requires_grad_(cured)

    def optimizer(parameters):
        return optim.Adam([p for p in parameters if p.requires_grad], lr=1e-3)

    return model, classify, batched(x, y), optimizer


@setup("mlp", "healthy", remedy="no batch norm")
def biases_before_batch_norm(cured):
    x, y = digits()
    if cured:
        return he(stack([64, 80, 80, 80, 10], nn.ReLU)), classify, batched(x, y), adam()
    layers, width = [], 64
    for _ in range(3):
        layers += [nn.Linear(width, 80, bias=True), nn.BatchNorm1d(80), nn.ReLU(inplace=True)]
        width = 80
    return nn.Sequential(*layers, nn.Linear(80, 10)), classify, batched(x, y), adam()


@setup("regression", "healthy", remedy="a rate twice as high")
def almost_converged(cured):
    """What is left is noise; the gradient is small because there is little to learn."""
    x = torch.randn(4096, 5)
    y = torch.tanh(x[:, :1]) * x[:, 1:2] + 0.1 * torch.randn(4096, 1)
    model = stack([5, 32, 32, 1], nn.Tanh)
    first = optim.Adam(model.parameters(), 5e-3)
    batches = batched(x, y, size=256)
    for batch in batches * 6:
        first.zero_grad()
        fit(model, batch).backward()
        first.step()
    model.zero_grad()
    return model, fit, batches, adam(5e-3 if cured else 2.5e-3)


@setup("mlp", "healthy", remedy="no dropout")
def half_dropped(cured):
    x, y = digits()
    dropout = nn.Dropout(0.0 if cured else 0.2)
    model = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), dropout, nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    return model, classify, batched(x, y), adam(2e-3)


class Maxout(nn.Module):
    def __init__(self, n_in, n_out, pieces=3):
        super().__init__()
        self.lin = nn.Linear(n_in, n_out * pieces)
        self.pieces = pieces

    def forward(self, x):
        return self.lin(x).unflatten(1, (-1, self.pieces)).amax(dim=2)


@setup("mlp", "healthy", remedy="ReLU in place of maxout")
def maxout(cured):
    x, y = digits()
    if cured:
        return stack([64, 64, 64, 10], nn.ReLU), classify, batched(x, y), adam(3e-3)
    model = nn.Sequential(Maxout(64, 64), Maxout(64, 64), nn.Linear(64, 10))
    return model, classify, batched(x, y), adam(3e-3)


@setup("mlp", "healthy", remedy="batch norm and ReLU")
def deep_selu(cured):
    x, y = digits()
    if cured:
        model = stack([64] * 13 + [10], nn.ReLU, norm=True)
    else:
        model = stack([64] * 13 + [10], nn.SELU)
        for layer in linears(model):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
    return model, classify, batched((x - x.mean()) / x.std(), y), sgd(0.01, momentum=0.9)


# --- Regression, autoencoders: healthy -----------------------------------------------------------


@setup("regression", "healthy", remedy="batch norm")
def huber_silu(cured):
    x = torch.randn(2048, 8)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + 0.1 * torch.randn(2048, 1)
    model = stack([8, 64, 64, 1], nn.SiLU, norm=cured)

    def loss(model, batch):
        return F.huber_loss(model(batch["x"]), batch["y"])

    batches = [{"x": a, "y": b} for a, b in batched(x, y, size=128)]
    return model, loss, batches, lambda p: optim.RMSprop(p, lr=2e-3)


@setup("regression", "healthy", remedy="targets around one, with the rate to fit")
def tiny_units(cured):
    """Lengths in metres of things a micrometre long: errors of 1e-12."""
    x = torch.randn(1024, 6)
    y = 1e-6 * (x[:, :1] * x[:, 1:2] + x[:, 2:3])

    class InMicrometres(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = stack([6, 64, 64, 1], nn.Tanh)

        def forward(self, x):
            return 1e-6 * self.net(x)

    if cured:

        def loss(model, batch):
            return 1e-12 * F.mse_loss(1e6 * model(batch[0]), 1e6 * batch[1])
    else:
        loss = fit
    return InMicrometres(), loss, batched(x, y), sgd(1e11, momentum=0.9)


class Siren(nn.Module):
    def __init__(self, width=64, omega=20.0):
        super().__init__()
        self.first = nn.Linear(2, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, 1)
        self.omega = omega
        bound = math.sqrt(6 / width)
        nn.init.uniform_(self.first.weight, -0.5, 0.5)
        nn.init.uniform_(self.second.weight, -bound, bound)

    def forward(self, xy):
        h = torch.sin(self.omega * self.first(xy))
        return self.last(torch.sin(self.second(h)))


@setup("regression", "healthy", remedy="a lower rate")
def sine_activations(cured):
    grid = torch.rand(4096, 2) * 2 - 1
    picture = torch.sin(8 * grid[:, :1]) * torch.cos(6 * grid[:, 1:])
    rate = 1e-3 if cured else 2e-3
    return Siren(), fit, batched(grid, picture, size=128), adam(rate)


@setup("autoencoder", "healthy", remedy="batch norm in the encoder")
def autoencoder(cured):
    x, _ = digits()
    norm = [nn.BatchNorm1d(64)] if cured else []
    encoder = nn.Sequential(nn.Linear(64, 64), *norm, nn.ELU(), nn.Linear(64, 16))
    decoder = nn.Sequential(nn.Linear(16, 64), nn.ELU(), nn.Linear(64, 64), nn.Sigmoid())
    model = nn.ModuleDict({"encoder": encoder, "decoder": decoder})

    def loss(model, images):
        return F.binary_cross_entropy(model["decoder"](model["encoder"](images)), images)

    return model, loss, list(x.split(64))[:-1], adam(3e-3)


class VAE(nn.Module):
    def __init__(self, hidden=80, code=8):
        super().__init__()
        self.enc = nn.Linear(64, hidden)
        self.mu = nn.Linear(hidden, code)
        self.logvar = nn.Linear(hidden, code)
        self.dec1 = nn.Linear(code, hidden)
        self.dec2 = nn.Linear(hidden, 64)

    def forward(self, x):
        h = F.relu(self.enc(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec2(F.relu(self.dec1(z))), mu, logvar


@setup("autoencoder", "healthy", remedy="He initialisation")
def variational(cured):
    x, _ = digits()
    model = he(VAE()) if cured else VAE()

    def loss(model, batch):
        out, mu, logvar = model(batch["image"])
        kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean()
        wrong = F.binary_cross_entropy_with_logits(out, batch["image"], reduction="none")
        return wrong.sum(1).mean() + kl

    return model, loss, [{"image": part} for part in x.split(64)][:-1], adam(2e-3)


# --- Convolutions and residual nets: healthy -----------------------------------------------------


@setup("conv", "healthy", remedy="batch norm")
def small_convnet(cured):
    x, y = digits(1, 8, 8)
    norm = [nn.BatchNorm2d(16)] if cured else []
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        *norm,
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    return model, classify, batched(x, y, size=32), adam(2e-3)


class BasicBlock(nn.Module):
    def __init__(self, channels, zero=False):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        if zero:
            nn.init.zeros_(self.bn2.weight)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(out)))


class TinyResNet(nn.Module):
    def __init__(self, zero):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.blocks = nn.Sequential(*(BasicBlock(8, zero) for _ in range(3)))
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.blocks(F.relu(self.stem(x))).mean(dim=(2, 3)))


@setup("conv", "healthy", remedy="residual branches that do not start at zero")
def resnet_zero_gamma(cured):
    x, y = digits(1, 8, 8)
    return TinyResNet(zero=not cured), classify, batched(x, y, size=32), adam(1e-2)


class ResidualMLP(nn.Module):
    def __init__(self, blocks=12, width=64, scale=None, norm=False, act=F.relu):
        super().__init__()
        self.inp = nn.Linear(64, width)
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.norms = nn.ModuleList(
            nn.LayerNorm(width) if norm else nn.Identity() for _ in range(blocks)
        )
        self.out = nn.Linear(width, 10)
        self.act = act
        if scale is not None:
            for layer in self.down:
                nn.init.normal_(layer.weight, std=scale / math.sqrt(width))
                nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = self.inp(x)
        for up, down, norm in zip(self.up, self.down, self.norms, strict=True):
            x = x + down(self.act(up(norm(x))))
        return self.out(x)


@setup("residual mlp", "healthy", remedy="branches that do not start at zero, layer norm")
def residual_zero_branches(cured):
    x, y = digits()
    model = ResidualMLP(scale=0.3, norm=True) if cured else ResidualMLP(scale=0.0)
    return model, classify, batched(x, y), adam()


@setup("residual mlp", "healthy", remedy="He initialisation of the last layer")
def zero_last_layer(cured):
    x, y = digits()
    model = ResidualMLP(blocks=4, scale=0.5)
    if not cured:
        nn.init.zeros_(model.out.weight)
    return model, classify, batched(x, y), lambda p: optim.AdamW(p, lr=1e-3)


# --- Recurrent: healthy --------------------------------------------------------------------------


class Reader(nn.Module):
    """A torch module over time and a read-out of its last output."""

    def __init__(self, kind, n_in, hidden, n_out):
        super().__init__()
        self.rnn = kind(n_in, hidden, batch_first=True)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@setup("recurrent", "healthy", remedy="gradient clipping's cousin: a lower rate")
def lstm_on_rows(cured):
    x, y = digits(8, 8)
    return Reader(nn.LSTM, 8, 48, 10), classify, batched(x, y), adam(3e-3 if cured else 5e-3)


@setup("recurrent", "healthy", remedy="LSTM in place of GRU")
def gru_on_rows(cured):
    x, y = digits(8, 8)
    kind = nn.LSTM if cured else nn.GRU
    return Reader(kind, 8, 40, 10), classify, batched(x, y), adam(5e-3)


def waves(steps, size=1024):
    phase = 2 * math.pi * torch.rand(size, 1)
    speed = 0.2 + 0.3 * torch.rand(size, 1)
    signal = torch.sin(phase + speed * torch.arange(steps + 1))
    return signal[:, :-1, None], signal[:, 1:, None]


class Forecaster(nn.Module):
    def __init__(self, kind=nn.RNN, hidden=32):
        super().__init__()
        self.cell = kind(1, hidden, batch_first=True)
        self.read = nn.Linear(hidden, 1)

    def forward(self, x):
        states, _ = self.cell(x)
        return self.read(states)


@setup("recurrent", "healthy", remedy="GRU in place of a plain RNN")
def rnn_that_needs_no_memory(cured):
    """The next value of a sine needs two steps back; the gradient over forty is gone."""
    x, y = waves(40)
    return Forecaster(nn.GRU if cured else nn.RNN), fit, batched(x, y), adam(5e-3)


@setup("recurrent", "healthy", remedy="forget biases of 2")
def lstm_that_needs_the_last_steps(cured):
    x = torch.randn(2048, 40, 3)
    y = (x[:, -3:].sum(dim=(1, 2)) > 0).long()
    model = Reader(nn.LSTM, 3, 32, 2)
    if cured:
        with torch.no_grad():
            model.rnn.bias_ih_l0[32:64] = 2.0
    return model, classify, batched(x, y), adam(5e-3)


@setup("recurrent", "healthy", remedy="forget biases of 1")
def lstm_with_open_gates(cured):
    """Saturated forget gates, on purpose: the first sign has to last for forty steps."""
    x = 0.3 * torch.randn(2048, 40, 1)
    y = torch.randint(2, (2048,))
    x[:, 0, 0] = 2.0 * y - 1
    model = Reader(nn.LSTM, 1, 32, 2)
    with torch.no_grad():
        model.rnn.bias_ih_l0[32:64] = 3.0 if cured else 6.0
    return model, classify, batched(x, y), adam(5e-3)


# --- Attention, embeddings, GANs, low precision: healthy -----------------------------------------


class TinyTransformer(nn.Module):
    def __init__(self, vocabulary, classes, width=32, depth=2, norm_first=True, steps=16):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(0.1 * torch.randn(steps, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 64, 0.0, activation="gelu", batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens) + self.position).mean(dim=1))


def majority(size=1024, steps=16, vocabulary=12):
    tokens = torch.randint(vocabulary, (size, steps))
    return tokens, ((tokens < vocabulary // 2).sum(dim=1) > steps // 2).long()


@setup("attention", "healthy", remedy="norm after the branches")
def transformer_pre_norm(cured):
    tokens, y = majority()
    return TinyTransformer(12, 2, norm_first=not cured), classify, batched(tokens, y), adam(2e-3)


class PatchAttention(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.qkv = nn.Linear(8, 96)
        self.proj = nn.Linear(32, 10)
        self.scale = scale

    def forward(self, rows):
        q, k, v = self.qkv(rows).chunk(3, dim=-1)
        weights = (q @ k.transpose(1, 2) * self.scale).softmax(dim=-1)
        return self.proj((weights @ v).flatten(1).unflatten(1, (8, 32)).amax(dim=1))


@setup("attention", "healthy", remedy="logits scaled by the root of the width")
def unscaled_attention_still_fine(cured):
    x, y = digits(8, 8)
    x = x + torch.linspace(-1, 1, 8)[None, :, None]
    return PatchAttention(32**-0.5 if cured else 1.0), classify, batched(x, y), adam(1e-2)


@setup("embedding", "healthy", remedy="a lower rate")
def rare_words(cured):
    """Most rows of the table get no gradient in most steps."""
    frequency = 1 / torch.arange(1.0, 2001.0)
    words = torch.multinomial(frequency, 1500 * 20, replacement=True).view(1500, 20)
    taste = torch.randn(2000)
    y = (taste[words].mean(dim=1) > 0).long()
    model = nn.Sequential(nn.EmbeddingBag(2000, 24), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))
    return model, classify, batched(words, y), adam(1e-2 if cured else 2e-2)


class TiedModel(nn.Module):
    """A language model whose read-out is its embedding."""

    def __init__(self, vocabulary=30, width=48, kind=nn.GRU):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.table.weight, std=0.3)
        self.core = kind(width, width, batch_first=True)

    def forward(self, tokens):
        states, _ = self.core(self.table(tokens))
        return states @ self.table.weight.T


@setup("embedding", "healthy", remedy="LSTM in place of GRU")
def tied_language_model(cured):
    step = torch.randint(1, 4, (1024, 1))
    tokens = (torch.randint(30, (1024, 1)) + step * torch.arange(16)) % 30

    def loss(model, batch):
        out = model(batch[:, :-1])
        return F.cross_entropy(out.reshape(-1, 30), batch[:, 1:].reshape(-1))

    model = TiedModel(kind=nn.LSTM if cured else nn.GRU)
    return model, loss, list(tokens.split(64)), adam(5e-3)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = stack([4, 48, 48, 2], nn.LeakyReLU)

    def forward(self, z):
        return self.net(z)


def away_from(centre, model, batch):
    """How far the generated points are from where the real ones lie."""
    with torch.no_grad():
        return (model(batch) - centre).pow(2).sum(dim=1).mean().sqrt()


@setup("gan", "healthy", remedy="batch norm")
def generator_against_gentle_critic(cured):
    centre = torch.tensor([1.0, -1.0])

    def critic(points):  # the logit of a discriminator trained for a while
        return 1 - 0.5 * (points - centre).pow(2).sum(dim=1)

    def loss(model, noise):
        return F.softplus(-critic(model(noise))).mean()

    model = Generator()
    if cured:
        model.net = stack([4, 48, 48, 2], nn.LeakyReLU, norm=True)
    return model, loss, list(torch.randn(2048, 4).split(64)), adam(2e-3, betas=(0.5, 0.999))


@setup("low precision", "healthy", remedy="single precision")
def bfloat_weights(cured):
    kind = torch.float32 if cured else torch.bfloat16
    x, y = digits()
    model = he(stack([64, 128, 128, 10], nn.ReLU)).to(kind)

    def loss(model, batch):
        return F.cross_entropy(model(batch[0].to(kind)).float(), batch[1])

    return model, loss, batched(x, y), sgd(0.1)


# --- Vanishing: activation, scale, depth ---------------------------------------------------------


@setup("mlp", "gradient", "activation", remedy="ReLU and He initialisation")
def deep_sigmoid(cured):
    x, y = digits()
    model = stack([64] * 9 + [10], nn.ReLU if cured else nn.Sigmoid)
    return he(model) if cured else model, classify, batched(x, y), sgd(0.02, momentum=0.9)


class HandWrittenSigmoids(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act
        self.a = nn.Linear(64, 40)
        self.b = nn.Linear(40, 40)
        self.c = nn.Linear(40, 40)
        self.d = nn.Linear(40, 40)
        self.e = nn.Linear(40, 40)
        self.f = nn.Linear(40, 10)
        for layer in linears(self):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        for layer in (self.a, self.b, self.c, self.d, self.e):
            x = self.act(layer(x))
        return self.f(x)


@setup("mlp", "gradient", "activation", remedy="tanh in place of sigmoid")
def functional_sigmoids(cured):
    x, y = digits()
    model = HandWrittenSigmoids(torch.tanh if cured else torch.sigmoid)
    return model, classify, batched(x, y, size=50), sgd(0.2)


@setup("autoencoder", "gradient", "activation", remedy="ELU inside")
def sigmoid_autoencoder(cured):
    x, _ = digits()
    inside = nn.ELU if cured else nn.Sigmoid
    x = (x - x.mean(dim=0)) / (x.std(dim=0) + 0.1)
    model = stack([64, 48, 32, 16, 32, 48, 64], inside)

    def loss(model, batch):
        return F.mse_loss(model(batch), batch)

    return model, loss, list(x.split(64))[:-1], sgd(0.2, momentum=0.9)


@setup("mlp", "gradient", "weight scale", remedy="orthogonal initialisation")
def small_tanh(cured):
    x, y = digits()
    model = stack([64] * 16 + [10], nn.Tanh)
    if cured:
        orthogonal(model)
    else:
        for layer in linears(model):
            nn.init.normal_(layer.weight, std=0.05)
    return model, classify, batched(x - x.mean(), y), sgd(0.05, momentum=0.9)


@setup("mlp", "gradient", "weight scale", remedy="He initialisation")
def default_init_deep_relu(cured):
    x, y = digits()
    model = stack([64] * 16 + [10], nn.ReLU)
    return he(model) if cured else model, classify, batched(x, y), sgd(0.02, momentum=0.9)


class DeepPlain(nn.Module):
    """Many blocks of the same kind, by a configuration, as in a script with argparse."""

    def __init__(self, width=48, depth=12, std=0.02):
        super().__init__()
        self.inp = nn.Linear(64, width)
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.out = nn.Linear(width, 10)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, std)

    def forward(self, x):
        x = F.relu(self.inp(x))
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.out(x)


@setup("mlp", "gradient", "weight scale", remedy="He initialisation")
def transformer_init_in_an_mlp(cured):
    x, y = digits()
    model = he(DeepPlain()) if cured else DeepPlain()
    return model, classify, batched(x, y), adam()


@setup("conv", "gradient", "weight scale", remedy="He initialisation")
def deep_plain_convnet(cured):
    x, y = digits(1, 8, 8)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()]
    for _ in range(11):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if not cured:
                layer.weight.data *= 0.4
    return model, classify, batched(x, y, size=32), sgd(0.02, momentum=0.9)


@setup("embedding", "gradient", "weight scale", remedy="entries around a half")
def factors_that_start_too_small(cured):
    """Matrix factorisation stuck at its saddle."""
    std = 0.5 if cured else 1e-4
    users, items = torch.randn(100, 4), torch.randn(80, 4)
    u, i = torch.randint(100, (4096,)), torch.randint(80, (4096,))
    rating = (users[u] * items[i]).sum(dim=1) / 2

    class Factors(nn.Module):
        def __init__(self):
            super().__init__()
            self.user = nn.Embedding(100, 8)
            self.item = nn.Embedding(80, 8)
            nn.init.normal_(self.user.weight, std=std)
            nn.init.normal_(self.item.weight, std=std)

        def forward(self, u, i):
            return (self.user(u) * self.item(i)).sum(dim=1)

    def loss(model, batch):
        user, item, target = batch
        return F.mse_loss(model(user, item), target)

    return Factors(), loss, batched(u, i, rating, size=256), sgd(1.0)


@setup("mlp", "gradient", "depth", remedy="skip connections and layer norm")
def fifty_relu_layers(cured):
    x, y = digits()
    if cured:
        model = ResidualMLP(blocks=20, width=32, scale=0.3, norm=True)
    else:
        model = he(stack([64] + [24] * 50 + [10], nn.ReLU))
    return model, classify, batched(x, y), sgd(0.02, momentum=0.9)


@setup("conv", "gradient", "depth", remedy="skip connections with batch norm")
def thirty_plain_convolutions(cured):
    x, y = digits(1, 8, 8)
    if cured:
        return TinyResNet(zero=True), classify, batched(x, y, size=32), sgd(0.05, momentum=0.9)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()]
    for _ in range(29):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 10))
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return model, classify, batched(x, y, size=32), sgd(0.05, momentum=0.9)


# --- Saturation and dead units -------------------------------------------------------------------


@setup("mlp", "gradient", "saturation", remedy="Glorot initialisation")
def saturated_tanh(cured):
    x, y = digits()
    model = stack([64, 100, 100, 100, 100, 10], nn.Tanh)
    for layer in linears(model):
        if cured:
            nn.init.xavier_normal_(layer.weight)
        else:
            nn.init.normal_(layer.weight, std=2.0)
    return model, classify, batched(x - x.mean(), y), sgd(0.05, momentum=0.9)


@setup("one layer", "gradient", "saturation", where=("2", "3"), remedy="biases of zero")
def one_saturated_layer(cured):
    x, y = digits()
    model = stack([64, 64, 64, 64, 10], nn.Tanh)
    if not cured:
        nn.init.constant_(model[2].bias, 12.0)
    return model, classify, batched(x, y), adam()


@setup(
    "attention",
    "gradient",
    "saturation",
    where=("query", "key", "attend"),
    remedy="logits divided by the root of the width",
)
def attention_logits_in_the_hundreds(cured):
    """Which token stands at the place asked for? That needs attention that can move."""
    tokens = torch.randint(8, (4096, 8))
    place = torch.randint(8, (4096,))
    y = tokens[torch.arange(4096), place]

    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Embedding(8, 32)
            self.place = nn.Embedding(8, 32)
            self.query = nn.Linear(32, 32)
            self.key = nn.Linear(32, 32)
            self.value = nn.Linear(32, 32)
            self.attend = nn.Softmax(dim=-1)
            self.head = nn.Linear(32, 8)
            if not cured:
                nn.init.normal_(self.query.weight, std=5.0)
                nn.init.normal_(self.key.weight, std=5.0)

        def forward(self, tokens, place):
            x = self.token(tokens) + self.place.weight
            q = self.query(self.place(place))[:, None]
            scores = q @ self.key(x).transpose(1, 2) / math.sqrt(32)
            return self.head((self.attend(scores) @ self.value(x))[:, 0])

    def loss(model, batch):
        tokens, place, y = batch
        return F.cross_entropy(model(tokens, place), y)

    return Lookup(), loss, batched(tokens, place, y), adam(3e-3)


@setup(
    "gan",
    "gradient",
    "saturation",
    remedy="the loss -log D in place of log(1 - D)",
    judge=partial(away_from, torch.tensor([3.0, 3.0])),
)
def saturated_discriminator(cured):
    """The loss of the original game against a discriminator that is sure of itself."""

    def logit(points):
        return 10 - 6 * (points - 3.0).pow(2).sum(dim=1).sqrt()

    def loss(model, noise):
        scores = logit(model(noise))
        if cured:
            return F.softplus(-scores).mean()
        return torch.log(1 - torch.sigmoid(scores) + 1e-9).mean()

    return Generator(), loss, list(torch.randn(2048, 4).split(64)), sgd(0.02)


@setup("one layer", "gradient", "dead units", where=("4", "5"), remedy="biases of zero")
def one_dead_relu_layer(cured):
    x, y = digits()
    model = he(stack([64, 64, 64, 64, 10], nn.ReLU))
    if not cured:
        nn.init.constant_(model[4].bias, -20.0)
    return model, classify, batched(x, y), adam()


@setup("conv", "gradient", "dead units", where=("conv2",), remedy="biases of zero")
def dead_convolution(cured):
    x, y = digits(1, 8, 8)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 12, 3)
            self.conv2 = nn.Conv2d(12, 24, 3)
            self.fc1 = nn.Linear(384, 64)
            self.fc2 = nn.Linear(64, 10)
            if not cured:
                nn.init.constant_(self.conv2.bias, -8.0)

        def forward(self, x):
            x = F.relu(self.conv1(x))
            x = F.relu(self.conv2(x)).flatten(1)
            return self.fc2(F.relu(self.fc1(x)))

    return Net(), classify, batched(x, y, size=32), adam()


@setup("mlp", "gradient", "dead units", where=("0", "1"), remedy="inputs with mean zero")
def dead_after_bad_biases(cured):
    x, y = digits()
    model = stack([64, 128, 64, 10], nn.ReLU)
    if not cured:
        nn.init.uniform_(model[0].bias, -6.0, -4.0)
    return model, classify, batched(x, y), sgd(0.1)


@setup("one layer", "gradient", "weight scale", where=("hidden.5",), remedy="the others' scale")
def one_tiny_layer(cured):
    x, y = digits()
    model = he(DeepPlain(depth=8))
    if not cured:
        nn.init.normal_(model.hidden[5].weight, std=1e-5)
    return model, classify, batched(x, y), sgd(0.015)


@setup("one layer", "gradient", "weight scale", where=("squeeze",), remedy="a factor of one")
def one_factor_far_too_small(cured):
    """A factor that nobody trains, meant as a temperature and turned upside down."""
    x = torch.randn(1024, 10)
    y = torch.tanh(x @ torch.randn(10, 3)) + x[:, :3] * x[:, 3:6]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = orthogonal(stack([10, 40, 40, 40], nn.Tanh))
            self.squeeze = nn.Linear(40, 40)
            self.out = nn.Linear(40, 3)
            self.register_buffer("factor", torch.tensor(1.0 if cured else 1e-4))

        def forward(self, x):
            x = torch.tanh(self.trunk(x))
            return self.out(torch.tanh(self.factor * self.squeeze(x)))

    return Net(), fit, batched(x, y, size=32), sgd(0.1)


# --- Recurrent vanishing -------------------------------------------------------------------------


def first_symbol(steps, classes=4, size=2048, noise=0.1):
    """One-hot class at the first step, noise afterwards."""
    y = torch.randint(classes, (size,))
    x = noise * torch.randn(size, steps, classes)
    x[:, 0] += F.one_hot(y, classes)
    return x, y


def set_recurrent(rnn, gain):
    nn.init.orthogonal_(rnn.weight_hh_l0, gain)
    nn.init.zeros_(rnn.bias_hh_l0)
    nn.init.zeros_(rnn.bias_ih_l0)


@setup(
    "recurrent",
    "gradient",
    "recurrent factor",
    where=("lag", 5, 60),
    remedy="orthogonal recurrent weights",
)
def tanh_rnn_forgets_the_first(cured):
    x, y = first_symbol(60, noise=0.2)
    model = Reader(nn.RNN, 4, 32, 4)
    set_recurrent(model.rnn, 1.0 if cured else 0.5)
    return model, classify, batched(x, y), adam(1.5e-3)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 5, 70), remedy="LSTM, open gates")
def default_rnn_recall(cured):
    x, y = first_symbol(70, classes=3)
    model = Reader(nn.LSTM if cured else nn.RNN, 3, 32, 3)
    if cured:
        with torch.no_grad():
            model.rnn.bias_ih_l0[32:64] = 5.0
    return model, classify, batched(x, y), adam(2e-3)


class HandCell(nn.Module):
    def __init__(self, n_in, n, act, gain):
        super().__init__()
        self.W = nn.Parameter(torch.randn(n_in, n) / math.sqrt(n_in))
        self.U = nn.Parameter(gain * nn.init.orthogonal_(torch.empty(n, n)))
        self.b = nn.Parameter(torch.zeros(n))
        self.act = act

    def forward(self, x, h):
        return self.act(x @ self.W + h @ self.U + self.b)


class HandRNN(nn.Module):
    def __init__(self, n_in, n, n_out, act=torch.tanh, gain=1.0):
        super().__init__()
        self.cell = HandCell(n_in, n, act, gain)
        self.readout = nn.Linear(n, n_out)
        self.n = n

    def forward(self, x):
        h = x.new_zeros(len(x), self.n)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.readout(h)


@setup("recurrent", "gradient", "activation", where=("lag", 3, 30), remedy="tanh, orthogonal")
def sigmoid_cell(cured):
    x, y = first_symbol(30)
    model = HandRNN(4, 32, 4, torch.tanh if cured else torch.sigmoid)
    return model, classify, batched(x, y), adam(2e-3)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 4, 40), remedy="identity weights")
def relu_cell_too_small(cured):
    y = torch.rand(2048, 1)
    x = torch.zeros(2048, 40, 2)
    x[:, 0, 0] = y[:, 0]
    x[:, :, 1] = 0.1 * torch.randn(2048, 40)
    model = HandRNN(2, 32, 1, torch.relu)
    with torch.no_grad():
        model.cell.U.copy_(torch.eye(32) * (1.0 if cured else 0.4))
    return model, fit, batched(x, y - 0.5), adam(1e-3)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 5, 60), remedy="GRU, open gates")
def blank_rows_after_a_digit(cured):
    """Eight rows of a digit, fifty blank rows, then the question which digit it was."""
    x, y = digits(8, 8)
    x = torch.cat([x, torch.zeros(len(x), 50, 8)], dim=1)
    model = Reader(nn.GRU if cured else nn.RNN, 8, 48, 10)
    if cured:
        with torch.no_grad():
            model.rnn.bias_ih_l0[48:96] = 4.0
    return model, classify, batched(x, y), adam(1.5e-3 if not cured else 5e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 3, 40), remedy="forget biases of 5")
def lstm_that_forgets(cured):
    x, y = first_symbol(40)
    model = Reader(nn.LSTM, 4, 32, 4)
    with torch.no_grad():
        model.rnn.bias_ih_l0[32:64] = 5.0 if cured else -2.0
    return model, classify, batched(x, y), adam(2e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 8, 70), remedy="forget biases of 6")
def default_lstm_long_lag(cured):
    x, y = first_symbol(70)
    model = Reader(nn.LSTM, 4, 24, 4)
    if cured:
        with torch.no_grad():
            model.rnn.bias_ih_l0[24:48] = 6.0
    return model, classify, batched(x, y), adam(3e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 3, 40), remedy="update biases of 5")
def gru_that_overwrites(cured):
    x, y = first_symbol(40)
    model = Reader(nn.GRU, 4, 32, 4)
    with torch.no_grad():
        model.rnn.bias_ih_l0[32:64] = 5.0 if cured else -3.0
    return model, classify, batched(x, y), adam(2e-3)


class CellLoop(nn.Module):
    """nn.LSTMCell in a loop, over time-major tokens."""

    def __init__(self, vocabulary, hidden, forget):
        super().__init__()
        self.emb = nn.Embedding(vocabulary, 16)
        self.lstm = nn.LSTMCell(16, hidden)
        self.fc = nn.Linear(hidden, vocabulary)
        with torch.no_grad():
            self.lstm.bias_ih.zero_()
            self.lstm.bias_hh.zero_()
            self.lstm.bias_ih[hidden : 2 * hidden] = forget

    def forward(self, tokens):
        h = c = torch.zeros(tokens.shape[1], self.lstm.hidden_size)
        for t in tokens:
            h, c = self.lstm(self.emb(t), (h, c))
        return self.fc(h)


@setup("recurrent", "gradient", "forget gate", where=("lag", 3, 30), remedy="forget biases of 5")
def lstm_cell_over_tokens(cured):
    random = torch.Generator().manual_seed(int(torch.randint(2**31, ())))

    def stream():
        while True:
            y = torch.randint(4, (48,), generator=random)
            tokens = torch.randint(4, 8, (30, 48), generator=random)
            tokens[0] = y
            yield {"tokens": tokens, "target": y}

    def loss(model, batch):
        return F.cross_entropy(model(batch["tokens"]), batch["target"])

    return CellLoop(8, 32, 5.0 if cured else -1.5), loss, stream(), adam(5e-3)


# --- Explosion and low precision -----------------------------------------------------------------


@setup("mlp", "gradient", "explosion", remedy="He initialisation")
def exploding_relu(cured):
    x, y = digits()
    model = he(stack([64] * 13 + [10], nn.ReLU))
    if not cured:
        for layer in linears(model):
            layer.weight.data *= 2.5
    return model, classify, batched(x, y), sgd(0.02)


@setup("residual mlp", "gradient", "explosion", remedy="branches of scale 1/10")
def exploding_branches(cured):
    x, y = digits()
    model = ResidualMLP(blocks=24, scale=0.1 if cured else 3.0)
    return model, classify, batched(x, y), sgd(0.02, momentum=0.9)


@setup("recurrent", "gradient", "explosion", where=("lag", 3, 40), remedy="identity weights")
def exploding_recurrence(cured):
    """A running sum."""
    x = torch.rand(2048, 40, 1) / 4
    y = x.sum(dim=1) - 5
    model = HandRNN(1, 32, 1, torch.relu)
    with torch.no_grad():
        model.cell.U.copy_(torch.eye(32) * (1.0 if cured else 1.35))
    return model, fit, batched(x, y), sgd(3e-4)


@setup("low precision", "gradient", "low precision", remedy="single precision")
def half_precision_underflow(cured):
    kind = torch.float32 if cured else torch.float16
    x, y = digits()
    model = he(stack([64, 96, 96, 10], nn.ReLU)).to(kind)

    def loss(model, batch):
        return (F.cross_entropy(model(batch[0].to(kind)), batch[1]) * 1e-6).to(kind)

    return model, loss, batched(x, y), sgd(6e4)


@setup("low precision", "gradient", "low precision", remedy="single precision weights")
def bfloat_updates_lost(cured):
    """Steps too small for eight bits."""
    kind = torch.float32 if cured else torch.bfloat16
    x, y = digits()
    model = he(stack([64, 128, 128, 10], nn.ReLU)).to(kind)

    def loss(model, batch):
        return F.cross_entropy(model(batch[0].to(kind)).float(), batch[1])

    return model, loss, batched(x, y), adam(2e-5)


# --- Not the gradient's fault --------------------------------------------------------------------


@setup("mlp", "other", "learning rate", remedy="a rate of 0.1")
def rate_far_too_small(cured):
    x, y = digits()
    model = he(stack([64, 128, 128, 10], nn.ReLU))
    return model, classify, batched(x, y), sgd(0.1 if cured else 1e-5)


@setup("conv", "other", "learning rate", remedy="a rate of 0.002")
def adam_rate_far_too_small(cured):
    x, y = digits(1, 8, 8)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten()
    )
    model.append(nn.Linear(256, 10))
    return model, classify, batched(x, y), adam(2e-3 if cured else 1e-6)


@setup("mlp", "other", "learning rate", remedy="a rate of 0.001")
def adam_rate_of_one(cured):
    x, y = digits()
    return stack([64, 64, 64, 10], nn.ReLU), classify, batched(x, y), adam(1e-3 if cured else 1.0)


@setup("attention", "other", "learning rate", remedy="a rate of 0.002")
def transformer_rate_too_large(cured):
    tokens, y = majority()
    return TinyTransformer(12, 2), classify, batched(tokens, y), adam(2e-3 if cured else 0.5)


@setup("mlp", "other", "data", remedy="labels that belong to their images")
def labels_shuffled(cured):
    x, y = digits()

    def stream():
        while True:
            rows = torch.randint(len(x), (64,))
            wrong = torch.randint(len(x), (64,))
            yield x[rows], y[rows if cured else wrong]

    return he(stack([64, 128, 128, 10], nn.ReLU)), classify, stream(), adam()


@setup("conv", "other", "data", remedy="the images")
def all_inputs_equal(cured):
    x, y = digits(1, 8, 8)
    if not cured:
        x = x[:1].expand_as(x)
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
    return model, classify, batched(x, y), adam(3e-3)


@setup("recurrent", "other", "data", remedy="inputs that are not multiplied by zero")
def zeroed_sequences(cured):
    x, y = digits(8, 8)
    x = x if cured else x * 0
    return Reader(nn.GRU, 8, 40, 10), classify, batched(x, y), adam(5e-3)


@setup("regression", "other", "data", remedy="standardised inputs")
def a_column_in_the_thousands(cured):
    x = torch.randn(2048, 6)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
    scale = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0 if cured else 5000.0])
    return stack([6, 64, 64, 1], nn.ReLU), fit, batched(x * scale, y), adam(3e-3)


class EncoderHead(nn.Module):
    """Keeps the encoder's output off the graph, as someone did to save memory."""

    def __init__(self, detach):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 2), nn.Tanh())
        self.head = nn.Linear(2, 4)
        self.detach = detach

    def forward(self, x):
        code = self.encoder(x)
        if self.detach:
            code = code.detach()
        return self.head(code)


@setup("one layer", "other", "detached", where=("encoder",), remedy="no detach")
def detached_encoder(cured):
    x = torch.randn(2048, 8)
    y = (x[:, 0] * x[:, 1] > 0).long() + 2 * (x[:, 2] * x[:, 3] > 0).long()
    return EncoderHead(not cured), classify, batched(x, y), adam(1e-2)


class NoGradFeatures(nn.Module):
    def __init__(self, off):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.middle = nn.Linear(36, 6)
        self.classifier = nn.Linear(6, 10)
        self.off = off

    def forward(self, x):
        with torch.set_grad_enabled(not self.off and torch.is_grad_enabled()):
            x = torch.relu(self.middle(self.features(x)))
        return self.classifier(x)


@setup(
    "conv",
    "other",
    "detached",
    where=("features", "middle"),
    remedy="no no_grad in training",
)
def features_under_no_grad(cured):
    x, y = digits(1, 8, 8)
    return NoGradFeatures(not cured), classify, batched(x, y), adam(5e-3)


@setup("mlp", "other", "optimizer epsilon", remedy="an epsilon of 1e-8")
def adam_with_a_huge_epsilon(cured):
    x, y = digits()
    model = he(stack([64, 128, 128, 10], nn.ReLU))
    return model, classify, batched(x, y), adam(1e-3, eps=1e-8 if cured else 1.0)


@setup("mlp", "other", "optimizer epsilon", remedy="an epsilon of 1e-12")
def adam_and_a_loss_in_millionths(cured):
    """A rescaled loss does matter where epsilon is not rescaled with it."""
    x, y = digits()

    def loss(model, batch):
        return 1e-8 * classify(model, batch)

    optimizer = adam(1e-3, eps=1e-14 if cured else 1e-8)
    return stack([64, 64, 64, 10], nn.ReLU), loss, batched(x, y), optimizer


@setup("mlp", "other", "weight decay", remedy="a decay of 1e-4")
def decayed_to_nothing(cured):
    x, y = digits()
    model = he(stack([64, 96, 96, 10], nn.ReLU))
    return model, classify, batched(x, y), sgd(0.1, weight_decay=1e-4 if cured else 1.0)


@setup("residual mlp", "other", "weight decay", remedy="a decay of 0.01")
def adamw_decay_of_a_hundred(cured):
    x, y = digits()
    model = ResidualMLP(blocks=4, scale=0.3)
    decay = 0.01 if cured else 100.0
    return model, classify, batched(x, y), lambda p: optim.AdamW(p, 2e-3, weight_decay=decay)


# --- Where the loss alone misleads: it hardly falls, and all is well -----------------------------


@setup("mlp", "healthy", remedy="batch norm", steps=600)
def clicks_hardly_predictable(cured):
    """Most of the loss is chance."""
    x = torch.randn(2**16, 12)
    chance = torch.sigmoid(0.5 * x[:, 0] - 0.4 * x[:, 1] * x[:, 2] - 1)
    y = torch.bernoulli(chance)
    model = stack([12, 32, 32, 1], nn.ReLU, norm=cured)
    nn.init.constant_(model[-1].bias, -1.0)
    nn.init.zeros_(model[-1].weight)

    def loss(model, batch):
        return F.binary_cross_entropy_with_logits(model(batch[0])[:, 0], batch[1])

    return model, loss, batched(x, y, size=512), adam(2e-3)


@setup("regression", "healthy", remedy="batch norm", steps=600)
def weak_signal(cured):
    x = torch.randn(2**16, 10)
    y = 0.25 * torch.sin(x[:, :1]) + 0.25 * x[:, 1:2] * x[:, 2:3] + torch.randn(2**16, 1)
    model = stack([10, 64, 64, 1], nn.GELU, norm=cured)
    nn.init.zeros_(model[-1].weight)
    return model, fit, batched(x, y, size=512), adam(2e-3)


@setup("mlp", "healthy", remedy="a wider network", steps=800)
def parity_takes_its_time(cured):
    """Nothing for a hundred steps and more, then everything."""
    x = (torch.randint(2, (2**16, 16)) * 2 - 1).float()
    y = (x[:, 0] * x[:, 3] * x[:, 7] > 0).long()
    model = stack([16, 192 if cured else 128, 2], nn.ReLU)
    return model, classify, batched(x, y, size=128), adam(3e-3)


# --- and the other way round: it falls, and much is wrong ----------------------------------------


@setup("one layer", "gradient", "dead units", where=("hidden.1",), remedy="biases of zero")
def dead_layer_and_rare_classes(cured):
    """The read-out's biases alone learn which class is common."""
    x, y = digits()
    y = (y == 3).long()
    model = DeepPlain(width=64, depth=3)
    he(model)
    if not cured:
        nn.init.constant_(model.hidden[1].bias, -25.0)
    return model, classify, batched(x, y), sgd(0.1, momentum=0.9)


@setup("regression", "gradient", "activation", remedy="tanh, Glorot initialisation")
def sigmoids_and_targets_far_from_zero(cured):
    x = torch.randn(2048, 8)
    y = 1 + torch.sin(2 * x[:, :1]) + 0.5 * x[:, 1:2]
    model = stack([8] + [48] * 6 + [1], nn.Tanh if cured else nn.Sigmoid)
    if cured:
        for layer in linears(model):
            nn.init.xavier_normal_(layer.weight)
    return model, fit, batched(x, y), sgd(0.02, momentum=0.9)


@setup("recurrent", "gradient", "recurrent factor", where=("lag", 5, 50), remedy="LSTM, open gates")
def the_last_is_easy_the_first_is_not(cured):
    """Two questions, about the first and the last symbol."""
    first, y = first_symbol(50)
    z = torch.randint(4, (2048,))
    first[:, -1] += F.one_hot(z, 4)
    model = Reader(nn.LSTM if cured else nn.RNN, 4, 32, 8)
    if cured:
        with torch.no_grad():
            model.rnn.bias_ih_l0[32:64] = 5.0

    def loss(model, batch):
        x, y, z = batch
        out = model(x)
        return F.cross_entropy(out[:, :4], y) + F.cross_entropy(out[:, 4:], z)

    return model, loss, batched(first, y, z), adam(2e-3)


@setup("recurrent", "gradient", "forget gate", where=("lag", 4, 40), remedy="forget biases of 5")
def level_and_last_value(cured):
    """The last reading, which is at hand, and the level at the start, which is forgotten."""
    level = torch.randn(2048, 1)
    x = torch.randn(2048, 40, 1) * 0.5
    x[:, 0] += level
    y = torch.cat([x[:, -1], level], dim=1)
    model = Reader(nn.LSTM, 1, 32, 2)
    with torch.no_grad():
        model.rnn.bias_ih_l0[32:64] = 5.0 if cured else -1.0
    return model, fit, batched(x, y), adam(2e-3)


@setup("mlp", "other", "learning rate", remedy="a rate of 0.2")
def rate_merely_too_small(cured):
    x, y = digits()
    model = he(stack([64, 96, 96, 10], nn.ReLU))
    return model, classify, batched(x, y), sgd(0.2 if cured else 1e-3)


@setup("mlp", "other", "optimizer epsilon", remedy="an epsilon of 1e-8")
def epsilon_of_a_tenth(cured):
    x, y = digits()
    model = he(stack([64, 96, 96, 96, 10], nn.ReLU))
    return model, classify, batched(x, y), adam(1e-3, eps=1e-8 if cured else 0.3)


class Siamese(nn.Module):
    def __init__(self, keep):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 8), nn.ReLU())
        self.compare = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
        self.keep = keep

    def forward(self, a, b):
        a, b = self.backbone(a), self.backbone(b)
        if not self.keep:
            a, b = a.data, b.data
        return self.compare(torch.cat([(a - b).abs(), a * b], dim=1))[:, 0]


@setup("embedding", "other", "detached", where=("backbone",), remedy="no .data")
def pairs_through_data(cured):
    """Same digit or not? One pair in four is."""
    x, y = digits()
    x, y = x[y < 4], y[y < 4]
    a, b = torch.randint(len(x), (4096,)), torch.randint(len(x), (4096,))
    same = (y[a] == y[b]).float()

    def loss(model, batch):
        return F.binary_cross_entropy_with_logits(model(batch[0], batch[1]), batch[2])

    return Siamese(cured), loss, batched(x[a], x[b], same), adam(3e-3)
