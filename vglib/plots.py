"""Records in, matplotlib axes out."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

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
    every = max(1, len(middle) // 10)  # or markers would hide the prediction
    axis.errorbar(
        x,
        middle,
        yerr=[middle - low, high - middle],
        fmt=_MARKERS[k],
        color=_COLOURS[k],
        markersize=4.5,
        elinewidth=1.2,
        markevery=every,
        errorevery=every,
        label=label,
    )
    if predicted is not None:
        axis.plot(x, predicted, "--", color=_COLOURS[k], linewidth=1.2, zorder=3)


def legend(axis, **keywords):
    """The legend of one of the axes, with an entry for the dashed prediction if there is one."""
    handles, labels = axis.get_legend_handles_labels()
    if any(line.get_linestyle() == "--" for line in axis.lines):
        handles.append(Line2D([], [], linestyle="--", color="black", linewidth=1.2))
        labels.append("predicted")
    axis.legend(handles, labels, **keywords)


def flow(axis, record, *, label, quantity="delta", predicted=None):
    """Draw one gradient of a `probes.GradientFlow` by layer, divided by its value at layer L.

    ``quantity`` is ``delta`` or ``weight``; ``predicted`` a `theory.PredictedFlow`.
    """
    if quantity not in ("delta", "weight"):
        raise ValueError(f"unknown quantity {quantity!r}; choose one of: delta, weight")
    if quantity == "weight" and predicted is not None:
        raise ValueError("the prediction is of δ; there is none for the weight gradient")
    values = getattr(record, quantity)
    line = None if predicted is None else predicted.delta
    layers = np.arange(1, values.shape[1] + 1)
    spread(axis, layers, values / values[:, -1:], label=label, predicted=line)
