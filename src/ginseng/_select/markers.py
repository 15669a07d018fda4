"""Select the genes whose expression differs most between cell types."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy import sparse

from ginseng import _keys
from ginseng._cells.bad_values import LARGEST_COUNT, LARGEST_LOG
from ginseng._cells.matrix import Part, row_sums
from ginseng._cells.named_genes import NamedGenes
from ginseng._cells.open import OpenCells
from ginseng._core.normalize import log_normalize
from ginseng._errors import warn
from ginseng._logging import progress
from ginseng._select.dispersion import Moments, Values


def find_markers(
    cells: OpenCells,
    labels: np.ndarray,
    n_top_genes: int,
    *,
    genes: NamedGenes,
    target_sum: float | None = 1e4,
    chunk_size: int = 4096,
    silent: bool = False,
) -> dict[str, np.ndarray]:
    """Return the columns of `var` that :func:`ginseng.pp.select_markers` writes.

    Parameters
    ----------
    cells
        The cells; counts or, if `target_sum` is None, log-normalised values.
    labels
        (cells,) integers, -1 for cells to ignore.
    genes
        The genes to choose from.
    """
    present, of_labelled = np.unique(labels[labels >= 0], return_inverse=True)
    group = np.full(len(labels), -1)
    group[labels >= 0] = of_labelled
    moments = Moments(len(present), len(genes.names))
    with progress(desc="Selecting genes", silent=silent, total=cells.n_obs, unit="cells") as bar:
        moments = cells.fold(
            partial(_normalised, genes=genes, target_sum=target_sum, measured=cells.measured), Moments.add_values,
            moments, chunk_size,
            largest=LARGEST_LOG if target_sum is None else LARGEST_COUNT, of_cell=group, report=bar.update,
        )  # fmt: skip
    rank, t = _ranks(moments)
    top = np.lexsort((-np.abs(t), rank))[: operator.index(n_top_genes)]  # NaN sort last
    top = top[np.isfinite(rank[top])]
    if not len(top):
        msg = "No gene differs between the cell types: all are constant."
        raise ValueError(msg)
    if len(top) < n_top_genes:
        msg = f"Only {len(top)} genes differ between the cell types, for `{n_top_genes=}`."
        warn(msg)
    selected = np.zeros(len(genes.names), bool)
    selected[top] = True
    return {
        _keys.GENES: genes.spread(selected, False),
        _keys.MARKER_RANK: genes.spread(rank, np.nan),
        _keys.MARKER_T: genes.spread(t, 0.0),
    }


def _normalised(
    parts: Iterator[Part], *, genes: NamedGenes, target_sum: float | None, measured: np.ndarray
) -> Iterator[Values]:
    for _, _, part, of_cell in parts:
        block = sparse.csr_matrix(part)
        if (of_cell < 0).any():
            block, of_cell = block[of_cell >= 0], of_cell[of_cell >= 0]
        values = sparse.csr_matrix(genes.summed(block))
        if target_sum is not None:
            values = log_normalize(values, row_sums(block, measured), target_sum, as_scanpy=True)
        yield values, of_cell


def _ranks(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Return the best rank of each gene over all types (NaN for none) and its t statistic there: (genes,) each."""
    n, k = moments.n_cells.sum(), len(moments.n_cells)
    everywhere = moments.over_batches()
    total, squares = everywhere.total[0], everywhere.squares[0]
    rounding = 1e-9 * squares  # error bound for float32 values summed in float64
    between = np.zeros_like(total)
    for size, here in zip(moments.n_cells, moments.total, strict=True):
        between += here**2 / size
    within = np.where(squares - between > rounding, squares - between, 0.0)
    varies = squares - total**2 / n > rounding
    best, t_there = np.full(len(total), np.inf), np.zeros(len(total))
    for size, here in zip(moments.n_cells, moments.total, strict=True):  # one type at a time, to save memory
        rest = n - size
        difference = here / size - (total - here) / rest
        difference[np.abs(difference) <= 1e-9 * np.sqrt(squares / n)] = 0.0
        error = np.sqrt(within / max(n - k, 1) * (1 / size + 1 / rest))
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(varies & (difference != 0), difference / error, 0.0)
        order = np.argsort(-np.abs(t), kind="stable")
        rank = np.empty(len(t))
        rank[order] = np.arange(1, len(t) + 1)
        better = (t != 0) & ((rank < best) | ((rank == best) & (np.abs(t) > np.abs(t_there))))
        best[better], t_there[better] = rank[better], t[better]
    return np.where(np.isfinite(best), best, np.nan), t_there
