"""What the reference looks like, and how each gene is centred and scaled by it; read before the first step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ginseng._core.steps import Batch, Normalization, class_moments
from ginseng.data._batches import Window

#: Cells that are looked at, at the most.
MOST_CELLS = 20_000
#: The least weight of a gene, as a share of what one has whose variance lies between types alone.
LEAST_WEIGHT = 1e-3
#: What all genes are divided by where they are not divided by their own deviation.
ONE_SCALE = 3.0


class Moments(NamedTuple):
    """Sums over cells of the reference, of normalised expression."""

    cells: np.ndarray  # (C,) cells of each class
    sums: np.ndarray  # (C, G) over the cells of each class
    squares: np.ndarray  # (G,) over all cells
    shares: np.ndarray  # (G,) of each gene in the counts of a cell, over all cells


def read_moments(windows: Iterable[Window], n_classes: int, normalization: Normalization) -> Moments:
    """Return the moments of the cells in `windows`, of one batch each, until there are enough."""
    cells = np.zeros(n_classes)
    sums: np.ndarray = np.zeros(1)
    squares, shares = sums, sums
    for window in windows:
        batch = Batch(*(a[0] for a in window))
        found = class_moments(batch, n_classes=n_classes, normalization=normalization)
        sums, squares, shares = (a + np.asarray(b) for a, b in zip((sums, squares, shares), found, strict=True))
        cells += np.bincount(batch.y, batch.weight > 0, minlength=n_classes)
        if cells.sum() >= MOST_CELLS:
            break
    return Moments(cells, sums, squares, shares)


def reference(moments: Moments) -> dict[str, np.ndarray]:
    """Return what a model keeps of the cells that it was trained on.

    Returns
    -------
    `mean`, (G,) of each gene; `share`, (G,) of each gene in the counts of a cell; `classes`, (C, G) mean of each gene
    in the cells of each class, 0 for a class of which no cell was read; `cells`, (C,) that were read of each. All
    float32.
    """
    n = moments.cells.sum()
    found = {
        "mean": moments.sums.sum(axis=0) / n,
        "share": moments.shares / max(moments.shares.sum(), np.finfo(np.float32).tiny),
        "classes": moments.sums / np.maximum(moments.cells, 1)[:, None],
        "cells": moments.cells,
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def fit_standardization(moments: Moments, *, floor: float, weigh: bool) -> tuple[dict[str, np.ndarray], ...]:
    """Return mean and scale of each gene, (G,) float32 each, as architectures keep them in `params["input"]`.

    Parameters
    ----------
    floor
        The lowest deviation that a gene is scaled by.
    weigh
        Whether genes are weighted by :func:`weights_between`.

    Returns
    -------
    For members that read each gene by how far it is from its mean, in deviations; and for those that read all genes on
    one scale, from zero.
    """
    mean = moments.sums.sum(axis=0) / moments.cells.sum()
    deviation = np.sqrt(np.maximum(moments.squares / moments.cells.sum() - mean**2, 0.0))
    weights = weights_between(moments.cells, moments.sums, moments.squares) if weigh else 1.0
    kinds = (mean, np.maximum(deviation, floor) / weights), (np.zeros_like(mean), ONE_SCALE / weights + 0 * mean)
    return tuple({"mean": m.astype(np.float32), "scale": s.astype(np.float32)} for m, s in kinds)


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
