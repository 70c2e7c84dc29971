import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vglib.monitor import Monitor
from vglib.names import ACTIVATIONS
from vglib.nets import CONNECTIONS, NORMALIZATIONS, mlp
from vglib.probes import activation_statistics, gradient_flow
from vglib.tasks import Batch

NET = dict(depth=4, width=12, activation="tanh", init="xavier")


def loop(net, batch, steps=1, optimizer=None, after=lambda: None):
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(batch.inputs), batch.targets).backward()
        after()
        optimizer.step()


def hooks(net):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


def test_sees_what_the_probe_sees(batch):
    net = mlp(**NET, seed=0)
    flow = gradient_flow(net, batch)
    with Monitor(net, every=1) as monitor:
        loop(net, batch)
    record = monitor.record()
    assert record.layers == ("layer1", "layer2", "layer3", "layer4")
    np.testing.assert_allclose(record.delta, flow.delta, rtol=1e-9, atol=0)
    sizes = [[p.grad for p in net.get_submodule(name).parameters()] for name in record.layers]
    expected = [torch.cat([g.flatten() for g in group]).norm().item() for group in sizes]
    np.testing.assert_allclose(record.gradient[0], expected, rtol=1e-9, atol=0)


def test_samples_every_kth_step_and_leaves_nothing_behind(batch):
    net = mlp(**NET, seed=0)
    with Monitor(net, every=3) as monitor:
        loop(net, batch, steps=7)
        net.eval()
        net(batch.inputs)
        net.train()
        with torch.no_grad():
            net(batch.inputs)
    assert monitor.record().steps.tolist() == [0, 3, 6]
    assert monitor.record().delta.shape == (3, 4)
    assert hooks(net) == 0
    assert all(p.grad is not None for p in net.parameters())


def test_watching_does_not_change_the_training(batch):
    watched, alone = (mlp(**NET, seed=0) for _ in range(2))
    with Monitor(watched, every=1, updates=True):
        loop(watched, batch, steps=5)
    loop(alone, batch, steps=5)
    for p, q in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(p, q)


def test_cleans_up_after_an_error(batch):
    net = mlp(**NET, seed=0)
    with pytest.raises(RuntimeError), Monitor(net, every=1):
        net(batch.inputs[:, :3])
    assert hooks(net) == 0


def test_updates_are_relative(batch):
    net = mlp(**NET, seed=0)
    before = torch.cat([p.detach().flatten() for p in net.layer2.parameters()]).clone()
    with Monitor(net, every=1, updates=True) as monitor:
        loop(net, batch)
    after = torch.cat([p.detach().flatten() for p in net.layer2.parameters()])
    expected = ((after - before).norm() / before.norm()).item()
    np.testing.assert_allclose(monitor.record().update[0, 1], expected, rtol=1e-9, atol=0)


def test_in_place_activations(batch):
    torch.manual_seed(0)
    layers = [nn.Linear(64, 9), nn.ReLU(inplace=True), nn.Linear(9, 9), nn.ReLU(inplace=True)]
    net = nn.Sequential(*layers, nn.Linear(9, 10)).double()
    for step in range(2):  # the first sample learns where they are, the second uses it
        flow = gradient_flow(net, batch)
        with Monitor(net, every=1) as monitor:
            loop(net, batch, steps=step + 1, optimizer=torch.optim.SGD(net.parameters(), lr=0.0))
        record = monitor.record()
        np.testing.assert_allclose(record.delta[-1, :2], flow.delta[0], rtol=1e-9, atol=0)
        z = net[0](batch.inputs)
        np.testing.assert_allclose(
            record.signal[-1, 0], z.square().mean().sqrt().item(), rtol=1e-9, atol=0
        )


