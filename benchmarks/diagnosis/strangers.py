"""More set-ups for development, written by someone who had not seen the instrument.

The author knew what `vglib.diagnose` promises, setups.py and label.py, and neither its code nor the
other set-ups. Causes are what the author meant, before any training.
"""

import copy
import functools
import itertools
import math

import torch
import torch.nn.functional as F
from setups import batched, collection, digits
from sklearn import datasets
from torch import nn

SETUPS, setup = collection()


def ce(model, batch):
    x, y = batch
    return F.cross_entropy(model(x).float(), y)


def mse(model, batch):
    x, y = batch
    return F.mse_loss(model(x).float().reshape(y.shape), y)


def reconstruct(model, batch):
    (x,) = batch
    return F.mse_loss(model(x), x)


def adam(lr=1e-3, **more):
    return functools.partial(torch.optim.Adam, lr=lr, **more)


def sgd(lr=0.1, **more):
    return functools.partial(torch.optim.SGD, lr=lr, **more)


def mlp(*sizes, act=nn.ReLU):
    layers = []
    for one, two in itertools.pairwise(sizes):
        layers += [nn.Linear(one, two), act()]
    return nn.Sequential(*layers[:-1])


def linears(model):
    return [one for one in model.modules() if isinstance(one, nn.Linear | nn.Conv2d)]


def random_state():
    return int(torch.randint(2**31 - 1, ()))


def standard(x):
    return (x - x.mean(0)) / (x.std(0) + 1e-6)


def table(load, scaled=True):
    """A small table of scikit-learn, shuffled."""
    x, y = load(return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32)
    order = torch.randperm(len(x))
    return (standard(x) if scaled else x)[order], torch.tensor(y)[order]


# Tables and multilayer perceptrons


def moons_loss(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch["point"])[:, 0], batch["label"])


@setup("mlp", "healthy", remedy="Adam")
def e_moons_momentum(cured):
    x, y = datasets.make_moons(1024, noise=0.25, random_state=random_state())
    x, y = torch.tensor(x).float(), torch.tensor(y).float()
    batches = [{"point": a, "label": b} for a, b in batched(x, y)]
    model = mlp(2, 32, 32, 1, act=nn.Tanh)
    return model, moons_loss, batches, adam(3e-3) if cured else sgd(0.1, momentum=0.9)


def ce_in_millionths(model, batch):
    return ce(model, batch) * 1e-6


@setup("mlp", "healthy", remedy="the loss at its usual scale", judge=ce)
def e_micro_loss_big_steps(cured):
    model = mlp(64, 64, 64, 10)
    loss = ce if cured else ce_in_millionths
    return model, loss, batched(*digits()), sgd(0.1 if cured else 1e5, momentum=0.9)


@setup("mlp", "healthy", remedy="a smaller learning rate")
def e_a_third_of_labels_random(cured):
    x, y = digits()
    noisy = torch.rand(len(y)) < 0.33
    y = torch.where(noisy, torch.randint(10, y.shape), y)
    return mlp(64, 48, 10), ce, batched(x, y), adam(1e-3 if cured else 2e-3, weight_decay=1e-4)


@setup("mlp", "healthy", remedy="an output layer of ordinary size")
def e_head_starts_at_zero(cured):
    model = mlp(64, 96, 96, 96, 10, act=nn.SiLU)
    if not cured:
        nn.init.zeros_(model[-1].weight)
        nn.init.zeros_(model[-1].bias)
    return model, ce, batched(*digits()), adam(1e-3)


@setup("mlp", "healthy", remedy="a trunk that trains too")
def e_frozen_trunk(cured):
    trunk = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
    for one in trunk.parameters():
        one.requires_grad_(cured)
    model = nn.Sequential(trunk, nn.Linear(512, 10))
    return model, ce, batched(*digits()), adam(3e-3)


@setup("mlp", "healthy", remedy="half the learning rate")
def e_trained_before(cured):
    model = mlp(64, 64, 10)
    batches = batched(*digits())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for batch in batches * 3:
        optimizer.zero_grad()
        ce(model, batch).backward()
        optimizer.step()
    return model, ce, batches, adam(1e-3 if cured else 2e-3)


@setup("mlp", "healthy", remedy="biases at zero")
def e_a_third_of_units_dead(cured):
    model = mlp(64, 192, 96, 10)
    with torch.no_grad():
        model[0].bias[:64] = 0.0 if cured else -20.0
    return model, ce, batched(*digits()), adam(2e-3)


@setup("mlp", "healthy", remedy="a gain of 1")
def e_twenty_tanh_orthogonal(cured):
    model = mlp(64, *[48] * 20, 10, act=nn.Tanh)
    for one in linears(model):
        nn.init.orthogonal_(one.weight, 1.0 if cured else 1.05)
        nn.init.zeros_(one.bias)
    return model, ce, batched(*digits()), adam(5e-4)


