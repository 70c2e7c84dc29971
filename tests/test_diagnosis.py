"""The instrument for the reader's own model: what it finds, what it survives, what it leaves."""

import copy
import json
import random
from functools import partial

import jsonschema
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import vglib
from vglib.diagnosis import CAUSES, SCHEMA, Diagnosis, Watch, diagnose
from vglib.diagnosis.changes import open_memory, rescale
from vglib.diagnosis.experiments import Lab, set_aside
from vglib.diagnosis.look import look
from vglib.nets import mlp
from vglib.recurrent import recurrent
from vglib.tasks import digits, recall


def batches_of(task, size=32):
    stop = len(task.train.targets) - size + 1
    x, y = task.train
    return [(x[i : i + size], y[i : i + size]) for i in range(0, stop, size)]


@pytest.fixture(scope="module")
def batches():
    return batches_of(digits(dtype=torch.float32))


def classify(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def net(depth=3, seed=0, **settings):
    settings = {"activation": "relu", "init": "he"} | settings
    return mlp(depth=depth, width=32, seed=seed, dtype=torch.float32, **settings)


def deep(activation, layers=8, width=32, scale=None):
    torch.manual_seed(0)
    parts = [nn.Linear(64, width), activation()]
    for _ in range(layers - 1):
        parts += [nn.Linear(width, width), activation()]
    model = nn.Sequential(*parts, nn.Linear(width, 10))
    for p in model.parameters():
        if scale and p.ndim == 2:
            nn.init.normal_(p, std=scale / p.shape[1] ** 0.5)
    return model


def recaller(kind, steps):
    """A recurrent network that is to recall its first token, and its batches."""
    task = recall(steps=steps, seed=0, train=1024, test=8, dtype=torch.float32)
    inputs, outputs = task.train.inputs.shape[2], int(task.train.targets.max()) + 1
    shape = dict(kind=kind, hidden=16, inputs=inputs, outputs=outputs, dtype=torch.float32)
    return recurrent(seed=0, **shape), batches_of(task)


def test_a_network_that_learns_is_healthy(batches):
    found = diagnose(net(), classify, batches, optimizer=adam)
    assert (found.verdict, found.cause, found.where) == ("healthy", None, ())
    assert found.evidence["learnt"]["as it is"] > 0.5


def test_sigmoids_are_blamed_on_their_slope_and_small_weights_on_the_weights(batches):
    found = diagnose(deep(nn.Sigmoid), classify, batches)
    assert (found.verdict, found.cause) == ("gradient", "activation")
    assert found.evidence["decades lost"] > 4
    small = diagnose(deep(nn.Tanh, scale=0.2), classify, batches)
    assert (small.verdict, small.cause) == ("gradient", "weight scale")
    # The same loss, told from the two sides that add up along the chain.
    gradient = small.evidence["gradient by layer"]
    assert small.evidence["decades lost"] == pytest.approx(np.log10(gradient[-1] / gradient[0]))


class FourSigmoids(nn.Module):
    """4σ(z), written with tanh."""

    def forward(self, z):
        return 2 + 2 * torch.tanh(z / 2)


def test_one_network_written_in_two_ways_is_said_to_have_one_fault(batches):
    one, other = deep(nn.Sigmoid), deep(FourSigmoids)
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        for layer in other[2::2]:
            layer.weight /= 4
        assert classify(one, batches[0]) == pytest.approx(float(classify(other, batches[0])))
    found, again = (diagnose(model, classify, batches) for model in (one, other))
    assert (found.cause, again.cause) == ("activation", "weight scale")
    assert found.said == again.said == "activation × weight scale"
    for words in (found, again):
        assert "activation and the weights together" in words.reason
        assert words.remedy.startswith("weights rescaled layer by layer, which helped here (learnt")


@pytest.mark.parametrize("layer", ["2", "4", "6"])
def test_one_bad_layer_is_named(batches, layer):
    model = deep(nn.ReLU, layers=5, scale=2**0.5)
    dead = copy.deepcopy(model)
    nn.init.constant_(dead.get_submodule(layer).bias, -50.0)
    found = diagnose(dead, classify, batches, optimizer=adam)
    assert (found.cause, found.where) == ("dead units", (layer,))
    with torch.no_grad():
        model.get_submodule(layer).weight *= 1e-9
    # At this rate; at 0.01 the small layer grows back within 300 steps, and is not accused.
    found = diagnose(model, classify, batches, optimizer=lambda p: torch.optim.SGD(p, lr=0.003))
    assert (found.cause, found.where) == ("weight scale", (layer,))


def test_an_output_that_is_dead_is_named(batches):
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.ReLU())
    nn.init.constant_(model[2].bias, -50.0)
    found = diagnose(model, classify, batches, optimizer=adam)
    assert (found.cause, found.where) == ("dead units", ("2",))


