"""Published rules and the loss alone, on the first 100 steps. ``python baselines.py development``

Each rule is restated with its published defaults, on a trace of one training run of a set-up as it
is. What was read, 2026-11-22:

- SageMaker Debugger: "List of Debugger Built-in Rules" in awsdocs/amazon-sagemaker-developer-guide
  (doc_source/debugger-built-in-rules.md, commit 1c4d5ff), and the same rules' pages at
  docs.aws.amazon.com/sagemaker/latest/dg. The rules themselves are closed source: where the text
  leaves room, the reading is in the function's comment. The service saves every 500 steps by
  default (awslabs/sagemaker-debugger-rulesconfig); here every step is seen.
- AutoTrainer (Zhang et al., ICSE 2021): AutoTrainer/utils/monitor.py in shiningrain/AUTOTRAINER,
  commit 03a463e: ``gradient_issue``, and the default parameters listed in ``IssueMonitor``. It
  consults these rules only while accuracy is low, which a loss function does not tell; here they
  stand alone. Rules on accuracy (oscillation, slow convergence) are left out.
- DeepDiagnosis (Wardat et al., ICSE 2022, arXiv 2112.04036; abstract read): callback/callbacks.py
  in DeepDiagnosis/ICSE2022, commit 500b017: thresholds and ``mapFaluireToFix``. It looks once an
  epoch; here every fifth step. Rules on accuracy and on the range of the output layer are left out,
  and "numerical" does not count a mean of exactly zero, which fires on every zero initialisation.
"""

import itertools
import math
import sys
from functools import partial
from statistics import median

import label
import records
import torch
from setups import load
from torch.overrides import TorchFunctionMode

STEPS = 100
SEED = 0
SOURCES = [label.HERE / "setups.py"]
SQUASHED = {"relu": "relu", "relu_": "relu", "sigmoid": "sigmoid", "tanh": "tanh"}


class Activations(TorchFunctionMode):
    """Hands each input and output of ReLU, tanh and sigmoid to ``see(kind, input, output)``.

    Also those called as functions, which hooks on modules would miss.
    """

    def __init__(self, see):
        super().__init__()
        self.see = see

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kind = SQUASHED.get(getattr(function, "__name__", ""))
        given = args[0].detach().float().clone() if kind else None
        result = function(*args, **(kwargs or {}))
        if kind:
            self.see(kind, given, result.detach().float())
        return result


