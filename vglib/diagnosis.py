"""Point it at your own model: a verdict on its gradient path, with evidence and a tried remedy."""

import copy
import math
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from html import escape
from io import BytesIO
from itertools import islice

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from vglib import trials
from vglib.anatomy import HALVES, anatomy
from vglib.batch import LossFn
from vglib.lesson import readable
from vglib.monitor import Monitor
from vglib.trials import Case, Remedy, run, set_aside

ENOUGH = 2 / 3  # of what the best trial learns in the same steps; a run with less is faulty
LEARNT = 0.9  # of the blind loss gone: nothing can be much better, so nothing is tried
NOTICED = 0.05  # of the blind loss; a trial that gains less has not helped
HALF = 0.5  # of the blind loss gone: no doubt that there is something to learn
CARRIED = 0.02  # of the blind loss on new batches; less is chance
LONGER = 3  # times as many steps, before a run is accused, or where nothing has helped
LOST = 1.0  # decades of the gradient lost on its way down, before the path is suspected
UNCONFIRMED = 2.0  # decades lost, before the path is accused without a trial that helps
FORGOTTEN = 2.0  # decades lost from the last time step to the first
EXPLODED = 2.0  # decades gained
FULL = 0.5  # share of saturated units above which a layer is taken for saturated
DEAD = 0.9  # share of dead units above which a layer is taken for dead
UPDATES = (1e-2, 1e-3)  # relative steps that new learning rates aim at
MANY, MILD = 20, 0.12  # layers, and the decades lost at each, for which depth is to blame
LOWEST = -60.0  # the logarithm that stands for that of zero

VERDICTS = {
    "activation": "gradient",
    "weight scale": "gradient",
    "saturation": "gradient",
    "dead units": "gradient",
    "depth": "gradient",
    "recurrent factor": "gradient",
    "forget gate": "gradient",
    "explosion": "gradient",
    "low precision": "gradient",
    "learning rate": "other",
    "data": "other",
    "detached": "other",
    "optimizer epsilon": "other",
    "weight decay": "other",
}
# Slope and weights are two descriptions of one network: c·φ with weights W/c is φ with W. Which of
# the two causes is found tells how the code is written, so that both are called by one name.
PAIR = "activation × weight scale"
SAID = {"activation": PAIR, "weight scale": PAIR}
_EITHER = (
    "weights at the scale that the activation needs (He for ReLU, orthogonal for tanh), "
    "or another activation with its own weights; either can make up for the other"
)
ADVICE = {
    "activation": _EITHER,
    "weight scale": _EITHER,
    "saturation": "smaller weights or inputs, or normalisation before the activation",
    "dead units": "biases of zero and He init, or leaky ReLU",
    "depth": "skip connections, or normalisation with weights at the critical scale",
    "recurrent factor": "orthogonal recurrent weights, or an LSTM or GRU with open gates",
    "forget gate": "a forget bias that fits the lag (chrono init)",
    "explosion": "smaller weights, gradient clipping, or normalisation",
    "low precision": "weights and updates in float32; a loss scale if gradients underflow",
    "learning rate": "another learning rate",
    "data": "a look at inputs and labels: does the one say anything about the other?",
    "detached": "a graph without no_grad, detach or numpy between these modules and the loss",
    "optimizer epsilon": "an ε far below the root mean square of the gradients",
    "weight decay": "a smaller weight decay",
}
REASONS = {
    "saturation": "Most activations are saturated, where their slope is close to zero.",
    "learning rate": "The gradient gets through; the steps are of the wrong size.",
    "data": "The inputs are far from unit size.",
    "low precision": "In single precision the same model learns.",
    "weight decay": "Weights decay faster than they learn.",
    "optimizer epsilon": "The optimizer's ε is larger than its gradients.",
}
_RECTIFIERS = {
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
}


def course_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """What `diagnose` trains with when it is given no optimizer."""
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