def test_a_huge_layer_whose_neighbours_make_up_for_it_is_named(batches):
    torch.manual_seed(0)
    parts = [nn.Unflatten(1, (1, 8, 8))]
    for channels in (1, 8, 8):
        parts += [nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*parts, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 10))
    with torch.no_grad():
        model[5].weight *= 400
    found = diagnose(
        model, classify, batches, optimizer=lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)
    )
    assert found.evidence["decades lost"] < 1
    assert (found.cause, found.where) == ("explosion", ("5",))


@pytest.mark.parametrize(
    ("cause", "optimizer"),
    [
        ("learning rate", lambda p: torch.optim.SGD(p, lr=1e-7)),
        ("learning rate", lambda p: torch.optim.Adam(p, lr=1.0)),
        ("weight decay", lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=3.0)),
        ("optimizer epsilon", lambda p: torch.optim.Adam(p, lr=1e-3, eps=10.0)),
    ],
)
def test_an_optimizer_at_fault_is_named_and_not_the_gradient(batches, cause, optimizer):
    found = diagnose(net(), classify, batches, optimizer=optimizer)
    assert (found.verdict, found.cause) == ("other", cause)


def test_data_at_fault(batches):
    order = torch.Generator().manual_seed(0)
    shuffled = [(x, torch.randint(10, y.shape, generator=order)) for x, y in batches]
    assert diagnose(net(), classify, shuffled, optimizer=adam).cause == "data"
    same = [(torch.ones_like(x), y) for x, y in batches]
    assert "same" in diagnose(net(), classify, same, optimizer=adam).reason
    broken = [(x * torch.nan, y) for x, y in batches]
    assert "finite" in diagnose(net(), classify, broken, optimizer=adam).reason


def test_targets_that_no_batch_can_teach_are_the_data_s_fault(batches):
    drawn = torch.Generator().manual_seed(0)
    noise = [(x, torch.randn(len(x), 10, generator=drawn)) for x, _ in batches]
    found = diagnose(net(), lambda m, b: F.mse_loss(m(b[0]), b[1]), noise, optimizer=adam)
    assert (found.verdict, found.cause) == ("other", "data")
    assert found.evidence["learnt of one batch"] > 0.5
    assert found.evidence["learnt of new batches"] < 0.02


def test_a_trial_that_only_learns_by_heart_is_no_help(batches):
    inputs, targets = zip(*batches, strict=True)
    before = list(zip(inputs, targets[1:] + targets[:1], strict=True))  # of the batch before
    found = diagnose(net(), classify, before, optimizer=lambda p: torch.optim.Adam(p, lr=5e-3))
    assert (found.verdict, found.cause) == ("other", "data")


def test_two_decades_lost_over_time_do_not_explain_shuffled_labels():
    gru, batches = recaller("gru", 10)
    drawn = torch.Generator().manual_seed(0)
    shuffled = [(x, y[torch.randperm(len(y), generator=drawn)]) for x, y in batches]
    optimizer = partial(torch.optim.Adam, lr=1e-2)
    found = diagnose(gru, classify, shuffled, optimizer=optimizer)
    (sizes,) = found.evidence["gradient by lag"].values()
    assert sizes[-1] < 0.01
    assert found.verdict in ("other", "abstain")


def test_a_rule_that_takes_long_to_find_is_not_the_data_s_fault():
    drawn = torch.Generator().manual_seed(2)
    x = 2.0 * torch.randint(2, (3200, 12), generator=drawn) - 1
    y = (x[:, :4].prod(dim=1) > 0).long()
    signs = list(zip(x.split(32), y.split(32), strict=True))
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 2))
    found = diagnose(model, classify, signs, optimizer=lambda p: torch.optim.Adam(p, lr=3e-3))
    assert found.verdict == "healthy"


