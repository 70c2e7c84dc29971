import pytest
import torch
from sklearn.datasets import load_digits

from vglib.tasks import adding, digits, recall


def test_digits_are_all_there_split_and_standardised():
    task = digits()
    assert task.train.inputs.shape == (1437, 64)
    assert task.test.inputs.shape == (360, 64)
    assert task.train.inputs.mean().abs() < 1e-12
    torch.testing.assert_close(task.train.inputs.std(correction=0).item(), 1.0)
    counts = torch.bincount(task.train.targets) + torch.bincount(task.test.targets)
    assert counts.tolist() == torch.bincount(torch.tensor(load_digits().target)).tolist()


def test_no_image_is_in_both_parts():
    task = digits()
    train = {tuple(row.tolist()) for row in task.train.inputs}
    assert not [row for row in task.test.inputs if tuple(row.tolist()) in train]


def test_the_seed_decides_the_split():
    assert torch.equal(digits(seed=3).test.targets, digits(seed=3).test.targets)
    assert not torch.equal(digits(seed=3).test.inputs, digits(seed=4).test.inputs)


def test_dtype_is_as_asked():
    assert digits(dtype=torch.float32).train.inputs.dtype == torch.float32
    assert digits().test.inputs.dtype == torch.float64


def test_sample_draws_pairs_without_replacement():
    train = digits().train
    batch = train.sample(1437, seed=0)
    assert torch.equal(batch.inputs.sort(dim=0).values, train.inputs.sort(dim=0).values)
    row = (train.inputs == batch.inputs[0]).all(dim=1).nonzero()[0]
    assert train.targets[row] == batch.targets[0]
    assert not torch.equal(batch.inputs, train.sample(1437, seed=1).inputs)


@pytest.mark.parametrize("size", [0, -1, 1438])
def test_sample_refuses_a_size_out_of_range(size):
    with pytest.raises(ValueError, match=f"size must be from 1 to 1437, not {size}"):
        digits().train.sample(size, seed=0)


def test_classes_are_balanced_between_the_parts():
    task = digits()
    whole = torch.bincount(torch.cat([task.train.targets, task.test.targets]))
    expected = whole * 360 / 1797
    assert ((torch.bincount(task.test.targets) - expected).abs() < 1).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [("flat", (64,)), ("image", (1, 8, 8)), ("rows", (8, 8)), ("pixels", (64, 1))],
)
def test_shapes_are_the_same_pixels(shape, size):
    inputs = digits(shape=shape).train.inputs
    assert inputs.shape[1:] == size
    assert torch.equal(inputs.flatten(1), digits().train.inputs)


def test_adding_adds_the_two_marked_numbers():
    task = adding(steps=11, seed=0, train=500, test=10)
    numbers, marks = task.train.inputs.unbind(dim=2)
    assert task.train.inputs.shape == (500, 11, 2)
    assert (marks[:, :5].sum(dim=1) == 1).all()
    assert (marks[:, 5:].sum(dim=1) == 1).all()
    torch.testing.assert_close((numbers * marks).sum(dim=1), task.train.targets[:, 0])
    assert 0 <= numbers.min() < numbers.max() < 1
    error = (task.train.targets - 1).square().mean().item()
    assert error == pytest.approx(1 / 6, rel=0.15)


def test_recall_asks_for_the_first_token():
    task = recall(steps=9, seed=0, train=300, test=10)
    tokens = task.train.inputs.argmax(dim=2)
    assert (task.train.inputs.sum(dim=2) == 1).all()
    assert torch.equal(tokens[:, 0], task.train.targets)
    assert set(tokens[:, 1:].unique().tolist()) == {8, 9}
    assert set(task.train.targets.tolist()) == set(range(8))


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: adding(steps=5, seed=seed, train=9, test=9),
        lambda seed: recall(steps=5, seed=seed, train=9, test=9),
    ],
)
def test_the_seed_decides_sequences(make):
    assert torch.equal(make(1).train.inputs, make(1).train.inputs)
    assert not torch.equal(make(1).train.inputs, make(2).train.inputs)
    assert not torch.equal(make(1).train.inputs, make(1).test.inputs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: digits(shape="columns"), "unknown shape 'columns'; choose one of: flat, image"),
        (lambda: adding(steps=1, seed=0), "adding needs 2 steps or more, not 1"),
        (lambda: recall(steps=0, seed=0), "steps must be a whole number from 1 up, not 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
