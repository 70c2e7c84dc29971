import pytest
import torch
from sklearn.datasets import load_digits

from vglib.tasks import digits


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