def trace(setup, seed, steps=STEPS):
    """One dict per step: loss, gradients and weights by parameter, and activations in order."""
    model, loss_fn, batches, make_optimizer = setup.build(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        optimizer = make_optimizer(model.parameters())
        for batch in itertools.islice(label.endless(batches), steps):
            seen = []
            before = {name: p.detach().float().clone() for name, p in model.named_parameters()}
            optimizer.zero_grad()
            with Activations(lambda *one, seen=seen: seen.append(one)):
                loss = loss_fn(model, batch)
            loss.backward()
            gradients = {
                name: p.grad.detach().float().clone()
                for name, p in model.named_parameters()
                if p.grad is not None
            }
            optimizer.step()
            after = {name: p.detach().float() for name, p in model.named_parameters()}
            yield {
                "loss": loss.item(),
                "gradients": gradients,
                "weights": before,
                "updates": {name: after[name] - before[name] for name in after},
                "activations": seen,
            }


def finite(tensors):
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


# SageMaker Debugger: each takes a step, and the losses up to it ---------------------------------


def sm_vanishing_gradient(step, losses):
    return any(g.abs().mean() < 1e-7 for g in step["gradients"].values())


def sm_exploding_tensor(step, losses):
    outputs = [output for _, _, output in step["activations"]]
    tensors = [torch.tensor(step["loss"]), *step["gradients"].values(), *step["weights"].values()]
    return not finite(tensors + outputs)


def sm_dead_relu(step, losses):
    """More than half of a layer's ReLUs are active for less than 1 % of the examples."""
    for kind, _, output in step["activations"]:
        active = (output.flatten(1) > 0).float().mean(dim=0) if output.dim() > 1 else output
        if kind == "relu" and output.dim() > 1 and (active < 0.01).float().mean() > 0.5:
            return True
    return False


def sm_saturated_activation(step, losses):
    """More than half of a layer's units are inside the thresholds for less than 1 %."""
    bounds = {"tanh": (-9.4999, 9.4999), "sigmoid": (-23, 16.99999)}
    for kind, given, _ in step["activations"]:
        if kind in bounds and given.dim() > 1:
            low, high = bounds[kind]
            inside = ((given > low) & (given < high)).flatten(1).float().mean(dim=0)
            if (inside < 0.01).float().mean() > 0.5:
                return True
    return False


def sm_poor_weight_initialization(step, losses):
    """In the first ten steps: variances of layers' weights apart by a factor over 10, or
    the narrowest 5-95 % range of a gradient below 0.001, or a loss that did not fall in 5 steps.
    """
    if len(losses) > 10:
        return False
    matrices = [w for w in step["weights"].values() if w.dim() > 1]
    spread = [w.var().item() for w in matrices if w.numel() > 1]
    ranges = [
        (g.flatten().quantile(0.95) - g.flatten().quantile(0.05)).item()
        for name, g in step["gradients"].items()
        if g.dim() > 1
    ]
    stalled = len(losses) > 5 and min(losses[-5:]) >= losses[-6]
    return (
        bool(spread and max(spread) > 10 * min(spread))
        or bool(ranges and min(ranges) < 1e-3)
        or stalled
    )


def sm_weight_update_ratio(step, losses):
    """Of matrices: biases that start at zero would set it off in every network."""
    for name, update in step["updates"].items():
        ratio = update.abs().mean() / (step["weights"][name].abs().mean() + 1e-9)
        if update.dim() > 1 and name in step["gradients"] and (ratio > 10 or ratio < 1e-8):
            return True
    return False


def sm_all_zero(step, losses):
    """Of the gradients; the documentation wants a collection to be named."""
    return any(bool((g == 0).all()) for g in step["gradients"].values())


def sm_loss_not_decreasing(step, losses):
    """Every ten steps: not below the loss ten steps ago."""
    return len(losses) > 10 and len(losses) % 10 == 1 and not losses[-1] < losses[-11]


# AutoTrainer -------------------------------------------------------------------------------------


def _norms(step):
    return [g.norm().item() for g in step["gradients"].values() if g.dim() > 1]


def at_vanish(step, losses):
    norms = _norms(step)
    if not norms or norms[-1] == 0:
        return False
    return norms[0] / norms[-1] < 1e-3 and norms[0] < 1e-4


def at_explode(step, losses):
    norms = _norms(step)
    large = not math.isfinite(step["loss"]) or abs(step["loss"]) >= 1e3
    if large or not finite(step["gradients"].values()):
        return True
    return bool(norms) and norms[-1] > 0 and norms[0] / norms[-1] > 70


def at_dying_relu(step, losses):
    size = sum(g.numel() for g in step["gradients"].values())
    return sum((g == 0).sum().item() for g in step["gradients"].values()) >= 0.7 * size > 0


# DeepDiagnosis -----------------------------------------------------------------------------------


def dd_vanishing(step, losses):
    return any(g.abs().mean() < 1e-7 for g in step["gradients"].values() if g.dim() > 1)


def dd_dead_node(step, losses):
    """At the end only, as there."""
    if len(losses) < STEPS:
        return False
    relus = [output for kind, _, output in step["activations"] if kind == "relu"]
    return any((output <= 0).float().mean() >= 0.7 for output in relus)


def dd_saturated(step, losses):
    squashed = [given for kind, given, _ in step["activations"] if kind != "relu"]
    fifth = len(losses) % 5 == 0
    return fifth and any((given.abs() >= 5).float().mean() > 0.5 for given in squashed)


def dd_numerical(step, losses):
    return sm_exploding_tensor(step, losses)


def dd_loss_not_decreasing(step, losses):
    """The mean of five losses equals their largest: they are all the same."""
    return len(losses) % 5 == 0 and len(set(losses[-5:])) == 1


# The loss alone ----------------------------------------------------------------------------------


def loss_only(step, losses):
    """By step 100 it has not dropped by 5 %: medians of the first and of the last five steps."""
    if len(losses) < STEPS:
        return False
    first, last = median(losses[:5]), median(losses[-5:])
    return not (math.isfinite(last) and first - last >= 0.05 * abs(first))


RULES = {
    "SageMaker VanishingGradient": (sm_vanishing_gradient,),
    "SageMaker ExplodingTensor": (sm_exploding_tensor,),
    "SageMaker DeadRelu": (sm_dead_relu,),
    "SageMaker SaturatedActivation": (sm_saturated_activation,),
    "SageMaker PoorWeightInitialization": (sm_poor_weight_initialization,),
    "SageMaker WeightUpdateRatio": (sm_weight_update_ratio,),
    "SageMaker AllZero": (sm_all_zero,),
    "SageMaker LossNotDecreasing": (sm_loss_not_decreasing,),
    "SageMaker, four on gradients": (
        sm_vanishing_gradient,
        sm_exploding_tensor,
        sm_dead_relu,
        sm_saturated_activation,
    ),
    "AutoTrainer vanishing": (at_vanish,),
    "AutoTrainer exploding": (at_explode,),
    "AutoTrainer dying ReLU": (at_dying_relu,),
    "AutoTrainer, all three": (at_vanish, at_explode, at_dying_relu),
    "DeepDiagnosis vanishing": (dd_vanishing,),
    "DeepDiagnosis dead node": (dd_dead_node,),
    "DeepDiagnosis saturated": (dd_saturated,),
    "DeepDiagnosis, all five": (
        dd_vanishing,
        dd_dead_node,
        dd_saturated,
        dd_numerical,
        dd_loss_not_decreasing,
    ),
    "loss alone": (loss_only,),
}


def run(split, name, source, seed):
    """Which rules raise an alarm at any step."""
    fired = dict.fromkeys(RULES, False)
    losses = []
    for step in trace(load(split)[name], seed):
        losses.append(step["loss"])
        for rule, parts in RULES.items():
            fired[rule] = fired[rule] or any(bool(part(step, losses)) for part in parts)
    return fired


def path(split):
    return label.HERE / "records" / f"baselines_{split}.json"


def settings(split):
    return [{"name": n, "source": one.source, "seed": SEED} for n, one in load(split).items()]


if __name__ == "__main__":
    split = sys.argv[1]
    records.fill(__file__, partial(run, split), settings(split), sources=SOURCES, path=path(split))