class Parity(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.hidden = nn.Linear(16, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


def hinge(model, batch):
    x, y = batch
    return F.relu(1 - y * model(x)[:, 0]).mean()


@setup("mlp", "healthy", remedy="a network twice as wide", steps=600)
def e_parity_plateau(cured):
    x = torch.randn(4096, 16).sign()
    y = x[:, 2] * x[:, 5] * x[:, 11]
    return Parity(512 if cured else 256), hinge, batched(x, y, size=128), adam(4e-3)


@setup("normalization mlp", "healthy", remedy="no normalization")
def e_batchnorm_after_wild_weights(cured):
    layers = []
    for size in (64, 64, 64):
        linear = nn.Linear(size, 64, bias=False)
        nn.init.normal_(linear.weight, std=0.15 if cured else 5.0)
        layers += [linear, nn.Identity() if cured else nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10)), ce, batched(*digits()), adam(2e-3)


# Regression


@setup("regression", "healthy", remedy="a wider network")
def e_diabetes_little_signal(cured):
    x, y = table(datasets.load_diabetes)
    y = standard(y.float())
    return mlp(10, 32 if cured else 16, 1), mse, batched(x, y, size=40), sgd(0.02)


def huber(model, batch):
    x, y = batch
    return F.huber_loss(model(x)[:, 0], y)


class ClippedSGD(torch.optim.SGD):
    """Stochastic gradient descent that clips by the norm first, as many a training loop does."""

    def step(self, closure=None):
        nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 0.5)
        return super().step(closure)


@setup("regression", "healthy", remedy="gradients not clipped")
def e_friedman_outliers_clipped(cured):
    x, y = datasets.make_friedman1(2048, 8, noise=1.0, random_state=random_state())
    x, y = standard(torch.tensor(x).float()), standard(torch.tensor(y).float())
    y = torch.where(torch.rand(len(y)) < 0.02, y * 20, y)
    return (
        mlp(8, 64, 1),
        huber,
        batched(x, y),
        functools.partial(torch.optim.SGD if cured else ClippedSGD, lr=0.05),
    )


def pinball(model, batch):
    x, y = batch
    error = y[:, None] - model(x)
    levels = torch.tensor([0.1, 0.5, 0.9])
    return torch.maximum(levels * error, (levels - 1) * error).mean()


@setup("regression", "healthy", remedy="Adam")
def e_quantiles_rmsprop(cured):
    x = torch.rand(3000, 1) * 6 - 3
    y = torch.sin(2 * x[:, 0]) + 0.2 * (1 + x[:, 0].abs()) * torch.randn(3000)
    rmsprop = functools.partial(torch.optim.RMSprop, lr=2e-3)
    return mlp(1, 64, 64, 3), pinball, batched(x, y), adam(2e-3) if cured else rmsprop


def mixture_nll(model, batch):
    x, y = batch
    logit, mean, log_width = model(x).chunk(3, dim=1)
    density = torch.distributions.Normal(mean, log_width.clamp(-5, 3).exp()).log_prob(y)
    return -torch.logsumexp(density + logit.log_softmax(1), 1).mean()


@setup("regression", "healthy", remedy="more hidden units")
def e_mixture_density(cured):
    y = torch.rand(2560, 1) * 2 - 1
    x = y + 0.3 * torch.sin(2 * math.pi * y) + 0.03 * torch.randn_like(y)
    return mlp(1, 48 if cured else 32, 15, act=nn.Tanh), mixture_nll, batched(x, y), adam(1e-2)


# Pictures


def convnet(width=8, act=nn.ReLU, norm=nn.Identity):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        norm(width),
        act(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        norm(2 * width),
        act(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


class Residual(nn.Module):
    """x + scale · two layers of x; the scale is learned."""

    def __init__(self, width, scale, act=nn.ReLU):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, width), act(), nn.Linear(width, width))
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, x):
        return x + self.scale * self.branch(x)


@setup("residual", "healthy", remedy="branches open from the start")
def e_branches_closed_at_first(cured):
    blocks = [Residual(48, 0.2 if cured else 0.0) for _ in range(12)]
    model = nn.Sequential(nn.Linear(64, 48), *blocks, nn.Linear(48, 10))
    return model, ce, batched(*digits()), adam(1e-3)


class ConvBlock(nn.Module):
    def __init__(self, width, zero):
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(2, width)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        if zero:
            nn.init.zeros_(self.two.weight)
            nn.init.zeros_(self.two.bias)

    def forward(self, x):
        return F.relu(x + self.two(F.relu(self.norm(self.one(x)))))


@setup("residual conv", "healthy", remedy="branches that do not end in zeros")
def e_conv_branches_end_in_zeros(cured):
    blocks = [ConvBlock(8, not cured) for _ in range(3)]
    stem = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*stem, *blocks, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 10))
    return model, ce, batched(*digits(1, 8, 8), size=32), adam(2e-3)


class Adapter(nn.Module):
    """A frozen layer and a low-rank change to it, which starts at zero."""

    def __init__(self, n_in, n_out, rank, open_):
        super().__init__()
        self.base = nn.Linear(n_in, n_out).requires_grad_(False)
        self.down = nn.Linear(n_in, rank, bias=False)
        self.up = nn.Linear(rank, n_out, bias=False)
        nn.init.normal_(self.up.weight, std=0.1 if open_ else 0.0)

    def forward(self, x):
        return self.base(x) + 2 * self.up(self.down(x))


@setup("mlp", "healthy", remedy="adapters that start open")
def e_low_rank_adapters(cured):
    first, second = Adapter(64, 128, 8, cured), Adapter(128, 128, 8, cured)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), Adapter(128, 10, 8, cured))
    return model, ce, batched(*digits()), adam(3e-3)


# Autoencoders and generators


