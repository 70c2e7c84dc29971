"""What people report: small cases of our own for each kind of fault that was found in public."""

import itertools
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from vglib.diagnosis import Watch, compare, course_optimizer, diagnose
from vglib.diagnosis.changes import is_sorted, shuffled
from vglib.diagnosis.experiments import Lab
from vglib.diagnosis.look import look

FEATURES, CLASSES, SIZE = 12, 3, 32


def data(kind="classes", count=40 * SIZE):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(count, FEATURES, generator=drawn)
    w = torch.randn(FEATURES, CLASSES, generator=drawn)
    y = {"classes": (x @ w).argmax(1), "yes or no": (x @ w[:, 0] > 0).float()}
    y |= {"number": torch.sin(x @ w[:, 0]) + x[:, 0]}
    return list(zip(x.split(SIZE), y[kind].split(SIZE), strict=True))


def classify(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


adam = partial(torch.optim.Adam, lr=1e-2)


def stack(*sizes, activation=nn.ReLU, end=()):
    torch.manual_seed(0)
    layers = []
    for one, two in itertools.pairwise(sizes):
        layers += [nn.Linear(one, two), activation()]
    return nn.Sequential(*layers[:-1], *end)


def said(model, loss=classify, batches=None, optimizer=adam):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return diagnose(model, loss, batches or data(), optimizer=optimizer)


# 1. A gradient that is exactly zero ---------------------------------------------------------------


def test_a_softmax_over_one_unit():
    model = stack(FEATURES, 16, 1, end=[nn.Softmax(dim=1)])

    def loss(model, batch):
        return F.binary_cross_entropy(model(batch[0]), batch[1][:, None])

    found = said(model, loss, data("yes or no"))
    assert (found.verdict, found.trap) == ("gradient", "softmax over one unit")
    assert found.where[0] in ("2", "3")


class Step(nn.Module):
    def forward(self, x):
        return torch.sign(x)


def test_a_step_function_between_layers():
    model = nn.Sequential(nn.Linear(FEATURES, 4), Step(), nn.Linear(4, CLASSES))
    found = said(model)
    assert (found.verdict, found.cause, found.where) == ("gradient", "activation", ("0",))
    assert "exactly zero" in found.reason


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Parameter(torch.zeros(4, FEATURES)), nn.Parameter(torch.zeros(8, 4))

    def forward(self, x):
        return x @ self.one.T @ self.two.T


def test_a_product_of_two_zeros():
    head = nn.Linear(8, CLASSES).requires_grad_(False)
    found = said(nn.Sequential(Product(), head))
    assert (found.verdict, found.cause, found.where) == ("gradient", "weight scale", ("0",))


# 2. What is not finite ----------------------------------------------------------------------------


def test_a_root_of_zero():
    def distance(model, batch):
        z = model(batch[0])
        return (z - z.detach()).square().sum(1).sqrt().mean() + classify(model, batch)

    found = said(stack(FEATURES, 16, CLASSES), distance)
    assert (found.verdict, found.cause) == ("gradient", "explosion")
    assert "step 0 the loss is finite and its gradient is not" in found.reason
    assert found.where == ("2",)


def test_a_batch_without_labels():
    batches = data()
    batches[3] = (batches[3][0], torch.full_like(batches[3][1], -100))
    found = said(stack(FEATURES, 16, CLASSES), batches=batches)
    assert found.verdict == "healthy"
    assert any("Batch 3" in hint for hint in found.hints)


def test_numbers_in_one_batch_that_are_not_finite():
    batches = data()
    batches[5][0][0, 0] = torch.nan
    found = said(stack(FEATURES, 16, CLASSES), batches=batches)
    assert (found.verdict, found.cause) == ("other", "data")
    assert "Batch 5" in found.reason


# 3. Little learnt is not healthy ------------------------------------------------------------------


class Inside(nn.Module):
    """The loss is computed in `forward`, as in many language models."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, labels):
        scores = self.net(x)
        return {"loss": F.cross_entropy(scores, labels), "logits": scores}


def test_uneven_classes_that_nothing_tells_apart():
    drawn = torch.Generator().manual_seed(1)
    rare = [(x, (torch.rand(len(x), generator=drawn) < 0.1).long()) for x, _ in data()]
    for model, loss in (
        (stack(FEATURES, 16, 2), classify),
        (Inside(stack(FEATURES, 16, 2)), lambda m, b: m(*b)["loss"]),
    ):
        assert said(model, loss, rare).verdict in ("other", "abstain")


def test_sigmoids_behind_a_loss_in_the_model():
    net = stack(FEATURES, *[16] * 8, CLASSES, activation=nn.Sigmoid)
    found = said(Inside(net), lambda m, b: m(*b)["loss"])
    assert (found.verdict, found.cause) == ("gradient", "activation")


# 4. Unused is not detached ------------------------------------------------------------------------


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)
        self.pooler = nn.Linear(16, 16)

    def forward(self, x):
        h = torch.relu(self.body(x))
        return self.head(h), self.pooler(h)


def test_a_head_that_the_loss_ignores_is_a_note():
    found = said(Heads(), lambda m, b: F.cross_entropy(m(b[0])[0], b[1]))
    assert found.verdict == "healthy"
    assert "Unused: pooler." in found.hints


def test_a_part_that_argmax_cuts_off_is_named():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.codes = nn.Linear(FEATURES, 5), nn.Embedding(5, CLASSES)

        def forward(self, x):
            return self.codes(self.encoder(x).argmax(1))

    found = said(Cut())
    assert (found.cause, found.where) == ("detached", ("encoder",))


# 5. What dies later -------------------------------------------------------------------------------


def test_a_last_relu_that_dies_as_all_targets_lie_below_it():
    model = stack(FEATURES, 16, 1, end=[nn.ReLU()])

    def loss(model, batch):
        return (model(batch[0])[:, 0] - batch[1]).square().mean()

    far_below = [(x, y - 20) for x, y in data("number")]
    found = said(model, loss, far_below)
    assert (found.verdict, found.trap, found.where) == ("other", "bounded outputs", ("2",))
    assert found.remedy.startswith("no relu after the last layer, which helped here")


# 6. Parameters without an optimizer ---------------------------------------------------------------


def test_layers_in_a_list():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = {"body": [nn.Linear(FEATURES, 16)]}
            self.head = nn.Linear(16, CLASSES)

        def forward(self, x):
            return self.head(torch.relu(self.parts["body"][0](x)))

    found = said(Hidden())
    assert (found.cause, found.trap, found.where) == ("detached", "not registered", ("parts",))


# 7. No forward ------------------------------------------------------------------------------------


class Lightning(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.body, self.head = net[:-1], net[-1]

    def training_step(self, batch):
        return F.cross_entropy(self.head(self.body(batch[0])), batch[1])


def test_parts_that_a_training_step_calls():
    def loss(model, batch):
        return model.training_step(batch)

    assert said(Lightning(stack(FEATURES, 16, CLASSES)), loss).verdict == "healthy"
    found = said(Lightning(stack(FEATURES, *[16] * 8, CLASSES, activation=nn.Sigmoid)), loss)
    assert (found.verdict, found.cause) == ("gradient", "activation")


# 8. Healthy models that are hard to look at -------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.body = nn.Linear(FEATURES, 16), nn.Linear(16, 16)
            self.head = nn.Linear(16, CLASSES)

        def forward(self, x):
            h = torch.relu(self.first(x))
            return self.head(torch.relu(checkpoint(self.body, h, use_reentrant=reentrant)))

    assert said(Checkpointed()).verdict == "healthy"


# 9. Where, and what to try ------------------------------------------------------------------------


def test_a_state_that_is_detached_between_steps():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(1, 8), nn.Linear(8, CLASSES)

        def forward(self, x):
            h = x.new_zeros(len(x), 8)
            for step in x[..., None].unbind(1):
                h = self.cell(step, h.detach())
            return self.head(h)

    found = said(Loop())
    assert (found.cause, found.trap, found.where) == ("detached", "detached in time", ("cell",))


def test_targets_far_from_unit_size_are_named_and_their_remedy_was_tried():
    far = [(x, 1e4 * y) for x, y in data("number")]
    found = said(stack(FEATURES, 16, 1), lambda m, b: F.mse_loss(m(b[0])[:, 0], b[1]), far)
    assert (found.verdict, found.cause) == ("other", "data")
    assert "targets batch[1]" in found.reason
    assert found.remedy.startswith("targets standardised ([1]), which helped here")


def test_a_rate_is_advised_with_a_number():
    found = said(stack(FEATURES, 16, CLASSES), optimizer=partial(torch.optim.Adam, lr=1e-7))
    assert found.cause == "learning rate"
    assert "in place of 1e-07" in found.remedy


def test_shapes_that_broadcast():
    found = said(stack(FEATURES, 16, 1), lambda m, b: F.mse_loss(m(b[0]), b[1]), data("number"))
    assert (found.cause, found.trap) == ("data", "broadcast")
    written_out = said(
        stack(FEATURES, 16, 1), lambda m, b: (m(b[0]) - b[1]).square().mean(), data("number")
    )
    assert written_out.trap == "broadcast"


def test_attention_along_the_batch():
    class Reader(nn.Module):
        def __init__(self, first):
            super().__init__()
            torch.manual_seed(0)
            self.rnn = nn.GRU(3, 16, batch_first=first)
            self.head = nn.Linear(16, CLASSES)

        def forward(self, x):
            return self.head(self.rnn(x.view(len(x), 4, 3))[0][:, -1])

    found = said(Reader(False))
    assert (found.cause, found.trap) == ("data", "wrong axis")
    assert said(Reader(True)).verdict == "healthy"


# 10. Slow is not faulty ---------------------------------------------------------------------------


def test_a_small_network_at_its_own_rate_is_healthy():
    model = stack(FEATURES, 8, 8, CLASSES, activation=nn.Tanh)
    found = said(model, optimizer=partial(torch.optim.SGD, lr=0.1))
    assert found.verdict == "healthy"
    assert any("faster" in hint for hint in found.hints)


# 11. A layer that the loss has already ------------------------------------------------------------


def test_a_softmax_before_cross_entropy():
    found = said(stack(FEATURES, 16, CLASSES, end=[nn.Softmax(dim=1)]))
    assert found.trap == "squashed twice"
    assert "softmax" in found.reason


def test_a_sigmoid_before_a_loss_with_its_own():
    model = stack(FEATURES, 16, 1, end=[nn.Sigmoid()])

    def loss(model, batch):
        return F.binary_cross_entropy_with_logits(model(batch[0])[:, 0], batch[1])

    assert said(model, loss, data("yes or no")).trap == "squashed twice"


# More traps ---------------------------------------------------------------------------------------


def test_layers_without_an_activation():
    drawn = torch.Generator().manual_seed(2)
    x = torch.randn(40 * SIZE, 2, generator=drawn)
    rings = list(zip(x.split(SIZE), (x.norm(dim=1) > 1.2).long().split(SIZE), strict=True))
    model = nn.Sequential(nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 2))
    found = said(model, batches=rings)
    assert (found.cause, found.trap) == ("activation", "no activation")


def test_outputs_that_cannot_reach_the_targets():
    model = stack(FEATURES, 16, 1, end=[nn.Sigmoid()])
    beyond = [(x, y * 5) for x, y in data("number")]
    found = said(model, lambda m, b: F.mse_loss(m(b[0])[:, 0], b[1]), beyond)
    assert (found.cause, found.trap, found.where) == ("data", "bounded outputs", ("2",))


def seen(model, loss_fn, batch):
    """Names of the traps that show in one pass."""
    return [trap.name for trap in look(model, loss_fn, batch, lambda *given: None)["traps"]]


@pytest.mark.parametrize(
    ("end", "low", "high", "trapped"),
    [
        (nn.ReLU(), -1, 1, True),
        (nn.ReLU(), 0, 9, False),
        (nn.Sigmoid(), 0, 3, True),
        (nn.Sigmoid(), 0, 1, False),
        (nn.Tanh(), -3, 3, True),
        (nn.Identity(), -9, 9, False),
    ],
)
def test_targets_out_of_reach_are_seen(end, low, high, trapped):
    x = data("number")[0][0]
    y = torch.linspace(low, high, len(x))
    model = stack(FEATURES, 16, 1, end=[end])
    found = seen(model, lambda m, b: F.mse_loss(m(b[0])[:, 0], b[1]), (x, y))
    assert found == ["bounded outputs"] * trapped


@pytest.mark.parametrize(("end", "trapped"), [(nn.ReLU(), True), (nn.Identity(), False)])
def test_an_input_that_is_its_own_target_may_be_out_of_reach(end, trapped):
    model = stack(FEATURES, 16, FEATURES, end=[end])
    assert seen(model, mirror, data()[0][:1]) == ["bounded outputs"] * trapped


def mirror(model, batch):
    return F.mse_loss(model(batch[0]), batch[0])


@pytest.mark.parametrize(("end", "trapped"), [(nn.Identity(), True), (nn.Sigmoid(), False)])
def test_outputs_that_a_loss_clips_are_seen(end, trapped):
    def clipped(model, batch):
        p = model(batch[0])[:, 0].clamp(1e-7, 1 - 1e-7)
        return -(batch[1] * p.log() + (1 - batch[1]) * (1 - p).log()).mean()

    model = stack(FEATURES, 16, 1, end=[end])
    assert seen(model, clipped, data("yes or no")[0]) == ["clipped outputs"] * trapped


def test_a_dropout_of_the_outputs_is_seen_and_one_before_is_not():
    model, batch = stack(FEATURES, 16, CLASSES), data()[0]
    inside = nn.Sequential(*model[:2], nn.Dropout(0.5), *model[2:])
    assert seen(nn.Sequential(*model, nn.Dropout(0.5)), classify, batch) == [
        "dropout of the outputs"
    ]
    assert seen(inside, classify, batch) == []
    assert seen(nn.Sequential(*model, nn.Dropout(0.5)).eval(), classify, batch) == []


def test_an_embedding_that_is_asked_for_one_index_only_is_seen():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, CLASSES))
    tokens = torch.arange(3).expand(SIZE, 3).clone()
    labels = data()[0][1]
    assert seen(model, classify, (tokens, labels)) == []
    assert seen(model, classify, (tokens * 0, labels)) == ["one token"]


def test_targets_that_are_all_the_same_are_told():
    same = [(x, torch.zeros_like(y)) for x, y in data()]
    found = said(stack(FEATURES, 16, CLASSES), batches=same)
    assert (found.cause, found.trap) == ("data", "constant targets")


def test_a_loss_of_huge_outputs_still_tells_its_pairs():
    model = stack(FEATURES, 16, FEATURES)
    with torch.no_grad():
        model[0].weight *= 1e3
    batches = [(x,) for x, _ in data()]
    lab = Lab(model, mirror, batches, course_optimizer, 0)
    lab.layers = ("0", "2")
    assert "outputs" in lab.paired()


def test_units_that_start_alike():
    model = stack(FEATURES, 16, 16, CLASSES)
    for layer in model[::2]:
        nn.init.constant_(layer.weight, 0.1)
    found = said(model)
    assert found.verdict == "healthy" or found.trap == "equal units"


def test_batches_of_one_class_each():
    x, y = (torch.cat(part) for part in zip(*data(), strict=True))
    order = y.argsort()
    batches = list(zip(x[order].split(SIZE), y[order].split(SIZE), strict=True))
    assert is_sorted(batches)
    mixed = shuffled(batches)
    assert not is_sorted(mixed)
    # The same pairs of inputs and labels, in another order.
    again = torch.cat([pair[0] for pair in mixed])
    place = (again[:, None] == x).all(dim=2).int().argmax(dim=1)
    assert sorted(place.tolist()) == list(range(len(x)))
    assert torch.equal(torch.cat([pair[1] for pair in mixed]), y[place])
    found = said(stack(FEATURES, 16, CLASSES), batches=batches)
    assert "examples shuffled over the batches" in found.evidence["learnt"]


def test_labels_that_say_nothing_are_the_data_s_fault_in_several_epochs_too():
    drawn = torch.Generator().manual_seed(3)
    noise = [(x, torch.randint(CLASSES, (len(x),), generator=drawn)) for x, _ in data()]
    found = said(stack(FEATURES, 64, CLASSES), batches=noise * 3)
    assert (found.verdict, found.cause) == ("other", "data")


# The reader's world -------------------------------------------------------------------------------


class Wrapper:
    def __init__(self, optimizer):
        self.optimizer = optimizer

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self):
        self.optimizer.step()


def with_schedule(parameters, schedule):
    optimizer = adam(parameters)
    return optimizer, schedule(optimizer)


SCHEDULES = torch.optim.lr_scheduler
OPTIMIZERS = {
    "a schedule": partial(with_schedule, schedule=partial(SCHEDULES.StepLR, step_size=50)),
    "one that waits": partial(with_schedule, schedule=SCHEDULES.ReduceLROnPlateau),
    "a warm-up": partial(with_schedule, schedule=partial(SCHEDULES.LinearLR, start_factor=0.1)),
    "a wrapper": lambda parameters: Wrapper(adam(parameters)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_schedules_and_wrappers(name):
    assert said(stack(FEATURES, 16, CLASSES), optimizer=OPTIMIZERS[name]).verdict == "healthy"


def test_a_loader_and_data_parallel():
    x, y = (torch.cat(part) for part in zip(*data(), strict=True))
    loader = DataLoader(TensorDataset(x, y), batch_size=SIZE, shuffle=True)
    assert said(nn.DataParallel(stack(FEATURES, 16, CLASSES)), batches=loader).verdict == "healthy"
    model = nn.DataParallel(stack(FEATURES, *[16] * 8, CLASSES, activation=nn.Sigmoid))
    found = said(model, batches=loader)
    assert (found.cause, found.where[0]) == ("activation", "module.0")
    with Watch(model, every=10) as watch:
        trained(watch, model, loader)
    assert watch.diagnosis().where[0] == "module.0"


def trained(watch, model, batches, steps=120, scaler=None):
    """A loop of somebody's own, in half precision with a loss scale if there is one."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for batch in itertools.islice(itertools.cycle(batches), steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=scaler is not None):
            loss = classify(model, batch)
        if scaler:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            loss.backward()
            optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            watch(loss)


def test_a_watch_sees_through_the_loss_scale():
    found = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**10)):
        model = stack(FEATURES, *[16] * 8, CLASSES, activation=nn.Sigmoid)
        watch = Watch(model, every=10, scaler=scaler).start()
        trained(watch, model, data(), scaler=scaler)
        watch.stop()
        found.append(watch.diagnosis())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    plain, scaled = found
    assert plain.cause == scaled.cause == "activation"
    top = [each.evidence["gradient by layer"][-1] for each in found]
    assert top[1] == pytest.approx(top[0], rel=0.1)  # and not 1024 times as large


def test_eval_mode_is_respected_and_said():
    model = nn.Sequential(nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    ones = [(x[:1], y[:1]) for x, y in data()]
    found = said(model.eval(), batches=ones)
    assert any("eval() mode" in hint for hint in found.hints)
    assert not model.training


def test_a_budget_ends_the_trials():
    model = stack(FEATURES, *[16] * 8, CLASSES, activation=nn.Sigmoid)
    found = diagnose(model, classify, data(), optimizer=adam, budget_s=0.0)
    assert list(found.evidence["learnt"]) == ["as it is"]


def test_a_report_of_a_real_network(tmp_path):
    found = said(stack(FEATURES, *[16] * 8, CLASSES, activation=nn.Sigmoid))
    text = found.save(tmp_path / "report.html").read_text("utf-8")
    assert text.count("<svg") == 2
    assert "activation × weight scale" in text
    assert "now healthy" in compare(found, said(stack(FEATURES, 16, CLASSES)))
    assert found.scalars()["decades lost"] > 4