def test_a_run_that_ends_far_worse_than_it_began_has_too_large_a_rate():
    gru, batches = recaller("gru", 10)
    found = diagnose(gru, classify, batches, optimizer=lambda p: torch.optim.RMSprop(p, lr=3.0))
    assert (found.verdict, found.cause) == ("other", "learning rate")


class Bare(nn.Module):
    """A recurrence whose matrices are no module's."""

    def __init__(self, factor):
        super().__init__()
        self.w, self.u = nn.Parameter(torch.randn(10, 24)), nn.Parameter(factor * torch.eye(24))
        self.readout = nn.Linear(24, 8)

    def forward(self, x):
        h = x.new_zeros(len(x), 24)
        for step in x.unbind(dim=1):
            h = step @ self.w + h @ self.u
        return self.readout(h)


def seen(model, loss_fn, batch):
    return look(model, loss_fn, batch, lambda loss, eye: None)


def test_memory_without_modules_is_seen_by_the_inputs():
    task = recall(steps=25, seed=0, train=1024, test=8, dtype=torch.float32)
    torch.manual_seed(0)
    found = diagnose(Bare(0.5), classify, batches_of(task), optimizer=adam)
    assert (found.verdict, found.cause) == ("gradient", "recurrent factor")
    # 0.5 to the power of 7 is the first below a hundredth.
    assert found.where == range(7, 25)
    sizes = found.evidence["gradient by lag"][""]
    assert sizes == pytest.approx([0.5**lag for lag in range(25)], rel=1e-4)
    assert seen(Bare(1.0), classify, batches_of(task)[0])["lags"] == {}


def test_a_loss_may_differentiate_by_the_inputs():
    torch.manual_seed(0)
    points = torch.rand(512, 6, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))

    def slope_of_one(model, x):
        x = x.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return (slopes - 1).square().mean()

    found = diagnose(model, slope_of_one, list(points.split(32)), optimizer=adam)
    assert found.verdict == "healthy"


def test_memory_at_fault():
    lstm, batches = recaller("lstm", 40)
    found = diagnose(lstm, classify, batches, optimizer=adam)
    assert (found.verdict, found.cause) == ("gradient", "forget gate")
    assert isinstance(found.where, range)
    assert found.where.stop == 40
    assert found.as_json()["where"]["lags"][1] == 39


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.below, self.above = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.above(torch.relu(self.below(x)).detach())


def test_detached_layers_are_named_and_frozen_ones_are_not(batches):
    found = diagnose(Detached(), classify, batches)
    assert (found.verdict, found.cause, found.where) == ("other", "detached", ("below",))
    frozen = net()
    for p in frozen[0].parameters():
        p.requires_grad_(False)
    assert diagnose(frozen, classify, batches, optimizer=adam).verdict == "healthy"
    for p in frozen.parameters():
        p.requires_grad_(False)
    found = diagnose(frozen, classify, batches)
    assert (found.cause, found.reason) == ("detached", "No parameter of the model is trainable.")


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_the_size_of_the_loss_does_not_matter(batches, scale):
    def scaled(model, batch):
        return scale * classify(model, batch)

    found = diagnose(deep(nn.Sigmoid), scaled, batches, optimizer=adam)
    healthy = diagnose(
        net(), scaled, batches, optimizer=lambda p: torch.optim.SGD(p, lr=0.1 / scale)
    )
    assert (found.verdict, healthy.verdict) == ("gradient", "healthy")


