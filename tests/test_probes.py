import copy
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from vglib.names import ACTIVATIONS
from vglib.nets import mlp
from vglib.probes import activation_statistics, gradient_flow, rms
from vglib.tasks import Batch

SMALL = dict(depth=4, width=6, activation="tanh", init="xavier", seed=0)


def by_hand(net, batch):
    """δ_l, ∂L/∂W_l and h_{l-1} of a tanh network, by NumPy and the chain rule."""
    layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
    weights = [m.weight.detach().numpy() for m in layers]
    signals = [batch.inputs.numpy()]
    for weight in weights[:-1]:
        signals.append(np.tanh(signals[-1] @ weight.T))
    logits = signals[-1] @ weights[-1].T
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    delta = (softmax - np.eye(10)[batch.targets.numpy()]) / len(batch.targets)
    rows = []
    for layer in range(len(weights) - 2, -1, -1):
        delta = (delta @ weights[layer + 1]) * (1 - signals[layer + 1] ** 2)
        rows.append((delta, delta.T @ signals[layer], signals[layer]))
    return rows[::-1]


def test_equal_to_backpropagation_by_hand(batch):
    net = mlp(**SMALL)
    flow = gradient_flow(net, batch)
    expected = [[np.sqrt(np.mean(a**2)) for a in row] for row in by_hand(net, batch)]
    got = np.stack([flow.delta[0], flow.weight[0], flow.signal[0]], axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=0)
    assert flow.layers == ("layer1", "layer2", "layer3", "layer4")


def test_weight_gradients_are_those_that_backward_leaves(batch):
    net = mlp(**SMALL)
    nn.functional.cross_entropy(net(batch.inputs), batch.targets).backward()
    matrices = [m.weight.grad for m in net.modules() if isinstance(m, nn.Linear)]
    expected = [rms(matrix) for matrix in matrices[:-1]]
    net.zero_grad()
    np.testing.assert_allclose(gradient_flow(net, batch).weight[0], expected, rtol=1e-12, atol=0)


def test_factor_is_the_geometric_mean_over_hidden_layers(batch):
    flow = gradient_flow([mlp(**SMALL | {"seed": s}) for s in range(3)], batch)
    steps = flow.delta[:, :-1] / flow.delta[:, 1:]
    expected = np.exp(np.log(steps).mean(axis=1))
    np.testing.assert_allclose(flow.factor, expected, rtol=1e-12, atol=0)
    assert [s["seed"] for s in flow.settings] == [0, 1, 2]
    assert re.fullmatch(
        r"GradientFlow: 3 networks, 4 layers, factor [\d.]+ \(from .*\)", repr(flow)
    )


def test_a_change_at_the_bottom_moves_the_bottom_only(batch):
    net = mlp(**SMALL | {"activation": "identity"})
    before = gradient_flow(net, batch)
    with torch.no_grad():
        net.layer2.weights.weight.mul_(0.5)
        net.layer3.weights.weight.mul_(2.0)  # the output, and with it the loss, stays the same
    after = gradient_flow(net, batch)
    np.testing.assert_allclose(after.delta[0] / before.delta[0], [1, 2, 1, 1], rtol=1e-9, atol=0)


@given(exponent=st.integers(-300, 300), size=st.integers(1, 50))
def test_rms_neither_underflows_nor_overflows(exponent, size):
    values = torch.full((size,), 3.0, dtype=torch.float64) * 10.0**exponent
    np.testing.assert_allclose(rms(values), 3 * 10.0**exponent, rtol=1e-12, atol=0)


def test_rms_of_zeros_and_of_tiny_float32():
    assert rms(torch.zeros(4)) == 0.0
    np.testing.assert_allclose(rms(torch.full((9,), 1e-30)), 1e-30, rtol=1e-6, atol=0)
    assert np.isnan(rms(torch.tensor([1.0, float("nan")])))
    assert rms(torch.tensor([1.0, float("inf")])) == float("inf")


def test_in_place_activations_do_not_hide_delta(batch):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 10))
    plain = plain.double()
    in_place = copy.deepcopy(plain)
    in_place[1].inplace = in_place[3].inplace = True
    np.testing.assert_allclose(
        gradient_flow(in_place, batch).delta, gradient_flow(plain, batch).delta, rtol=1e-12, atol=0
    )


