"""Statistics of the reference, by which genes are centred and scaled; computed before the first step."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from scipy import sparse

from ginseng._core.steps import Normalization
from ginseng._core.types import Params
from ginseng.data._batches import Source

#: Maximum number of cells to read, and cells at a time.
MOST_CELLS, AT_ONCE = 20_000, 4096
#: Minimum weight of a gene, relative to one whose variance lies entirely between types.
LEAST_WEIGHT = 1e-3
#: Common scale of all genes that are not scaled by their standard deviation.
ONE_SCALE = 3.0


class Moments(NamedTuple):
    """Sums over cells of the reference, of normalised expression."""

    cells: np.ndarray  # (C,) cells per class
    sums: np.ndarray  # (C, G) over the cells of each class
    squares: np.ndarray  # (G,) over all cells
    shares: np.ndarray  # (G,) fractions of the genes in a cell's counts, over all cells


def read_moments(
    source: Source, keep: np.ndarray, n_classes: int, normalization: Normalization, *, seed: int
) -> Moments:
    """Return the moments of up to `MOST_CELLS` of the kept cells, drawn at random.

    In SciPy: zeros cost nothing, and nothing has to be compiled.
    """
    rng = np.random.default_rng([seed, 2**31 + 3])
    n_genes = source.n_genes
    cells, sums = np.zeros(n_classes), np.zeros((n_classes, n_genes))
    squares, shares = np.zeros(n_genes), np.zeros(n_genes)
    left = MOST_CELLS
    for counts, numbers in source.windows(keep, rng):
        picks = rng.permutation(np.flatnonzero(numbers >= 0))[:left]
        for rows in np.split(picks, range(AT_ONCE, len(picks), AT_ONCE)):
            y = source.labels[numbers[rows]]
            x = normalization(counts[rows], source.totals[numbers[rows]])
            of_class = sparse.csr_matrix((np.ones(len(y)), (y, np.arange(len(y)))), shape=(n_classes, len(y)))
            cells += np.bincount(y, minlength=n_classes)
            sums += (of_class @ x).toarray()
            squares += x.multiply(x).sum(axis=0, dtype=np.float64).A1  # infinite where training overflows as well
            x.data = np.expm1(np.minimum(x.data.astype(np.float64), 60.0))  # counts, up to a factor per cell
            whole = x.sum(axis=1).A1
            shares += x.T @ (1 / np.where(whole > 0, whole, 1.0))
        left -= len(picks)
        if not left:
            break
    return Moments(cells, sums, squares, shares)


def reference(moments: Moments) -> dict[str, np.ndarray]:
    """Return the statistics of the training cells that a model stores.

    Returns
    -------
    All float32: `mean`, (G,) of the genes; `share`, (G,) mean fraction of each gene in the counts of a cell; `classes`,
    (C, G) mean of the genes per class, 0 for classes without cells; and `cells`, (C,) number of cells read per class.
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
    """Return mean and scale of each gene for `params["input"]`, (G,) float32 each.

    Parameters
    ----------
    floor
        Minimum standard deviation.
    weigh
        Whether to weight genes by :func:`weights_between`.

    Returns
    -------
    For members that standardise each gene, and for those that read all genes on one common scale without centring.
    """
    mean = moments.sums.sum(axis=0) / moments.cells.sum()
    deviation = np.sqrt(np.maximum(moments.squares / moments.cells.sum() - mean**2, 0.0))
    weights = weights_between(moments.cells, moments.sums, moments.squares) if weigh else 1.0
    kinds = (mean, np.maximum(deviation, floor) / weights), (np.zeros_like(mean), ONE_SCALE / weights + 0 * mean)
    return tuple({"mean": m.astype(np.float32), "scale": s.astype(np.float32)} for m, s in kinds)


def of_members(
    centred: dict[str, np.ndarray], uncentred: dict[str, np.ndarray], *, shapes: Params, n_uncentered: int | None
) -> Params:
    """Return mean and scale of all members for `params["input"]`.

    Parameters
    ----------
    centred, uncentred
        Of a member that standardises each gene, and of one that reads all genes on one scale without centring.
    shapes
        Arrays that have the shapes of what is returned: (G,), or (M, G) for several members.
    n_uncentered
        How many members are of the second kind, at most all but one; about a quarter if None.
    """
    n = 1 if shapes["mean"].ndim == 1 else len(shapes["mean"])
    n_last = (n + 2) // 4 if n_uncentered is None else min(n_uncentered, n - 1)
    kinds = [centred] * (n - n_last) + [uncentred] * n_last
    return {  # from NumPy, so that nothing is compiled
        name: jax.device_put(np.stack([kind[name] for kind in kinds]).reshape(a.shape)) for name, a in shapes.items()
    }


def weights_between(cells: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return a weight per gene: the square root of the fraction of its variance that lies between the types.

    The fraction is an intraclass correlation (Fisher 1925) that weights types by the square root of their number of
    cells, a compromise between counting all cells and all types equally: the means of rare types are noisy. The mean of
    the squared weights is 1.

    Parameters
    ----------
    cells
        (C,) number of cells per type.
    sums
        (C, G) sums over the cells of each type.
    squares
        (G,) sums of squares over all cells.
    """
    cells, sums = cells[cells > 0, None], sums[cells > 0]
    if len(cells) < 2 or cells.sum() <= len(cells):
        return np.ones_like(squares)
    within = np.maximum(squares - (sums**2 / cells).sum(axis=0), 0.0) / (cells.sum() - len(cells))
    means, share = sums / cells, np.sqrt(cells) / np.sqrt(cells).sum()
    differ = (share * (means - (share * means).sum(axis=0)) ** 2).sum(axis=0)
    by_chance = within * (share * (1 - share) / cells).sum()  # expected from sampling alone
    rounding = 1e-6 * squares / cells.sum()  # the values are in single precision
    between = np.where(differ - by_chance > rounding, differ - by_chance, 0.0)
    whole = between + within
    root = np.sqrt(np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0))
    if not root.any():
        return np.ones_like(squares)
    root = np.maximum(root, LEAST_WEIGHT)
    return root / np.sqrt((root**2).mean())
