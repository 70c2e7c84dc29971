"""What `diagnose` tries: each change does to a copy what its words say."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vglib.diagnosis import course_optimizer
from vglib.diagnosis.changes import (
    Calm,
    Centred,
    Precise,
    add_skips,
    changes,
    in_single_precision,
    keep_over_time,
    open_memory,
    rescale,
)
from vglib.diagnosis.evidence import Evidence, Run
from vglib.diagnosis.experiments import Lab
from vglib.diagnosis.look import look
from vglib.layers import layers


def squares(model, batch):
    return model(batch).square().mean()


def lab_of(model, batch, loss_fn=squares):
    lab = Lab(model, loss_fn, [batch], course_optimizer, 0)
    lab.layers = tuple(layers(model))
    return lab


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Half(nn.Module):
    """Half precision, by its weights, by a conversion of its own and by autocast."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3).half()

    def forward(self, x):
        z = self.net(x.to(torch.float16))
        with torch.autocast("cpu", torch.bfloat16):
            return z, F.linear(z.float(), torch.ones(2, 3))


def test_in_single_precision_nothing_is_half():
    model, x = Half(), draw(5, 4)
    assert [t.dtype for t in model(x)] == [torch.float16, torch.bfloat16]
    in_single_precision(SimpleNamespace(), model)
    with Precise():
        z, sums = model(x)
    assert (z.dtype, sums.dtype) == (torch.float32, torch.float32)
    assert sums[:, 0].tolist() == pytest.approx(z.sum(dim=1).tolist(), rel=1e-5)


def test_a_softmax_of_large_scores_is_calmed_and_others_are_not():
    large, small = 100 * draw(6, 8), 0.1 * draw(6, 8)
    assert F.softmax(large, dim=-1).amax(dim=-1).mean() > 0.9
    with Calm():
        calm, same = F.softmax(large, dim=-1), F.softmax(small, dim=-1)
    assert calm.amax(dim=-1).mean() < 0.6
    assert (calm.argmax(dim=-1) == large.argmax(dim=-1)).all()
    assert torch.equal(same, F.softmax(small, dim=-1))


def test_attention_of_large_scores_is_calmed():
    query, key, value = (size * draw(2, 6, 8, seed=i) for i, size in enumerate((30, 30, 1)))
    with Calm():
        found = F.scaled_dot_product_attention(query, key, value)
    size = float((query.square().mean() * key.square().mean()) ** 0.5)
    shares = torch.softmax((query / size) @ key.mT / 8**0.5, dim=-1)
    torch.testing.assert_close(found, shares @ value)


@pytest.mark.parametrize("write", [torch.sigmoid, F.sigmoid, torch.Tensor.sigmoid, nn.Sigmoid()])
def test_tanh_stands_in_for_the_sigmoid(write):
    x = draw(10)
    with Centred():
        found = write(x)
    assert torch.equal(found, x.tanh())


def test_skips_go_around_layers_of_one_shape():
    model = nn.Sequential(*[nn.Linear(n, 6, bias=False) for n in (4, 6, 6)], nn.Linear(6, 2))
    x = draw(20, 4)
    lab = lab_of(model, x)
    add_skips(lab, model)
    h = model[0].weight @ x.T  # another shape: no skip
    for layer in model[1:3]:
        h = h + layer.weight @ h / 3**0.5
    torch.testing.assert_close(model(x), model[3](h.T))


class Cell(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.enter, self.state, self.slope = nn.Linear(3, 16), nn.Linear(16, 16), slope
        nn.init.orthogonal_(self.state.weight, 0.1)

    def forward(self, x):
        h = torch.zeros(len(x), 16)
        for step in x.unbind(1):
            h = self.slope(self.enter(step) + self.state(h))
        return h


@pytest.mark.parametrize("slope", [nn.ReLU(), nn.Tanh(), lambda z: 0.5 * z])
def test_a_cell_that_forgets_keeps_its_gradient_over_time(slope):
    model, x = Cell(slope), 0.1 * draw(8, 20, 3)

    def last():
        return look(model, squares, x, lambda *given: None)["lags"]["state"][-1]

    before = last()
    keep_over_time(lab_of(model, x), model)
    assert before < 1e-15
    assert 1e-3 < last() < 1e3


def test_the_identity_is_for_relu_and_orthogonal_matrices_for_tanh():
    for kind in ("relu", "tanh"):
        model = nn.RNN(3, 5, nonlinearity=kind)
        open_memory(20, False, SimpleNamespace(), model)
        weight = model.weight_hh_l0.detach()
        torch.testing.assert_close(weight @ weight.T, torch.eye(5), rtol=0, atol=1e-6)
        assert torch.equal(weight, torch.eye(5)) == (kind == "relu")


def test_rescaled_layers_give_outputs_of_unit_size():
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    x = 100 * draw(50, 8)
    rescale(lab_of(model, x), model)
    z = model[0](x).detach()
    assert float(z.square().mean() ** 0.5) == pytest.approx(1, rel=1e-4)
    assert float(model[2](z.tanh()).detach().square().mean() ** 0.5) == pytest.approx(1, rel=1e-4)


def tried(model, x, loss=1.0, **seen):
    """Kinds of changes that are tried where the loss goes from 1 to ``loss``."""
    plain = Run("", "as it is", 100, (1.0,), loss, {}, update=0.01)
    evidence = Evidence(start={"loss": 1.0}, runs=(plain,), layers=tuple(layers(model)), **seen)
    return {change.kind: change for change in changes(lab_of(model, x), evidence)}


def test_gradients_are_clipped_only_where_training_diverges():
    model, x = nn.Linear(4, 3), draw(5, 4)
    assert "clip" not in tried(model, x)
    (100 * squares(model, x)).backward()
    for loss in (2.0, math.inf):
        tried(model, x, loss)["clip"].gradients(model)
    sizes = [p.grad.norm() for p in model.parameters()]
    assert float(torch.stack(sizes).norm()) == pytest.approx(1, rel=1e-4)


def test_what_was_seen_decides_what_is_tried():
    model, x = nn.Sequential(*[nn.Linear(4, 4) for _ in range(10)]), draw(5, 4)
    assert tried(model, x)["path"].words == "a skip around each layer"
    assert tried(model, x, peaked=("0",))["path"].words == "the softmax's inputs at unit size"
    assert "memory" not in tried(model, x)
    cell = tried(model, x, lags={"0": (1.0, 0.1)}, squashed=("0",))
    assert cell["memory"].words == "tanh in place of the sigmoid"
    cell = tried(model, x, lags={"0": (1.0, 0.1)})
    assert cell["memory"].words == "recurrent weights rescaled over time"
    assert "low precision" not in tried(model, x)
    assert "low precision" in tried(model, x, halves=True)
