from __future__ import annotations

import math
import operator
from functools import partial

import numpy as np
from anndata import AnnData
from scipy import sparse

from ginseng import _keys
from ginseng._cells.features import warn_of_other_features
from ginseng._cells.genes import NamedGenes, genes_to_select
from ginseng._cells.labels import Unlabeled, in_memory, labels_of, obs_column
from ginseng._cells.matrix import copied, row_blocks
from ginseng._errors import warn
from ginseng._logging import progress, running
from ginseng.pp._hvg import Moments, normalised
from ginseng.pp._select_hvgs import ValueCheck, check_size, write_columns


def select_markers(
    adata: AnnData,
    label_key: str,
    n_top_genes: int = 2000,
    *,
    layer: str | None = None,
    target_sum: float | None = 1e4,
    chunk_size: int = 4096,
    silent: bool = False,
    copy: bool = False,
    unlabeled: Unlabeled = None,
) -> AnnData | None:
    """Select the genes whose expression differs most between cell types, chunk by chunk.

    Where labels are known, as they are for training, they say better than variability alone which genes tell types
    apart. For each type, genes are ranked by the difference of its mean log1p expression from that of all other cells,
    over the standard error that follows from the variance within types. Types then take turns, each with its next best
    gene, so that types of few cells have as many genes of their own as large ones. Cells are read `chunk_size` at a
    time, once, and only sums over cells are kept.

    To judge a model on cells that it has not seen, select genes on the training cells alone, as
    :func:`ginseng.tl.train`, :func:`ginseng.tl.compare` and :func:`ginseng.tl.cross_validate` do.

    Parameters
    ----------
    adata
        Cells x genes, counts or log-normalised values; in memory, backed, lazy or a view.
    label_key
        Column of `obs` with the cell types. Cells without a label are left out.
    n_top_genes
        Number of genes to select. All that differ, with a warning, if there are fewer.
    layer
        Layer to use instead of `X`.
    target_sum
        Sum that the counts of each cell are scaled to before `log1p`. With `None` the values are taken as they are:
        log-normalised already.
    chunk_size
        Cells in memory at a time.
    silent
        Whether to hide the progress bar.
    copy
        Whether to leave `adata` as it is and return a copy. The copy of a backed `adata` is in memory.
    unlabeled
        Labels that stand for none, as in :func:`ginseng.tl.train`.

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.var['ginseng_genes']` : :class:`pandas.Series` (dtype ``bool``)
        The selected genes.
    `adata.var['ginseng_rank']` : :class:`pandas.Series` (dtype ``float64``)
        Rank of the gene in the type that it tells apart best, from 1; NaN for a gene that is the same in all.
    `adata.var['ginseng_t']` : :class:`pandas.Series` (dtype ``float64``)
        Its t statistic there: above 0 if the type has more of it than other cells, infinite if it is constant within
        each type.

    Statistics of an earlier selection are removed.

    Raises
    ------
    KeyError
        If there is no such layer or column.
    ValueError
        If there are fewer than two types, if values are negative, NaN or infinite, or if no gene differs.

    References
    ----------
    Student 1908, The probable error of a mean, with the variance within all types of a one-way analysis of variance
    (Fisher 1925): that within one type of few cells says little.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.pp.select_markers(adata, "cell_type", n_top_genes=200, silent=True)
    >>> int(adata.var["ginseng_genes"].sum())
    200
    """
    with running("select_markers") as added:
        check_size(adata, n_top_genes=n_top_genes, chunk_size=chunk_size, target_sum=target_sum)
        labels = labels_of(obs_column(adata, label_key), label_key, unlabeled, obs=in_memory(adata.obs))
        if len(labels.names) < 2:
            msg = f"Genes can differ only between at least two cell types; {label_key!r} has {len(labels.names)}."
            raise ValueError(msg)
        var = in_memory(adata.var)
        warn_of_other_features(var)
        genes = genes_to_select(var)
        for note in genes.notes():
            warn(note)
        columns = find_markers(
            adata, labels.codes, n_top_genes, layer, genes=genes,
            target_sum=target_sum, chunk_size=chunk_size, silent=silent,
        )  # fmt: skip
        adata = copied(adata) if copy else adata
        write_columns(adata, columns)
        n_selected = int(columns[_keys.GENES].sum())
        added(f"added adata.var[{_keys.GENES!r}], {n_selected} of {adata.n_vars} genes, their ranks and t statistics")
    return adata if copy else None


def find_markers(
    adata: AnnData,
    labels: np.ndarray,
    n_top_genes: int,
    layer: str | None = None,
    *,
    genes: NamedGenes,
    target_sum: float | None = 1e4,
    chunk_size: int = 4096,
    silent: bool = False,
) -> dict[str, np.ndarray]:
    """Return the columns of `var` that :func:`select_markers` writes.

    Parameters
    ----------
    labels
        (cells,) integers, -1 for cells that are left out.
    genes
        What to choose from.
    """
    present, of_labelled = np.unique(labels[labels >= 0], return_inverse=True)
    group = np.full(len(labels), -1)
    group[labels >= 0] = of_labelled
    moments = Moments(len(present), len(genes.names))
    check = ValueCheck(layer, is_log=target_sum is None)
    values = partial(normalised, target_sum=target_sum, flavor="cell_ranger", base=None)  # log1p
    parts = row_blocks(adata, layer, size=chunk_size)
    n_chunks = math.ceil(adata.n_obs / chunk_size)
    for start, stop, part in progress(parts, desc="Selecting genes", silent=silent, total=n_chunks, unit="chunks"):
        block, of_cell = sparse.csr_matrix(genes.summed(part)), group[start:stop]
        if (of_cell < 0).any():
            block, of_cell = block[of_cell >= 0], of_cell[of_cell >= 0]
        if check.look(block.data):
            moments.add(values(block), of_cell)
    check.fail_on_bad_values()
    check.warn()
    rank, t = _ranks(moments)
    top = np.lexsort((-np.abs(t), rank))[: operator.index(n_top_genes)]  # NaN comes last
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


def _ranks(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Return the best rank of each gene in any type, NaN for none, and the t statistic there: (genes,) each."""
    n, k = moments.n_cells.sum(), len(moments.n_cells)
    everywhere = moments.over_batches()
    total, squares = everywhere.total[0], everywhere.squares[0]
    rounding = 1e-9 * squares  # float32 values, summed in float64
    between = np.zeros_like(total)
    for size, here in zip(moments.n_cells, moments.total, strict=True):
        between += here**2 / size
    within = np.where(squares - between > rounding, squares - between, 0.0)
    varies = squares - total**2 / n > rounding
    best, t_there = np.full(len(total), np.inf), np.zeros(len(total))
    for size, here in zip(moments.n_cells, moments.total, strict=True):  # one at a time: types x genes may be much
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