def test_tiny_float32_gradients_are_not_zero(batch):
    net = mlp(**NET | {"activation": "sigmoid", "depth": 14}, seed=0, dtype=torch.float32)
    with torch.no_grad():
        net.readout[-1].weight *= 1e-18
    small = batch._replace(inputs=batch.inputs.float())
    with Monitor(net, every=1) as monitor:
        loop(net, small)
    delta = monitor.record().delta[0]
    assert 0 < delta[0] < 1e-24
    twin = mlp(**NET | {"activation": "sigmoid", "depth": 14}, seed=0, dtype=torch.float32)
    with torch.no_grad():
        twin.readout[-1].weight *= 1e-18
    exact = gradient_flow(twin.double(), batch).delta[0]
    np.testing.assert_allclose(delta, exact, rtol=1e-3, atol=0)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        torch.manual_seed(0)
        self.bottom = nn.Linear(64, 9).double()
        self.middle = nn.Sequential(nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 9)).double()
        self.top = nn.Linear(9, 10).double()
        self.reentrant = reentrant

    def forward(self, x):
        h = torch.tanh(self.bottom(x))
        if self.reentrant is None:
            return self.top(torch.tanh(self.middle(h)))
        return self.top(torch.tanh(checkpoint(self.middle, h, use_reentrant=self.reentrant)))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(batch, reentrant):
    plain, net = Checkpointed(None), Checkpointed(reentrant)
    records = []
    for each in (plain, net):
        with Monitor(each, every=1) as monitor:
            loop(each, batch)
        records.append(monitor.record())
    assert records[1].layers == ("bottom", "middle.0", "middle.2", "top")
    np.testing.assert_allclose(records[1].delta, records[0].delta, rtol=1e-9, atol=0)
    np.testing.assert_allclose(records[1].gradient, records[0].gradient, rtol=1e-9, atol=0)
    assert hooks(net) == 0


def test_loss_scaling_is_undone(batch):
    net, scaled = (mlp(**NET, seed=0) for _ in range(2))

    class Scaler:
        def get_scale(self):
            return 1024.0

    with Monitor(net, every=1) as plain:
        loop(net, batch)
    with Monitor(scaled, every=1, scaler=Scaler()) as monitor:
        (1024 * F.cross_entropy(scaled(batch.inputs), batch.targets)).backward()
    np.testing.assert_allclose(monitor.record().delta, plain.record().delta, rtol=1e-9, atol=0)
    np.testing.assert_allclose(
        monitor.record().gradient, plain.record().gradient, rtol=1e-9, atol=0
    )


def test_gradients_are_those_before_clipping(batch):
    net, clipped = (mlp(**NET, seed=0) for _ in range(2))
    with Monitor(net, every=1) as plain:
        loop(net, batch)
    with Monitor(clipped, every=1) as monitor:
        loop(
            clipped,
            batch,
            after=lambda: nn.utils.clip_grad_norm_(clipped.parameters(), 1e-6),
        )
    np.testing.assert_array_equal(monitor.record().gradient, plain.record().gradient)


def test_shared_frozen_and_unused_layers(batch):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.bottom = nn.Linear(64, 9).double().requires_grad_(False)
            self.twice = nn.Linear(9, 9).double()
            self.unused = nn.Linear(9, 9).double()
            self.top = nn.Linear(9, 10).double()

        def forward(self, x):
            h = torch.tanh(self.bottom(x))
            return self.top(torch.tanh(self.twice(torch.tanh(self.twice(h)))))

    net = Shared()
    with Monitor(net, every=1) as monitor:
        loop(net, batch)
    record = monitor.record()
    assert record.layers == ("bottom", "twice", "top")
    assert np.isnan(record.gradient[0]).tolist() == [True, False, False]
    np.testing.assert_allclose(
        record.delta[0, 1], gradient_flow(net, batch).delta[0, 1], rtol=0.2, atol=0
    )


def test_compiled_models(batch):
    net = mlp(**NET, seed=0)
    compiled = torch.compile(net, backend="eager")
    flow = gradient_flow(net, batch)
    with Monitor(compiled, every=2) as monitor:
        loop(compiled, batch, steps=3, optimizer=torch.optim.SGD(net.parameters(), lr=0.0))
    record = monitor.record()
    assert record.steps.tolist() == [0, 2]
    np.testing.assert_allclose(record.delta[:, :4], [flow.delta[0]] * 2, rtol=1e-9, atol=0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="every must be a whole number from 1 up, not 0"):
        Monitor(mlp(**NET, seed=0), every=0)
    with pytest.raises(ValueError, match="ReLU has no layer with a weight matrix to watch"):
        Monitor(nn.ReLU())


