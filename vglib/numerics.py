"""Sizes of tensors, whatever their precision: nothing underflows, nothing overflows."""

import math
from collections import defaultdict

import torch

_TRUSTED = 1e-140  # a float64 norm above it, and below its inverse, has lost no square
# Outside these a float32 norm may have lost entries whose squares underflow, or overflow; then it
# is taken again in float64.
_DOUBTFUL, _HUGE = 1e-15, 1e18
_SMALL = 10_000  # entries; for tensors up to this size, one call for many beats a call for each


def _wide(tensor):
    """In float64; by way of the processor where a device, such as MPS, has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).to(torch.float64)


def norm(tensor: torch.Tensor) -> float:
    """Euclidean norm of all entries, as a float, accumulated in float64.

    Where squares would underflow or overflow, the largest entry is divided out first, so that
    1e-300 does not read as 0 and 1e300 not as infinity.
    """
    tensor = tensor.detach()
    if tensor.device.type == "mps":
        tensor = tensor.cpu()
    value = float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
    if _TRUSTED < value < 1 / _TRUSTED:
        return value
    values = _wide(tensor.abs())
    largest = float(values.max())
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * float(torch.linalg.vector_norm(values / largest))


def rms(tensor: torch.Tensor) -> float:
    """Root mean square of all entries, as a float: their `norm` over the root of their number."""
    return norm(tensor) / tensor.numel() ** 0.5


def norms(tensors: list[torch.Tensor]) -> list[float]:
    """Norms of all tensors as floats: small ones of one size at once, doubtful ones again."""
    groups = defaultdict(list)
    for i, tensor in enumerate(tensors):
        size = tensor.numel()
        groups[(size, tensor.dtype, tensor.device) if size <= _SMALL else i].append(i)
    values = [0.0] * len(tensors)
    for members in groups.values():
        chosen = [tensors[i] for i in members]
        try:
            flat = torch.stack(chosen) if len(chosen) > 1 else chosen[0][None]
            flat = flat.flatten(1) if flat.ndim > 1 else flat[:, None]
        except RuntimeError:  # equal sizes, other shapes
            flat = torch.stack([tensor.flatten() for tensor in chosen])
        wide = torch.float32 if flat.dtype.itemsize < 4 else flat.dtype
        sizes = torch.linalg.vector_norm(flat, dim=1, dtype=wide).tolist()
        for i, value in zip(members, sizes, strict=True):
            values[i] = value if _DOUBTFUL < value < _HUGE else norm(tensors[i])
    return values


def log10(size: float, lowest: float = -60.0) -> float:
    """The logarithm of a size, or ``lowest`` where that is smaller, and for zero and NaN."""
    return max(math.log10(size), lowest) if size > 0 else lowest
