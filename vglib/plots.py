"""Records in, matplotlib axes out."""

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers differ as well.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
_MARKERS = ["o", "s", "^", "D", "v", "P"]


def panels(*titles, x, y):
    """A row of axes that share a log y axis, as a dict from each title to its axes."""
    # Styled here and not through rcParams, which belong to the reader.
    size = (max(5, 3.2 * len(titles)), 3.6)
    figure, axes = plt.subplot_mosaic(
        [titles], figsize=size, sharey=True, layout="constrained", facecolor="white"
    )
    for title, axis in axes.items():
        axis.set(title=title, xlabel=x, yscale="log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    figure.supylabel(y, fontsize="medium")
    return axes


def spread(axis, x, measured, *, label, predicted=None):
    """Draw the median over seeds with its range, and the prediction as a dashed line.

    ``measured`` has shape (seeds, points), ``predicted`` shape (points,).
    """
    k = len(axis.containers) % len(_COLOURS)
    low, middle, high = np.quantile(measured, [0, 0.5, 1], axis=0)
    axis.errorbar(
        x,
        middle,
        yerr=[middle - low, high - middle],
        fmt=_MARKERS[k],
        color=_COLOURS[k],
        markersize=3.5,
        elinewidth=1.2,
        label=label,
    )
    if predicted is not None:
        axis.plot(x, predicted, "--", color=_COLOURS[k], linewidth=1.2)


def flow(axis, record, *, label, quantity="delta", predicted=None):
    """Draw one gradient of a `probes.GradientFlow` by layer, divided by its value at layer L.

    ``quantity`` is ``delta`` or ``weight``; ``predicted`` a `theory.PredictedFlow`.
    """
    if quantity not in ("delta", "weight"):
        raise ValueError(f"unknown quantity {quantity!r}; choose one of: delta, weight")
    values = getattr(record, quantity)
    line = None if predicted is None else predicted.delta
    layers = np.arange(1, values.shape[1] + 1)
    spread(axis, layers, values / values[:, -1:], label=label, predicted=line)