def test_everything_of_the_reader_s_stays_as_it_was(batches):
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    critic = nn.Linear(10, 1)
    model.eval()
    model[0].weight.grad = torch.full_like(model[0].weight, 7.0)
    critic.weight.grad = torch.full_like(critic.weight, 5.0)
    states = copy.deepcopy(model.state_dict()), copy.deepcopy(critic.state_dict())
    torch.manual_seed(3), np.random.seed(4), random.seed(5)  # noqa: NPY002
    expected = torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(3), np.random.seed(4), random.seed(5)  # noqa: NPY002

    def loss(model, batch):
        x = batch[0] + 0.01 * torch.randn_like(batch[0]) + np.random.rand()  # noqa: NPY002
        return F.cross_entropy(model(x), batch[1]) + critic(model(x)).square().mean()

    diagnose(model, loss, batches[:5])
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected  # noqa: NPY002
    assert not model.training
    assert (model[0].weight.grad == 7).all()
    assert model[3].weight.grad is None
    assert (critic.weight.grad == 5).all()
    assert critic.bias.grad is None
    for module, state in zip((model, critic), states, strict=True):
        for name, value in module.state_dict().items():
            assert torch.equal(value, state[name]), name
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_seed_decides_and_not_the_state_of_the_generators(batches):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
    first = diagnose(model, classify, batches, seed=3).as_json()
    torch.rand(1)
    assert diagnose(model, classify, batches, seed=3).as_json() == first
    assert diagnose(model, classify, batches, seed=4).as_json() != first


# --- What it survives ----------------------------------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.reentrant = reentrant

    def forward(self, x):
        h = torch.relu(self.first(x))
        h = checkpoint(lambda h: F.relu(self.middle(h)), h, use_reentrant=self.reentrant)
        return self.last(h)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.again = nn.Linear(32, 32)
        self.again.weight = self.middle.weight
        self.unused = nn.Linear(5, 5)

    def forward(self, x):
        h = F.relu(self.again(F.relu(self.middle(F.relu(self.first(x))))), inplace=True)
        return {"logits": self.last(h), "hidden": (h, None)}


def in_eager(model):
    return torch.compile(model, backend="eager")


class Packed(nn.Module):
    """The rows of a digit, as a packed sequence."""

    def __init__(self):
        super().__init__()
        self.rnn, self.readout = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x):
        lengths = torch.full((len(x),), 8)
        rows = nn.utils.rnn.pack_padded_sequence(x.reshape(-1, 8, 8), lengths, batch_first=True)
        return self.readout(self.rnn(rows)[1][0])


MODELS = {
    "packed sequence": Packed,
    "in place": lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(inplace=True), nn.Linear(32, 10)),
    "checkpointed": lambda: Checkpointed(False),
    "reentrant checkpoints": lambda: Checkpointed(True),
    "compiled": lambda: in_eager(net()),
    "lazy": lambda: nn.Sequential(nn.LazyLinear(32), nn.ReLU(), nn.LazyLinear(10)),
    "tied, unused, dict of outputs": Tied,
    "double": lambda: net().double(),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_all_kinds(batches, name):
    torch.manual_seed(0)
    model = MODELS[name]()

    def loss(model, batch):
        x = batch["x"].double() if name == "double" else batch["x"]
        outputs = model(x)
        return F.cross_entropy(
            outputs["logits"] if isinstance(outputs, dict) else outputs, batch["y"]
        )

    optimizer = partial(torch.optim.Adam, lr=1e-2 if name == "packed sequence" else 1e-3)
    found = diagnose(model, loss, ({"x": x, "y": y} for x, y in batches), optimizer=optimizer)
    assert found.verdict == "healthy", found


def test_a_compiled_network_that_starves_is_seen_through(batches):
    found = diagnose(in_eager(deep(nn.Sigmoid)), classify, batches)
    assert (found.verdict, found.cause, found.where[0]) == ("gradient", "activation", "0")


def test_two_optimizers_and_a_scaled_loss(batches):
    scaler = torch.amp.GradScaler("cpu")

    def loss(model, batch):
        return scaler.scale(classify(model, batch))

    def two(parameters):
        first, *rest = parameters
        return torch.optim.Adam([first], lr=1e-3), torch.optim.RMSprop(rest, lr=1e-3)

    assert diagnose(net(), loss, batches, optimizer=two).verdict == "healthy"


