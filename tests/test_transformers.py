"""Small Transformers: where the norm stands, five trained side by side, a corner of the record."""

import deep_transformers
import numpy as np
import pytest
import torch
from torch import nn

from vglib.claims import recorded
from vglib.experiments.transformers import BATCH, KINDS, fit, transformer
from vglib.tasks import digits


def by_hand(layer, kind, h):
    """One layer, written out."""

    def attention(z):
        return layer.self_attn(z, z, z, need_weights=False)[0]

    def feed_forward(z):
        return layer.linear2(torch.relu(layer.linear1(z)))

    for norm, branch in ((layer.norm1, attention), (layer.norm2, feed_forward)):
        if kind == "pre-LN":
            h = h + branch(norm(h))
        else:
            h = norm(branch(h) + (0 if kind == "no skips" else h))
    return h


@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_stands_where_the_name_says(kind):
    net = transformer(kind=kind, depth=3, weights="xavier", seed=1)
    x = digits(shape="rows").train.inputs[:4]
    h = net.embed(x) + net.place
    for layer, stream in zip(net.layers, net.streams(x)[1:], strict=True):
        h = by_hand(layer, kind, h)
        torch.testing.assert_close(h, stream, rtol=1e-10, atol=1e-12)
    top = net.norm(h) if kind == "pre-LN" else h
    torch.testing.assert_close(net.readout(top.mean(dim=1)), net(x), rtol=1e-10, atol=1e-12)


def test_the_first_row_moves_the_last_token():
    net = transformer(kind="post-LN", depth=1, weights="torch", seed=0)
    x = digits(shape="rows").train.inputs[:1].clone()
    before = net.streams(x)[-1][0, -1]
    x[0, 0] += 1
    assert not torch.allclose(before, net.streams(x)[-1][0, -1])


def test_scaled_divides_the_last_matrix_of_each_branch():
    how = dict(kind="post-LN", depth=8, weights="xavier", seed=2)
    plain, scaled = transformer(**how), transformer(**how, scaled=True)
    for one, other in zip(plain.layers, scaled.layers, strict=True):
        assert torch.equal(one.linear1.weight, other.linear1.weight)
        for last in ("linear2", "self_attn.out_proj"):
            a, b = (layer.get_submodule(last).weight for layer in (one, other))
            torch.testing.assert_close(b, a / 4)


def test_xavier_has_the_variance_that_its_name_says():
    net = transformer(kind="pre-LN", depth=12, weights="xavier", seed=0)
    weights = torch.stack([layer.linear1.weight for layer in net.layers])
    assert weights.var().item() == pytest.approx(2 / (32 + 64), rel=0.05)


def test_side_by_side_is_one_by_one():
    how = dict(kind="post-LN", depth=1, weights="torch")
    nets = [transformer(seed=s, **how) for s in (0, 1)]
    begun = nets[1].readout.weight.clone()
    done = fit(nets, rate=1e-3, warm_up=True, seed=3, epochs=1)
    assert torch.equal(nets[1].readout.weight, begun)  # they stay as they were
    task = digits(shape="rows", seed=3)
    order = torch.randperm(len(task.train.targets), generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.Adam(nets[1].parameters())
    steps, losses = len(order) // BATCH, []
    for k in range(steps):
        chosen = order[k * BATCH : (k + 1) * BATCH]
        optimizer.param_groups[0]["lr"] = 1e-3 * (k + 1) / steps
        out = nets[1](task.train.inputs[chosen])
        loss = nn.functional.cross_entropy(out, task.train.targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert done["loss"][1] == pytest.approx([np.mean(losses)], rel=1e-6)
    right = (nets[1](task.test.inputs).argmax(dim=1) == task.test.targets).double().mean()
    assert done["test"][1] == pytest.approx(right.item(), abs=0.006)  # two digits may tip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(kind="postLN"), "unknown kind 'postLN'; choose one of: post-LN, pre-LN, no skips"),
        (dict(weights="he"), "unknown weights 'he'; choose one of: torch, xavier"),
        (dict(depth=0), "depth"),
    ],
)
def test_errors_say_what_was_given(wrong, message):
    right = dict(kind="post-LN", depth=1, weights="torch", seed=0)
    with pytest.raises(ValueError, match=message):
        transformer(**right | wrong)
    with pytest.raises(ValueError, match="rate"):
        fit([transformer(**right)], rate=0, warm_up=False, seed=0)


def test_a_corner_of_the_record():
    settings = dict(kind="pre-LN", depth=12, weights="xavier", rate=1e-3, warm_up=False)
    settings |= dict(scaled=False)
    (known,) = (
        one["values"] for one in recorded("deep_transformers") if one["settings"] == settings
    )
    again = deep_transformers.run(**settings, epochs=1)
    # 44 steps spread the rounding; a guess has a loss of 2.3.
    first = [losses[0] for losses in known["loss"]]
    assert [losses[0] for losses in again["loss"]] == pytest.approx(first, abs=0.3)
