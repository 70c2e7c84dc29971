"""Deep networks with and without normalization on the digits, each with a rate of its own.

``benchmarks/normalization_training.py`` searches the rates and trains what the lesson shows; the
lesson trains those again that it judges.
"""

from collections.abc import Sequence

import torch
from torch import nn

from vglib.checks import choose
from vglib.claims import recorded
from vglib.nets import NORMALIZATIONS, mlp
from vglib.tasks import digits
from vglib.training import Training, train

STEPS, BATCH, TARGET = 88, 128, 0.9
PROPER = {"sigmoid": "xavier", "tanh": "xavier", "relu": "he"}
KINDS = (*NORMALIZATIONS, "rms", "batch, after")


def build(
    *,
    activation: str,
    init: str,
    seed: int,
    depth: int = 30,
    width: int = 64,
    norm: str | None = None,
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """A network of `nets.mlp` with one of KINDS in front of each activation, or after it.

    ``dropout``: the share of units that ``nn.Dropout`` switches off after each activation.
    """
    choose("norm", norm, KINDS)
    net = mlp(
        depth=depth,
        width=width,
        activation=activation,
        init=init,
        seed=seed,
        normalization=norm if norm in NORMALIZATIONS else None,
        dtype=dtype,
    )
    readout = net.readout
    for layer in [*net[1:-1], readout]:
        if norm == "rms":
            own = nn.RMSNorm(width, eps=1e-5, dtype=dtype)
            if layer is readout:
                layer[0] = own
            else:
                layer.normalization = own
        after = []
        if norm == "batch, after":
            after += [nn.BatchNorm1d(width, dtype=dtype)]
        if dropout:
            after += [nn.Dropout(dropout)]
        if after and layer is readout:
            layer[1] = nn.Sequential(layer[1], *after)
        elif after:
            layer.activation = nn.Sequential(layer.activation, *after)
    return net


def trained(
    rate: float,
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    batch_size: int = BATCH,
    target: float | None = TARGET,
    **network,
) -> tuple[Training, list[nn.Module]]:
    """Networks of one kind, a seed each, trained with momentum; and the networks.

    Dropout draws from torch's random state, which is set from the seed and put back.
    """
    nets = [build(seed=seed, **network) for seed in seeds]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seeds[0])
        result = train(
            nets,
            digits(dtype=torch.float32),
            steps=steps,
            batch_size=batch_size,
            optimizer="momentum",
            rate=rate,
            seed=seeds[0],
            target=target,
            check_every=8,
        )
    return result, nets


def on_record(**settings) -> dict:
    """What the record has of one network: ``rate``, the best, and what came of it."""
    wanted = {"dropout": 0.0, "depth": 30, "width": 64, "steps": STEPS, "batch_size": BATCH}
    wanted |= settings
    for one in recorded("normalization_training"):
        if one["settings"] == wanted:
            return one["values"]
    raise ValueError(f"the record of normalization has no network {wanted}")
