"""One pass over models of all kinds: the same numbers however they are written, nothing left."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vglib.layers import layers
from vglib.monitor import Monitor
from vglib.probes import gradient_flow
from vglib.trace import Trace, as_found


def classify(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


class Parts(nn.Module):
    """Three layers, called in the way that ``how`` says; the numbers are always the same."""

    def __init__(self, how="plain"):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(64, 9), nn.Linear(9, 9), nn.Linear(9, 10)
        self.how = how
        self.double()

    def middle(self, h):
        return torch.tanh(self.b(h))

    def forward(self, x):
        h = torch.tanh(self.a(x))
        if self.how in ("reentrant", "checkpoint"):
            h = checkpoint(self.middle, h, use_reentrant=self.how == "reentrant")
        elif self.how == "in place":
            h = self.b(h).tanh_()
        else:
            h = self.middle(h)
        return self.c(h)

    def training_step(self, batch):
        h = self.middle(torch.tanh(self.a(batch[0])))
        return F.cross_entropy(self.c(h), batch[1])


def bypass(model, batch):
    return model.training_step(batch)


WAYS = {
    "plain": (lambda: Parts(), classify),
    "in place": (lambda: Parts("in place"), classify),
    "checkpoint": (lambda: Parts("checkpoint"), classify),
    "reentrant": (lambda: Parts("reentrant"), classify),
    "no forward": (lambda: Parts(), bypass),
    "compiled": (lambda: torch.compile(Parts(), backend="eager"), classify),
    "data parallel": (lambda: nn.DataParallel(Parts()), classify),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_network_gives_the_same_numbers_however_it_is_called(batch, way):
    expected = gradient_flow(Parts(), batch)
    make, loss = WAYS[way]
    model = make()
    flow = gradient_flow(model, batch, loss_fn=loss)
    assert flow.layers == (("module.a", "module.b") if way == "data parallel" else ("a", "b"))
    for what in ("delta", "weight", "signal"):
        np.testing.assert_allclose(getattr(flow, what), getattr(expected, what), rtol=1e-9, atol=0)
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("way", WAYS)
def test_a_monitor_sees_them_all(batch, way):
    expected = gradient_flow(Parts(), batch)
    make, loss = WAYS[way]
    model = make()
    with Monitor(model, every=2) as monitor:
        for _ in range(3):
            model.zero_grad()
            loss(model, batch).backward()
    record = monitor.record()
    assert record.steps.tolist() == [0, 2]
    assert len(record.layers) == 3
    np.testing.assert_allclose(record.delta[:, :2], [expected.delta[0]] * 2, rtol=1e-9, atol=0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_monitor_may_be_started_and_stopped(batch):
    model = Parts()
    monitor = Monitor(model, every=1).start()
    classify(model, batch).backward()
    monitor.stop()
    classify(model, batch).backward()
    assert monitor.record().steps.tolist() == [0]


class Odd(nn.Module):
    """A layer of the reader's own that gives ``kind`` of output."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(64, 8, dtype=torch.float64))
        self.kind = kind

    def forward(self, x):
        z = x @ self.w
        return {"tuple": (z, None), "dict": OrderedDict(z=z), "nested": ((z, 1), 2)}[self.kind]


@pytest.mark.parametrize("kind", ["tuple", "dict", "nested"])
def test_outputs_of_all_kinds(batch, kind):
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd, self.top = Odd(kind), nn.Linear(8, 10).double()

        def forward(self, x):
            z = self.odd(x)
            z = z["z"] if kind == "dict" else z[0]
            return self.top(torch.relu(z[0] if kind == "nested" else z))

    model = Whole()
    assert list(layers(model)) == ["odd", "top"]
    z = (batch.inputs @ model.odd.w).detach().requires_grad_()
    (delta,) = torch.autograd.grad(F.cross_entropy(model.top(z.relu()), batch.targets), z)
    expected = delta.square().mean().sqrt().item()
    np.testing.assert_allclose(gradient_flow(model, batch).delta[0], expected, rtol=1e-9, atol=0)


def test_a_packed_sequence():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.top = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 10)

        def forward(self, x):
            lengths = torch.full((len(x),), 5)
            rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            return self.top(self.rnn(rows)[1][0])

    flow = gradient_flow(Packed(), (torch.randn(4, 5, 8), torch.arange(4)))
    assert flow.layers == ("rnn",)
    assert flow.signal[0, 0] > 0


class Breaks(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise RuntimeError("no way back")


def test_everything_is_put_back_where_a_backward_pass_fails(batch):
    model, critic = Parts(), nn.Linear(10, 1).double()
    model.norm = nn.BatchNorm1d(10).double()
    critic.weight.grad = torch.full_like(critic.weight, 5.0)
    model.a.weight.grad = torch.full_like(model.a.weight, 7.0)

    def loss(model, batch):
        return Breaks.apply(critic(model.norm(model(batch[0]))).mean())

    with pytest.raises(RuntimeError, match="no way back"):
        gradient_flow(model, batch, loss_fn=loss)
    assert (critic.weight.grad == 5).all()
    assert (model.a.weight.grad == 7).all()
    assert model.b.weight.grad is critic.bias.grad is None
    assert model.norm.num_batches_tracked == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_optimizer_that_steps_in_the_backward_pass_does_not_step(batch):
    model = Parts()
    fired = []
    handle = model.a.weight.register_post_accumulate_grad_hook(fired.append)
    gradient_flow(model, batch)
    assert fired == []
    classify(model, batch).backward()
    assert len(fired) == 1
    handle.remove()


def test_a_trace_keeps_each_run_of_a_layer(batch):
    model = Parts()
    trace = Trace(model, activations=True)
    with as_found(model):
        trace.run(lambda m, b: F.cross_entropy(m.c(m.middle(m.middle(m.a(b[0])))), b[1]), batch)
    assert [call.name for call in trace.calls] == ["a", "b", "b", "c"]
    assert trace.entries() == {"a": 256 * 9, "b": 2 * 256 * 9, "c": 2560}
    assert all(call.delta.shape == call.value.shape for call in trace.calls)
    assert trace.activations.functions == {"b": "tanh"}
    assert trace.activations.squash == {"b": True}
