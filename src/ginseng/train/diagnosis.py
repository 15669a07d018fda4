"""What has gone wrong, where training diverged or the model has learned nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ginseng._core.types import Params
from ginseng.data._batches import Source, Window, stream
from ginseng.train.loop import is_finite

#: Held-out cells below which nothing is said: so few could not tell.
LEAST_CELLS = 10
#: Standard deviations above what chance gives that are more than chance (one model of no use in 44 gets there), and the
#: share of the way to all cells right (Cohen's kappa) that is so in any case, where there are few cells.
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
    """Return the error that says why the loss is no longer finite.

    The data are the cause if the weights that training started from give no finite logits either.

    Parameters
    ----------
    losses
        Of the batches of the epoch.
    first
        The weights that training started from.
    """
    n = int(np.isfinite(losses).argmin()) if not np.isfinite(losses).all() else len(losses) - 1
    found = f"The training loss is {losses[n]} in epoch {epoch}, batch {n + 1}. "
    peak, finite = np.zeros(source.n_genes), is_finite(first)
    for window in stream(source, keep, batch_size=min(1024, len(keep)), n_per_window=1, shuffle=False):
        finite = finite and bool(np.isfinite(logits(first, window)).all())
        peak = np.maximum(peak, np.abs(window.x[0]).max(axis=0))
    if finite:
        return ValueError(
            f"{found}The data are not the cause: the weights that training started from take them. Lower the "
            f"learning rate (lr={lr:g}), to {lr / 10:g}, say."
        )
    return ValueError(
        f"{found}The data are the cause: values are up to {peak.max():.3g} (gene {gene_names[int(peak.argmax())]!r}), "
        "too large to compute with. Repair or leave out the cells or genes that have them."
    )


def has_learned(y: np.ndarray, predicted: np.ndarray) -> bool | None:
    """Whether a model labels held-out cells better than chance, or None if these cells could not tell.

    Chance are the same labels, given to the cells at random; to give all the commonest class is the case of one label.
    So it is Cohen's kappa that has to be above 0, and not the accuracy above the share of the commonest class: a model
    that finds rare types among 98% of another one is of use, though its accuracy may be the lower.

    Parameters
    ----------
    y, predicted
        (cells,) classes, and those that the model gives.
    """
    if len(y) < LEAST_CELLS or len(np.unique(y)) < 2:
        return None
    mean, deviation = by_chance(y, predicted)
    return bool((predicted == y).sum() > mean + min(DEVIATIONS * deviation, KAPPA * (len(y) - mean)))


def by_chance(y: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the cells that are right if labels are shuffled among the cells."""
    n = len(y)
    if n < 2:  # nothing to shuffle
        return float((labels == y).sum()), 0.0
    n_classes = int(max(y.max(), labels.max())) + 1
    a, b = (np.bincount(classes, minlength=n_classes).astype(float) for classes in (y, labels))
    mean = float(a @ b) / n
    pairs = (a @ b) ** 2 - (a**2) @ (b**2) + (a * (a - 1)) @ (b * (b - 1))  # of two cells that are both right
    return mean, math.sqrt(max(pairs / (n * (n - 1)) + mean - mean**2, 0.0))
