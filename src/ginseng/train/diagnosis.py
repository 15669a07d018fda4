"""Diagnose training that diverged, or that learned nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ginseng._core.types import Params
from ginseng._errors import warn
from ginseng.data._batches import Source, Window, stream
from ginseng.train.loop import is_finite

#: Held-out cells below which nothing is said: there are too few to tell.
LEAST_CELLS = 10
#: A model has learned something if its number of correct cells is this many standard deviations above chance (1 in 44
#: useless models gets there), or if Cohen's kappa is this high, which is easier to reach with few cells.
DEVIATIONS, KAPPA = 2.0, 0.3


def divergence(
    losses: np.ndarray,
    epoch: int,
    *,
    lr: float,
    first: Params,
    logits: Callable[[Params, Window], np.ndarray],
    source: Source,
    keep: np.ndarray,
    gene_names: Sequence[str],
) -> ValueError:
    """Return an error that explains why the loss is no longer finite.

    The data are the cause if the logits of the initial weights are not finite either.

    Parameters
    ----------
    losses
        Loss of each batch of the epoch.
    first
        Initial weights.
    logits
        Returns the logits of the cells of a window.
    keep
        (cells,) bool, the cells that are trained on.
    """
    n = int(np.isfinite(losses).argmin()) if not np.isfinite(losses).all() else len(losses) - 1
    found = f"The training loss is {losses[n]} in epoch {epoch}, batch {n + 1}. "
    peak, finite = np.zeros(source.n_genes), is_finite(first)
    for window in stream(source, keep, batch_size=min(1024, len(keep)), n_per_window=1, shuffle=False):
        finite = finite and bool(np.isfinite(logits(first, window)).all())
        peak = np.maximum(peak, np.abs(window.x[0]).max(axis=0))
    if finite:
        return ValueError(
            f"{found}The data are not the cause: the logits of the initial weights are finite. Lower the learning rate "
            f"(lr={lr:g}), for example to {lr / 10:g}."
        )
    return ValueError(
        f"{found}The data are the cause: values are up to {peak.max():.3g} (gene {gene_names[int(peak.argmax())]!r}), "
        "too large for float32. Repair or leave out the cells or genes that have them."
    )


def has_learned(y: np.ndarray, predicted: np.ndarray) -> bool | None:
    """Whether a model labels held-out cells better than chance; None if there are too few cells or classes to tell.

    Chance means the predicted labels shuffled among the cells, so the criterion is Cohen's kappa above 0, not accuracy
    above the share of the most common class. A model that finds rare types among 98% of another type is useful, even if
    its accuracy is below 98%.

    Parameters
    ----------
    y, predicted
        (cells,) true and predicted classes.
    """
    if len(y) < LEAST_CELLS or len(np.unique(y)) < 2:
        return None
    mean, deviation = by_chance(y, predicted)
    return bool((predicted == y).sum() > mean + min(DEVIATIONS * deviation, KAPPA * (len(y) - mean)))


def warn_if_useless(logits: np.ndarray, y: np.ndarray) -> bool | None:
    """Return whether a model has learned something, see :func:`has_learned`; warn if it has not.

    Parameters
    ----------
    logits, y
        (cells, C) logits and (cells,) true classes of held-out cells.
    """
    predicted = logits.argmax(axis=1)
    learned = has_learned(y, predicted)
    if learned is False:
        warn(
            f"The model has learned nothing: it labels {(predicted == y).sum():,} of {len(y):,} held-out cells "
            f"correctly, where chance gives {by_chance(y, predicted)[0]:,.0f} and {np.bincount(y).max():,} have "
            "the most common label. Check that the labels belong to these cells, and that the genes "
            "distinguish them. If so, train for longer or with another learning rate."
        )
    return learned


def by_chance(y: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the number of correct cells if labels are shuffled among the cells."""
    n = len(y)
    if n < 2:  # a single cell cannot be shuffled
        return float((labels == y).sum()), 0.0
    n_classes = int(max(y.max(), labels.max())) + 1
    a, b = (np.bincount(classes, minlength=n_classes).astype(float) for classes in (y, labels))
    mean = float(a @ b) / n
    pairs = (a @ b) ** 2 - (a**2) @ (b**2) + (a * (a - 1)) @ (b * (b - 1))  # of two correct cells
    return mean, math.sqrt(max(pairs / (n * (n - 1)) + mean - mean**2, 0.0))