# The form of `Diagnosis.as_json`, as a JSON Schema.
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["verdict", "reason", "cause", "where", "evidence", "remedy", "trial"],
    "properties": {
        "verdict": {"enum": ["healthy", "gradient", "other", "abstain"]},
        "reason": {"type": "string"},
        "cause": {"enum": [*VERDICTS, None]},
        "where": {
            "description": "names of modules, the likeliest first, or the first and last lag",
            "oneOf": [
                {"type": "array", "items": {"type": "string"}},
                {
                    "type": "object",
                    "properties": {"lags": {"type": "array", "items": {"type": "integer"}}},
                    "required": ["lags"],
                },
            ],
        },
        "evidence": {"description": "numbers by name; null for one not finite", "type": "object"},
        "remedy": {"type": ["string", "null"]},
        "trial": {
            "description": "loss at each step, as it is and with one change",
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
        },
    },
}


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found; it prints as text, and in a notebook as a table with a picture.

    ``verdict``: healthy, gradient (the gradient's path is at fault), other (something else is), or
    abstain. ``reason``: why, in words. ``cause``: a key of `ADVICE`, or None; "activation" and
    "weight scale" are one cause, called by what is the larger term in the code as it is written.
    ``where``: names of modules, the likeliest first, or a range of lags. ``evidence``: the numbers
    that decided. ``remedy``: what to try, and what has helped. ``trial``: losses by step as it is,
    and with the change that was tried.
    """

    verdict: str
    reason: str
    cause: str | None = None
    where: tuple | range = ()
    evidence: dict = field(default_factory=dict)
    remedy: str | None = None
    trial: dict = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The cause as it is said, or the verdict where there is none."""
        return SAID.get(self.cause, self.cause) or self.verdict

    def _rows(self):
        """What there is to say, as (heading, text)."""
        yield "verdict", self.verdict + (f": {self.said}" if self.cause else "")
        yield "reason", self.reason
        if isinstance(self.where, range):
            yield "where", f"lags {self.where.start} to {self.where.stop - 1}"
        elif self.where:
            rest = f" and {len(self.where) - 4} more" if len(self.where) > 4 else ""
            yield "where", ", ".join(self.where[:4]) + rest
        learnt = self.evidence.get("learnt", {})
        if learnt:
            shares = (f"{name} {max(share, 0):.0%}" for name, share in learnt.items())
            yield "learnt", "; ".join(shares) + " of the blind loss"
        if self.remedy:
            yield "to try", self.remedy

    def __str__(self):
        return "\n".join(f"{heading:8} {text}" for heading, text in self._rows())

    __repr__ = __str__

    def _repr_html_(self):
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left'>{heading}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for heading, text in self._rows()
        )
        return f"<table><caption>Diagnosis</caption>{rows}</table>{self._picture()}"

    def _picture(self):
        """The losses of the trial and the gradient's way, as an HTML image."""
        if not self.trial:
            return ""
        import matplotlib.pyplot as plt  # here, so that a verdict can be had without matplotlib

        figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
        for (name, losses), style in zip(self.trial.items(), ("-", "--"), strict=False):
            left.plot(losses, style, label=name)
        left.set(xlabel="step", ylabel="loss")
        left.legend(fontsize="small")
        by_lag = self.evidence.get("gradient by lag", {})
        for name, sizes in by_lag.items():
            right.plot(np.maximum(sizes, 10**LOWEST), label=name)
        if not by_lag:
            sizes = np.array(self.evidence.get("gradient by layer", []))
            right.plot(np.arange(1, len(sizes) + 1), np.maximum(sizes, 10**LOWEST), "o-")
        right.set(xlabel="lag" if by_lag else "layer", ylabel="size of the gradient", yscale="log")
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=80, facecolor="white")
        plt.close(figure)
        alt = f"Loss by step and size of the gradient by {'lag' if by_lag else 'layer'}."
        data = f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
        return f"<img style='max-width:100%' alt='{alt}' src='{data}'>"

    def as_json(self) -> dict:
        """Plain data in the form of `SCHEMA`; a number that is not finite becomes None."""
        where = list(self.where)
        if isinstance(self.where, range):
            where = {"lags": [self.where.start, self.where.stop - 1]}
        return _plain(asdict(self) | {"where": where})


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def diagnose(
    model: nn.Module,
    loss_fn: LossFn,
    batches: Iterable,
    *,
    optimizer: Callable | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Find out whether the gradient path of ``model`` is at fault; returns a `Diagnosis`.

    ``loss_fn(model, batch)`` gives a scalar; ``batches`` is any iterable, of which 100 are taken;
    ``optimizer`` is a function from parameters to an optimizer or several (default: SGD, rate
    0.01, momentum 0.9). A copy is trained for 100 steps. Unless it learns nearly all there is, so
    are further copies, each with one thing changed: learning rate, ε, weight decay, precision,
    input scale, weights rescaled layer by layer, batch norm in deep stacks, gates opened. A run is
    faulty if another learns much more in as many steps and it cannot catch up in three times as
    many. The model, its mode, gradients and buffers, and all random states stay as they are.

    Raises ValueError for no batches, a model that cannot be copied or takes no hooks, a loss that
    is not a scalar or not of this model, and an optimizer that needs a closure.
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            f"diagnose needs a torch module that takes hooks, not {type(model).__name__}"
        )
    some = list(islice(batches, trials.STEPS))
    if not some:
        raise ValueError("diagnose needs at least one batch; batches gave none")
    with set_aside(seed):
        own = _own_copy(model, loss_fn, some[0])
        case = Case(own, loss_fn, some, optimizer or course_optimizer, seed)
        if not any(p.requires_grad for p in own.parameters()):
            return _at_once("detached", "No parameter of the model is trainable.")
        if any(isinstance(one, torch.optim.LBFGS) for one in case.optimizers(own)):
            raise ValueError("diagnose takes plain steps; LBFGS needs a closure: give another")
        body = anatomy(copy.deepcopy(own), loss_fn, some[0])
        try:
            if not body.finite:
                return _at_once("data", "Some inputs are not finite.")
            if body.constant:
                return _at_once("data", "All inputs of a batch are the same to the model.")
            if body.idle:
                reason = "Modules ran whose parameters get no gradient."
                return _at_once("detached", reason, body.idle)
            return _Examination(case, body).diagnosis()
        finally:
            for parameter, gradient in body.outside:
                parameter.grad = gradient


