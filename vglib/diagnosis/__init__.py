"""Point it at your own model: a verdict on its gradient path, with evidence and a tried remedy.

*Experiments* train short copies and measure once; *evidence* is what they showed, as plain data;
*causes* is the table that judges it; *report* says it.
"""

import math
import time
from collections.abc import Callable, Iterable

import torch
from torch import nn

from vglib.batch import LossFn
from vglib.diagnosis.causes import CAUSES, LIMITS, SAID, TRAPS, Limits, judge, mended
from vglib.diagnosis.evidence import Evidence
from vglib.diagnosis.experiments import Lab, gather, reported, set_aside
from vglib.diagnosis.report import SCHEMA, Diagnosis, compare, report
from vglib.diagnosis.watch import Watch

__all__ = [
    "CAUSES",
    "LIMITS",
    "SAID",
    "SCHEMA",
    "TRAPS",
    "Diagnosis",
    "Evidence",
    "Limits",
    "Watch",
    "compare",
    "course_optimizer",
    "diagnose",
    "judge",
    "mended",
    "report",
]


def course_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """What `diagnose` trains with when it is given no optimizer."""
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def diagnose(
    model: nn.Module,
    loss_fn: LossFn,
    batches: Iterable,
    *,
    optimizer: Callable | None = None,
    seed: int = 0,
    budget_s: float = math.inf,
) -> Diagnosis:
    """Find out whether the gradient path of ``model`` is at fault; returns a `Diagnosis`.

    ``loss_fn(model, batch)`` gives a scalar; ``batches`` is any iterable, of which 100 are taken;
    ``optimizer`` is a function from parameters to an optimizer, several, or an optimizer and its
    schedule (default: SGD, rate 0.01, momentum 0.9). A copy is trained for 100 steps, its gradients
    are looked at. Unless it learns nearly all there is, so are further copies, each with one thing
    changed: learning rate, ε, weight decay, precision, the scale of inputs and targets, what comes
    before the loss, weights rescaled layer by layer, batch norm in deep stacks, gates opened; some
    for three times as many steps. A model is healthy that learns a good part of what there is to
    learn. After ``budget_s`` seconds no further trial begins. The model, its mode, gradients and
    buffers, and all random states stay as they are.

    Raises ValueError for no batches, a model that cannot be copied or takes no hooks, a loss that
    is not a scalar or not of this model, and an optimizer that needs a closure or holds other
    parameters than those that it was given.
    """
    deadline = time.monotonic() + budget_s
    with set_aside(seed):
        lab = Lab(model, loss_fn, batches, optimizer or course_optimizer, seed, deadline)
        return report(gather(lab, reported()))