class TiedAutoencoder(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(24, 64) / 8)
        self.code = nn.Parameter(torch.zeros(24))
        self.back = nn.Parameter(torch.zeros(64))
        self.act = act

    def forward(self, x):
        return self.act(F.linear(x, self.weight, self.code)) @ self.weight + self.back


@setup("autoencoder", "healthy", remedy="tanh in place of ReLU")
def e_tied_autoencoder(cured):
    model = TiedAutoencoder(torch.tanh if cured else torch.relu)
    return model, reconstruct, batched(digits()[0]), adam(5e-3)


class VAE(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.encoder = mlp(64, width, 16)
        self.decoder = mlp(8, width, 64)

    def forward(self, x):
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (log_var / 2).exp()
        return self.decoder(z), mean, log_var


def elbo(model, batch):
    (x,) = batch
    logits, mean, log_var = model(x)
    rebuilt = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    kl = (mean**2 + log_var.exp() - 1 - log_var).sum(1) / 2
    return (rebuilt + kl).mean()


@setup("autoencoder vae", "healthy", remedy="a wider encoder and decoder")
def e_vae(cured):
    return VAE(192 if cured else 128), elbo, batched(digits()[0]), adam(3e-3)


def fixed_critic(gain=1.0):
    """Tells points near the unit circle from the rest, and does not train."""
    angle = torch.rand(512) * 2 * math.pi
    real = torch.stack([angle.cos(), angle.sin()], 1) * 2 + 0.1 * torch.randn(512, 2)
    fake = torch.randn(512, 2) * 3
    critic = mlp(2, 64, 64, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(critic.parameters(), 5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        bad, good = critic(fake), critic(real)
        (F.softplus(bad).mean() + F.softplus(-good).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        critic[-1].weight *= gain
        critic[-1].bias *= gain
    return critic.requires_grad_(False)


class Generator(nn.Module):
    def __init__(self, critic, far=0.0):
        super().__init__()
        self.generator = mlp(4, 32, 32, 2)
        self.critic = critic
        with torch.no_grad():
            self.generator[-1].bias += far

    def forward(self, z):
        return self.critic(self.generator(z))


def fool(model, batch):
    return F.softplus(-model(batch[0])).mean()


def minimax(model, batch):
    return torch.log1p(-torch.sigmoid(model(batch[0])) * (1 - 1e-6)).mean()


@setup("gan", "healthy", remedy="a larger learning rate")
def e_generator_and_fixed_critic(cured):
    model = Generator(fixed_critic())
    return model, fool, batched(torch.randn(1280, 4)), adam(3e-3 if cured else 2e-3)


# Sequences that need no long memory


class LastState(nn.Module):
    """A recurrent network of torch and a linear layer on its last state."""

    def __init__(self, kind, n_in, width, n_out, **more):
        super().__init__()
        self.rnn = kind(n_in, width, batch_first=True, **more)
        self.head = nn.Linear(width * (2 if self.rnn.bidirectional else 1), n_out)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@setup("recurrent", "healthy", remedy="an orthogonal recurrent matrix")
def e_rnn_only_the_end_matters(cured):
    x = torch.randn(1280, 50, 4)
    y = (x[:, -1] + 0.5 * x[:, -2]).argmax(1)
    model = LastState(nn.RNN, 4, 48, 4)
    if cured:
        nn.init.orthogonal_(model.rnn.weight_hh_l0)
    return model, ce, batched(x, y), adam(3e-3)


@setup("recurrent", "healthy", remedy="a forget gate's bias of 1")
def e_lstm_digit_rows(cured):
    x, y = digits(8, 8)
    model = LastState(nn.LSTM, 8, 48, 10)
    if cured:
        model.rnn.bias_hh_l0.data[48:96] = 1.0
    return model, ce, batched(x, y), adam(5e-3)


class NextToken(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.embed = nn.Embedding(12, 24)
        self.rnn = nn.GRU(24, 48, layers, batch_first=True)
        self.head = nn.Linear(48, 12)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


def next_token(model, batch):
    (tokens,) = batch
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def markov(count, length):
    """Sequences in which a token depends on the two before it, and on chance."""
    table = torch.distributions.Dirichlet(torch.full((12,), 0.1)).sample((12, 12))
    rows = [torch.randint(12, (count,)), torch.randint(12, (count,))]
    for _ in range(length - 2):
        rows.append(torch.multinomial(table[rows[-2], rows[-1]], 1)[:, 0])
    return torch.stack(rows, 1)


@setup("recurrent language", "healthy", remedy="two layers")
def e_gru_next_token(cured):
    return NextToken(2 if cured else 1), next_token, batched(markov(960, 20), size=32), adam(1e-2)


class CellTagger(nn.Module):
    """A GRU cell in a loop, which tags each step."""

    def __init__(self, width):
        super().__init__()
        self.cell = nn.GRUCell(3, width)
        self.tag = nn.Linear(width, 2)

    def forward(self, x):
        state, out = x.new_zeros(len(x), self.cell.hidden_size), []
        for step in x.unbind(1):
            state = self.cell(step, state)
            out.append(self.tag(state))
        return torch.stack(out, 2)


@setup("recurrent cell", "healthy", remedy="a wider cell")
def e_cell_tags_each_step(cured):
    x = torch.randn(640, 12, 3)
    y = (x[:, :, 0] + x[:, :, 1].roll(1, 1) > 0).long()
    return CellTagger(48 if cured else 32), ce, batched(x, y, size=32), adam(1e-2)


# Attention


class TinyTransformer(nn.Module):
    def __init__(self, layers=2, norm_first=True, width=32):
        super().__init__()
        self.embed = nn.Embedding(10, width)
        self.place = nn.Parameter(0.1 * torch.randn(12, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 64, dropout=0.0, batch_first=True, norm_first=norm_first
        )
        self.blocks = nn.ModuleList(copy.deepcopy(layer) for _ in range(layers))
        self.head = nn.Linear(width, 10)

    def forward(self, tokens):
        x = self.embed(tokens) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


@setup("attention", "healthy", remedy="normalization after the sum")
def e_transformer_most_frequent(cured):
    tokens = torch.randint(10, (1600, 12))
    loved = torch.randint(10, (1600, 1))
    tokens = torch.where(torch.rand(1600, 12) < 0.3, loved, tokens)
    model = TinyTransformer(norm_first=not cured)
    return model, ce, batched(tokens, loved[:, 0], size=32), adam(2e-3)


class Experts(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.gate = nn.Linear(64, count)
        self.experts = nn.ModuleList(mlp(64, 24, 10) for _ in range(count))

    def forward(self, x):
        chosen, index = self.gate(x).topk(2)
        weight = torch.zeros(len(x), len(self.experts)).scatter(1, index, chosen.softmax(1))
        return (torch.stack([one(x) for one in self.experts], 2) * weight[:, None]).sum(2)


@setup("mixture of experts", "healthy", remedy="more experts")
def e_two_of_six_experts(cured):
    return Experts(8 if cured else 6), ce, batched(*digits()), adam(5e-3)


# Embeddings, several tasks, contrast


@setup("embedding", "healthy", remedy="a wider embedding")
def e_bag_of_words(cured):
    topic = torch.randint(5, (1600,))
    words = torch.randint(200, (1600, 15))
    about = torch.rand(1600, 15) < 0.3
    words = torch.where(about, topic[:, None] * 40 + words % 40, words)
    width = 48 if cured else 32
    model = nn.Sequential(nn.EmbeddingBag(200, width), nn.ReLU(), nn.Linear(width, 5))
    return model, ce, batched(words, topic, size=32), adam(1e-2)


class Factors(nn.Module):
    def __init__(self, rank):
        super().__init__()
        self.user, self.item = nn.Embedding(60, rank), nn.Embedding(80, rank)
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.item.weight, std=0.1)

    def forward(self, batch):
        return (self.user(batch["user"]) * self.item(batch["item"])).sum(1)


def rating_error(model, batch):
    return F.mse_loss(model(batch), batch["rating"])


class TwoTasks(nn.Module):
    """Shared trunk, two heads, and learned uncertainties as weights."""

    def __init__(self, width):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, width), nn.ReLU())
        self.digit, self.ink = nn.Linear(width, 10), nn.Linear(width, 1)
        self.log_var = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        shared = self.trunk(x)
        return self.digit(shared), self.ink(shared)[:, 0]


def weighted_tasks(model, batch):
    x, y = batch
    logits, ink = model(x)
    losses = torch.stack([F.cross_entropy(logits, y), F.mse_loss(ink, x.mean(1) * 20 - 6)])
    return (losses * torch.exp(-model.log_var) + model.log_var).sum()


@setup("multi-task", "healthy", remedy="a wider trunk")
def e_two_tasks_weighing_themselves(cured):
    return TwoTasks(96 if cured else 64), weighted_tasks, batched(*digits()), adam(5e-3)


def contrast(model, batch):
    (x,) = batch
    one, two = (F.normalize(model(x + 0.1 * torch.randn_like(x)), dim=1) for _ in range(2))
    return F.cross_entropy(one @ two.T / 0.2, torch.arange(len(x)))


@setup("contrastive", "healthy", remedy="a wider encoder")
def e_contrast_noisy_views(cured):
    return mlp(64, 160 if cured else 128, 32), contrast, batched(digits()[0]), adam(2e-3)


class Bfloat(nn.Module):
    """The forward pass in bfloat16, the weights in float32."""

    def __init__(self, net, mixed):
        super().__init__()
        self.net, self.mixed = net, mixed

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.mixed):
            return self.net(x)


@setup("low precision", "healthy", remedy="float32 throughout")
def e_mixed_bfloat16(cured):
    return Bfloat(mlp(64, 64, 64, 10), not cured), ce, batched(*digits()), adam(2e-3)


# Recurrent networks that cannot look back far enough


def recall(count, length, classes=4, noise=0.1):
    """The first step shows one of a few classes, then comes noise; the class is the target."""
    y = torch.randint(classes, (count,))
    x = noise * torch.randn(count, length, classes)
    x[:, 0] = F.one_hot(y, classes).float() * 2
    return x, y


@setup(
    "recurrent",
    "gradient",
    "recurrent factor",
    remedy="an orthogonal recurrent matrix",
    where=("lag", 15, 60),
)
def e_rnn_recall_sixty(cured):
    model = LastState(nn.RNN, 4, 64, 4)
    if cured:
        nn.init.orthogonal_(model.rnn.weight_hh_l0)
    return model, ce, batched(*recall(960, 60), size=32), adam(1e-3)


@setup(
    "recurrent",
    "gradient",
    "recurrent factor",
    remedy="the identity as recurrent matrix",
    where=("lag", 8, 40),
)
def e_relu_rnn_half_identity(cured):
    model = LastState(nn.RNN, 4, 48, 4, nonlinearity="relu")
    with torch.no_grad():
        model.rnn.weight_hh_l0.copy_(torch.eye(48) * (1.0 if cured else 0.5))
        model.rnn.bias_hh_l0.zero_()
        model.rnn.bias_ih_l0.zero_()
    return model, ce, batched(*recall(960, 40, noise=0.02), size=32), adam(1e-3)


@setup(
    "recurrent",
    "gradient",
    "forget gate",
    remedy="a forget gate's bias of 4",
    where=("lag", 3, 40),
)
def e_lstm_forgets_on_purpose(cured):
    model = LastState(nn.LSTM, 4, 32, 4)
    model.rnn.bias_hh_l0.data[32:64] = 4.0 if cured else -2.0
    return model, ce, batched(*recall(960, 40), size=32), adam(3e-3)


@setup(
    "recurrent",
    "gradient",
    "forget gate",
    remedy="a forget gate's bias of 5",
    where=("lag", 10, 80),
)
def e_lstm_as_it_comes_eighty(cured):
    model = LastState(nn.LSTM, 4, 32, 4)
    if cured:
        model.rnn.bias_hh_l0.data[32:64] = 5.0
    return model, ce, batched(*recall(960, 80), size=32), adam(3e-3)


@setup(
    "recurrent",
    "gradient",
    "forget gate",
    remedy="an update gate that keeps the state",
    where=("lag", 3, 50),
)
def e_gru_overwrites(cured):
    model = LastState(nn.GRU, 4, 32, 4)
    model.rnn.bias_hh_l0.data[32:64] = 4.0 if cured else -3.0
    return model, ce, batched(*recall(960, 50), size=32), adam(3e-3)


class Leaky(nn.Module):
    """An own cell: the state leaks away at a fixed rate."""

    def __init__(self, keep):
        super().__init__()
        self.keep = keep
        self.into, self.inside = nn.Linear(4, 48), nn.Linear(48, 48, bias=False)
        nn.init.normal_(self.inside.weight, std=0.02)
        self.head = nn.Linear(48, 4)

    def forward(self, x):
        state = torch.zeros(len(x), 48)
        for drive in self.into(x).unbind(1):
            state = self.keep * state + torch.tanh(drive + self.inside(state)) * 0.3
        return self.head(state)


@setup(
    "recurrent own cell",
    "gradient",
    "recurrent factor",
    remedy="a leak of 2% a step",
    where=("lag", 8, 30),
)
def e_leaky_cell(cured):
    return Leaky(0.98 if cured else 0.4), ce, batched(*recall(960, 30), size=32), adam(2e-3)


class SigmoidCell(nn.Module):
    def __init__(self, act, scale):
        super().__init__()
        self.into, self.inside = nn.Linear(4, 40), nn.Linear(40, 40)
        nn.init.orthogonal_(self.inside.weight, scale)
        self.act, self.head = act, nn.Linear(40, 4)

    def forward(self, batch):
        state = torch.zeros(len(batch["x"]), 40)
        for step in batch["x"].unbind(1):
            state = self.act(self.into(step) + self.inside(state))
        return self.head(state)


def dict_ce(model, batch):
    return F.cross_entropy(model(batch), batch["y"])


@setup(
    "recurrent own cell",
    "gradient",
    "recurrent factor",
    remedy="tanh, whose slope is 1",
    where=("lag", 5, 25),
)
def e_sigmoid_cell(cured):
    batches = [{"x": x, "y": y} for x, y in batched(*recall(960, 25), size=32)]
    model = SigmoidCell(torch.tanh if cured else torch.sigmoid, 1.0)
    return model, dict_ce, batches, adam(1e-3)


class Document(nn.Module):
    """Token ids to a class, by a stack of two recurrent layers."""

    def __init__(self, kind):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.rnn = kind(16, 32, 2, batch_first=True)
        self.head = nn.Linear(32, 3)

    def forward(self, batch):
        return self.head(self.rnn(self.embed(batch["x"]))[0][:, -1])


@setup(
    "recurrent embedding",
    "gradient",
    "forget gate",
    remedy="forget gates' biases of 4 in both layers",
    where=("lag", 5, 45),
)
def e_first_word_decides(cured):
    words = torch.randint(3, 30, (960, 45))
    y = torch.randint(3, (960,))
    words[:, 0] = y
    model = Document(nn.LSTM)
    for bias in (model.rnn.bias_hh_l0, model.rnn.bias_hh_l1):
        bias.data[32:64] = 4.0 if cured else -1.0
    batches = [{"x": a, "y": b} for a, b in batched(words, y, size=32)]
    return model, dict_ce, batches, adam(5e-3)


class Middle(nn.Module):
    """Reads both ways, and answers at the two ends."""

    def __init__(self, scale):
        super().__init__()
        self.rnn = nn.RNN(4, 40, batch_first=True, bidirectional=True)
        for weight in (self.rnn.weight_hh_l0, self.rnn.weight_hh_l0_reverse):
            nn.init.orthogonal_(weight, scale)
        self.head = nn.Linear(80, 4)

    def forward(self, x):
        out = self.rnn(x)[0]
        return self.head(torch.cat([out[:, -1, :40], out[:, 0, 40:]], 1))


@setup(
    "recurrent bidirectional",
    "gradient",
    "recurrent factor",
    remedy="orthogonal matrices of gain 1",
    where=("lag", 8, 30),
)
def e_the_middle_of_sixty(cured):
    x, y = recall(960, 60, noise=0.05)
    return Middle(1.0 if cured else 0.45), ce, batched(x.roll(30, 1), y, size=32), adam(1e-3)


class LinearRecurrence(nn.Module):
    """A diagonal linear recurrence, read through a nonlinear layer."""

    def __init__(self, decay):
        super().__init__()
        self.decay = nn.Parameter(torch.full((32,), decay))
        self.into, self.out = nn.Linear(1, 32), mlp(32, 32, 1)

    def forward(self, x):
        powers = self.decay[None] ** torch.arange(x.shape[1] - 1, -1, -1.0)[:, None]
        return self.out((self.into(x) * powers).sum(1))


@setup(
    "recurrent own cell regression",
    "gradient",
    "recurrent factor",
    remedy="decays of 0.98",
    where=("lag", 10, 40),
)
def e_linear_recurrence_decays(cured):
    x = 0.01 * torch.randn(960, 40, 1)
    x[:, 0, 0] = 2 * torch.rand(960) - 1
    y = torch.sin(3 * x[:, 0, 0])
    return LinearRecurrence(0.98 if cured else 0.6), mse, batched(x, y, size=32), adam(3e-3)


# Explosions


@setup("recurrent", "gradient", "explosion", remedy="the identity as recurrent matrix")
def e_relu_rnn_grows(cured):
    model = LastState(nn.RNN, 4, 48, 4, nonlinearity="relu")
    model.rnn.weight_hh_l0.data.copy_(torch.eye(48) * (1.0 if cured else 1.5))
    return model, ce, batched(*recall(960, 30), size=32), sgd(0.01, momentum=0.9)


@setup("mlp", "gradient", "explosion", remedy="weights of variance 2 / fan-in")
def e_unit_normal_weights(cured):
    model = mlp(64, 128, 128, 128, 128, 10)
    for one in linears(model):
        nn.init.normal_(one.weight, std=math.sqrt(2 / one.in_features) if cured else 1.0)
        nn.init.zeros_(one.bias)
    return model, ce, batched(*digits()), sgd(0.05)


class PlainResidual(nn.Module):
    def __init__(self, width, gain):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        for one in linears(self):
            nn.init.orthogonal_(one.weight, gain)

    def forward(self, x):
        return x + self.branch(x)


@setup("residual", "gradient", "explosion", remedy="branches of gain 0.3 each layer")
def e_residual_sums_grow(cured):
    blocks = [PlainResidual(48, 0.3 if cured else 1.8) for _ in range(14)]
    model = nn.Sequential(nn.Linear(64, 48), *blocks, nn.Linear(48, 10))
    return model, ce, batched(*digits()), sgd(0.02, momentum=0.9)


class Cube(nn.Module):
    def forward(self, x):
        return x**3


@setup("mlp regression", "gradient", "explosion", remedy="tanh in place of cubes")
def e_cubes_of_cubes(cured):
    x, y = datasets.make_friedman1(2048, 8, noise=0.5, random_state=random_state())
    x, y = standard(torch.tensor(x).float()), standard(torch.tensor(y).float())
    model = mlp(8, 32, 32, 32, 1, act=nn.Tanh if cured else Cube)
    for one in linears(model):
        nn.init.xavier_normal_(one.weight, 1.2)
    return model, mse, batched(x, y), sgd(0.02)


@setup(
    "conv one layer",
    "gradient",
    "explosion",
    remedy="the third layer at its default size",
    where=("4",),
)
def e_one_huge_convolution(cured):
    parts = []
    for channels in (1, 8, 8):
        parts += [nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*parts, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 10))
    with torch.no_grad():
        model[4].weight *= 1 if cured else 400
    return model, ce, batched(*digits(1, 8, 8), size=32), sgd(0.05, momentum=0.9)


# Other faults of the gradient


@setup("mlp", "gradient", "activation", remedy="ReLU and weights to match")
def e_nine_sigmoids(cured):
    model = mlp(64, *[64] * 9, 10, act=nn.ReLU if cured else nn.Sigmoid)
    if cured:
        for one in linears(model):
            nn.init.kaiming_normal_(one.weight)
    return model, ce, batched(*digits()), adam(1e-3)


@setup("mlp", "gradient", "weight scale", remedy="He initialization")
def e_normal_of_a_hundredth(cured):
    model = mlp(64, *[64] * 7, 10)
    for one in linears(model):
        nn.init.normal_(one.weight, std=math.sqrt(2 / one.in_features) if cured else 0.01)
        nn.init.zeros_(one.bias)
    return model, ce, batched(*digits()), sgd(0.05, momentum=0.9)


class Repeated(nn.Module):
    """One layer applied ten times: the weights are tied over depth."""

    def __init__(self, gain):
        super().__init__()
        self.first, self.again = nn.Linear(64, 64), nn.Linear(64, 64)
        nn.init.orthogonal_(self.again.weight, gain)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        for _ in range(10):
            x = torch.tanh(self.again(x))
        return self.head(x)


@setup("weight tying", "gradient", "weight scale", remedy="gain 1.1", where=("again",))
def e_the_same_small_layer_ten_times(cured):
    return Repeated(1.1 if cured else 0.15), ce, batched(*digits()), sgd(0.05)


class Named(nn.Module):
    """A perceptron with named layers."""

    def __init__(self, act=torch.relu):
        super().__init__()
        self.entry = nn.Linear(64, 64)
        self.middle = nn.Linear(64, 64)
        self.exit = nn.Linear(64, 64)
        self.head = nn.Linear(64, 10)
        self.act = act

    def forward(self, x):
        for layer in (self.entry, self.middle, self.exit):
            x = self.act(layer(x))
        return self.head(x)


@setup(
    "one layer",
    "gradient",
    "weight scale",
    remedy="the middle layer at its default size",
    where=("middle",),
)
def e_a_tiny_middle_layer(cured):
    model = Named()
    with torch.no_grad():
        model.middle.weight *= 1 if cured else 1e-4
    return model, ce, batched(*digits()), sgd(0.1)


@setup("one layer", "gradient", "dead units", remedy="a bias of zero", where=("exit",))
def e_a_dead_layer_near_the_end(cured):
    model = Named()
    nn.init.constant_(model.exit.bias, 0.0 if cured else -15.0)
    return model, ce, batched(*digits()), adam(1e-3)


@setup("conv", "gradient", "dead units", remedy="a bias of zero", where=("4", "6"))
def e_dead_second_convolution(cured):
    model = convnet()
    nn.init.constant_(model[4].bias, 0.0 if cured else -8.0)
    return model, ce, batched(*digits(1, 8, 8), size=32), sgd(0.05, momentum=0.9)


@setup(
    "one layer",
    "gradient",
    "saturation",
    remedy="the middle layer at its default size",
    where=("middle",),
)
def e_saturated_middle_layer(cured):
    model = Named(torch.tanh)
    with torch.no_grad():
        model.middle.weight *= 1 if cured else 300
        model.middle.bias += 0 if cured else 40
    return model, ce, batched(*digits()), adam(1e-3)


class Lookup(nn.Module):
    """Finds by attention the value whose key is the query's."""

    def __init__(self, scale):
        super().__init__()
        self.query, self.key = nn.Linear(16, 32), nn.Linear(16, 32)
        self.head, self.scale = mlp(4, 32, 4), scale

    def forward(self, batch):
        logits = (self.key(batch["keys"]) @ self.query(batch["query"])[:, :, None])[:, :, 0]
        attention = (logits * self.scale).softmax(1)
        return self.head((attention[:, :, None] * batch["values"]).sum(1))


@setup("attention", "gradient", "saturation", remedy="logits divided by the root of the width")
def e_attention_logits_too_large(cured):
    names = torch.randn(8, 16)
    order = torch.rand(1600, 8).argsort(1)
    y = torch.randint(4, (1600, 8))
    asked = torch.randint(8, (1600,))
    rows = (names[order], F.one_hot(y, 4).float(), names[order[torch.arange(1600), asked]])
    batches = [
        dict(zip(("keys", "values", "query", "y"), row, strict=True))
        for row in batched(*rows, y[torch.arange(1600), asked], size=32)
    ]
    return Lookup(32**-0.5 if cured else 100.0), dict_ce, batches, adam(5e-3)


@setup("gan", "gradient", "saturation", remedy="the loss that does not saturate", judge=fool)
def e_generator_against_a_sure_critic(cured):
    model = Generator(fixed_critic(gain=6.0), far=6.0)
    return model, fool if cured else minimax, batched(torch.randn(1280, 4)), sgd(0.02)


class Deep(nn.Module):
    def __init__(self, depth, skip):
        super().__init__()
        self.entry = nn.Linear(64, 32)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(depth))
        self.head = nn.Linear(32, 10)
        self.skip = skip

    def forward(self, x):
        x = torch.relu(self.entry(x))
        for layer in self.layers:
            x = (x if self.skip else 0) + torch.relu(layer(x))
        return self.head(x)


@setup("mlp", "gradient", "depth", remedy="a skip around each layer")
def e_thirty_plain_layers(cured):
    return Deep(30, cured), ce, batched(*digits()), adam(1e-3)


class Half(nn.Module):
    """The whole network in float16, gradients included."""

    def __init__(self, kind):
        super().__init__()
        self.net, self.kind = mlp(64, 64, 64, 10).to(kind), kind

    def forward(self, x):
        return self.net(x.to(self.kind)).float()


@setup("low precision", "gradient", "low precision", remedy="float32")
def e_float16_gradients_underflow(cured):
    model = Half(torch.float32 if cured else torch.float16)
    return model, ce_in_millionths, batched(*digits()), sgd(2e4, momentum=0.9)


@setup("low precision", "gradient", "low precision", remedy="float32")
def e_bfloat16_steps_are_rounded_away(cured):
    model = Half(torch.float32 if cured else torch.bfloat16)
    return model, ce, batched(*digits()), adam(5e-5)


# Faults that are not the gradient's


@setup("mlp", "other", "learning rate", remedy="a learning rate of 1e-3")
def e_adam_at_a_millionth(cured):
    x, y = table(datasets.load_wine)
    return mlp(13, 64, 64, 3), ce, batched(x, y, size=32), adam(1e-3 if cured else 1e-6)


@setup("conv", "other", "learning rate", remedy="a learning rate of 0.003")
def e_adam_in_leaps(cured):
    return convnet(), ce, batched(*digits(1, 8, 8), size=32), adam(3e-3 if cured else 1.0)


@setup("regression", "other", "learning rate", remedy="a learning rate of 0.02")
def e_linear_regression_diverges(cured):
    x, y = datasets.make_regression(1280, 20, noise=5.0, random_state=random_state())
    x, y = standard(torch.tensor(x).float()), standard(torch.tensor(y).float())
    return nn.Linear(20, 1), mse, batched(x, y), sgd(0.02 if cured else 1.8)


def shuffled(y, really):
    return y[torch.randperm(len(y))] if really else y


@setup("mlp", "other", "data", remedy="targets in the inputs' order")
def e_targets_in_another_order(cured):
    x, y = digits()
    return mlp(64, 32, 10), ce, batched(x, shuffled(y, not cured)), adam(1e-3)


@setup("attention", "other", "data", remedy="targets in the inputs' order")
def e_transformer_on_shuffled_targets(cured):
    tokens = torch.randint(10, (1600, 12))
    y = (tokens == 3).sum(1).clamp(max=3) * 2
    model, batches = TinyTransformer(1), batched(tokens, shuffled(y, not cured), size=32)
    start = torch.bincount(y, minlength=10).float().clamp(min=0.01).log()
    model.head.bias.data.copy_(start - start.mean())
    return model, ce, batches, adam(2e-3)


@setup("mlp", "other", "data", remedy="the pixels as they are")
def e_pixels_rounded_to_nothing(cured):
    x, y = digits()
    return mlp(64, 64, 10), ce, batched(x if cured else (x / 255).round(), y), adam(2e-3)


@setup("mlp", "other", "data", remedy="standardized columns")
def e_wine_in_raw_units(cured):
    x, y = table(datasets.load_wine, scaled=cured)
    return mlp(13, 32, 3), ce, batched(x, y, size=32), sgd(0.05)


class Pooled(nn.Module):
    """Mean over the steps, meant to be; ``axis`` 0 is that over the batch."""

    def __init__(self, axis):
        super().__init__()
        self.step, self.head, self.axis = mlp(6, 32, 32), nn.Linear(32, 4), axis

    def forward(self, x):
        hidden = torch.relu(self.step(x))
        pooled = hidden.mean(self.axis)
        return self.head(pooled if self.axis else pooled.mean(0).expand(len(x), -1))


@setup("own module", "other", "data", remedy="the mean over steps")
def e_mean_over_the_batch(cured):
    y = torch.randint(4, (1600,))
    x = torch.randn(1600, 10, 6) + torch.randn(4, 6)[y][:, None]
    return Pooled(1 if cured else 0), ce, batched(x, y, size=32), adam(3e-3)


class DetachedState(nn.Module):
    """A cell in a loop whose state is detached at each step."""

    def __init__(self, detach):
        super().__init__()
        self.cell, self.head = nn.LSTMCell(4, 32), nn.Linear(32, 4)
        self.cell.bias_hh.data[32:64] = 1.0
        self.detach = detach

    def forward(self, x):
        state = torch.zeros(len(x), 32), torch.zeros(len(x), 32)
        for step in x.unbind(1):
            if self.detach:
                state = tuple(one.detach() for one in state)
            state = self.cell(step, state)
        return self.head(state[0])


@setup("recurrent cell", "other", "detached", remedy="a state that is not detached")
def e_state_detached_each_step(cured):
    return DetachedState(not cured), ce, batched(*recall(960, 12), size=32), adam(3e-3)


class Bottleneck(nn.Module):
    def __init__(self, detach):
        super().__init__()
        self.encoder, self.decoder = mlp(64, 48, 6), mlp(6, 48, 64)
        self.detach = detach

    def forward(self, x):
        code = self.encoder(x)
        return self.decoder(code.detach() if self.detach else code)


@setup(
    "autoencoder",
    "other",
    "detached",
    remedy="a code that is not detached",
    where=("encoder", "encoder.0", "encoder.2"),
)
def e_code_detached(cured):
    x = digits()[0]
    return Bottleneck(not cured), reconstruct, batched(x - x.mean(0)), adam(5e-3)


@setup("mlp", "other", "optimizer epsilon", remedy="an epsilon of 1e-8")
def e_adam_epsilon_ten(cured):
    model = mlp(64, 64, 64, 10)
    return model, ce, batched(*digits()), adam(1e-3, eps=1e-8 if cured else 10.0)


@setup("autoencoder", "other", "weight decay", remedy="a weight decay of 1e-4")
def e_everything_decays(cured):
    model, decay = mlp(64, 32, 64), 1e-4 if cured else 3.0
    return model, reconstruct, batched(digits()[0]), sgd(0.3, weight_decay=decay, momentum=0.5)


@setup("embedding", "other", "weight decay", remedy="a weight decay of 1e-3")
def e_factors_decay(cured):
    user, item = torch.randint(60, (12800,)), torch.randint(80, (12800,))
    rating = (torch.randn(60, 3)[user] * torch.randn(80, 3)[item]).sum(1)
    rows = batched(user, item, rating, size=128)
    batches = [dict(zip(("user", "item", "rating"), row, strict=True)) for row in rows]
    optimizer = functools.partial(torch.optim.AdamW, lr=3e-2, weight_decay=1e-3 if cured else 10.0)
    return Factors(6), rating_error, batches, optimizer
