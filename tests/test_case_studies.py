"""The cases that do not train: their data, their networks, and what is changed of them."""

import case_studies as script
import numpy as np
import pytest
import torch
from torch import nn

from vglib.experiments import case_studies
from vglib.experiments.case_studies import (
    BANDS,
    CASES,
    Scaled,
    Times,
    arrives,
    build,
    changes,
    guessing,
    on_record,
    pretrain,
    rates,
    speech,
    task_of,
    told,
    trained,
    translation,
)
from vglib.recurrent import recurrent, unroll


def test_a_frame_is_loud_where_its_vowel_has_a_resonance():
    inputs, targets = speech(seed=1, train=4_000, test=1, frames=3).train
    middle = inputs.view(-1, 3, BANDS)[:, 1]
    centres = torch.linspace(100, 4_000, BANDS)
    band = (centres - 750).abs().argmin()
    low, open_ = (middle[targets == vowel].mean(dim=0) for vowel in (0, 4))  # F1 300, F1 750
    assert open_[band] > low[band] + 0.5
    assert middle.std().item() == pytest.approx(1, abs=0.05)
    again = speech(seed=1, train=4_000, test=1, frames=3).train.inputs
    assert torch.equal(inputs, again)


def test_the_vowel_in_the_middle_is_told_and_not_its_neighbours():
    inputs, targets = speech(seed=1, train=2_000, test=1).train
    frames = inputs.view(-1, 9, BANDS)

    def apart(frame):  # how far the vowels' mean sounds differ in this frame
        means = [frames[targets == vowel, frame].mean(dim=0) for vowel in range(10)]
        return torch.stack(means).std(dim=0).mean()

    assert apart(4) > 1.3 * apart(0)
    assert apart(4) > 1.3 * apart(8)


def test_a_sentence_is_translated_word_by_word_by_one_dictionary():
    inputs, targets = translation(seed=2, length=5, words=4, train=300, test=1).train
    tokens = inputs.argmax(dim=2)
    seen = tokens[:, :5].flatten().tolist(), targets.flatten().tolist()
    pairs = {(w, t) for w, t in zip(*seen, strict=True)}
    assert len(pairs) == len({w for w, _ in pairs}) == len({t for _, t in pairs}) == 4
    assert (tokens[:, 5] == 8).all()
    assert torch.equal(tokens[:, 6:] - 4, targets[:, :-1])
    turned = translation(seed=2, length=5, words=4, turned=True, train=300, test=1).train
    assert torch.equal(turned.inputs[:, :5].flip(1), inputs[:, :5])
    assert torch.equal(turned.targets, targets)


def test_a_review_says_at_the_beginning_what_it_thinks():
    inputs, targets = case_studies.sentiment(seed=3, length=6, train=500, test=1).train
    for _, _, *rest in inputs.argmax(dim=2).tolist()[:50]:
        assert all(word > 8 for word in rest)
    kind = [(two < 4) != (one == 8) for one, two, *_ in inputs.argmax(dim=2).tolist()]
    assert targets.tolist() == [int(is_kind) for is_kind in kind]
    assert 0.4 < targets.double().mean() < 0.6


def test_times_leaves_the_signal_and_multiplies_the_gradient():
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    y = Times(0.25)(x)
    assert torch.equal(y, x)
    y.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 0.25))


def test_a_scaled_cell_is_the_cell_but_for_the_gradient():
    net = recurrent(kind="rnn", hidden=6, inputs=3, outputs=2, seed=4)
    x = torch.randn(7, 5, 3, dtype=torch.float64)
    states, _ = unroll(net, x)
    wanted = torch.stack([h for (h,) in states], dim=1)
    for c in (1.0, 2.0):
        x = x.detach().requires_grad_()
        torch.testing.assert_close(Scaled(net.cell, c)(x)[0], wanted, rtol=1e-12, atol=0)
        Scaled(net.cell, c)(x)[0][:, -1].sum().backward()
        own, x.grad = x.grad, None
        net.cell(x)[0][:, -1].sum().backward()
        ratio = c ** torch.arange(4.0, -1, -1, dtype=torch.float64)[None, :, None]
        torch.testing.assert_close(own, x.grad * ratio, rtol=1e-9, atol=0)
        x.grad = None