def test_saturation_is_what_the_probe_sees(batch):
    net = mlp(**NET | dict(init="normal", gain=3), seed=0)
    expected = activation_statistics(net, batch)
    with Monitor(net, every=1, saturation=True) as monitor:
        loop(net, batch)
    np.testing.assert_allclose(monitor.record().saturated, expected.saturated)
    np.testing.assert_allclose(monitor.record().slope, expected.slope, rtol=1e-6, atol=0)
    assert set(monitor.record().activations) == {"tanh"}
    np.testing.assert_allclose(monitor.record().dead, expected.dead)


def test_a_layer_that_runs_twice_counts_both_runs(batch):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.bottom = nn.Linear(64, 10).double()
            self.twice = nn.Linear(10, 10).double()

        def forward(self, x):
            self.first = self.twice(torch.tanh(self.bottom(x)))
            self.second = self.twice(torch.tanh(self.first))
            return self.second

    net = Twice()
    for every in (1, 2):  # the first sample, and one after it
        with Monitor(net, every=every) as monitor:
            loop(net, batch, steps=3, optimizer=torch.optim.SGD(net.parameters(), lr=0.0))
        both = torch.cat([net.first, net.second]).square().mean().sqrt().item()
        np.testing.assert_allclose(monitor.record().signal[:, 1], both, rtol=1e-9, atol=0)


def test_several_optimizers(batch):
    alone, shared = (mlp(**NET, seed=0) for _ in range(2))
    with Monitor(alone, every=1, updates=True) as expected:
        loop(alone, batch, steps=3)
    halves = [[*shared.layer1.parameters(), *shared.layer2.parameters()]]
    halves.append([p for p in shared.parameters() if all(p is not q for q in halves[0])])
    first, second = (torch.optim.SGD(half, lr=0.1) for half in halves)
    with Monitor(shared, every=1, updates=True) as monitor:
        for _ in range(3):
            shared.zero_grad()
            F.cross_entropy(shared(batch.inputs), batch.targets).backward()
            first.step()
            second.step()
    for what in ("delta", "gradient", "update"):
        np.testing.assert_allclose(
            getattr(monitor.record(), what), getattr(expected.record(), what), rtol=1e-9, atol=0
        )


def test_autocast_with_a_grad_scaler(batch):
    """Half precision with loss scaling: the true gradients, to the precision of the format."""
    keywords = dict(NET, width=32, dtype=torch.float32)
    exact, net = (mlp(**keywords, seed=0) for _ in range(2))
    small = batch._replace(inputs=batch.inputs.float())
    with Monitor(exact, every=1) as expected:
        loop(exact, small)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Monitor(net, every=1, scaler=scaler) as monitor:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(net(small.inputs), small.targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    for what in ("delta", "gradient", "signal"):
        np.testing.assert_allclose(
            getattr(monitor.record(), what), getattr(expected.record(), what), rtol=0.02, atol=0
        )


@given(
    depth=st.integers(1, 6),
    width=st.integers(2, 12),
    activation=st.sampled_from(list(ACTIVATIONS)),
    connection=st.sampled_from(CONNECTIONS),
    normalization=st.sampled_from(NORMALIZATIONS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_agrees_with_the_probe_at_any_size(
    batch, depth, width, activation, connection, normalization, dtype, seed
):
    keywords = dict(activation=activation, connection=connection, normalization=normalization)
    net = mlp(depth=depth, width=width, init="xavier", **keywords, dtype=dtype, seed=seed)
    some = Batch(batch.inputs[:16].to(dtype), batch.targets[:16])
    flow = gradient_flow(net, some)
    with Monitor(net, every=1) as monitor:
        loop(net, some)
    rtol = 1e-3 if dtype == torch.float32 else 1e-9
    np.testing.assert_allclose(monitor.record().delta, flow.delta, rtol=rtol, atol=0)


def test_outputs_are_freed_with_the_step():
    """No reference cycle keeps them until the garbage collector comes round."""
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    kept = []
    handle = net[0].register_forward_hook(lambda m, a, output: kept.append(weakref.ref(output)))
    gc.disable()
    try:
        with Monitor(net, every=1):
            net(torch.randn(3, 4)).sum().backward()
        assert kept[0]() is None
    finally:
        gc.enable()
        handle.remove()
