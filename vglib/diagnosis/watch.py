"""Watching your own training loop with the rules of `diagnose`, without its trials."""

import math
import warnings
from collections import deque
from dataclasses import replace

import numpy as np
import torch

from vglib.diagnosis.causes import judge
from vglib.diagnosis.evidence import STEPS, Evidence, Run
from vglib.diagnosis.look import gain
from vglib.diagnosis.report import Diagnosis, report
from vglib.monitor import Monitor
from vglib.trace import ROWS

SAMPLES = 3  # that must agree


class Watch(Monitor):
    """A `Monitor` for your own training loop that tells, as training goes, what the path is like.

    ::

        with Watch(model, every=50) as watch:
            for batch in batches:
                ...  # forward, backward, step
                watch(loss)

    The last three samples are judged by the rules of `diagnose`, each by itself, without its
    trials. A warning is given once: when all three say that the gradient's path is at fault while
    the loss does not fall, or when a loss is not finite; ``warned`` tells whether it was.
    ``watch.diagnosis()`` gives the last word. It looks at every third sample, at the same cost each
    time, and between samples it does not wait for the device. Other keywords go to `Monitor`.
    """

    def __init__(self, net, **keywords):
        super().__init__(net, saturation=True, **keywords)
        self._calls, self._taken, self.warned, self._broken = 0, 0, False, None
        self._waiting = []  # losses that are still on their device
        self._early, self._recent = [], deque(maxlen=STEPS)

    def __call__(self, loss: torch.Tensor | float) -> None:
        """Note the loss of a step; it may be a tensor or a number."""
        self._waiting.append(loss.detach() if isinstance(loss, torch.Tensor) else loss)
        self._calls += 1
        if self._calls % (SAMPLES * self._every):
            return
        found = self.diagnosis()
        if not self.warned and (found.verdict == "gradient" or self._broken is not None):
            self.warned = True
            where = ", ".join(map(str, list(found.where)[:3]))
            warnings.warn(f"{found.reason} {where}".strip(), stacklevel=2)

    def diagnosis(self) -> Diagnosis:
        """A `Diagnosis` of the last three samples and of the losses so far."""
        self._take_losses()
        record = self.last(SAMPLES)
        if self._broken is None and (len(record.steps) < SAMPLES or self._calls < STEPS):
            words = f"Three samples are needed, and the losses of {STEPS} steps."
            return Diagnosis("abstain", words)
        each = [self._seen(record, i) for i in range(len(record.steps))] or [self._told()]
        found = [judge(one) for one in each]
        if len({(one.verdict, one.cause) for one in found}) > 1:
            return Diagnosis("abstain", "The loss does not fall, and samples do not agree why.")
        return report(each[-1], found[-1])

    def _take_losses(self):
        for loss in self._waiting:
            value = float(loss)
            if not math.isfinite(value) and self._broken is None:
                self._broken = self._taken
            if self._taken < STEPS // 10:
                self._early.append(value)
            self._recent.append(value)
            self._taken += 1
        self._waiting = []

    def _told(self):
        """The evidence of the losses alone."""
        recent = list(self._recent)
        first, last = np.median(self._early), np.median(recent[-max(1, len(recent) // 10) :])
        last = float(last) if self._broken is None else math.inf
        run = Run("", "as it is", self._taken, (float(first), last), last, {})
        evidence = Evidence(start={"loss": float(first)}, runs=(run,))
        if self._broken is None:
            return evidence
        at = {"step": self._broken, "batch": "", "batches": 0, "modules": []}
        return replace(evidence, broken=at | {"loss": last, "forward": None, "backward": None})

    def _seen(self, record, i):
        """The same with a sample of the record."""
        activations = self._trace.activations
        return replace(
            self._told(),
            layers=record.layers,
            steps=(int(record.steps[i]),),
            samples=({what: getattr(record, what)[i].tolist() for what in ROWS},),
            entries=self._entries,
            gains={name: gain(self._trace.layers[name]) for name in record.layers},
            activations=dict(activations.functions),
            squash=tuple(name for name, yes in activations.squash.items() if yes),
            looks=tuple(record.steps.tolist()),
            gradients=dict(zip(record.layers, record.gradient.T.tolist(), strict=True)),
        )
