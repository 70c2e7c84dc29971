"""What is measured and trained on, and its loss; apart from `tasks`: probes need torch alone.

A loss is a function ``loss_fn(model, batch)`` everywhere in the course: it runs the model on the
batch and returns a scalar tensor. A batch may be anything that the function understands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

LossFn = Callable[[nn.Module, Any], torch.Tensor]


class Batch(NamedTuple):
    """Inputs and targets, one row per example."""

    inputs: torch.Tensor  # (examples, …)
    targets: torch.Tensor  # (examples, …)

    def sample(self, size: int, *, seed: int) -> "Batch":
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


def cross_entropy(model: nn.Module, batch: Any) -> torch.Tensor:
    """The loss of a classifier: mean cross-entropy of its outputs, (examples, classes, …).

    Raises ValueError for outputs of another shape, and for labels that are not from 0 to
    classes - 1.
    """
    inputs, targets = batch
    outputs = model(inputs)
    if not isinstance(outputs, torch.Tensor) or outputs.ndim < 2:
        tensor = isinstance(outputs, torch.Tensor)
        got = tuple(outputs.shape) if tensor else type(outputs).__name__
        raise ValueError(
            f"cross-entropy needs outputs of shape (examples, classes), not {got}; for another "
            "model give loss_fn="
        )
    classes = outputs.shape[1]
    if targets.dtype != torch.int64 or not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        raise ValueError(
            f"labels must be whole numbers from 0 to {classes - 1}; these are of type "
            f"{targets.dtype} and run from {targets.min()} to {targets.max()}"
        )
    return F.cross_entropy(outputs, targets)


def squared_error(model: nn.Module, batch: Any) -> torch.Tensor:
    """The loss of a regression: mean squared error of the outputs."""
    inputs, targets = batch
    return F.mse_loss(model(inputs), targets)
