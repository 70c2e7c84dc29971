"""The search for a learning rate: networks that are compared each get the best of the same rates.

One rate for all would decide the comparison: the best of two networks can differ by powers of ten.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Search:
    """What a search found. ``scores``: rate → score, a number or a tuple; the lowest is best."""

    scores: dict

    @property
    def best(self) -> float:
        """The rate with the lowest score; of equals the first."""
        return min(self.scores, key=self.scores.get)

    @property
    def at_edge(self) -> bool:
        """Whether the best is the lowest or the highest rate, so that one should look further."""
        return self.best in (min(self.scores), max(self.scores))


def search(rates: Iterable, train_at: Callable, score: Callable) -> Search:
    """Try each of ``rates`` in the same way.

    ``train_at(rate)`` trains, on seeds that are not judged, and returns what came of it: a
    `Training`, say, or what a record kept of one. ``score(that)`` says how bad it is, in a number,
    or in several that count one after another; NaN is the worst. Raises ValueError without rates.
    """
    scores = {}
    for rate in rates:
        values = np.nan_to_num(np.atleast_1d(score(train_at(rate))).astype(float), nan=np.inf)
        scores[rate] = tuple(values.tolist()) if len(values) > 1 else float(values[0])
    if not scores:
        raise ValueError("a search needs at least one rate")
    return Search(scores)


def misses_and_steps(steps: Sequence, budget: float) -> tuple[int, float]:
    """A score: how many networks missed the target, and the mean steps, a miss being ``budget``.

    ``steps``: one number a network, NaN or None where it missed, as in `Training.steps`.
    """
    steps = np.array(steps, dtype=float)
    return int(np.isnan(steps).sum()), float(np.nan_to_num(steps, nan=budget).mean())
