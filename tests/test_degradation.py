"""The experiment on degradation that lessons and long records share."""

import numpy as np
import pytest
import torch

from vglib.experiments.degradation import BATCHES, KINDS, WAYS, build, fit, pass_on, task
from vglib.probes import gradient_flow


def test_dense_networks_have_about_as_many_weights_as_plain_ones():
    for depth in (8, 20, 56):
        sizes = [
            sum(p.numel() for p in build(depth, "batch norm", way, 0).parameters() if p.ndim > 1)
            for way in ("plain", "dense")
        ]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_every_kind_take_their_task(kind):
    inputs, _ = task(kind).train.sample(4, seed=0)
    for way in WAYS:
        assert build(4, kind, way, 0)(inputs).shape == (4, 10)


def test_pass_on_multiplies_what_each_layer_hands_down_and_nothing_else():
    before, after = (build(6, "tanh", "residual", 0).double() for _ in range(2))
    pass_on(after, 2.0)
    batch = task("tanh").train.sample(16, seed=0)
    batch = batch._replace(inputs=batch.inputs.double())
    assert torch.equal(before(batch.inputs), after(batch.inputs))
    grown = gradient_flow(after, batch).delta[0] / gradient_flow(before, batch).delta[0]
    np.testing.assert_allclose(grown, 2.0 ** np.arange(5, -1, -1))


def test_fit_looks_at_every_so_many_steps_and_lowers_the_loss():
    net = build(4, "batch norm", "residual", 0)
    run = fit(net, "batch norm", rate=0.1, seed=0, epochs=1, every=5)
    assert run.loss.shape == (BATCHES,)
    assert run.delta.shape == run.signal.shape == (3, 4)
    assert run.loss[-1] < run.loss[0]
    assert 0 <= run.error < 0.9
