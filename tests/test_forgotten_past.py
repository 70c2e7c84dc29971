"""Text and digits as sequences, the networks that read them, and a corner of their record."""

from pydoc_data.topics import topics

import forgotten_past
import numpy as np
import pytest
import torch

from vglib.experiments.forgotten_past import (
    ALPHABET,
    SECTIONS,
    TWINS,
    chunked,
    manual,
    reader,
    recall_way,
    stored,
    way,
)
from vglib.experiments.long_lags import network, runs
from vglib.tasks import digits


def written(piece):
    """The characters of a one-hot piece; what is not in the alphabet is a star."""
    return "".join((ALPHABET + "*")[code] for code in piece.argmax(dim=1))


def test_pieces_stand_in_their_section_and_test_pieces_in_its_last_fifth():
    task = manual(steps=64, seed=3, train=50, test=50)
    assert task.train.inputs.shape == (50, 64, len(ALPHABET) + 1)
    for batch, is_test in ((task.train, False), (task.test, True)):
        assert (batch.inputs.sum(dim=2) == 1).all()
        for x, y in zip(batch.inputs, batch.targets, strict=True):
            text = " ".join(topics[SECTIONS[y]].lower().split())
            text = "".join(c if c in ALPHABET else "*" for c in text)
            border = int(0.8 * len(text))
            assert written(x) in (text[border:] if is_test else text[:border])


def test_no_section_repeats_another():
    texts = [" ".join(topics[name].split()) for name in SECTIONS]
    for a in texts:
        middle = a[len(a) // 2 :][:200]
        assert sum(middle in b for b in texts) == 1


def test_equal_seeds_equal_pieces():
    one, same, other = (manual(steps=9, seed=s, train=20, test=5) for s in (1, 1, 2))
    assert torch.equal(one.train.inputs, same.train.inputs)
    assert not torch.equal(one.train.inputs, other.train.inputs)
    with pytest.raises(ValueError, match="steps"):
        manual(steps=0, seed=1)


def test_chunks_hold_the_same_pixels():
    flat = digits(seed=2, dtype=torch.float32)
    for steps in (1, 8, 64):
        task = chunked(steps=steps, seed=2)
        assert task.train.inputs.shape == (1437, steps, 64 // steps)
        assert torch.equal(task.test.inputs.flatten(1), flat.test.inputs)
    with pytest.raises(ValueError, match="steps"):
        chunked(steps=7, seed=2)


@pytest.mark.parametrize("name", ["RNN", "LSTM, chrono"])
def test_a_reader_is_the_network_of_the_long_record(name):
    full = name if "," in name else f"{name}, torch"
    ours = reader(name, inputs=10, outputs=8, steps=20, seed=4)
    theirs = network(full, task="recall", lag=20, seed=4)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_way_goes_from_guessing_to_perfect():
    np.testing.assert_allclose(recall_way([1 / 8, 1.0]), [0, 1], atol=1e-12)
    found = [one["test_loss"] for one in runs("LSTM, torch", task="adding", lag=100)]
    np.testing.assert_allclose(way("adding", "LSTM", steps=100), 1 - np.array(found) * 6)


def test_the_record_has_every_twin():
    for name in {*TWINS, *TWINS.values()}:
        assert len(stored("text", name, steps=64)["scores"]) == 5


def test_a_corner_of_the_record():
    again = forgotten_past.run("recall, SGD", "RNN, orthogonal", 5)
    before = stored("recall, SGD", "RNN, orthogonal", steps=5)
    assert again["rate"] == before["rate"]
    # On other processors a network may stop one look, 50 steps, sooner or later.
    assert max(abs(a - b) for a, b in zip(again["learnt"], before["learnt"], strict=True)) <= 50
    np.testing.assert_allclose(again["scores"], before["scores"], atol=0.02)