class Everything(nn.Module):
    """Batch norm, dropout, a convolution and a frozen layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.Linear(4 * 36, 12)
        self.frozen.requires_grad_(False)
        self.top = nn.Linear(12, 10)

    def forward(self, x):
        h = self.drop(torch.relu(self.norm(self.conv(x.view(-1, 1, 8, 8)))))
        return self.top(torch.tanh(self.frozen(h.flatten(1))))


def test_the_model_is_left_as_it_was_found(batch):
    torch.manual_seed(0)
    net = Everything().double()
    net.drop.eval()
    nn.functional.cross_entropy(net(batch.inputs), batch.targets).backward()
    hooks = [len(m._forward_hooks) for m in net.modules()]
    state = copy.deepcopy(net.state_dict())
    gradients = [p.grad if p.grad is None else p.grad.clone() for p in net.parameters()]
    modes = [m.training for m in net.modules()]
    random = torch.get_rng_state()

    flow = gradient_flow(net, batch)

    assert flow.layers == ("conv", "frozen")
    assert np.isnan(flow.weight[0, 1])
    assert (flow.delta > 0).all()
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        same = parameter.grad is gradient or torch.equal(parameter.grad, gradient)
        assert same
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert [len(m._forward_hooks) for m in net.modules()] == hooks
    assert [p.requires_grad for p in net.frozen.parameters()] == [False, False]


def test_layers_behind_frozen_ones_have_a_delta_and_detached_ones_none(batch):
    net = mlp(**SMALL)
    whole = gradient_flow(net, batch)
    net.layer1.requires_grad_(False)
    frozen = gradient_flow(net, batch)
    np.testing.assert_allclose(frozen.delta, whole.delta, rtol=1e-12, atol=0)

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net[2:](self.net[:2](x).detach())

    cut = gradient_flow(Cut(), batch)
    assert np.isnan(cut.delta[0]).tolist() == [True, True, False, False]


def test_cleans_up_when_the_model_fails(batch):
    net = mlp(**SMALL)
    with pytest.raises(ValueError, match="the loss must be a scalar"):
        gradient_flow(net, batch, loss_fn=lambda model, batch: model(batch.inputs))
    assert not any(m._forward_hooks for m in net.modules())


def test_another_loss(batch):
    net = mlp(**SMALL)
    once = gradient_flow(net, batch, loss_fn=lambda m, b: m(b.inputs).square().mean())
    twice = gradient_flow(net, batch, loss_fn=lambda m, b: 2 * m(b.inputs).square().mean())
    np.testing.assert_allclose(twice.delta, 2 * once.delta, rtol=1e-12, atol=0)


def no_parameters(batch):
    return nn.Tanh(), batch


def all_frozen(batch):
    return mlp(**SMALL).requires_grad_(False), batch


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_parameters, "Tanh has no trainable parameters"),
        (all_frozen, "Sequential has no trainable parameters"),
        (lambda b: ([], b), "needs at least one network; the list is empty"),
        (
            lambda b: (mlp(**SMALL), Batch(b.inputs[:0], b.targets[:0])),
            "this one has 0 inputs and 0 targets",
        ),
        (
            lambda b: (mlp(**SMALL), Batch(b.inputs, b.targets[:-1])),
            "this one has 256 inputs and 255 targets",
        ),
        (
            lambda b: (
                mlp(**SMALL),
                Batch(b.inputs.index_fill(1, torch.tensor(3), torch.nan), b[1]),
            ),
            "the inputs must be finite; 256 of 16384 entries are not",
        ),
        (
            lambda b: (mlp(**SMALL), Batch(b.inputs.float(), b.targets)),
            "the inputs are torch.float32 and the model is torch.float64",
        ),
        (
            lambda b: (mlp(**SMALL), Batch(b.inputs, b.targets + 1)),
            "from 0 to 9; these are of type torch.int64 and run from 1 to 10",
        ),
        (
            lambda b: (mlp(**SMALL), Batch(b.inputs, b.targets.double())),
            "labels must be whole numbers from 0 to 9; these are of type torch.float64",
        ),
        (
            lambda b: ([mlp(**SMALL), mlp(**SMALL | {"depth": 2})], b),
            "the 2 networks are of 2 different shapes",
        ),
        (
            lambda b: (nn.Linear(64, 10).double(), b),
            "a hidden layer and a read-out are needed; Linear ran 1 layer(s)",
        ),
    ],
)
def test_bad_input_is_refused(batch, make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        gradient_flow(*make(batch))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda m, b: m(b.inputs).sum(dim=0), "the loss must be a scalar tensor, not (10,)"),
        (lambda m, b: 1.0, "the loss must be a scalar tensor, not float"),
        (lambda m, b: m(b.inputs).sum() * float("inf"), "the loss must be finite, not"),
    ],
)
def test_a_bad_loss_is_refused(batch, loss, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        gradient_flow(mlp(**SMALL), batch, loss_fn=loss)


def test_a_single_layer_has_no_factor(batch):
    flow = gradient_flow(mlp(**SMALL | {"depth": 1}), batch)
    assert len(repr(flow).splitlines()) == 2
    with pytest.raises(ValueError, match="needs depth 2 or more, not 1"):
        _ = flow.factor


class Odd(nn.Module):
    """What readers write: an attribute `layers`, an embedding, a tuple output, a shared module."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(5, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.norm = nn.LayerNorm([3, 8])
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.position = nn.Parameter(torch.zeros(1, 3, 8))
        self.top = nn.Linear(8, 4)
        self.drop = nn.Dropout(0.5)
        self.double()

    def forward(self, x):
        h = self.norm(self.embed(x) + self.position)
        for layer in [*self.layers, self.layers[1]]:
            h = self.drop(torch.tanh(layer(input=h)))
        return self.top(self.lstm(h)[0][:, -1])


