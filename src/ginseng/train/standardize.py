"""How each gene is centred and scaled, fitted on the training cells before the first step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ginseng._core.steps import Batch, Normalization, class_moments
from ginseng.data._batches import Window

#: Cells that are looked at, at the most.
MOST_CELLS = 20_000
#: The least weight of a gene, as a share of what one has whose variance lies between types alone.
LEAST_WEIGHT = 1e-3


def fit_standardization(
    windows: Iterable[Window], n_classes: int, normalization: Normalization, *, floor: float, weigh: bool
) -> dict[str, np.ndarray]:
    """Return mean and scale of each gene, (G,) float32, as architectures keep them in `params["input"]`.

    Parameters
    ----------
    windows
        Of one batch each.
    floor
        The lowest deviation that a gene is scaled by.
    weigh
        Whether genes are weighted by :func:`weights_between`.
    """
    cells = np.zeros(n_classes)
    sums: np.ndarray = np.zeros(1)
    squares: np.ndarray = np.zeros(1)
    for window in windows:
        batch = Batch(*(a[0] for a in window))
        found = class_moments(batch, n_classes=n_classes, normalization=normalization)
        sums, squares = sums + np.asarray(found[0]), squares + np.asarray(found[1])
        cells += np.bincount(batch.y, batch.weight > 0, minlength=n_classes)
        if cells.sum() >= MOST_CELLS:
            break
    mean = sums.sum(axis=0) / cells.sum()
    deviation = np.sqrt(np.maximum(squares / cells.sum() - mean**2, 0.0))
    scale = np.maximum(deviation, floor)
    if weigh:
        scale = scale / weights_between(cells, sums, squares)
    return {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}


def weights_between(cells: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return a weight for each gene: the root of the share of its variance that lies between the types.

    This share is an intraclass correlation (Fisher 1925) in which types count by the root of their number of cells:
    rare ones more than by their cells, and less than if all types counted alike, since their means are of few cells.
    The mean of the squared weights is 1.

    Parameters
    ----------
    cells
        (C,) cells of each type.
    sums
        (C, G) sum over the cells of each type.
    squares
        (G,) sum of squares over all cells.
    """
    cells, sums = cells[cells > 0, None], sums[cells > 0]
    if len(cells) < 2 or cells.sum() <= len(cells):
        return np.ones_like(squares)
    within = np.maximum(squares - (sums**2 / cells).sum(axis=0), 0.0) / (cells.sum() - len(cells))
    means, share = sums / cells, np.sqrt(cells) / np.sqrt(cells).sum()
    differ = (share * (means - (share * means).sum(axis=0)) ** 2).sum(axis=0)
    by_chance = within * (share * (1 - share) / cells).sum()  # as means of few cells do
    rounding = 1e-6 * squares / cells.sum()  # the sums are of 32 bits
    between = np.where(differ - by_chance > rounding, differ - by_chance, 0.0)
    whole = between + within
    root = np.sqrt(np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0))
    if not root.any():
        return np.ones_like(squares)
    root = np.maximum(root, LEAST_WEIGHT)
    return root / np.sqrt((root**2).mean())
