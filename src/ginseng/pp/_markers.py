from __future__ import annotations

import math
import operator
import warnings
from functools import partial

import numpy as np
from anndata import AnnData
from scipy import sparse

from ginseng import _keys
from ginseng._checks import check_names, measured_genes, warn_of_other_features
from ginseng._labels import coded, in_memory, obs_column
from ginseng._logging import progress, running
from ginseng._matrix import copied, row_blocks

from ._genes import ValueCheck, check_size, write_columns
from ._hvg import Moments, normalised


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
) -> AnnData | None:
    """Select the genes whose expression differs most between cell types, chunk by chunk.

    Where labels are known, as they are for training, they say better than variability alone which genes tell types
    apart. Genes are ranked by the F statistic of a one-way analysis of variance of log1p expression between the
    labels: the variance of the means of the types over the variance within them. Cells are read `chunk_size` at a
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

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.var['ginseng_genes']` : :class:`pandas.Series` (dtype ``bool``)
        The selected genes.
    `adata.var['ginseng_f']` : :class:`pandas.Series` (dtype ``float64``)
        The F statistic; infinite for a gene that is constant within each type, 0 for one that is constant.

    Statistics of an earlier selection are removed.

    Raises
    ------
    KeyError
        If there is no such layer or column.
    ValueError
        If there are fewer than two types, if values are negative, NaN or infinite, or if no gene differs.

    References
    ----------
    Fisher 1925, Statistical Methods for Research Workers; as :func:`sklearn.feature_selection.f_classif`, which needs
    the whole matrix.

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
        labels, names = coded(obs_column(adata, label_key))
        check_names(names, f"{label_key!r}")
        if len(names) < 2:
            msg = f"Genes can differ only between at least two cell types; {label_key!r} has {len(names)}."
            raise ValueError(msg)
        columns = find_markers(
            adata, labels, n_top_genes, layer,
            target_sum=target_sum, chunk_size=chunk_size, silent=silent, stacklevel=3,
        )  # fmt: skip
        adata = copied(adata) if copy else adata
        write_columns(adata, columns)
        n_selected = int(columns[_keys.GENES].sum())
        added(f"added adata.var[{_keys.GENES!r}], {n_selected} of {adata.n_vars} genes, and their F statistics")
    return adata if copy else None


def find_markers(
    adata: AnnData,
    labels: np.ndarray,
    n_top_genes: int,
    layer: str | None = None,
    *,
    target_sum: float | None = 1e4,
    chunk_size: int = 4096,
    silent: bool = False,
    stacklevel: int = 2,
) -> dict[str, np.ndarray]:
    """Return the columns of `var` that :func:`select_markers` writes.

    Parameters
    ----------
    labels
        (cells,) integers, -1 for cells that are left out.
    stacklevel
        Where warnings point to.
    """
    var = in_memory(adata.var)
    warn_of_other_features(var, stacklevel=stacklevel)
    present, of_labelled = np.unique(labels[labels >= 0], return_inverse=True)
    group = np.full(len(labels), -1)
    group[labels >= 0] = of_labelled
    moments = Moments(len(present), adata.n_vars)
    check = ValueCheck(layer, is_log=target_sum is None)
    values = partial(normalised, target_sum=target_sum, flavor="cell_ranger", base=None)  # log1p
    parts = row_blocks(adata, layer, size=chunk_size)
    n_chunks = math.ceil(adata.n_obs / chunk_size)
    for start, stop, part in progress(parts, desc="Selecting genes", silent=silent, total=n_chunks, unit="chunks"):
        block, of_cell = sparse.csr_matrix(part), group[start:stop]
        if (of_cell < 0).any():
            block, of_cell = block[of_cell >= 0], of_cell[of_cell >= 0]
        if check.look(block.data):
            moments.add(values(block), of_cell)
    check.fail_on_bad_values()
    check.warn(stacklevel=stacklevel + 1)
    f = np.where(measured_genes(var), _f_statistic(moments), 0.0)
    top = np.argsort(-f, kind="stable")[: operator.index(n_top_genes)]
    top = top[f[top] > 0]
    if not len(top):
        msg = "No gene differs between the cell types: all are constant."
        raise ValueError(msg)
    if len(top) < n_top_genes:
        msg = f"Only {len(top)} genes differ between the cell types, for `{n_top_genes=}`."
        warnings.warn(msg, UserWarning, stacklevel=stacklevel)
    selected = np.zeros(len(f), bool)
    selected[top] = True
    return {_keys.GENES: selected, _keys.F: f}


def _f_statistic(moments: Moments) -> np.ndarray:
    """Variance between the means of the groups over that within them: (genes,)."""
    n, k = moments.n_cells.sum(), len(moments.n_cells)
    everywhere = moments.over_batches()
    of_mean = everywhere.total[0] ** 2 / n
    total = everywhere.squares[0] - of_mean  # sums of squares about the mean
    between = (moments.total**2 / moments.n_cells[:, None]).sum(axis=0) - of_mean
    rounding = 1e-9 * everywhere.squares[0]  # float32 values, summed in float64
    within = np.where(total - between > rounding, total - between, 0.0)
    with np.errstate(divide="ignore"):
        return np.divide(between / (k - 1), within / max(n - k, 1), out=np.zeros_like(total), where=total > rounding)
