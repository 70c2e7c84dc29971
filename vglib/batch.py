"""What is measured and trained on; apart from `tasks`, so that probes need torch alone."""

from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """Inputs and targets, one row per example."""

    inputs: torch.Tensor  # (examples, …)
    targets: torch.Tensor  # (examples, …)

    def sample(self, size, *, seed):
        """Draw ``size`` examples without replacement.

        Raises ValueError unless 1 ≤ size ≤ the number of examples.
        """
        if not 1 <= size <= len(self.targets):
            raise ValueError(f"size must be from 1 to {len(self.targets)}, not {size}")
        order = torch.randperm(len(self.targets), generator=torch.Generator().manual_seed(seed))
        return Batch(self.inputs[order[:size]], self.targets[order[:size]])