def _own_copy(model, loss_fn, batch):
    """A copy in training mode, lazy modules built; what is compiled, as it was written."""
    try:
        own = copy.deepcopy(getattr(model, "_orig_mod", model))
    except Exception as error:
        raise ValueError(f"the {type(model).__name__} cannot be copied: {error}") from error
    if not model.training:
        own.train()
    if any(is_lazy(p) for p in own.parameters()):
        with torch.no_grad():
            loss_fn(own, batch)
    for p in own.parameters():
        p.grad = None
    return own


def _at_once(cause, reason, where=()):
    """A diagnosis that needs no training."""
    return Diagnosis(VERDICTS[cause], reason, cause, where, remedy=ADVICE[cause])


class _Examination:
    """One diagnosis on its way: the plain run, the trials, and the rules."""

    def __init__(self, case, body):
        self.case, self.body = case, body
        self.plain = run(case)
        self.paired = trials.is_paired(case)
        self.path = _path(self.plain.record, body)
        self.by_lag = {name: _log(sizes[-1]) for name, sizes in body.lags.items()}
        self.tried, self.remedies = {None: self.plain}, {}
        self.evidence = {}

    def diagnosis(self):
        """The `Diagnosis`, with everything that was found out on the way."""
        if self._learnt(self.plain) > LEARNT:
            return self._healthy("It learns, and no change could make it learn much more.")
        self._try_all()
        doubtful = self._learnt(self.plain) < HALF and self._is_suspect()
        # Long lags and small rates take longer to show what helps.
        if self._best() < NOTICED or (doubtful and self._share(None) > ENOUGH):
            self._try_longer()
        if self._best() >= NOTICED:
            if self._learnt(self.tried[None]) < HALF and self._carries_over() is False:
                return self._is("data", "What is learnt does not carry over to new batches.")
            # A loss that is not paired may go on falling for as long as there are steps.
            if self._share(None) > ENOUGH or (not self.paired and self._share(None) > NOTICED):
                return self._healthy("It learns, and no change made it learn much more.")
            if self.tried[None] is self.plain:  # else it has had its time
                longer = self._learnt(run(self.case, steps=LONGER * trials.STEPS)) / self._best()
                self.evidence["share in three times the steps"] = longer
                if longer > LEARNT:
                    return self._healthy("It is slow, and gets there in three times the steps.")
        return self._accuse()

    def _is_suspect(self):
        lost = -min(self.by_lag.values(), default=0.0)
        return lost > FORGOTTEN or bool(self.path and self.path.lost > LOST)

    # What was learnt.

    def _blind(self):
        """The loss of a model that knows nothing about its inputs."""
        levels = [t.blind for t in self.tried.values()] if self.paired else [self.plain.losses[0]]
        levels = [level for level in levels if math.isfinite(level)]
        return min(levels) if levels else math.inf

    def _learnt(self, trial):
        """The share of the blind loss that is gone; minus infinity if the loss is not finite."""
        blind = self._blind()
        if not (math.isfinite(blind) and math.isfinite(trial.loss)):
            return -math.inf
        return _gone(blind, trial.loss)

    def _best(self):
        return max(map(self._learnt, self.tried.values()))

    def _share(self, name):
        """What a trial learnt, as a share of what the best one did."""
        return self._learnt(self.tried[name]) / self._best()

    def _helped(self, name):
        return self._best() >= NOTICED and self._share(name) > ENOUGH

    # Trials.

    def _try_all(self):
        """One short trial of each change."""
        for name, remedy in self._remedies():
            try:
                trial = run(self.case, remedy)
            except RuntimeError:  # as where the loss insists on the precision that it was given
                continue
            if name not in self.tried or trial.loss < self.tried[name].loss:
                self.tried[name], self.remedies[name] = trial, remedy

    def _try_longer(self):
        """The best change of each kind again, for longer, and the model as it is."""
        idle = 1e-4 * abs(self._blind())
        for name, trial in list(self.tried.items()):
            if name is None or not abs(trial.loss - self.plain.loss) <= idle:
                steps = LONGER * trials.STEPS
                self.tried[name] = run(self.case, self.remedies.get(name), steps=steps)
            else:
                del self.tried[name], self.remedies[name]

    def _remedies(self):
        """(name, `Remedy`): one change each."""
        optimizers = self.case.optimizers(self.case.model)
        groups = [group for one in optimizers for group in one.param_groups]
        if {p.dtype for p in self.case.model.parameters()} & HALVES:
            yield "low precision", Remedy("single precision", trials.in_single_precision)
        if any(group.get("weight_decay") for group in groups):
            yield (
                "weight decay",
                Remedy("no weight decay", group=partial(_put, "weight_decay", 0.0)),
            )
        if any(group.get("eps") for group in groups):
            yield "optimizer epsilon", Remedy("ε of 1e-15", group=partial(_put, "eps", 1e-15))
        if self.body.unscaled:
            yield "data", Remedy("inputs standardised", trials.standardise)
        if self.plain.update > 0:
            for aim in UPDATES:
                factor = aim / self.plain.update
                words = f"a learning rate {readable(factor)} times as high"
                yield "learning rate", Remedy(words, group=partial(_scale_rate, factor))
        yield "path", Remedy("weights rescaled layer by layer", partial(trials.rescale, self.case))
        if self.path and len(self.path.names) >= MANY:
            yield "path", Remedy("batch norm after each layer", trials.normalise)
        if self.body.lags:
            longest = max(map(len, self.body.lags.values()))
            for words, chrono in (("gates open for all lags", False), ("chrono init", True)):
                open_memory = partial(trials.open_memory, longest, chrono)
                yield "memory", Remedy(f"orthogonal recurrent weights, {words}", open_memory)

    # Rules.

    def _accuse(self):
        helpers = {name for name in self.remedies if self._helped(name)}
        # A vanished gradient falls below ε as well: then ε is no more than a symptom.
        vanished = "path" in helpers and self.path and self.path.lost > LOST
        for cause in ("low precision", "weight decay", "optimizer epsilon", "data"):
            if cause in helpers and not (cause == "optimizer epsilon" and vanished):
                return self._is(cause, trial=cause)
        if self.body.halves and self.plain.unmoved > 0.5:
            share = f"{self.plain.unmoved:.0%} of the weights do not move"
            return self._is("low precision", f"In half precision {share}.", trial="low precision")
        if not math.isfinite(self.plain.losses[0]):
            precise = self.tried.get("low precision", self.plain)
            if math.isfinite(precise.losses[0]):
                words = "Only in single precision is the first loss finite."
                return self._is("low precision", words, trial="low precision")
            return self._is("explosion", "The first loss is not finite.", trial="path")
        return self._accuse_path(helpers) or self._accuse_rest(helpers)

    def _accuse_path(self, helpers):
        """A fault of the gradient's path, where one shows and no other trial speaks against it."""
        path, body = self.path, self.body
        may_be = "path" in helpers or not helpers
        if may_be and path and path.is_saturated():
            return self._is("saturation", where=path.saturated_layers(), trial="path")
        if may_be and path and path.dead_layers and not path.delta.any():
            return self._is("dead units", where=path.dead_layers[:1], trial="path")
        if may_be and body.peaked:
            return self._is("saturation", "A softmax is saturated.", body.peaked, "path")
        if max(self.by_lag.values(), default=0.0) > EXPLODED:
            return self._is("explosion", where=self._lags(1), trial="memory")
        if path and path.growth > EXPLODED:
            return self._is("explosion", where=path.growing(), trial="path")
        slower = self.tried.get("learning rate", self.plain)
        if not helpers and self._learnt(self.tried[None]) < -HALF < -NOTICED < self._learnt(slower):
            return self._is("learning rate", "Training makes it worse.", trial="learning rate")
        if may_be and path and path.lost > (LOST if helpers else UNCONFIRMED):
            cause, names = path.fault(body.gains)
            return self._is(cause, where=names, trial="path")
        # Rescaling reaches the layers of a cell that is written out.
        may_be = helpers <= {"memory", "path"}
        enough = FORGOTTEN if helpers else 2 * FORGOTTEN
        if may_be and min(self.by_lag.values(), default=0.0) < -enough:
            return self._is(self._memory_cause(), where=self._lags(-1), trial="memory")
        if body.flat_loss and not self.paired:
            return self._is("saturation", "An activation in the loss itself is saturated.")
        return None

    def _accuse_rest(self, helpers):
        if "learning rate" in helpers:
            return self._is("learning rate", trial="learning rate")
        if "path" in helpers:
            huge, tiny = self._odd_layers()
            if huge:
                return self._is("explosion", "Some weights are far too large.", huge, "path")
            many = self.path and len(self.path.names) > MANY and not tiny
            odd = tiny + tuple(trials.odd_matrices(self.case.model))
            return self._is("depth" if many else "weight scale", where=odd, trial="path")
        if "memory" in helpers:
            return self._is(self._memory_cause(), where=self._lags(-1), trial="memory")
        one = self._by_heart()
        self.evidence["learnt of one batch"] = one
        if one > HALF and not self._carries_over():
            return self._is(
                "data", "One batch can be learnt by heart, and that helps with no other."
            )
        if self.body.unscaled_batch:
            return self._is("data", "Some numbers in the batches are far from unit size.")
        reason = "It does not learn, and nothing that was tried and measured says why."
        return self._found("abstain", reason)

    def _odd_layers(self):
        """Layers whose weights are a decade larger, and smaller, than those of the others."""
        sizes = {name: _log(gain) for name, gain in self.body.gains.items() if gain > 0}
        middle = np.median(list(sizes.values())) if sizes else 0.0
        huge = tuple(name for name, size in sizes.items() if size > middle + 1)
        return huge, tuple(name for name, size in sizes.items() if size < middle - 1)

    def _by_heart(self):
        """What can be learnt of one batch, at the rate as it is or at another."""
        steps, one = LONGER * trials.STEPS, self.case.batches[:1]
        remedies = {self.remedies.get("learning rate"), None}
        return max(self._learnt(run(self.case, r, steps=steps, batches=one)) for r in remedies)

    def _carries_over(self):
        """Whether the best trial, over nine tenths of the batches, learns about the rest.

        None where it learns much less of its own batches than it did of all: that may be luck.
        """
        batches = self.case.batches
        held_out = -(-len(batches) // 10)
        if not self.paired or len(batches) < 4:
            return True
        best = max(self.tried, key=lambda name: self._learnt(self.tried[name]))
        trial = run(
            self.case,
            self.remedies.get(best),
            steps=len(self.tried[best].losses),
            batches=batches[:-held_out],
            judged=batches[-held_out:],
        )
        learnt = _gone(trial.blind, trial.loss)
        self.evidence["learnt of new batches"] = learnt
        if learnt > CARRIED:
            return True
        own = _gone(self._blind(), np.median(trial.losses[-10:]))
        return None if own < self._best() / 4 else False

    def _memory_cause(self):
        name = min(self.by_lag, key=self.by_lag.get)
        if name in self.body.gated:
            return "forget gate"
        return "activation" if name in self.body.squashed else "recurrent factor"

    def _lags(self, sign):
        """The range of lags beyond which the gradient has changed by more than two decades."""
        name = max(self.by_lag, key=lambda name: sign * self.by_lag[name])
        sizes = self.body.lags[name]
        far = [lag for lag, size in enumerate(sizes) if sign * _log(size) > FORGOTTEN]
        return range(far[0], len(sizes)) if far else range(0)

    # Words.

    def _healthy(self, reason):
        return self._found("healthy", reason)

    def _is(self, cause, reason="", where=(), trial=None):
        return self._found(VERDICTS[cause], reason or self._reason(cause), cause, where, trial)

    def _reason(self, cause):
        path, lost = self.path, max(map(abs, self.by_lag.values()), default=0.0)
        to = " to the activation and the weights together" if cause in SAID else ""
        if cause in ("recurrent factor", "forget gate") or (cause == "activation" and self.by_lag):
            return f"Over the time steps the gradient loses {lost:.0f} decades{to}."
        if cause == "explosion":
            grown = max(lost, path.growth if path else 0.0)
            return f"On its way the gradient grows by {grown:.0f} decades."
        if cause in ("activation", "weight scale", "dead units", "depth") and path:
            if path.delta[0] == 0:
                return "Nothing of the gradient arrives at the first layer."
            lost = f"{path.lost:.1f} decades{to}"
            return f"On its way to the first layer the gradient loses {lost}."
        return REASONS.get(cause, "The gradient gets through; what it is used for does not work.")

    def _words(self, name):
        return self.remedies[name].words if name else "as it is"

    def _found(self, verdict, reason, cause=None, where=(), trial=None):
        self.evidence |= {
            "loss": [float(self.plain.losses[0]), self.plain.loss],
            "blind loss": self._blind(),
            "learnt": {self._words(n): self._learnt(t) for n, t in self.tried.items()},
            "first relative update": self.plain.update,
            "gradient by lag": {name: sizes.tolist() for name, sizes in self.body.lags.items()},
        }
        if self.path:
            self.evidence |= {
                "layers": list(self.path.names),
                "gradient by layer": self.path.delta.tolist(),
                "slope": self.path.slopes.tolist(),
                "saturated": self.path.saturated.tolist(),
                "dead": self.path.dead.tolist(),
                "decades lost": self.path.lost,
            }
        losses = {"as it is": self.tried[None].losses.tolist()}
        if trial in self.remedies:
            losses[self.remedies[trial].words] = self.tried[trial].losses.tolist()
        remedy = ADVICE[cause] if cause else None
        if cause and trial in self.remedies and self._helped(trial):
            remedy = f"{self.remedies[trial].words}, which helped here; or {remedy}"
        return Diagnosis(verdict, reason, cause, where, self.evidence, remedy, losses)


def _gone(blind, loss):
    """The share of a blind loss that is gone."""
    return (blind - loss) / max(abs(blind), 1e-300)


def _put(name, value, group):
    if name in group:
        group[name] = value


def _scale_rate(factor, group):
    group["lr"] = group["lr"] * factor


def _log(size):
    return max(math.log10(size), LOWEST) if size > 0 else LOWEST  # also for NaN


@dataclass(frozen=True)
class _Path:
    """The gradient's way through the layers in the first step.

    ``delta``: ‖δ‖ of each layer. ``reach``: log10 of the largest at or below it, which a branch
    that starts at zero leaves as it is. ``slopes``, ``saturated``, ``dead``: of the activation
    after each layer, ``activations`` its name.
    """

    names: tuple
    delta: np.ndarray
    reach: np.ndarray
    slopes: np.ndarray
    saturated: np.ndarray
    dead: np.ndarray
    activations: tuple

    @property
    def lost(self):
        """Decades lost from where the gradient is largest to the bottom."""
        return float(self.reach[-1] - self.reach[0])

    @property
    def starvation(self):
        """Decades that the bottom gets less than the layer next to the loss."""
        return _log(self.delta[-1]) - float(self.reach[0])

    @property
    def growth(self):
        """Decades gained from the top to the layer where the gradient is largest."""
        return _log(self.delta.max()) - _log(self.delta[-1])

    @property
    def _two_sided(self):
        """Where an activation with two flat sides follows."""
        return np.array([a is not None and a not in _RECTIFIERS for a in self.activations])

    @property
    def _full(self):
        """Where such an activation is saturated."""
        return self._two_sided & (self.saturated > FULL)

    def is_saturated(self):
        """Whether most activations are, or the one that loses most of the gradient."""
        if self._full.sum() > self._two_sided.sum() / 2:
            return True
        drops = np.diff(self.reach)
        return bool(self.lost > LOST and self._full[:-1][drops > LOST].any())

    def saturated_layers(self):
        """The saturated layers, the first one first."""
        return tuple(name for name, full in zip(self.names, self._full, strict=True) if full)

    @property
    def _rectified(self):
        """Where an activation with one flat side at most follows."""
        return np.array([a in _RECTIFIERS for a in self.activations], dtype=bool)

    @property
    def dead_layers(self):
        """The layers that are dead, the first one first."""
        return tuple(self.names[i] for i in np.flatnonzero(self._rectified & (self.dead > DEAD)))

    def growing(self):
        """The layers whose weights make the gradient grow most."""
        gains = -np.diff([_log(size) for size in self.delta])
        return tuple(self.names[i + 1] for i in np.flatnonzero(gains > 0.5 * gains.max()))

    def fault(self, gains):
        """The cause of what is lost, and the names of the layers where most is lost.

        "activation" and "weight scale" are one cause, which `SAID` calls by one name.

        Between layer l+1 and layer l the gradient passes W_{l+1} and φ'(z_l), so the decades lost
        are the sum of those lost to the weights and to the slope. ``gains`` are those of the
        weights alone: what they do not explain happens between the two layers.
        """
        drops = np.diff(self.reach)
        slopes = np.array([-_log(s) if np.isfinite(s) else 0.0 for s in self.slopes[:-1]])
        if self.dead_layers:
            return "dead units", self.dead_layers[:1]
        at = np.flatnonzero(drops > 0.5 * drops.max())
        to_slopes = np.minimum(slopes, drops)[drops > 0].sum() / drops.sum()
        if to_slopes > 0.5 and not self._rectified[at].all():
            return "activation", tuple(self.names[i] for i in at)
        if len(drops) >= MANY and np.median(drops) < MILD:
            return "depth", self.names
        by_weights = [-_log(gains.get(self.names[i + 1], 0.0)) > drops[i] / 2 for i in at]
        return "weight scale", tuple(
            self.names[i + 1 if mine else i] for i, mine in zip(at, by_weights, strict=True)
        )


def _path(record, body, sample=0):
    """The `_Path` of a sample of a Monitor's, or None where no chain of layers was seen."""
    if record is None or not len(record.steps):
        return None
    delta = record.delta[sample]
    if body is not None:  # norms and not root mean squares: layers may differ in size
        delta = delta * np.sqrt([body.entries.get(name, np.nan) for name in record.layers])
    lags = body.lags if body else {}
    there = [
        i for i, name in enumerate(record.layers) if np.isfinite(delta[i]) and name not in lags
    ]
    if not there:
        return None
    reach = np.array([_log(size) for size in np.maximum.accumulate(delta[there])])
    after = [getattr(record, what)[sample, there] for what in ("slope", "saturated", "dead")]
    names, activations = ([of[i] for i in there] for of in (record.layers, record.activations))
    return _Path(tuple(names), delta[there], reach, *after, tuple(activations))


class Watch(Monitor):
    """A `Monitor` for your own training loop that tells, as training goes, what the path is like.

    ::

        with Watch(model, every=50) as watch:
            for batch in batches:
                ...  # forward, backward, step
                watch(loss)

    Every sample is looked at with the rules of `diagnose`, without its trials. A warning is given
    once, when in three samples running the path is saturated, or the first layer gets less than a
    hundredth of what the layer next to the loss gets (starved is a tenth), while the loss has not
    fallen by a twentieth in 100 steps or more. ``watch.diagnosis()`` gives the last word. Other
    keywords go to `Monitor`.
    """

    def __init__(self, net, **keywords):
        super().__init__(net, saturation=True, **keywords)
        self._losses, self._warned = [], False

    def __call__(self, loss):
        """Note the loss of a step; it may be a tensor or a number."""
        self._losses.append(float(loss.detach() if isinstance(loss, torch.Tensor) else loss))
        if self._warned or len(self._losses) % (3 * self._every):
            return
        diagnosis = self.diagnosis()
        if diagnosis.verdict == "gradient":
            self._warned = True
            warnings.warn(f"{diagnosis.reason} {', '.join(diagnosis.where[:3])}", stacklevel=2)

    def diagnosis(self) -> Diagnosis:
        """A `Diagnosis` of the last three samples and the losses so far."""
        record, losses = self.record(), np.array(self._losses)
        if len(record.steps) < 3 or len(losses) < trials.STEPS:
            words = f"Three samples are needed, and the losses of {trials.STEPS} steps."
            return Diagnosis("abstain", words)
        paths = [_path(record, None, sample) for sample in (-3, -2, -1)]
        tenth = max(1, len(losses) // 10)
        first, last = np.median(losses[:tenth]), np.median(losses[-tenth:])
        evidence = {"loss": [float(first), float(last)], "layers": list(record.layers)}
        if not math.isfinite(last):
            return Diagnosis("other", "The loss is not finite.", "learning rate", evidence=evidence)
        if last < 0.95 * first:
            return Diagnosis("healthy", "The loss falls.", evidence=evidence)
        if all(path and path.is_saturated() for path in paths):
            cause, names = "saturation", paths[-1].saturated_layers()
        elif all(path and path.starvation > UNCONFIRMED for path in paths):
            cause, names = paths[-1].fault({})
        else:
            return Diagnosis(
                "abstain", "The loss does not fall, and the path is open.", evidence=evidence
            )
        said = SAID.get(cause, cause)
        reason = f"The loss does not fall, and the gradient's path is at fault ({said})."
        return Diagnosis("gradient", reason, cause, names, evidence, ADVICE[cause])