def test_autocast_and_half_precision(batches):
    def loss(model, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return classify(model, batch)

    assert diagnose(net(), loss, batches, optimizer=adam).verdict == "healthy"
    half = net().bfloat16()

    def in_half(model, batch):
        return F.cross_entropy(model(batch[0].bfloat16()).float(), batch[1])

    found = diagnose(half, in_half, batches, optimizer=lambda p: torch.optim.Adam(p, lr=2e-5))
    assert (found.verdict, found.cause) == ("gradient", "low precision")

    def squared(model, batch):
        return model(batch[0].to(next(model.parameters()).dtype)).square().sum() * 1e4

    found = diagnose(net().half(), squared, batches)
    assert (found.cause, found.where) == ("low precision", ())
    assert "single precision only" in found.reason


# --- What it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(batches=[]), "gave none"),
        (dict(model=lambda x: x), "not function"),
        (dict(loss_fn=lambda m, b: m(b[0])), "scalar tensor"),
        (dict(loss_fn=lambda m, b: 1.0), "not float; leave out .item"),
        (dict(optimizer=lambda p: torch.optim.LBFGS(p)), "LBFGS needs a closure"),
        (dict(loss_fn=lambda m, b: nn.Linear(64, 10)(b[0]).sum()), "ran no part of the Sequential"),
    ],
)
def test_what_it_cannot_handle_it_says(batches, change, message):
    given = dict(model=net(), loss_fn=classify, batches=batches) | change
    model, loss_fn, given_batches = (given.pop(name) for name in ("model", "loss_fn", "batches"))
    with pytest.raises(ValueError, match=message):
        diagnose(model, loss_fn, given_batches, **given)


def test_a_model_that_cannot_be_copied(batches):
    model = net()
    model.kept = torch.ones(2, requires_grad=True) * 2
    with pytest.raises(ValueError, match="cannot be copied"):
        diagnose(model, classify, batches)


# --- How it is shown -----------------------------------------------------------------------------


def test_text_table_and_json(batches):
    assert {verdict for verdict, _ in CAUSES.values()} == {"gradient", "other"}
    for found in (diagnose(deep(nn.Sigmoid), classify, batches), Diagnosis("healthy", "a < b")):
        data = json.loads(json.dumps(found.as_json(), allow_nan=False))
        jsonschema.validate(data, SCHEMA)
        assert found.verdict in str(found)
        assert "&lt;" not in str(found)
        assert "<table>" in found._repr_html_()
    assert "a &lt; b" in found._repr_html_()
    assert vglib.diagnose is diagnose
    assert vglib.Watch is Watch
    with pytest.raises(AttributeError, match="no attribute 'diagnosed'"):
        vglib.diagnosed  # noqa: B018


def test_what_is_said_in_text_and_table():
    learnt = {"as it is": -0.2, "a rate of 1 < 2": 0.914}
    found = Diagnosis("gradient", "Why.", "activation", tuple("abcdef"), {"learnt": learnt}, "Try.")
    rows = {
        "verdict": "gradient: activation × weight scale",
        "reason": "Why.",
        "where": "a, b, c, d and 2 more",
        "learnt": "as it is 0%; a rate of 1 < 2 91% of the blind loss",
        "to try": "Try.",
    }
    assert str(found) == "\n".join(f"{heading:8} {text}" for heading, text in rows.items())
    soup = BeautifulSoup(found._repr_html_(), "html.parser")
    table = {row.th.text: row.td.text for row in soup.select("tr")}
    assert table == rows
    lags = Diagnosis("gradient", "Why.", "forget gate", range(3, 40))
    assert "where    lags 3 to 39" in str(lags)


# --- Its parts -----------------------------------------------------------------------------------


@pytest.fixture
def lab(batches):
    return Lab(net(), classify, batches, adam, 0)


def test_a_blind_loss_is_that_of_a_model_that_knows_nothing(lab):
    with set_aside(0):
        lab.ways = ("[0]", "[1]")
        trial = lab.run(steps=200)
    assert trial.loss < 0.5
    assert min(trial.dealt.values()) > 2.3


def test_paired_losses_and_others(lab):
    with set_aside(0):
        assert lab.paired() == ("[0]", "[1]", "outputs")
        gan = Lab(lab.model, lambda m, b: m(b[0]).square().mean(), lab.batches, adam, 0)
        assert gan.paired() == ()


