"""Data: real digits that need no download."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Batch(NamedTuple):
    """Inputs, one row per example, and their integer class labels."""

    inputs: torch.Tensor  # (examples, features)
    targets: torch.Tensor  # (examples,)

    def sample(self, size, *, seed):
        """Draw ``size`` examples without replacement.

        Raises ValueError unless 1 ≤ size ≤ the number of examples.
        """
        if not 1 <= size <= len(self.targets):
            raise ValueError(f"size must be from 1 to {len(self.targets)}, not {size}")
        order = torch.randperm(len(self.targets), generator=torch.Generator().manual_seed(seed))
        return Batch(self.inputs[order[:size]], self.targets[order[:size]])


@dataclass(frozen=True)
class Task:
    """Training and test examples of one problem."""

    train: Batch
    test: Batch


def digits(*, seed=0, dtype=torch.float64):
    """Handwritten digits: 1,437 training and 360 test images of 8×8 pixels, in 10 classes.

    The images come with scikit-learn. One mean and one standard deviation, those of the training
    pixels, standardise all of them. ``seed`` decides the split, which keeps the classes balanced.
    Inputs have shape (examples, 64). Source: Alpaydin and Kaynak (1998), UCI repository.
    """
    inputs, targets = load_digits(return_X_y=True)
    split = train_test_split(inputs, targets, test_size=360, stratify=targets, random_state=seed)
    train_inputs, test_inputs, train_targets, test_targets = split
    mean, std = train_inputs.mean(), train_inputs.std()

    def batch(x, y):
        return Batch(torch.tensor((x - mean) / std, dtype=dtype), torch.tensor(y))

    return Task(batch(train_inputs, train_targets), batch(test_inputs, test_targets))