@pytest.mark.parametrize(
    ("case", "mended"),
    [
        ("speech, 7 layers", "careful weights"),
        ("sentiment", "orthogonal"),
        ("translation", "orthogonal"),
    ],
)
def test_gradient_alone_has_the_signal_of_the_one_and_the_gradient_of_the_other(case, mended):
    x = task_of(case).train.inputs[:20].double()
    twin, alone = (build(case, name, seed=5).double() for name in ("as it is", "gradient alone"))
    torch.testing.assert_close(alone(x), twin(x), rtol=1e-5, atol=1e-6)
    assert arrives(case, "gradient alone", [5]) == pytest.approx(arrives(case, mended, [5]), 2e-3)
    signal = arrives(case, "signal alone", [5])
    assert signal == pytest.approx(arrives(case, "as it is", [5]), 2e-3)


def test_the_writer_knows_of_the_sentence_by_the_readers_last_state_alone():
    net = build("translation", "as it is", seed=6)
    x = task_of("translation").test.inputs[:4].clone()
    half = x.shape[1] // 2
    before = net(x)
    assert before.shape == (4, 8, half)
    with torch.no_grad():
        _, last = net.reader(x[:, :half])
        written, _ = net.writer(x[:, half:], last)
        torch.testing.assert_close(net.readout(written).transpose(1, 2), before)
    x[:, half:] = x[:, half:].flip(0)  # what is written by others does not matter to word 1
    torch.testing.assert_close(net(x)[:, :, 0], before[:, :, 0])
    x[:, 0] = x[:, 0].flip(0)
    assert not torch.equal(net(x)[:, :, 0], before[:, :, 0])


def test_pretraining_makes_layers_that_tell_inputs_apart():
    net = case_studies.build("speech, 3 layers", "as it is", seed=7)
    x = task_of("speech, 3 layers").train.inputs[:200]

    def apart():
        with torch.no_grad():
            return torch.sigmoid(net[:-1](x)).std(dim=0).mean()

    before = apart()
    readout = net.readout[-1].weight.detach().clone()
    torch.manual_seed(0)
    pretrain(net, x, steps=60)
    assert apart() > 2 * before
    assert torch.equal(net.readout[-1].weight, readout)


def test_every_change_builds_and_a_network_is_told_by_its_seed():
    for case in CASES:
        for name in changes(case):
            one, two = (build(case, name, seed=s) for s in (8, 8))
            assert all(map(torch.equal, one.parameters(), two.parameters())), (case, name)
            assert next(one.parameters()).dtype == torch.float32
            assert rates(case, name)
    assert isinstance(build("report", "as it is", seed=8)[-1], nn.Softmax)
    assert max(rates("speech, 7 layers", "Adam")) == max(rates("speech, 7 layers", "as it is")) / 10


def test_guessing_is_what_an_untrained_network_does():
    for case in ("speech, 7 layers", "translation", "sentiment"):
        net = build(case, "as it is", seed=9)
        assert told(net, task_of(case)) == pytest.approx(guessing(case), abs=0.06)


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match="unknown case 'speach'; choose one of: speech, 1 layer"):
        changes("speach")
    with pytest.raises(ValueError, match="unknown change 'magic'; choose one of: as it is"):
        build("images", "magic", seed=0)
    with pytest.raises(ValueError, match="the record of the cases has nothing on"):
        on_record("images", "magic")


def test_a_corner_of_the_record_again():
    case, name = "speech, 7 layers", "ReLU, careful weights"
    known = on_record(case, name)
    now = trained(case, name, known["rate"], range(5))
    # Single seeds differ by a few hundredths.
    assert np.median(now["right"]) == pytest.approx(np.median(known["right"]), abs=0.05)
    assert arrives(case, name, [0])[0] == pytest.approx(known["arrives"][0], 0.02)
    assert dict(case=case, name=name) in script.SETTINGS