def test_rescaled_layers_have_outputs_of_size_one(batches):
    model = deep(nn.Sigmoid, layers=6)
    lab = Lab(model, classify, batches, adam, 0)
    lab.layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    rescale(lab, model)
    x = batches[0][0]
    for layer in list(model)[:-1]:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            assert float(x.detach().square().mean() ** 0.5) == pytest.approx(1, rel=0.01)


def test_own_layers_and_in_place_activations_are_rescaled_too(batches):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(0.01 * torch.randn(64, 64))

        def forward(self, x):
            return (x @ self.weight).relu_()

    model = nn.Sequential(*(Own() for _ in range(6)), nn.Linear(64, 10))
    found = diagnose(model, classify, batches)
    assert (found.verdict, found.cause) == ("gradient", "weight scale")
    assert found.evidence["learnt"]["weights rescaled layer by layer"] > 0.5


def test_opened_gates_forget_within_the_longest_lag():
    lstm = nn.LSTM(3, 4000)
    with set_aside(0):
        open_memory(50, True, None, lstm)
    forget = torch.sigmoid((lstm.bias_ih_l0 + lstm.bias_hh_l0)[4000:8000].detach())
    times = 1 / (1 - forget)
    assert 2 <= times.min() < times.max() <= 50
    assert times.mean() == pytest.approx(26, rel=0.05)


def test_gradient_by_lag_of_fused_and_written_out_cells_agree():
    """An RNN cell called in a loop has the fused module's decay, for the same weights."""

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = nn.RNNCell(3, 8), nn.Linear(8, 2)

        def forward(self, x):
            h = x.new_zeros(len(x), 8)
            for step in x.unbind(1):
                h = self.cell(step, h)
            return self.out(h)

    torch.manual_seed(0)
    loop = Loop().double()
    fused = nn.RNN(3, 8, batch_first=True).double()
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(fused, f"{name}_l0").data = getattr(loop.cell, name).data
    x = torch.randn(16, 20, 3, dtype=torch.float64)
    one = seen(loop, lambda m, b: m(b).sum(), x)["lags"]["cell"]

    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = fused

        def forward(self, x):
            return self.rnn(x)[0][:, -1]

    other = seen(Fused(), lambda m, b: m(b).sum(), x)["lags"]["rnn"]
    # ∂/∂h_t and ∂/∂x_t differ by what one step does; their decay per step is the same.
    rates = [np.log(sizes[-1] / sizes[5]) / 14 for sizes in (one, other)]
    assert rates[0] == pytest.approx(rates[1], rel=0.1)


# --- The watch -----------------------------------------------------------------------------------


def trained(model, batches, steps, rate=0.01, every=10):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    with Watch(model, every=every) as watch:
        for step in range(steps):
            optimizer.zero_grad()
            loss = classify(model, batches[step % len(batches)])
            loss.backward()
            optimizer.step()
            watch(loss)
    return watch


def test_the_watch_warns_of_a_starved_network_once(batches):
    with pytest.warns(UserWarning, match="to the activation and the weights together") as caught:
        watch = trained(deep(nn.Sigmoid), batches, 200)
    assert len(caught) == 1
    assert (watch.diagnosis().verdict, watch.diagnosis().cause) == ("gradient", "activation")


def test_the_watch_stays_silent_while_the_loss_falls_or_the_path_is_open(batches):
    assert trained(net(), batches, 100).diagnosis().verdict == "healthy"
    assert trained(net(), batches, 100, rate=1e-9).diagnosis().verdict == "abstain"
    assert trained(deep(nn.Sigmoid), batches, 99).diagnosis().verdict == "abstain"


def test_the_watch_is_awake_to_what_is_not_finite(batches):
    with pytest.warns(UserWarning, match="Not finite at step"):
        watch = trained(net(), batches, 60, rate=1e6)
    assert watch.warned
    assert watch.diagnosis().verdict in ("gradient", "other")


def test_the_watch_says_that_nothing_arrives(batches):
    dead = deep(nn.ReLU, layers=2)
    nn.init.constant_(dead[2].bias, -50.0)
    with torch.no_grad():
        dead[-1].bias.zero_().requires_grad_(False)
    with pytest.warns(UserWarning, match="exactly zero"):
        watch = trained(dead, batches, 200)
    assert (watch.diagnosis().verdict, watch.diagnosis().cause) == ("gradient", "dead units")
