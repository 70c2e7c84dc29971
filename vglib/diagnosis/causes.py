"""From evidence to a verdict: a table of rules, in the order in which they are asked.

A rule is a function of the evidence that returns what it found, or None. Rules never train. Those
that are `sure` speak whether the model learns or not; the others are asked once it has been seen
that it does not. All limits stand in `Limits`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vglib.diagnosis.evidence import Evidence, Path, Run
from vglib.numerics import log10


@dataclass(frozen=True)
class Limits:
    """Every number that a verdict depends on.

    Shares are of the blind loss: what is gone of it. They were set on the development set of
    `benchmarks/diagnosis`; what they do at half and at twice their values is in its sensitivity
    table.
    """

    learnt: float = 0.9  # nothing can be much better: no trial is made
    half: float = 0.5  # a good part of all there is: healthy, whatever else would be faster
    some: float = 0.2  # healthy with less than that is not said, however little the trials learn
    enough: float = 2 / 3  # of what the best trial learns; also the rule that labels the benchmark
    noticed: float = 0.05  # a trial that gains less has not helped
    carried: float = 0.02  # on new batches; less is chance
    lost: float = 1.0  # decades of the gradient lost on its way: starved is a tenth
    unconfirmed: float = 2.0  # the same, where no trial helps
    forgotten: float = 2.0  # decades lost from the last time step to the first
    exploded: float = 2.0  # decades gained
    full: float = 0.5  # share of saturated units above which a layer is saturated
    dead: float = 0.9  # share of dead units above which a layer is dead (Lu et al. 2019)
    unmoved: float = 0.5  # share of weights that a step in half precision leaves as they were
    many: int = 20  # layers, and
    mild: float = 0.12  # decades lost at each, for which depth is to blame
    mends: float = 1 / 3  # of what all layers bring, below which the accused ones do not mend it
    odd: float = 1.0  # decades by which a layer's weights stand out


LIMITS = Limits()
# Cause: (verdict, what helps). Slope and weights are two descriptions of one network: c·φ with
# weights W/c is φ with W. Which of the two causes is found tells how the code is written, so that
# both are called by one name.
PAIR = "activation × weight scale"
SAID = {"activation": PAIR, "weight scale": PAIR}
_EITHER = (
    "weights at the scale that the activation needs (He for ReLU, orthogonal for tanh), "
    "or another activation with its own weights; either can make up for the other"
)
CAUSES = {
    "activation": ("gradient", _EITHER),
    "weight scale": ("gradient", _EITHER),
    "saturation": (
        "gradient",
        "smaller weights or inputs, or normalisation before the activation",
    ),
    "dead units": ("gradient", "biases of zero and He init, or leaky ReLU"),
    "depth": (
        "gradient",
        "skip connections, or normalisation with weights at the critical scale",
    ),
    "recurrent factor": (
        "gradient",
        "orthogonal recurrent weights, or an LSTM or GRU with open gates",
    ),
    "forget gate": ("gradient", "a forget bias that fits the lag (chrono init)"),
    "explosion": ("gradient", "smaller weights, gradient clipping, or normalisation"),
    "low precision": (
        "gradient",
        "weights and updates in float32; a loss scale if gradients underflow",
    ),
    "learning rate": ("other", "another learning rate"),
    "data": ("other", "a look at inputs and labels: does the one say anything about the other?"),
    "detached": (
        "other",
        "a graph without no_grad, detach or numpy between these modules and the loss",
    ),
    "optimizer epsilon": ("other", "an ε far below the root mean square of the gradients"),
    "weight decay": ("other", "a smaller weight decay"),
}
# Trap: (its cause, what to do).
TRAPS = {
    "not registered": (
        "detached",
        "nn.ModuleList, nn.ModuleDict or nn.ParameterList in place of the list or dict",
    ),
    "not in the optimizer": ("detached", "all parameters given to the optimizer"),
    "broadcast": ("data", "outputs and targets of the same shape, as with outputs.squeeze(-1)"),
    "squashed twice": ("saturation", "scores given to the loss as they are, without that layer"),
    "no logarithm": ("data", "log_softmax before nll_loss, or cross_entropy without either"),
    "softmax over one unit": ("saturation", "a sigmoid for one unit, or two units"),
    "equal units": ("weight scale", "weights drawn at random, as torch does by itself"),
    "no activation": ("activation", "an activation between layers: without, they are one layer"),
    "bounded outputs": ("data", "no activation after the last layer, or targets in its range"),
    "clipped outputs": ("data", "a sigmoid or softmax before a loss that takes probabilities"),
    "dropout of the outputs": ("data", "no dropout after the last layer"),
    "constant targets": ("data", "a look at the targets: they are all the same"),
    "one token": ("data", "whole numbers as indices, none of them rescaled"),
    "sorted batches": ("data", "examples in random order: DataLoader(…, shuffle=True)"),
    "wrong axis": ("data", "examples along the axis that the module expects, as with batch_first"),
    "detached in time": ("detached", "the state passed on without detach, .data or numpy"),
}


@dataclass(frozen=True)
class Finding:
    """What was found: see `report.Diagnosis`. ``changes``: kinds of trial that are its remedy."""

    verdict: str
    reason: str
    cause: str | None = None
    where: tuple | range = ()
    changes: tuple = ()
    trap: str | None = None
    advice: str | None = None
    hints: tuple = field(default=())


@dataclass(frozen=True)
class Rule:
    """A row of the table: the cause it finds, and the function that finds it."""

    cause: str
    find: Callable
    sure: bool


# Kinds of trial that are the remedy of a path, of a memory and of what grows: which of them helps
# depends on how a network is written.
PATH, MEMORY, GROWTH = ("path", "place"), ("memory", "path"), ("path", "memory", "clip")
RULES: list[Rule] = []
Found = dict | None  # fields of a `Finding`


def rule(cause: str, *, sure: bool = False) -> Callable:
    """Enter a function of (evidence, limits) into the table; its place is its rank."""

    def enter(function):
        RULES.append(Rule(cause, function, sure))
        return function

    return enter


def trap(
    name: str,
    *,
    sure: bool = False,
    changes: tuple = (),
    when: Callable = lambda e, limits: True,
) -> None:
    """Enter into the table that a trap is named where it showed, if ``when`` holds."""

    def find(e, limits):
        found = [one for one in e.traps if one.name == name] if when(e, limits) else []
        if not found:
            return None
        where = tuple(place for one in found for place in one.where)
        reason = found[0].saw[0].upper() + found[0].saw[1:] + "."
        return {"trap": name, "reason": reason, "where": where, "changes": changes}

    RULES.append(Rule(TRAPS[name][0], find, sure))


def judge(evidence: Evidence, limits: Limits = LIMITS) -> Finding:
    """The `Finding` of the first rule that speaks; healthy where none should."""
    for row in (row for row in RULES if row.sure):
        if found := row.find(evidence, limits):
            return _complete(row.cause, found, evidence)
    if reason := healthy(evidence, limits):
        return Finding("healthy", reason, hints=hints(evidence, limits))
    for row in (row for row in RULES if not row.sure):
        if found := row.find(evidence, limits):
            return _complete(row.cause, found, evidence)
    return Finding("abstain", _why_not(evidence, limits), hints=hints(evidence, limits))


def _complete(cause, found, evidence):
    cause = found.get("cause", cause)
    verdict, advice = CAUSES[cause]
    if trap := found.get("trap"):
        advice = TRAPS[trap][1]
    given = {"advice": advice, "hints": _notes(evidence)} | found
    return Finding(**{"verdict": verdict, "cause": cause} | given)


# Healthy -----------------------------------------------------------------------------------------


def healthy(e: Evidence, limits: Limits = LIMITS) -> str | None:
    """Why a model is healthy: it learns a good part of what there is to learn; else None."""
    own = e.own
    if not e.runs or not math.isfinite(own):
        return None
    # With nothing left to learn, gradients may end at zero.
    if is_stuck(e) and not (e.way and own > limits.learnt and was_alive(e)):
        return None
    if e.way is None or e.signed:
        own = max(own, e.learnt(e.as_it_is))  # nothing says that it goes on falling
        first, last = e.start["loss"], (e.long or e.as_it_is).loss
        fell = own > limits.half or own > max(limits.some, limits.enough * e.most)
        return f"Your loss falls, from {first:.3g} to {last:.3g}." if fell else None
    if own > limits.learnt:
        return "It learns nearly all there is to learn."
    if fails_on_new_batches(e, limits):
        return None
    if own > limits.half and not impeded(e, limits):
        return "It learns a good part of what there is to learn."
    trapped = any(trap.name in TRAPS for trap in e.traps)
    if own > limits.some and own > limits.enough * e.most and not trapped:
        return "It learns, and no change made it learn much more."
    return None


def is_stuck(e: Evidence) -> bool:
    """Whether all gradients are exactly zero, or none, at the last three looks."""
    last = [sizes[-3:] for sizes in e.gradients.values()]
    return bool(last) and all(not size > 0 for sizes in last for size in sizes)


def was_alive(e: Evidence) -> bool:
    """Whether any gradient was other than zero at the first look."""
    return any(sizes[0] > 0 for sizes in e.gradients.values())


def impeded(e: Evidence, limits: Limits) -> bool:
    """Whether a fault of the path shows, and much more is learnt, in less time, without it."""
    path = e.path()
    if not path or not helped(e, "path", limits):
        return False
    return path.lost > limits.lost or bool(_saturated(path, limits))


def fails_on_new_batches(e: Evidence, limits: Limits) -> bool:
    """Whether what the best trial learns of its own batches is no use for others."""
    if not e.fresh or e.own > limits.half:
        return False
    # Where it learns much less of its own batches than it did of all: that may be luck.
    return not carries_over(e, limits) and gone(e.blind, e.fresh["own"]) >= e.most / 4


def carries_over(e: Evidence, limits: Limits) -> bool:
    """Whether the best trial learns anything that holds for other batches."""
    return gone(e.fresh["blind"], e.fresh["loss"]) > limits.carried


def gone(blind: float, loss: float) -> float:
    """The share of a blind loss that is gone."""
    return (blind - loss) / max(abs(blind), 1e-300)


def hints(e: Evidence, limits: Limits) -> tuple:
    """What would be faster, and what else was seen, without an accusation."""
    said = list(_notes(e))
    faster = e.best("learning rate")
    if faster and e.learnt(faster) > e.learnt(e.as_it_is) + limits.noticed:
        said.append(
            f"{faster.words.capitalize()} is faster: {_percent(e.learnt(faster))} learnt in "
            f"{faster.steps} steps, as it is {_percent(e.learnt(e.as_it_is))}."
        )
    return tuple(said)


def _notes(e):
    said = list(e.notes)
    if e.varies and e.varies[-1] < 1e-3:
        said.append("The outputs are nearly the same for all examples.")
    if e.unused:
        said.append(f"Unused: {', '.join(e.unused[:4])}.")
    said += [f"Batch {i}: {why}." for i, why in list(e.bad_batches.items())[:3]]
    return tuple(said)


def _percent(share):
    return f"{max(share, 0):.0%}"


def _why_not(e, limits):
    if e.most < limits.some:
        return "It learns little, whatever was tried, and nothing that was measured says why."
    return "It learns less than it could, and nothing that was measured says why."


# What trials tell --------------------------------------------------------------------------------


def helped(e: Evidence, kind: str, limits: Limits) -> bool:
    """Whether changes of a kind make it learn nearly as much as any, and more than as it is."""
    gain = e.learnt(e.best(kind)) if e.best(kind) else -math.inf
    much = gain >= limits.some and gain > limits.enough * e.most
    return much and e.own <= limits.enough * gain


def helpers(e: Evidence, limits: Limits) -> set:
    """Kinds of changes that helped, but those that are a part of another or treat a symptom."""
    return {run.change for run in e.runs[1:] if helped(e, run.change, limits)} - {"place", "clip"}


def mended(e: Evidence, found: Finding, limits: Limits = LIMITS) -> Run | None:
    """The run with the remedy of a finding, if it learns more than as it is; or None.

    Of several kinds of changes the first, unless another one learns much more.
    """
    best = [e.best(kind) for kind in found.changes]
    most = max(map(e.learnt, best), default=-math.inf)
    if most < limits.noticed or e.own > limits.enough * most:
        return None
    return next(run for run in best if e.learnt(run) >= limits.enough * most)


def path_may_be(e: Evidence, limits: Limits) -> bool:
    """Whether no other trial speaks against a fault of the path, or one that is large is eased."""
    kinds, path, eased = helpers(e, limits), e.path(), e.learnt(e.best("path"))
    large = path is not None and path.lost > limits.unconfirmed
    eased = eased >= limits.noticed and e.own <= limits.enough * eased
    return "path" in kinds or not kinds or (large and eased)


# Sure: however much it learns --------------------------------------------------------------------


@rule("detached", sure=True)
def nothing_to_train(e: Evidence, limits: Limits) -> Found:
    if not e.trainable:
        return {"reason": "No parameter of the model is trainable."}
    if not e.differentiable:
        return {
            "reason": "The loss has no gradient: is no_grad on, or was it made anew of a number?"
        }
    return None


trap("not registered", sure=True)


@rule("detached", sure=True)
def detached(e: Evidence, limits: Limits) -> Found:
    """Modules that decide the loss and whose parameters get no gradient at all."""
    if e.silent and e.own <= limits.learnt:
        return {"reason": "Modules ran whose parameters get no gradient.", "where": e.silent}
    return None


trap("broadcast", sure=True, changes=("trap",))
trap("wrong axis", sure=True, when=lambda e, limits: e.own <= limits.learnt)
# To cut a sequence into pieces is no fault where it soon learns.
trap(
    "detached in time",
    sure=True,
    when=lambda e, limits: not e.learnt(e.as_it_is) > limits.half,
)


trap("constant targets", sure=True)
trap("clipped outputs", sure=True, when=lambda e, limits: e.own <= limits.learnt)
trap("dropout of the outputs", sure=True, when=lambda e, limits: e.own <= limits.learnt)


def opens_up(e: Evidence, limits: Limits) -> bool:
    """Whether it learns without its last activation, or nothing says how much there is to learn."""
    gain = e.learnt(e.best("range"))
    return (gain >= limits.some and e.own <= limits.enough * gain) or e.way is None or e.signed


trap("bounded outputs", sure=True, changes=("range",), when=opens_up)


@rule("data", sure=True)
def all_alike(e: Evidence, limits: Limits) -> Found:
    if e.constant and e.own <= limits.learnt:
        return {"reason": "All inputs of a batch are the same to the model."}
    return None


# Not finite, and worse than nothing --------------------------------------------------------------


def diverges(e: Evidence, limits: Limits) -> bool:
    """Whether training ends far above where it began, or in what is not finite."""
    low = -math.inf if e.signed else -limits.half
    return bool(e.runs) and not e.own > low


def slower_helps(e: Evidence, limits: Limits) -> bool:
    best = e.best("learning rate")
    return bool(best) and best.factor < 1 and helped(e, "learning rate", limits)


@rule("low precision")
def finite_in_single_precision(e: Evidence, limits: Limits) -> Found:
    """Of the untrained model, for the first batch or another."""
    precise, b = e.best("low precision"), e.broken
    if not b or not precise or not math.isfinite(precise.losses[0]):
        return None
    finite = all(map(math.isfinite, precise.losses))
    if b["step"] == 0 or (finite and b["batch"] in e.bad_batches):
        reason = f"At step {b['step']} the loss is finite in single precision only."
        return {"reason": reason, "changes": ("low precision",)}
    return None


@rule("data")
def bad_batches(e: Evidence, limits: Limits) -> Found:
    """A batch that is at fault by itself: in the untrained model, too, unlike most others."""
    if not e.broken or e.broken["batch"] not in e.bad_batches:
        return None
    number = e.broken["batch"]
    why = e.bad_batches[number]
    if why.startswith("batch") or len(e.bad_batches) <= e.broken["batches"] / 2:
        return {"reason": f"Batch {number} is at fault, at step {e.broken['step']}: {why}."}
    return None


@rule("data")
def not_for_new_batches(e: Evidence, limits: Limits) -> Found:
    if e.most >= limits.noticed and fails_on_new_batches(e, limits):
        return {"reason": "What is learnt does not carry over to new batches."}
    return None


@rule("data")
def far_from_unit_size(e: Evidence, limits: Limits) -> Found:
    if helped(e, "data", limits):
        return {"reason": _far(e), "changes": ("data",)}
    return None


@rule("explosion")
def gradient_not_finite(e: Evidence, limits: Limits) -> Found:
    """A finite loss whose gradient is not, as of √0 or of 0 · log 0."""
    b = e.broken
    if not b or not math.isfinite(b["loss"]) or b["forward"] or not diverges(e, limits):
        return None
    place = b["backward"] or (b["modules"] or [None])[-1]
    begins = f", beginning at {place}" if place else ""
    top = place == e.layers[-1] if e.layers else False
    above = "; what makes it so is above that layer, in the loss or just before it" if top else ""
    return {
        "reason": f"At step {b['step']} the loss is finite and its gradient is not{begins}{above}.",
        "where": (place,) if place else (),
        "changes": GROWTH,
        "advice": "a small number added under the root, in the logarithm or to the divisor",
    }


@rule("explosion")
def grows_on_its_way(e: Evidence, limits: Limits) -> Found:
    """Divergence, with a gradient that grows from layer to layer or from step to step."""
    if not diverges(e, limits):
        return None
    path, b = e.path(), e.broken
    when = f"Not finite at step {b['step']}" if b else "Training makes it worse"
    if max(e.by_lag.values(), default=0.0) > limits.exploded:
        grown = max(e.by_lag.values())
        reason = f"{when}; over the time steps the gradient grows by {grown:.0f} decades."
        return {"reason": reason, "where": lags(e, limits, 1), "changes": GROWTH}
    if path and path.surge > limits.exploded and not slower_alone(e, limits):
        reason = f"{when}; on its way the gradient grows by {path.surge:.1f} decades."
        return {"reason": reason, "where": growing(path), "changes": GROWTH}
    if b and b["step"] == 0 and not math.isfinite(b["loss"]):
        at = f", first at {b['forward']}" if b["forward"] else ""
        where = (b["forward"],) if b["forward"] else ()
        return {"reason": f"The first loss is not finite{at}.", "where": where, "changes": GROWTH}
    return None


def slower_alone(e: Evidence, limits: Limits) -> bool:
    """Whether a smaller rate mends it and rescaled weights do not."""
    return slower_helps(e, limits) and "path" not in helpers(e, limits)


def growing(path: Path) -> tuple:
    """The layers whose weights make the gradient grow most."""
    gains = -np.diff([log10(size) for size in path.delta])
    return tuple(path.names[i + 1] for i in np.flatnonzero(gains > 0.5 * gains.max(initial=0.0)))


@rule("low precision")
def low_precision(e: Evidence, limits: Limits) -> Found:
    if helped(e, "low precision", limits):
        return {
            "reason": "In single precision the same model learns.",
            "changes": ("low precision",),
        }
    if e.halves and e.as_it_is.unmoved > limits.unmoved:
        share = f"{e.as_it_is.unmoved:.0%} of the weights do not move"
        return {"reason": f"In half precision {share}.", "changes": ("low precision",)}
    return None


# A gradient that is exactly zero -----------------------------------------------------------------


@rule("learning rate")
def killed_by_its_steps(e: Evidence, limits: Limits) -> Found:
    """All gradients became zero in training, and smaller steps prevent it."""
    if is_stuck(e) and was_alive(e) and slower_helps(e, limits):
        step = next(
            step
            for i, step in enumerate(e.looks)
            if all(not s[i] > 0 for s in e.gradients.values())
        )
        reason = f"From step {step} on all gradients are exactly zero; smaller steps prevent that."
        return _rate(e, limits, reason)
    return None


trap("softmax over one unit", when=lambda e, limits: is_stuck(e))


@rule("dead units")
def blocked(e: Evidence, limits: Limits) -> Found:
    """Nothing of the gradient passes a place: dead units, a flat or constant function, a zero."""
    place = _blocked(e)
    if place is None:
        return None
    path, i = place
    name, top = path.names[i], i == len(path.names) - 1
    what = "all layers" if top else f"{name} and what is below it"
    zero = f"The gradient is exactly zero at {what}"
    if path.rectified[i] and path.dead[i] > limits.dead:
        return {
            "reason": f"{zero}: the units after {name} are off.",
            "where": (name,),
            "changes": (*PATH, "range"),
        }
    if path.squashes[i] and path.saturated[i] > limits.full:
        reason = f"{zero}: the activation after it is saturated."
        return {
            "cause": "saturation",
            "reason": reason,
            "where": (name,),
            "changes": (*PATH, "range"),
        }
    if top:
        if e.flat_loss:
            reason = f"{zero}: an activation in the loss itself is saturated."
            return {"cause": "saturation", "reason": reason, "changes": PATH}
        reason = f"{zero}: the loss does not change with the outputs."
        return {
            "cause": "saturation",
            "reason": reason,
            "where": (name,),
            "changes": (*PATH, "range"),
        }
    above = path.names[i + 1]
    if e.gains.get(above) == 0:
        reason = f"{zero}: the weights of {above} are zero."
        return {"cause": "weight scale", "reason": reason, "where": (above,), "changes": PATH}
    reason = f"{zero}: what comes between it and {above} has no slope."
    advice = "a function with a slope, or an estimate of one (straight-through)"
    return {"cause": "activation", "reason": reason, "where": (name,), "advice": advice}


def _blocked(e):
    """The path, and the place of the highest layer whose δ is and stays exactly zero; or None."""
    first, last = e.path(0), e.path(-1)
    if not first or not last or first.names != last.names:
        return None
    zero = (last.delta == 0) & ((first.delta == 0) | is_stuck(e))
    # A branch may be switched off while the rest learns: what counts is that the bottom is zero.
    if not zero.any() or not (zero[0] or is_stuck(e)):
        return None
    return last, int(np.flatnonzero(zero).max())


@rule("weight scale")
def both_factors_zero(e: Evidence, limits: Limits) -> Found:
    """δ arrives, and yet no parameter gets a gradient: what multiplies it is zero."""
    path = e.path()
    if not (is_stuck(e) and path and path.delta.any()):
        return None
    names = tuple(name for name, sizes in e.gradients.items() if sizes[0] == 0)
    reason = "The gradient arrives, but is multiplied by zero: all factors of a product are zero."
    advice = "one of the factors drawn at random, the other zero"
    return {"reason": reason, "where": names, "advice": advice} if names else None


# Traps, where it does not learn ------------------------------------------------------------------


trap("not in the optimizer")
trap("squashed twice", changes=("trap",))
trap("no logarithm", changes=("trap",))
trap("equal units", changes=PATH)


@rule("data")
def sorted_batches(e: Evidence, limits: Limits) -> Found:
    if helped(e, "order", limits):
        reason = "Each batch is of one class, or nearly; with the examples mixed it learns."
        return {"trap": "sorted batches", "reason": reason, "changes": ("order",)}
    return None


@rule("activation")
def no_activation(e: Evidence, limits: Limits) -> Found:
    if helped(e, "activation", limits):
        reason = "No activation runs between the layers, and with one it learns."
        where = e.layers[:-1]
        return {
            "trap": "no activation",
            "reason": reason,
            "where": where,
            "changes": ("activation",),
        }
    return None


@rule("data")
def bounded_outputs(e: Evidence, limits: Limits) -> Found:
    if helped(e, "range", limits):
        name = e.activations[e.layers[-1]]
        reason = f"Outputs end at the bounds of {name}; without it the model learns."
        where = e.layers[-1:]
        return {"trap": "bounded outputs", "reason": reason, "where": where, "changes": ("range",)}
    return None


trap("bounded outputs", changes=("range",))
trap("one token")


# What a trial mended -----------------------------------------------------------------------------


@rule("weight decay")
def weight_decay(e: Evidence, limits: Limits) -> Found:
    if helped(e, "weight decay", limits):
        return {"reason": "Weights decay faster than they learn.", "changes": ("weight decay",)}
    return None


@rule("optimizer epsilon")
def epsilon(e: Evidence, limits: Limits) -> Found:
    # A vanished gradient falls below ε as well: then ε is no more than a symptom.
    path = e.path()
    vanished = helped(e, "path", limits) and path and path.lost > limits.lost
    if helped(e, "optimizer epsilon", limits) and not vanished:
        reason = "The optimizer's ε is larger than its gradients."
        return {"reason": reason, "changes": ("optimizer epsilon",)}
    return None


def _far(e):
    far = [
        f"{'inputs' if part['input'] else 'targets'} batch{name} (RMS {part['rms']:.2g})"
        for name, part in e.parts.items()
        if part["float"] and part["far"]
    ]
    return f"Far from unit size: {', '.join(far)}." if far else "Inputs are far from unit size."


# The path ----------------------------------------------------------------------------------------


@rule("saturation")
def saturated(e: Evidence, limits: Limits) -> Found:
    path = e.path()
    names = _saturated(path, limits) if path and path_may_be(e, limits) else ()
    reason = "Most activations are saturated, where their slope is close to zero."
    return {"reason": reason, "where": names, "changes": PATH} if names else None


def _saturated(path, limits):
    """The saturated layers, if they are most, or where most of the gradient is lost."""
    full = path.squashes & (path.saturated > limits.full)
    worst = full[:-1] & (path.drops > limits.lost)
    if full.sum() > path.squashes.sum() / 2 or (path.lost > limits.lost and worst.any()):
        return tuple(name for name, is_full in zip(path.names, full, strict=True) if is_full)
    return ()


@rule("saturation")
def peaked(e: Evidence, limits: Limits) -> Found:
    if e.peaked and path_may_be(e, limits):
        return {"reason": "A softmax is saturated.", "where": e.peaked, "changes": PATH}
    return None


@rule("explosion")
def grows(e: Evidence, limits: Limits) -> Found:
    path = e.path()
    if max(e.by_lag.values(), default=0.0) > limits.exploded:
        grown = max(e.by_lag.values())
        reason = f"Over the time steps the gradient grows by {grown:.0f} decades."
        return {"reason": reason, "where": lags(e, limits, 1), "changes": GROWTH}
    if path and path.growth > limits.exploded:
        reason = f"On its way the gradient grows by {path.growth:.0f} decades."
        return {"reason": reason, "where": growing(path), "changes": GROWTH}
    return None


@rule("learning rate")
def makes_it_worse(e: Evidence, limits: Limits) -> Found:
    if helpers(e, limits) or not diverges(e, limits):
        return None
    slower = e.best("learning rate")
    if e.learnt(slower) > -limits.noticed or len(e.runs) == 1:
        worse = f"Not finite at step {e.broken['step']}" if e.broken else "Training makes it worse"
        return _rate(e, limits, f"{worse}, and the gradient does not grow on its way.")
    return None


@rule("weight scale")
def vanishes(e: Evidence, limits: Limits) -> Found:
    """What is lost on the way, to slopes, weights or mere depth."""
    path, kinds = e.path(), helpers(e, limits)
    deep = path is not None and len(path.names) >= limits.many and e.own < limits.noticed
    needed = limits.lost if kinds or deep else limits.unconfirmed
    if not path or not path_may_be(e, limits) or path.lost <= needed:
        return None
    cause, names = fault(path, e.gains, limits)
    to = " to the activation and the weights together" if cause in SAID else ""
    lost = f"On its way to the first layer the gradient loses {path.lost:.1f} decades{to}."
    if path.delta[0] == 0:
        lost = "Nothing of the gradient arrives at the first layer."
    whole, part = e.best("path"), e.best("place")
    if whole and part and e.learnt(part) < limits.mends * e.learnt(whole):
        # What was tried: these layers alone do not mend it.
        names = tuple(dict.fromkeys((*names, *path.names)))
    return {"cause": cause, "reason": lost, "where": names, "changes": PATH}


def fault(path: Path, gains: dict, limits: Limits) -> tuple[str, tuple]:
    """The cause of what is lost, and the names of the layers where most is lost.

    Between layer l+1 and layer l the gradient passes W_{l+1} and φ'(z_l), so the decades lost are
    the sum of those lost to the weights and to the slope. ``gains`` are those of the weights
    alone: what they do not explain happens between the two layers.
    """
    drops = path.drops
    slopes = np.array([-log10(s) if np.isfinite(s) else 0.0 for s in path.slopes[:-1]])
    dead = np.flatnonzero(path.rectified & (path.dead > limits.dead))
    if len(dead):
        return "dead units", (path.names[dead[0]],)
    at = np.flatnonzero(drops > 0.5 * drops.max())
    if drops[at].sum() < 0.5 * drops[drops > 0].sum():  # a decay at all layers is no layer's own
        at = np.flatnonzero(drops > 0)
    to_slopes = np.minimum(slopes, drops)[drops > 0].sum() / drops[drops > 0].sum()
    if to_slopes > 0.5 and not path.rectified[at].all():
        return "activation", tuple(path.names[i] for i in at)
    if len(drops) >= limits.many and np.median(drops) < limits.mild:
        return "depth", path.names
    by_weights = [-log10(gains.get(path.names[i + 1], 0.0)) > drops[i] / 2 for i in at]
    places = (i + 1 if mine else i for i, mine in zip(at, by_weights, strict=True))
    return "weight scale", tuple(dict.fromkeys(path.names[i] for i in places))


@rule("forget gate")
def forgets(e: Evidence, limits: Limits) -> Found:
    """What is lost over time."""
    kinds = helpers(e, limits)
    # Rescaling reaches the layers of a cell that is written out.
    enough = limits.forgotten if kinds else 2 * limits.forgotten
    if not kinds <= {"memory", "path"} or not min(e.by_lag.values(), default=0.0) < -enough:
        return None
    return _memory(e, limits)


def _memory(e, limits):
    name = min(e.by_lag, key=e.by_lag.get)
    cause = "activation" if name in e.squashed else "recurrent factor"
    cause = "forget gate" if name in e.gated else cause
    lost = -e.by_lag[name]
    reason = f"Over the time steps the gradient loses {lost:.0f} decades."
    return {"cause": cause, "reason": reason, "where": lags(e, limits, -1), "changes": MEMORY}


def lags(e: Evidence, limits: Limits, sign: int) -> range:
    """The lags beyond which the gradient has changed by more than two decades."""
    name = max(e.by_lag, key=lambda name: sign * e.by_lag[name])
    sizes = e.lags[name]
    far = [lag for lag, size in enumerate(sizes) if sign * log10(size) > limits.forgotten]
    return range(far[0], len(sizes)) if far else range(0)


@rule("saturation")
def flat_loss(e: Evidence, limits: Limits) -> Found:
    if e.flat_loss and e.way is None:
        return {"reason": "An activation in the loss itself is saturated."}
    return None


# The rest ----------------------------------------------------------------------------------------


@rule("learning rate")
def rate(e: Evidence, limits: Limits) -> Found:
    if helped(e, "learning rate", limits):
        return _rate(e, limits, "The gradient gets through; the steps are of the wrong size.")
    return None


def _rate(e, limits, reason):
    best, rates = e.best("learning rate"), e.optimizer.get("rates", [])
    more = {"reason": reason, "changes": ("learning rate",)}
    if best and rates and rates[0] > 0:
        more["advice"] = (
            f"a learning rate near {rates[0] * best.factor:.1g} in place of {rates[0]:g}"
        )
    return more


@rule("weight scale")
def rescaled(e: Evidence, limits: Limits) -> Found:
    """Weights that stand out where the path as a whole is open, or many layers."""
    if not helped(e, "path", limits):
        return None
    sizes = {name: log10(gain) for name, gain in e.gains.items() if gain > 0}
    middle = np.median(list(sizes.values())) if sizes else 0.0
    huge = tuple(name for name, size in sizes.items() if size > middle + limits.odd)
    tiny = tuple(name for name, size in sizes.items() if size < middle - limits.odd)
    if huge:
        reason = "Some weights are far too large."
        return {"cause": "explosion", "reason": reason, "where": huge, "changes": PATH}
    path = e.path()
    many = path and len(path.names) > limits.many and not tiny
    reason = "The gradient gets through; with weights of another size it learns."
    cause = "depth" if many else "weight scale"
    return {"cause": cause, "reason": reason, "where": tiny + e.odd, "changes": PATH}


@rule("forget gate")
def memory(e: Evidence, limits: Limits) -> Found:
    return _memory(e, limits) if helped(e, "memory", limits) and e.by_lag else None


@rule("data")
def by_heart(e: Evidence, limits: Limits) -> Found:
    known = e.by_heart and e.by_heart["learnt"] > limits.half
    if known and e.fresh and not carries_over(e, limits):
        return {"reason": "One batch can be learnt by heart, and that helps with no other."}
    return None


@rule("data")
def unscaled(e: Evidence, limits: Limits) -> Found:
    far = any(part["float"] and part["far"] for part in e.parts.values())
    return {"reason": _far(e)} if far or e.unscaled else None
