"""Data that need no download: real digits, and sequences made from a seed."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional as F

from vglib.batch import Batch, Task
from vglib.checks import at_least_one, choose

_SHAPES = {
    "flat": (64,),
    "image": (1, 8, 8),
    "rows": (8, 8),
    "pixels": (64, 1),
}


def digits(*, shape: str = "flat", seed: int = 0, dtype: torch.dtype = torch.float64) -> Task:
    """Handwritten digits: 1,437 training and 360 test images of 8×8 pixels, in 10 classes.

    The images come with scikit-learn. One mean and one standard deviation, those of the training
    pixels, standardise all of them. ``seed`` decides the split, which keeps the classes balanced.
    ``shape`` of an input: ``flat`` (64,), ``image`` (1, 8, 8), and as sequences (time, features):
    ``rows`` (8, 8), ``pixels`` (64, 1). Source: Alpaydin and Kaynak (1998), UCI repository.
    """
    size = choose("shape", shape, _SHAPES)
    inputs, targets = load_digits(return_X_y=True)
    split = train_test_split(inputs, targets, test_size=360, stratify=targets, random_state=seed)
    train_inputs, test_inputs, train_targets, test_targets = split
    mean, std = train_inputs.mean(), train_inputs.std()

    def batch(x, y):
        inputs = torch.tensor((x - mean) / std, dtype=dtype)
        return Batch(inputs.view(-1, *size), torch.tensor(y))

    return Task(batch(train_inputs, train_targets), batch(test_inputs, test_targets))


def _split(make, train, test, seed):
    """A `Task` of fresh examples from ``make(size, generator)``."""
    at_least_one(train=train, test=test)
    generator = torch.Generator().manual_seed(seed)
    return Task(Batch(*make(train, generator)), Batch(*make(test, generator)))


def adding(
    *,
    steps: int,
    seed: int,
    train: int = 10_000,
    test: int = 1_000,
    dtype: torch.dtype = torch.float64,
) -> Task:
    """The adding problem of Hochreiter and Schmidhuber (1997): add the two marked numbers.

    Inputs (examples, steps, 2): a number from U(0, 1), and a mark that is 1 at one step of each
    half and 0 elsewhere. Targets (examples, 1): the sum. Guessing 1 has a squared error of 1/6.
    """
    if steps < 2:
        raise ValueError(f"adding needs 2 steps or more, not {steps}")

    def make(size, generator):
        numbers = torch.rand(size, steps, generator=generator, dtype=dtype)
        marks = torch.zeros(size, steps, dtype=dtype)
        half = steps // 2
        first = torch.randint(half, (size, 1), generator=generator)
        second = torch.randint(half, steps, (size, 1), generator=generator)
        marks.scatter_(1, torch.cat([first, second], dim=1), 1.0)
        return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1, keepdim=True)

    return _split(make, train, test, seed)


def recall(
    *,
    steps: int,
    seed: int,
    classes: int = 8,
    distractors: int = 2,
    train: int = 10_000,
    test: int = 1_000,
    dtype: torch.dtype = torch.float64,
) -> Task:
    """Recall the first token after a lag of ``steps`` - 1, past random distractors.

    Inputs (examples, steps, classes + distractors), one-hot: the first token is one of ``classes``,
    all others one of ``distractors``. Targets (examples,): the first token's class.
    """
    at_least_one(steps=steps, classes=classes, distractors=distractors)

    def make(size, generator):
        targets = torch.randint(classes, (size,), generator=generator)
        tokens = torch.randint(classes, classes + distractors, (size, steps), generator=generator)
        tokens[:, 0] = targets
        return F.one_hot(tokens, classes + distractors).to(dtype), targets

    return _split(make, train, test, seed)
