"""What a layer of a model is, once for all measurements."""

import torch
from torch import nn

# These hold matrices that scale nothing on its way.
_TABLES_AND_NORMS = (
    nn.Embedding | nn.EmbeddingBag | nn.LayerNorm | nn.RMSNorm | nn.modules.batchnorm._NormBase
)
# These have matrices, and their output is not one of them times their input.
_OTHERWISE = nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention | _TABLES_AND_NORMS


def as_written(model: nn.Module) -> nn.Module:
    """The model that `torch.compile` was given, or the model itself."""
    return getattr(model, "_orig_mod", model)


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name → module for every layer of a model, in the order in which they were registered.

    A network of `nets` names its layers. Elsewhere a layer is a module that owns a weight of two
    or more axes (Linear, Conv, recurrent, …), or any matrix in a module below the top that is none
    of torch's, such as a cell of the reader's own. Embeddings and norms are no layers.
    """
    if hasattr(model, "vglib_layers"):
        return {name: model.get_submodule(name) for name in model.vglib_layers}
    found = {}
    for name, module in model.named_modules():
        if ".parametrizations" not in f".{name}" and (owns_a_weight(module) or _own(name, module)):
            found[name.replace("_orig_mod.", "")] = module
    return found


def owns_a_weight(module: nn.Module) -> bool:
    """Whether a module has itself a weight of two or more axes."""
    if isinstance(module, _TABLES_AND_NORMS):
        return False
    direct = [*module.named_parameters(recurse=False)]
    if hasattr(module, "parametrizations"):  # weight_norm and its like
        direct += [*module.parametrizations.named_parameters()]
    return any(p.ndim >= 2 and "weight" in name for name, p in direct)


def _own(name, module):
    theirs = type(module).__module__.startswith("torch.nn.")
    matrices = any(p.ndim == 2 for p in module.parameters(recurse=False))
    return bool(name) and matrices and not theirs and not isinstance(module, _TABLES_AND_NORMS)


def multiplies(module: nn.Module) -> bool:
    """Whether a module is a Linear, a Conv, or one of the reader's own of their kind."""
    weight = getattr(module, "weight", None)
    matrix = isinstance(weight, torch.Tensor) and weight.ndim > 1
    return matrix and not isinstance(module, _OTHERWISE)


def units(module: nn.Module, z: torch.Tensor) -> int:
    """The axis of an output that counts units: the last one, or the second for convolutions."""
    return 1 if module.weight.ndim > 2 else z.ndim - 1
