"""What was measured of a model and its training, as plain data; nothing in here judges.

Evidence is made once, from the experiments, and never changes. Records keep it (`Evidence.plain`,
`Evidence.read`), so that a judge can be scored on hundreds of set-ups without training any.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property

import numpy as np

from vglib.numerics import log10

STEPS = 100  # of one trial
OUTPUTS = ("outputs", "last layer")  # places that are no part of a batch
LONGER = 3  # times as many steps, before a run is accused, or where nothing has helped


@dataclass(frozen=True)
class Run:
    """One short training run of a copy, as it is (``change`` is empty) or with one change.

    ``losses``: at each of ``steps``, before its update. ``loss``: mean over some batches at the
    end, infinite if it is not finite. ``dealt``: the same with a part of the batches dealt out to
    other examples, by that part. ``start``: loss and dealt before training, where the change alters
    the loss, so that the run has a yardstick of its own. ``update``: change of the matrices in the
    first step, relative to their size; ``unmoved``: share of their entries that it left as they
    were. ``factor``: of the learning rate.
    """

    change: str
    words: str
    steps: int
    losses: tuple
    loss: float
    dealt: dict
    update: float = 0.0
    unmoved: float = 0.0
    factor: float = 1.0
    start: dict | None = None


@dataclass(frozen=True)
class Trap:
    """A known mistake that shows in the code as it runs: its name, what was seen, and where."""

    name: str
    saw: str
    where: tuple = ()


@dataclass(frozen=True)
class Evidence:
    """All that was found out about one model.

    ``start``: loss and dealt losses before training. ``paired``: the parts of a batch that the loss
    compares with the rest; likewise "outputs" of the model, and those of its "last layer".
    ``runs``: the trials, as it is first; ``longer``: some of them in three times the steps.
    ``fresh``: what the best trial learns about batches that it has not seen; ``by_heart``: the
    share of one batch that can be learnt.

    ``layers`` in the order in which they ran, ``samples``: at some steps, by row of `trace.ROWS`, a
    number for each layer; ``varies``: the share of the last layer's output that differs between
    examples, at all but the first; ``entries``: numbers in outputs; ``gains``: by how much a
    layer's weights scale the norm of a random gradient; ``activations`` after it, and whether they
    ``squash``, that is, are flat on both sides.

    ``gradients``: of each module's own parameters, the norm at the steps ``looks``; NaN for none.
    ``silent``: modules that ran and whose parameters never get a gradient; ``unused``: those that
    never ran. ``broken``: the first step whose loss or gradient is not finite, the batch, and the
    modules where it begins; ``bad_batches``: those of which the untrained model's loss is not
    finite, or which hold numbers that are not.

    ``lags``: for what carries a state from step to step, the gradient of the last output by lag
    over that at lag 0; ``gated`` and ``squashed``: those that have gates, or a sigmoid alone.
    ``parts``: of each part of a batch, whether it is an input, its RMS and its spread. ``traps``:
    known mistakes that showed. ``notes``: what is said in any case.
    """

    start: dict = field(default_factory=dict)
    paired: tuple = ()
    runs: tuple = ()
    longer: tuple = ()
    fresh: dict | None = None
    by_heart: dict | None = None
    layers: tuple = ()
    steps: tuple = ()
    samples: tuple = ()
    varies: tuple = ()
    entries: dict = field(default_factory=dict)
    gains: dict = field(default_factory=dict)
    activations: dict = field(default_factory=dict)
    squash: tuple = ()
    looks: tuple = ()
    gradients: dict = field(default_factory=dict)
    silent: tuple = ()
    unused: tuple = ()
    trainable: bool = True
    differentiable: bool = True
    broken: dict | None = None
    bad_batches: dict = field(default_factory=dict)
    lags: dict = field(default_factory=dict)
    gated: tuple = ()
    squashed: tuple = ()
    halves: bool = False
    peaked: tuple = ()
    flat_loss: bool = False
    constant: bool = False
    parts: dict = field(default_factory=dict)
    unscaled: bool = False
    odd: tuple = ()
    traps: tuple = ()
    notes: tuple = ()
    optimizer: dict = field(default_factory=dict)

    def plain(self) -> dict:
        """As numbers, words, lists and dicts."""
        return asdict(self)

    @classmethod
    def read(cls, data: dict) -> "Evidence":
        """Evidence from what `plain` gave, also after a way through JSON."""
        data = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        known = {one.name for one in fields(cls)}
        for name, kind in (("runs", Run), ("longer", Run), ("traps", Trap)):
            data[name] = tuple(kind(**_tuples(one)) for one in data[name])
        return cls(**{name: value for name, value in data.items() if name in known})

    # The yardstick, from all runs at once. ----------------------------------------------------

    @cached_property
    def way(self) -> str | None:
        """The part of a batch by which the loss without knowledge is told, or None without pairs.

        Of those that matter, the one whose dealing out costs most.
        """
        parts = ways(self.paired)

        def cost(part):
            costs = [run.dealt.get(part, math.nan) - run.loss for run in self.every if run.dealt]
            return max((c for c in costs if math.isfinite(c)), default=-math.inf)

        return max(parts, key=cost) if parts else None

    @property
    def by_batch(self) -> bool:
        """Whether the batches tell what belongs together, so that new ones can be asked."""
        return self.way not in (None, *OUTPUTS)

    @property
    def every(self) -> tuple:
        """All runs on the same loss."""
        return tuple(run for run in (*self.runs, *self.longer) if run.start is None)

    @cached_property
    def blind(self) -> float:
        """The loss of a model that knows nothing about its inputs; the first loss without pairs."""
        if self.way is None:
            levels = [self.start.get("loss", math.inf)]
        else:
            levels = [run.dealt.get(self.way, math.inf) for run in self.every]
            levels.append(self.start.get("dealt", {}).get(self.way, math.inf))
        return min((level for level in levels if math.isfinite(level)), default=math.inf)

    def learnt(self, run: Run | None) -> float:
        """The share of the blind loss that is gone; minus infinity if the loss is not finite."""
        if run is None:
            return -math.inf
        blind = self.blind
        if run.start is not None:
            own = [run.dealt, run.start["dealt"]] if self.way else []
            levels = [of.get(self.way, math.inf) for of in own] or [run.start["loss"]]
            blind = min((one for one in levels if math.isfinite(one)), default=math.inf)
        if not (math.isfinite(blind) and math.isfinite(run.loss)):
            return -math.inf
        return (blind - run.loss) / max(abs(blind), self.size if self.signed else 0.0, 1e-300)

    @cached_property
    def signed(self) -> bool:
        """Whether the loss takes both signs, so that nothing says where its end is."""
        return any(value < 0 for run in self.every for value in (*run.losses, run.loss))

    @cached_property
    def size(self) -> float:
        """The largest loss as it is, by its size."""
        return max(abs(v) for v in (*self.as_it_is.losses, 0.0) if math.isfinite(v))

    @property
    def as_it_is(self) -> Run | None:
        return self.runs[0] if self.runs else None

    @cached_property
    def long(self) -> Run | None:
        """The model as it is in three times the steps, where that was tried."""
        return next((run for run in self.longer if not run.change), None)

    @cached_property
    def own(self) -> float:
        """What the model learns as it is, in the longest run."""
        return self.learnt(self.long or self.as_it_is)

    def best(self, *changes: str) -> Run | None:
        """The run that learns most, of some changes or of all; of two, the shorter."""
        runs = [r for r in (*self.runs, *self.longer) if not changes or r.change in changes]
        return max(runs, key=self.learnt, default=None)

    @cached_property
    def most(self) -> float:
        """What the best of all trials learns, but those that treat a symptom only."""
        runs = [run for run in (*self.runs, *self.longer) if run.change != "clip"]
        return max(map(self.learnt, runs), default=-math.inf)

    # The path. --------------------------------------------------------------------------------

    def path(self, sample: int | None = None) -> "Path | None":
        """The gradient's way through the layers at one of ``samples``; None without a chain.

        The first where anything arrives at the bottom, unless one is given: a read-out of zeros, or
        a branch, lets nothing through at the first step, and is no fault.
        """
        if sample is None:
            every = [self.path(i) for i in range(len(self.samples))]
            return next((path for path in every if path and path.delta[0] > 0), None) or self.path(
                0
            )
        if not -len(self.samples) <= sample < len(self.samples):
            return None
        rows = self.samples[sample]
        delta = np.array(rows["delta"], dtype=float)
        # Norms and not root mean squares: layers may differ in size.
        delta = delta * np.sqrt([self.entries.get(name, math.nan) for name in self.layers])
        there = [
            i
            for i, name in enumerate(self.layers)
            if np.isfinite(delta[i]) and name not in self.lags
        ]
        if not there:
            return None
        names = tuple(self.layers[i] for i in there)
        after = [
            np.array(rows[what], dtype=float)[there] for what in ("slope", "saturated", "dead")
        ]
        return Path(
            names,
            delta[there],
            *after,
            tuple(self.activations.get(name) for name in names),
            np.array([name in self.squash for name in names]),
        )

    @cached_property
    def by_lag(self) -> dict:
        """Decades from lag 0 to the last, by name."""
        return {name: log10(sizes[-1]) for name, sizes in self.lags.items()}


def ways(paired: tuple) -> tuple:
    """What to deal out, of what matters: parts of the batch, or else outputs.

    A part that matters alone meets nothing but itself.
    """
    parts = tuple(part for part in paired if part not in OUTPUTS)
    return parts if len(parts) > 1 else tuple(place for place in OUTPUTS if place in paired)[:1]


@dataclass(frozen=True)
class Path:
    """The gradient's way through the layers: ``delta`` is ‖δ‖ of each, bottom first.

    ``slopes``, ``saturated``, ``dead``: of the activation after each layer, ``activations`` its
    name, and whether it ``squashes``.
    """

    names: tuple
    delta: np.ndarray
    slopes: np.ndarray
    saturated: np.ndarray
    dead: np.ndarray
    activations: tuple
    squashes: np.ndarray

    @property
    def reach(self) -> np.ndarray:
        """log10 of the largest δ at or below: a branch that starts at zero loses nothing."""
        return np.array([log10(size) for size in np.maximum.accumulate(self.delta)])

    @property
    def lost(self) -> float:
        """Decades lost from where the gradient is largest to the bottom."""
        return float(self.reach[-1] - self.reach[0])

    @property
    def starvation(self) -> float:
        """Decades that the bottom gets less than the layer next to the loss."""
        return log10(self.delta[-1]) - float(self.reach[0])

    @property
    def growth(self) -> float:
        """Decades gained from the top to the layer where the gradient is largest."""
        return log10(self.delta.max()) - log10(self.delta[-1])

    @property
    def surge(self) -> float:
        """Decades gained on the way down, from the smallest δ above to the largest below it."""
        there = self.delta[self.delta > 0]
        logs = np.log10(there) if len(there) else np.zeros(1)
        return float((logs - np.minimum.accumulate(logs[::-1])[::-1]).max())

    @property
    def drops(self) -> np.ndarray:
        """Decades lost between each layer and the one above it."""
        return np.diff(self.reach)

    @property
    def rectified(self) -> np.ndarray:
        """Where an activation with one flat side at most follows."""
        return np.array([a is not None for a in self.activations]) & ~self.squashes


def _tuples(data):
    return {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