def test_models_that_readers_write():
    net = Odd()
    tokens = torch.randint(5, (6, 3), generator=torch.Generator().manual_seed(0))
    random = torch.get_rng_state()
    with torch.no_grad():
        flow = gradient_flow(net, Batch(tokens, torch.arange(6) % 4))
    assert torch.equal(torch.get_rng_state(), random)
    assert flow.layers == ("layers.0", "layers.1", "lstm")
    assert (flow.delta > 0).all()
    assert flow.settings == ({"model": "Odd"},)


def test_a_parametrized_weight_is_a_layer(batch):
    net = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)).double()
    nn.utils.parametrizations.weight_norm(net[0])
    assert gradient_flow(net, batch).layers == ("0",)


def test_the_batch_is_not_the_model_s_to_change(batch):
    class Greedy(nn.Sequential):
        def forward(self, x):
            return super().forward(x.div_(10))

    nets = [Greedy(nn.Linear(64, 8), nn.Linear(8, 10)).double() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    before = batch.inputs.clone()
    flow = gradient_flow(nets, batch)
    assert torch.equal(batch.inputs, before)
    np.testing.assert_array_equal(flow.delta[0], flow.delta[1])


def test_a_pending_backward_pass_still_works(batch):
    net = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10)).double()
    pending = nn.functional.cross_entropy(net(batch.inputs), batch.targets)
    gradient_flow(net, batch)
    pending.backward()
    assert net[0].weight.grad is not None


