"""Short training runs of copies of a reader's model, and the evidence that they give."""

import copy
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from vglib.diagnosis import usage
from vglib.diagnosis.changes import BOLD, Change, another_rate, changes
from vglib.diagnosis.evidence import LONGER, OUTPUTS, STEPS, Evidence, Run, Trap, ways
from vglib.diagnosis.look import UNIT, is_part, look, parts_of
from vglib.layers import layers
from vglib.numerics import norm, norms, rms
from vglib.trace import ROWS, Trace, as_found, aside, eager

JUDGED = 8  # batches over which the loss is averaged at the end
LOOKS = (0, 1, 2, 5, 10, 20, 33, 50, 66, 80, 99)  # steps at which all gradients are kept
TRACED = (33, 66, 99)  # steps at which the path is looked at again
NONE = 1e-4  # of the loss: what dealing out must change for parts to be paired
PARTS = 4  # of a batch that are dealt out, at most
# What is learnt, as a share of the loss without knowledge, that decides which runs are made.
LEARNT, NOTICED, HALF, ENOUGH, LOST, FORGOTTEN = 0.9, 0.05, 0.5, 2 / 3, 1.0, 2.0


@contextmanager
def set_aside(seed: int) -> Iterator[None]:
    """Random numbers start from ``seed`` here; outside, all random states are as before."""
    # A reader's loss may draw from numpy's global generator, so that one counts as well.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(), eager():
            start_again(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def start_again(seed: int) -> None:
    """Seed all generators that a reader's code may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


@contextmanager
def flushed() -> Iterator[None]:
    """Numbers below the smallest normal one are zero inside: they cost ten times the time."""
    tiny = torch.tensor(1e-40)
    before = float(tiny * 0.5) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class Lab:
    """A model to be copied, and what trains it."""

    def __init__(self, model, loss_fn, batches, optimizer, seed, deadline=math.inf):
        self.batches = usage.taken(batches, STEPS)
        self.model = usage.own_copy(model, loss_fn, self.batches[0])
        self.loss_fn = usage.explained(loss_fn, self.batches)
        self.optimizer, self.seed, self.deadline = optimizer, seed, deadline
        self.trainable = any(p.requires_grad for p in self.model.parameters())
        steps = usage.Steps(optimizer, self.model) if self.trainable else None
        self.groups, self.held = (steps.groups, steps.held) if steps else ([], set())
        self.layers, self.ways = (), ()  # in the order in which they ran; to be dealt out

    def missing(self) -> list[str]:
        """Modules whose trainable parameters no optimizer holds."""
        return [
            name
            for name, module in self.model.named_modules()
            if any(p.requires_grad and id(p) not in self.held for p in module.parameters(False))
        ]

    def run(
        self,
        change: Change | None = None,
        *,
        steps: int = STEPS,
        batches: list | None = None,
        judged: list | None = None,
        watch: "Look | None" = None,
    ) -> Run:
        """Train a copy for ``steps`` steps, over the lab's batches or others, and judge it."""
        change, batches = change or Change("", "as it is"), batches or self.batches
        if change.batches:
            batches = change.batches(batches)
        model = copy.deepcopy(self.model)
        start_again(self.seed)
        if change.model:
            change.model(self, model)
        trainer = usage.Steps(self.optimizer, model, len(batches))
        for group in trainer.groups:
            if change.group:
                change.group(group)
            if not trainer.is_scheduled:
                group["lr"] = group["lr"] * change.factor
        scale = change.factor if trainer.is_scheduled else 1.0
        judged = judged or batches
        start = self._judge(model, judged, change) if change.own else None
        start_again(self.seed)
        losses, moved, broken = [], (0.0, 0.0), 0
        with flushed():
            for step in range(steps):
                trainer.zero_grad()
                loss = self._loss(model, batches, step, change, watch)
                losses.append(float(loss.detach()))
                if watch:
                    watch.after(model, step, losses[-1], batches, self)
                if change.gradients:
                    change.gradients(model)
                # One batch may be at fault, but a model that is broken stays so.
                broken = 0 if math.isfinite(losses[-1]) else broken + 1
                if broken == 3:
                    break
                keep = step == 0 or scale != 1.0
                before = [p.detach().clone() for p in model.parameters()] if keep else None
                trainer.step(loss)
                if scale != 1.0:
                    _scale_step(model, before, scale)
                if step == 0:
                    moved = _moved(model, before)
            end, dealt = self._judge(model, judged, change)
        ended = math.isfinite(end) and (not losses or math.isfinite(losses[-1]) or not broken)
        return Run(
            change=change.kind,
            words=change.words,
            steps=len(losses),
            losses=tuple(losses),
            loss=end if ended else math.inf,
            dealt=dealt,
            update=moved[0],
            unmoved=moved[1],
            factor=change.factor,
            start=None if start is None else {"loss": start[0], "dealt": start[1]},
        )

    def _loss(self, model, batches, step, change, watch):
        """The loss of a step, after its backward pass."""
        with change.around(), watch.around(model, step) if watch else nullcontext():
            loss = self.loss_fn(model, batches[step % len(batches)])
        loss.backward()
        return loss

    def _judge(self, model, batches, change=None):
        """Mean loss over some batches, as they are and with each part dealt out to others."""
        around = change.around if change else nullcontext
        chosen, dealt = batches[:: max(1, len(batches) // JUDGED)][:JUDGED], {}
        loss = self._mean(model, chosen, around)
        for way in self.ways:
            if way in OUTPUTS:
                with self._at(model, {way: _dealt}):
                    dealt[way] = self._mean(model, chosen, around)
                continue
            with suppress(usage.Unusable):  # parts that fit no other example
                dealt[way] = self._mean(model, [*deal(chosen, way)], around)
        return loss, dealt

    def _mean(self, model, batches, around=nullcontext):
        start_again(self.seed)
        with around():  # with gradients, as reentrant checkpoints complain without
            values = [self.loss_fn(model, batch).item() for batch in batches]
        finite = [value for value in values if math.isfinite(value)]
        # One bad batch among many is told elsewhere.
        return float(np.mean(finite)) if len(finite) > len(values) / 2 else math.inf

    def _places(self, model):
        """Where outputs can be dealt out: what the model gives, and what its last layer does."""
        last = {"last layer": layers(model)[self.layers[-1]]} if self.layers else {}
        return {"outputs": model} | last

    @contextmanager
    def _at(self, model, changes):
        """Put each of ``changes`` to the output of its place."""
        places = self._places(model)

        def hook(change, module, arguments, output):
            return tree_map(change, output)

        handles = [
            places[place].register_forward_hook(partial(hook, change))
            for place, change in changes.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def paired(self) -> tuple:
        """The parts of a batch, or places of outputs, whose dealing out changes the loss.

        Asked of a model whose outputs are shaken, as one that has learnt nothing may answer all
        examples alike.
        """
        model, found = copy.deepcopy(self.model), []
        some, places = self.batches[:: max(1, len(self.batches) // 2)][:2], self._places(model)
        # Outputs of the size of what they may be compared with: others would hardly tell.
        sizes = [rms(t) for t in parts_of(some[0]).values() if t.is_floating_point()]

        def differs(changes, changed, batches):
            with self._at(model, changes):
                straight = self._mean(model, some)
            with self._at(model, changed):
                # Also where it is not finite.
                return not abs(self._mean(model, batches) - straight) <= NONE * abs(straight)

        for size in dict.fromkeys([None, 1.0, *sizes]):
            shaken = partial(_shaken, size)
            every = dict.fromkeys(places, shaken)
            for part in list(parts_of(some[0]))[:PARTS]:
                with suppress(usage.Unusable):  # parts that fit no other example
                    if differs(every, every, [*deal(some, part)]):
                        found.append(part)
            for place in places:
                with suppress(usage.Unusable):  # losses that take no such outputs
                    dealt = {place: lambda leaf, shaken=shaken: _dealt(shaken(leaf))}
                    if differs({place: shaken}, dealt, some):
                        found.append(place)
        return tuple(dict.fromkeys(found))

    def matters(self, names: list) -> tuple:
        """Those of the modules ``names`` whose output decides the loss."""
        model, found = copy.deepcopy(self.model), []
        some, shaken = self.batches[:1], partial(_shaken, None)
        straight = self._mean(model, some) if names else 0.0
        for name in names:
            module = model.get_submodule(name)
            with module.register_forward_hook(lambda m, given, output: tree_map(shaken, output)):
                if self._mean(model, some) != straight:
                    found.append(name)
        return tuple(found)

    def parts(self, inputs: set) -> dict:
        """What the parts of the batches are like: see `Evidence`."""
        found, first = {}, parts_of(self.batches[0])
        inputs = inputs & first.keys() or set(list(first)[:1])  # what was copied is not known again
        for part, leaf in first.items():
            several = [parts_of(batch).get(part, leaf) for batch in self.batches[:JUDGED]]
            several = [t.detach().double() for t in several if not t.is_complex()]
            sizes = [rms(t) for t in several if t.numel()]
            spreads = [float(t.std()) for t in several if t.numel() > 1]
            size, spread = float(np.mean(sizes or [0])), float(np.mean(spreads or [0]))
            found[part] = {
                "input": part in inputs,
                "float": leaf.is_floating_point() and leaf.ndim > 0,
                "constant": len({float(end) for t in several if t.numel() for end in t.aminmax()})
                == 1,
                "rms": size,
                "spread": spread,
                "far": size > 0 and not (size < UNIT[1] and UNIT[0] < max(size, spread)),
            }
        return found

    def bad_batches(self) -> dict:
        """Batches of which the untrained model's loss is not finite, or that hold such numbers."""
        found, model = {}, copy.deepcopy(self.model)
        for i, batch in enumerate(self.batches):
            for part, leaf in parts_of(batch).items():
                if leaf.is_floating_point() and not bool(leaf.isfinite().all()):
                    found[str(i)] = f"batch{part} has numbers that are not finite"
            start_again(self.seed)
            if str(i) not in found and not math.isfinite(
                float(self.loss_fn(model, batch).detach())
            ):
                found[str(i)] = "its loss is not finite"
        return found


def deal(batches: list, part: str) -> Iterator:
    """Batches of which one part belongs to other examples: those of the next batch, or mixed."""
    place = list(parts_of(batches[0])).index(part)
    for i in range(len(batches)):
        leaves, shape = tree_flatten(batches[i])
        tensors = [k for k, leaf in enumerate(leaves) if is_part(leaf)]
        own = leaves[tensors[place]]
        others = list(parts_of(batches[(i + 1) % len(batches)]).values())
        other = others[place] if place < len(others) else own
        if other.shape != own.shape or bool((other == own).all()):
            other = _dealt(own)
        leaves[tensors[place]] = other
        yield tree_unflatten(leaves, shape)


def without(batches: list, others: list) -> list:
    """Batches without the examples that ``others`` have as well, as those of another epoch."""
    seen = {row for batch in others for row in _rows(batch)}
    kept = []
    for batch in batches:
        rows = _rows(batch)
        new = [i for i, row in enumerate(rows) if row not in seen]
        if len(new) == len(rows):
            kept.append(batch)
        elif len(new) > 1:
            kept.append(tree_map(partial(_chosen, new, len(rows)), batch))
    return kept


def _rows(batch):
    """Something to tell each example of a batch by; empty where parts have unlike lengths."""
    parts = [t.detach().cpu() for t in parts_of(batch).values() if t.ndim]
    if not parts or len({len(t) for t in parts}) > 1:
        return []
    flat = [t.double().flatten(1) if t.ndim > 1 else t[:, None] for t in parts]
    return list(zip(*([row.numpy().tobytes() for row in t] for t in flat), strict=True))


def _chosen(rows, count, leaf):
    there = isinstance(leaf, torch.Tensor) and leaf.ndim and len(leaf) == count
    return leaf[torch.tensor(rows, device=leaf.device)] if there else leaf


def _dealt(leaf):
    there = isinstance(leaf, torch.Tensor) and leaf.ndim and len(leaf) > 1
    return leaf.roll(1, dims=0) if there else leaf


def _shaken(size, leaf):
    """Numbers of their own size, or of a given one, each by another factor."""
    if not isinstance(leaf, torch.Tensor) or not leaf.is_floating_point() or not leaf.ndim:
        return leaf
    generator = torch.Generator().manual_seed(0)  # of its own, so that dropout stays the same
    one, two = (torch.rand(leaf.shape, generator=generator).to(leaf) for _ in range(2))
    scale = 1.0 if size is None else size / max(rms(leaf), 1e-30)
    # Between 0 and 1 if the outputs are: they may be probabilities.
    return scale * leaf * (0.5 + 0.4 * one) + 0.1 * two


@torch.no_grad()
def _scale_step(model, before, scale):
    for p, old in zip(model.parameters(), before, strict=True):
        p.copy_(old + scale * (p - old))


@torch.no_grad()
def _moved(model, before):
    """How far all matrices moved, relative to their size, and the share of entries that stayed."""
    pairs = [(p, old) for p, old in zip(model.parameters(), before, strict=True) if p.ndim > 1]
    pairs = [(p.detach(), old) for p, old in pairs if p.grad is not None]
    size = math.hypot(*(norm(old) for _, old in pairs))
    moved = math.hypot(*(norm(p - old) for p, old in pairs))
    stayed = sum(int((p == old).sum()) for p, old in pairs)
    return moved / size if size > 0 else 0.0, stayed / max(sum(p.numel() for p, _ in pairs), 1)


class Look:
    """Looks at the gradients of a run as it goes: at every step for what is not finite."""

    def __init__(self, order):
        self.order = order  # of layers, as they ran
        self.samples, self.gradients, self.broken = {}, {}, None
        self.varies = []  # how much the outputs of the last layer differ between examples
        self._trace = None

    @contextmanager
    def around(self, model: nn.Module, step: int) -> Iterator[None]:
        """Around the forward pass of a step."""
        if step not in TRACED:
            yield
            return
        self._trace = self._trace or Trace(model, activations=True)
        self._trace.start()
        try:
            yield
            self._trace.heard()
            self._trace.backward = True
        except Exception:
            self._trace.stop()
            raise

    def after(self, model: nn.Module, step: int, loss: float, batches: list, lab: Lab) -> None:
        """After the backward pass of a step."""
        if step in TRACED and self._trace:
            rows, names = self._trace.sample(), list(self._trace.layers)
            at = [names.index(name) for name in self.order]
            self.samples[step] = {what: rows[i, at].tolist() for i, what in enumerate(ROWS)}
            self.varies += [_varies(call.value) for call in self._trace.calls[-1:]]
            self._trace.calls = []
        parameters = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        there = [(n, p.grad) for n, p in parameters if p.grad is not None]
        sizes = torch._foreach_norm([g for _, g in there]) if there else []
        finite = math.isfinite(loss) and all(
            bool(torch.stack([s for s in sizes if s.device == d]).isfinite().all())
            for d in {s.device for s in sizes}
        )
        if step in LOOKS:
            exact = [size if size == size else math.inf for size in norms([g for _, g in there])]
            named = dict(zip([n for n, _ in there], exact, strict=True))
            self.gradients[step] = {n: named.get(n, math.nan) for n, _ in parameters}
        if not finite and self.broken is None:
            names = [n for (n, g) in there if not bool(g.isfinite().all())]
            self.broken = {
                "step": step,
                "batch": str(step % len(batches)),
                "batches": len(batches),
                "loss": loss,
                "modules": list(dict.fromkeys(n.rpartition(".")[0] for n in names)),
            } | where_it_breaks(lab, model, batches[step % len(batches)])

    def by_module(self) -> dict:
        """Norm of the gradient of each module's own parameters, a number for each look."""
        found = {}
        for _, sizes in sorted(self.gradients.items()):
            own = {}
            for name, size in sizes.items():
                own.setdefault(name.rpartition(".")[0], []).append(size)
            for name, several in own.items():
                there = [size for size in several if not math.isnan(size)] or several[:1]
                found.setdefault(name, []).append(math.hypot(*there))
        return found


def _varies(output):
    """The share of an output's size that differs between examples; 1 for a single one."""
    if not output.ndim or len(output) < 2:
        return 1.0
    wide = output.detach().double()
    return rms(wide - wide.mean(dim=0)) / max(rms(wide), 1e-300)


def where_it_breaks(lab: Lab, model: nn.Module, batch: Any) -> dict:
    """The first layer whose output is not finite, or from the loss down, whose δ is not."""
    trace = Trace(model)
    try:
        with as_found(model):
            trace.run(lab.loss_fn, batch)
    except (RuntimeError, ValueError):
        return {"forward": None, "backward": None}
    forward = (c.name for c in trace.calls if not bool(c.value.isfinite().all()))
    backward = (
        c.name
        for c in reversed(trace.calls)
        if c.delta is not None and not bool(c.delta.isfinite().all())
    )
    return {"forward": next(forward, None), "backward": next(backward, None)}


def gather(lab: Lab, progress: Callable = lambda words: None) -> Evidence:
    """Make the experiments, and return what they showed."""
    notes = []
    if not lab.model.training:
        notes.append("The model is in eval() mode, and was trained so.")
    if not lab.trainable:
        return Evidence(trainable=False, notes=tuple(notes))
    progress("a first look")

    def check(loss, eye):
        usage.check_loss(loss, eye.ran, lab.model)
        if not loss.requires_grad:
            raise _NoGraph

    try:
        seen = look(lab.model, lab.loss_fn, lab.batches[0], check)
    except _NoGraph:
        return Evidence(differentiable=False, notes=tuple(notes))
    lab.layers = seen["layers"]
    with aside(seen["outside"]):  # what is not the model's, such as a GAN's other network
        return _measured(lab, seen, notes, progress)


def _measured(lab, seen, notes, progress):
    traps, missing = list(seen["traps"]), lab.missing()
    if missing:
        saw = f"no optimizer holds the parameters of {', '.join(missing[:4])}"
        traps.append(Trap("not in the optimizer", saw, tuple(missing)))
    paired = lab.paired()
    lab.ways = ways(paired)
    parts = lab.parts(seen["inputs"])
    for name, part in parts.items():
        if part["constant"] and not part["input"] and not part["float"] and not lab.ways[1:]:
            saw = f"all targets batch{name} are the same"
            traps.append(Trap("constant targets", saw))
    loss, dealt = lab._judge(copy.deepcopy(lab.model), lab.batches)
    watch = Look(seen["layers"])
    progress("as it is")
    plain = lab.run(watch=watch)
    steps = (0, *sorted(watch.samples))
    gradients = watch.by_module()
    none = [n for n, sizes in gradients.items() if all(map(math.isnan, sizes))]
    silent = lab.matters([name for name in none if name in seen["ran"]])
    names = ("layers", "entries", "gains", "activations", "squash", "halves", "lags", "gated")
    names += ("squashed", "peaked", "flat_loss", "constant", "unscaled", "odd")
    evidence = Evidence(
        start={"loss": loss, "dealt": dealt},
        paired=paired,
        runs=(plain,),
        steps=steps,
        samples=(seen["sample"], *(watch.samples[step] for step in steps[1:])),
        looks=tuple(sorted(watch.gradients)),
        varies=tuple(watch.varies),
        gradients=gradients,
        broken=watch.broken,
        bad_batches=lab.bad_batches() if watch.broken or not math.isfinite(loss) else {},
        parts=parts,
        traps=tuple(traps),
        notes=tuple(notes),
        silent=silent,
        unused=tuple(name for name in none if name not in silent),
        optimizer={
            "rates": [float(group["lr"]) for group in lab.groups if "lr" in group],
            "eps": [group["eps"] for group in lab.groups if group.get("eps")],
        },
        **{name: seen[name] for name in names},
    )
    if evidence.own > LEARNT:
        return evidence
    return _longer(lab, _trials(lab, evidence, progress), progress)


class _NoGraph(Exception):
    """The loss has no gradient."""


def _trials(lab, evidence, progress):
    lab.tried = {}
    evidence = _tried(lab, evidence, changes(lab, evidence), progress)
    # Huge steps may get a network over a path that is at fault.
    open_path = _lost(evidence) <= 1 and 0 < evidence.as_it_is.update < math.inf
    if evidence.most < HALF and open_path:
        evidence = _tried(lab, evidence, [another_rate(evidence.as_it_is, BOLD)], progress)
    return evidence


def _tried(lab, evidence, some, progress):
    """The evidence with runs of some changes."""
    for change in some:
        if time.monotonic() > lab.deadline:
            late = "The time was up before all trials."
            return replace(evidence, notes=(*dict.fromkeys([*evidence.notes, late]),))
        progress(change.words)
        try:
            run = lab.run(change)
        except (RuntimeError, ValueError):  # as where the loss insists on its precision
            continue
        lab.tried[run.words] = change
        evidence = replace(evidence, runs=(*evidence.runs, run))
    return evidence


def _lost(evidence):
    """What is lost over layers or time, in units of what counts as lost."""
    path, lags = evidence.path(), evidence.by_lag
    return max(path.lost / LOST if path else 0.0, -min(lags.values(), default=0) / FORGOTTEN)


def _longer(lab, evidence, progress):
    """Runs of three times the steps, on new batches, and on one batch, where they can tell."""
    own, most, lost = evidence.own, evidence.most, _lost(evidence)
    if time.monotonic() > lab.deadline:
        return evidence
    chosen = [evidence.as_it_is]
    if most < NOTICED or (own < HALF and lost > 1 and own > ENOUGH * most):
        # Long lags and small rates take longer to show what helps.
        plain, idle = evidence.as_it_is, 1e-4 * abs(evidence.blind)
        best = {}
        for run in evidence.runs[1:]:
            kin = best.get(run.change)
            if not abs(run.loss - plain.loss) <= idle and (kin is None or run.loss < kin.loss):
                best[run.change] = run
        chosen += best.values()
    elif own > HALF:
        return evidence
    longer = []
    for run in chosen:
        progress(f"{run.words}, longer")
        longer.append(lab.run(lab.tried.get(run.words), steps=LONGER * STEPS))
    evidence = replace(evidence, longer=tuple(longer))
    best = evidence.best()
    if evidence.most >= NOTICED and evidence.own < HALF and evidence.by_batch:
        evidence = replace(evidence, fresh=_on_new_batches(lab, best))
    if evidence.most < NOTICED:
        progress("one batch by heart")
        rates = {run.words for run in evidence.runs if run.change == "learning rate"}
        runs = [
            lab.run(lab.tried.get(words), steps=LONGER * STEPS, batches=lab.batches[:1])
            for words in ("as it is", *rates)
        ]
        heart = max(map(evidence.learnt, runs))
        evidence = replace(evidence, by_heart={"learnt": heart})
        if heart > HALF and evidence.by_batch:
            evidence = replace(evidence, fresh=_on_new_batches(lab, best))
    return evidence


def _on_new_batches(lab, best):
    """What the best trial learns of nine tenths of the batches, and about the rest."""
    held_out = -(-len(lab.batches) // 10)
    if len(lab.batches) < 4:
        return None
    change = lab.tried.get(best.words)
    if change and change.batches:
        return None
    judged = lab.batches[-held_out:]
    others = without(lab.batches[:-held_out], judged)
    if not others:
        return None
    trial = lab.run(change, steps=best.steps, batches=others, judged=judged)
    return {
        "loss": trial.loss,
        "blind": min(trial.dealt.values(), default=math.nan),
        "own": float(np.median(trial.losses[-10:])),
        "words": best.words,
    }


def reported() -> Callable:
    """Progress as a line on a terminal; silent elsewhere."""
    if not sys.stderr.isatty():
        return lambda words: None
    return lambda words: print(f"\r\x1b[Kdiagnose: {words}", end="", file=sys.stderr, flush=True)