def test_checkpointed_and_compiled_models(batch):
    class Checked(nn.Module):
        def __init__(self, checked):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.c = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 10)
            self.checked = checked
            self.double()

        def forward(self, x):
            h = torch.tanh(self.a(x))
            if not self.checked:
                return self.c(self.b(h))
            return self.c(torch.utils.checkpoint.checkpoint(self.b, h, use_reentrant=False))

    checked, plain = (gradient_flow(Checked(checked), batch) for checked in (True, False))
    assert checked.layers == ("a", "b")
    assert (checked.delta > 0).all()
    np.testing.assert_allclose(checked.delta, plain.delta, rtol=1e-12, atol=0)
    plain = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 10)).double()
    compiled = torch.compile(plain, backend="eager")
    compiled(batch.inputs)
    flow = gradient_flow(compiled, batch)
    np.testing.assert_allclose(flow.delta, gradient_flow(plain, batch).delta, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda b: (mlp(**SMALL), b, lambda m, d: (m(d.inputs).argmax(1) == 0).double().mean()),
            "no gradient",
        ),
        (
            lambda b: (torch.jit.script(mlp(**SMALL).layer1), b),
            "a TorchScript module takes no hooks",
        ),
        (
            lambda b: (nn.Sequential(nn.Linear(64, 8), nn.LSTM(8, 8)).double(), b),
            "cross-entropy needs outputs of shape (examples, classes), not tuple",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_more_bad_input_is_refused(batch, make, message):
    model, data, *loss = make(batch)
    with pytest.raises(ValueError, match=re.escape(message)):
        gradient_flow(model, data, **({"loss_fn": loss[0]} if loss else {}))


def outputs_by_hand(net, batch):
    """Outputs z_l of the plain networks of `nets`, and h_l = tanh(z_l)."""
    z, rows = batch.inputs, []
    for name in net.vglib_layers:
        z = net.get_submodule(name)(z).detach()
        rows.append((z, z.tanh()))
    return rows


def test_activation_statistics_are_those_outputs_by_hand(batch):
    nets = [mlp(depth=3, width=9, activation="tanh", init="normal", gain=3, seed=s) for s in (0, 1)]
    found = activation_statistics(nets, batch)
    assert found.layers == ("layer1", "layer2", "layer3")
    for n, net in enumerate(nets):
        for i, (_, h) in enumerate(outputs_by_hand(net, batch)):
            slope = 1 - h**2
            low = slope < 0.1
            expected = [h.mean(), h.square().mean().sqrt(), slope.square().mean().sqrt()]
            expected += [low.double().mean(), low.all(dim=0).double().mean()]
            kinds = (found.mean, found.rms, found.slope, found.saturated, found.dead)
            np.testing.assert_allclose([kind[n, i] for kind in kinds], expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "identity"])
def test_activation_statistics_know_every_activation(batch, name):
    net = mlp(depth=2, width=9, activation=name, init="he", seed=0)
    found = activation_statistics(net, batch)
    z = net.layer1(batch.inputs).detach().requires_grad_()
    slope = torch.autograd.grad(net.layer2.activation(z).sum(), z)[0]
    expected = slope.square().mean().sqrt().item()
    np.testing.assert_allclose(found.slope[0, 0], expected, rtol=1e-9, atol=0)


def test_a_relu_is_dead_where_it_never_fires(batch):
    net = mlp(depth=2, width=8, activation="relu", init="he", seed=0)
    alive = activation_statistics(net, batch).dead[0, 0]
    with torch.no_grad():
        net.layer1.bias[:2] = -1e6
    assert activation_statistics(net, batch).dead[0, 0] == alive + 2 / 8


def test_activation_statistics_of_a_readers_model(batch):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.bottom = torch.nn.Linear(64, 8).double()
            self.middle = torch.nn.Linear(8, 8).double()
            self.top = torch.nn.Linear(8, 10).double()
            self.prelu = torch.nn.PReLU(8).double()

        def forward(self, x):
            h = F.relu(self.bottom(x), inplace=True)
            return self.top(self.prelu(self.middle(h)).clamp(max=9))

    net = Own()
    found = activation_statistics(net, batch)
    off = (net.bottom(batch.inputs) <= 0).double().mean().item()
    assert found.layers == ("bottom", "middle")
    np.testing.assert_allclose(found.saturated[0], [off, 0.0])


def test_activation_statistics_refuse_what_they_cannot_see(batch):
    linear = mlp(depth=2, width=8, activation="identity", init="he", seed=0)
    with pytest.raises(ValueError, match="no activation function of torch's ran in Sequential"):
        activation_statistics(linear, batch)
    with pytest.raises(ValueError, match="needs at least one network"):
        activation_statistics([], batch)
    deeper = [mlp(depth=d, width=8, activation="relu", init="he", seed=0) for d in (2, 3)]
    with pytest.raises(ValueError, match="the 2 networks have activations after different layers"):
        activation_statistics(deeper, batch)
