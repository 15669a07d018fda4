from __future__ import annotations

import importlib.util
import math
import operator
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData, ImplicitModificationWarning
from scipy import sparse

from ginseng import _keys
from ginseng._cells.bad_values import bad_values
from ginseng._cells.entries import column
from ginseng._cells.features import warn_of_other_features
from ginseng._cells.genes import genes_to_select
from ginseng._cells.labels import in_memory
from ginseng._cells.matrix import row_blocks
from ginseng._errors import warn
from ginseng._logging import progress, running
from ginseng.pp._hvg import (
    LARGEST_LOG,
    Moments,
    OnlineMoments,
    counts,
    expected_sd,
    normalised,
    select_by_dispersion,
    select_by_variance,
)

Flavor = Literal["seurat", "cell_ranger", "seurat_v3"]

#: Columns of `var`, by the name that the statistic has in :mod:`ginseng.pp._hvg`.
_COLUMNS = {
    "selected": _keys.GENES,
    "means": _keys.MEANS,
    "variances": _keys.VARIANCES,
    "variances_norm": _keys.VARIANCES_NORM,
    "dispersions": _keys.DISPERSIONS,
    "dispersions_norm": _keys.DISPERSIONS_NORM,
    "rank": _keys.RANK,
    "n_batches": _keys.N_BATCHES,
}


def select_hvgs(
    adata: AnnData,
    n_top_genes: int = 2000,
    layer: str | None = None,
    *,
    target_sum: float | None = 1e4,
    min_mean: float | None = None,
    max_mean: float | None = None,
    n_bins: int = 20,
    chunk_size: int = 4096,
    silent: bool = False,
    copy: bool = False,
    flavor: Flavor = "seurat",
    batch_key: str | None = None,
    span: float = 0.3,
) -> AnnData | None:
    """Select highly variable genes, chunk by chunk.

    Finds the genes that :func:`scanpy.pp.highly_variable_genes` finds, without loading or normalising the
    whole matrix: cells are read `chunk_size` at a time, once (twice with `flavor='seurat_v3'`), and only sums
    over cells are kept. `adata` may be in memory, backed, lazy or a view, its matrix sparse or dense, of any
    number type.

    Parameters
    ----------
    adata
        Cells x genes, counts or log-normalised values.
    n_top_genes
        Number of genes to select. All genes, with a warning, if there are fewer. As in scanpy, genes tied
        with the last one are selected too.
    layer
        Layer to use instead of `X`.
    target_sum
        Sum that the counts of each cell are scaled to before `log1p`. With `None` the matrix is taken to be
        log-normalised already, to the base in `adata.uns['log1p']`. `flavor='seurat_v3'` works on counts and
        does not use it.
    min_mean, max_mean
        Bounds on mean expression, as quantiles over genes, between 0 and 1: with 0.025 and 0.995, the 2.5% of
        genes of the lowest mean and the 0.5% of the highest cannot be selected. No bounds by default.
    n_bins
        Bins of mean expression among which `flavor='seurat'` compares genes.
    chunk_size
        Cells in memory at a time. Changes memory, never the result. Of a matrix stored by columns (CSC) that
        is large and on disk, a copy by rows is made among the temporary files.
    silent
        Whether to hide the progress bar.
    copy
        Whether to leave `adata` as it is and return a copy. The copy of a backed `adata` is in memory.
    flavor
        What variability is. `'seurat'` (Satija et al. 2015): dispersion of normalised counts, standardised
        within a bin of genes of similar mean. `'cell_ranger'` (Zheng et al. 2017): the same on log1p values,
        by median and median absolute deviation. `'seurat_v3'` (Stuart et al. 2019, needs
        `pip install "ginseng[seurat-v3]"`): variance of counts beside the variance expected of that mean.
    batch_key
        Column of `obs`. Genes are selected in each batch, then those selected in most batches are taken (for
        `'seurat_v3'`, those of the best median rank). This avoids genes that only tell batches apart.
    span
        Fraction of the genes in each local fit of `'seurat_v3'`.

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.var['ginseng_genes']` : :class:`pandas.Series` (dtype ``bool``)
        The selected genes.
    `adata.var['ginseng_means']` : :class:`pandas.Series` (dtype ``float64``)
        For `'seurat'` log1p of the mean normalised count, for `'cell_ranger'` the mean of log1p normalised
        counts, both averaged over batches; for `'seurat_v3'` the mean count.
    `adata.var['ginseng_dispersions']`, `adata.var['ginseng_dispersions_norm']` : (dtype ``float64``)
        Not with `'seurat_v3'`. Variance / mean (its logarithm for `'seurat'`), and the same relative to genes
        of similar mean. Averaged over batches.
    `adata.var['ginseng_variances']`, `adata.var['ginseng_variances_norm']` : (dtype ``float64``)
        `'seurat_v3'` only: variance of the counts, and of the clipped standardised counts, the latter
        averaged over batches.
    `adata.var['ginseng_rank']` : (dtype ``float64``)
        `'seurat_v3'` only: rank from 0, the median over the batches in which the gene is selected, else NaN.
    `adata.var['ginseng_n_batches']` : (dtype ``int64``)
        With `batch_key` only: in how many batches the gene is selected.

    Statistics of an earlier call are removed. The file of a backed `adata` is not changed; `var` is written
    in memory. A view becomes an AnnData of its own, as with any assignment to a view; a view of a backed
    AnnData stays one, and has the columns to itself.

    Raises
    ------
    KeyError
        If there is no such layer or column.
    ValueError
        If there are no cells or genes, if values are negative, NaN or infinite, if a batch has fewer than two
        cells or no counts, or if a parameter is out of range.
    ImportError
        If scikit-misc is needed and not installed.

    References
    ----------
    Satija et al. 2015, Nature Biotechnology 33, 495, https://doi.org/10.1038/nbt.3192

    Zheng et al. 2017, Nature Communications 8, 14049, https://doi.org/10.1038/ncomms14049

    Stuart et al. 2019, Cell 177, 1888, https://doi.org/10.1016/j.cell.2019.05.031

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.pp.select_hvgs(adata, n_top_genes=200, silent=True)
    >>> int(adata.var["ginseng_genes"].sum())
    200
    """
    with running(f"select_hvgs, flavor {flavor!r}") as added:
        columns = find_hvgs(
            adata, n_top_genes, layer,
            target_sum=target_sum, min_mean=min_mean, max_mean=max_mean, n_bins=n_bins, chunk_size=chunk_size,
            silent=silent, flavor=flavor, batch_key=batch_key, span=span,
        )  # fmt: skip
        if copy:
            adata = adata.to_memory(copy=True) if adata.isbacked else adata.copy()
        write_columns(adata, columns)
        n_selected = int(columns[_keys.GENES].sum())
        added(f"added adata.var[{_keys.GENES!r}], {n_selected} of {adata.n_vars} genes, and their statistics")
    return adata if copy else None


def find_hvgs(
    adata: AnnData,
    n_top_genes: int,
    layer: str | None = None,
    *,
    target_sum: float | None = 1e4,
    min_mean: float | None = None,
    max_mean: float | None = None,
    n_bins: int = 20,
    chunk_size: int = 4096,
    silent: bool = False,
    flavor: Flavor = "seurat",
    batch_key: str | None = None,
    span: float = 0.3,
) -> dict[str, np.ndarray]:
    """Return the columns of `var` that :func:`select_hvgs` writes."""
    n_top_genes = operator.index(n_top_genes)
    _check_arguments(
        adata,
        n_top_genes=n_top_genes,
        target_sum=target_sum,
        min_mean=min_mean,
        max_mean=max_mean,
        n_bins=n_bins,
        chunk_size=chunk_size,
        flavor=flavor,
        span=span,
    )
    batch, batch_names = _batches(adata, batch_key)
    var = in_memory(adata.var)
    warn_of_other_features(var)
    genes = genes_to_select(var)
    for note in genes.notes():
        warn(note)
    names, n_genes = pd.Index(genes.names), len(genes.names)
    is_log = target_sum is None and flavor != "seurat_v3"
    check = ValueCheck(layer, is_log=is_log)

    def blocks(desc: str) -> Iterator[tuple[sparse.csr_matrix, np.ndarray]]:
        n_chunks = math.ceil(adata.n_obs / chunk_size)
        parts = row_blocks(adata, layer, size=chunk_size)
        for start, stop, part in progress(parts, desc=desc, silent=silent, total=n_chunks, unit="chunks"):
            yield sparse.csr_matrix(genes.summed(part)), batch[start:stop]

    if flavor == "seurat_v3":
        values: Callable[[sparse.csr_matrix], sparse.csr_matrix] = counts
        moments = (Moments if batch_key is None else OnlineMoments)(len(batch_names), n_genes)
    else:
        base = adata.uns.get("log1p", {}).get("base") if is_log else None
        values = partial(normalised, target_sum=target_sum, flavor=flavor, base=base)
        moments = Moments(len(batch_names), n_genes)
    for block, of_cell in blocks("Selecting genes"):
        if check.look(block.data):
            moments.add(values(block), of_cell)
    check.fail_on_bad_values()
    empty = [name for name, total in zip(batch_names, moments.total, strict=True) if not total.any()]
    if empty:
        msg = f"All values are zero{_where(batch_key, empty)}, so no gene varies. Drop such cells."
        raise ValueError(msg)
    check.warn()

    eligible = _eligible(moments, min_mean, max_mean)
    n_wanted = min(n_top_genes, n_genes)
    if flavor == "seurat_v3":
        mean = moments.mean
        sd = np.stack([_expected_sd(m, v, span) for m, v in zip(mean, moments.variance, strict=True)])
        # large counts are cut off, so that a few cells do not make a gene highly variable
        ceiling = sd * np.sqrt(moments.n_cells)[:, None] + mean
        clipped = Moments(len(batch_names), n_genes)
        for block, of_cell in blocks("Standardising counts"):
            clipped.add(counts(block, ceiling, of_cell), of_cell)
        table = select_by_variance(moments, clipped, sd, eligible, n_top_genes=n_wanted)
    else:
        table = select_by_dispersion(
            moments,
            names,
            eligible,
            n_top_genes=n_wanted,
            n_bins=n_bins,
            flavor=flavor,
            batched=batch_key is not None,
        )
    if batch_key is None:
        table = table.drop(columns="n_batches")

    n_selected = int(table["selected"].sum())
    if n_top_genes > n_genes:
        table["selected"] = eligible
        n_selected = int(eligible.sum())
        msg = f"`{n_top_genes=}` is more than the {n_genes} genes there are; all are selected."
        warn(msg)
    elif n_selected == 0:
        msg = "No gene can be selected: within the bounds, none varies between cells, or the genes are so "
        msg += "few that none has others of similar mean beside it."
        raise ValueError(msg)
    elif n_selected < n_top_genes:
        msg = f"Only {n_selected} genes vary between cells within the bounds, for `{n_top_genes=}`."
        warn(msg)
    nothing = {"selected": False, "n_batches": 0}  # for what is no gene
    return {_COLUMNS[str(name)]: genes.spread(table[name].to_numpy(), nothing.get(str(name), np.nan)) for name in table}


def _check_arguments(
    adata: AnnData,
    *,
    n_top_genes: int,
    target_sum: float | None,
    min_mean: float | None,
    max_mean: float | None,
    n_bins: int,
    chunk_size: int,
    flavor: Flavor,
    span: float,
) -> None:
    check_size(adata, n_top_genes=n_top_genes, n_bins=n_bins, chunk_size=chunk_size, target_sum=target_sum)
    if flavor not in get_args(Flavor):
        msg = f"`flavor={flavor!r}` is not one of {', '.join(map(repr, get_args(Flavor)))}."
        raise ValueError(msg)
    if not 0 <= (0 if min_mean is None else min_mean) < (1 if max_mean is None else max_mean) <= 1:
        msg = f"`{min_mean=}` and `{max_mean=}` are quantiles and need 0 <= min_mean < max_mean <= 1."
        raise ValueError(msg)
    if not 0 < span <= 1:
        msg = f"`span={span}` is a fraction of the genes; it must be above 0 and at most 1."
        raise ValueError(msg)
    if flavor == "seurat_v3" and importlib.util.find_spec("skmisc") is None:
        msg = "`flavor='seurat_v3'` needs scikit-misc: `pip install \"ginseng[seurat-v3]\"`."
        raise ImportError(msg)


def check_size(adata: AnnData, *, target_sum: float | None, **numbers: int) -> None:
    """Check that there are cells and genes to select from, and that these numbers are positive."""
    if not isinstance(adata, AnnData):
        msg = f"`adata` is a {type(adata).__name__}, not an AnnData. Files are read with `ginseng.read_adata`."
        raise TypeError(msg)
    if 0 in adata.shape:
        msg = f"`adata` has {adata.n_obs} cells and {adata.n_vars} genes; there is nothing to select from."
        raise ValueError(msg)
    for name, number in numbers.items():
        if operator.index(number) < 1:
            msg = f"`{name}={number}` must be at least 1."
            raise ValueError(msg)
    if target_sum is not None and not 0 < target_sum < math.inf:
        msg = f"`target_sum={target_sum}` must be positive, or None for values that are log-normalised already."
        raise ValueError(msg)


def _batches(adata: AnnData, batch_key: str | None) -> tuple[np.ndarray, list[Any]]:
    """Return the batch of each cell, by number, and the names of the batches."""
    if batch_key is None:
        batch = pd.Categorical(np.zeros(adata.n_obs, dtype=int))
    else:
        obs: Any = adata.obs
        found: Any = column(obs, batch_key)  # of a lazy AnnData it is xarray's
        batch = pd.Categorical(found.to_series() if hasattr(found, "to_series") else found).remove_unused_categories()
    n_missing = int((batch.codes < 0).sum())
    if n_missing:
        msg = f"{n_missing} cells have no value in `adata.obs[{batch_key!r}]`. Drop them or name their batch."
        raise ValueError(msg)
    names = list(batch.categories)
    n_cells = np.bincount(batch.codes, minlength=len(names))
    small = [name for name, n in zip(names, n_cells, strict=True) if n == 1]
    if small:
        msg = f"There is a single cell{_where(batch_key, small)}; one cell has no variance. Merge or drop it."
        raise ValueError(msg)
    return batch.codes.astype(np.intp), names


def _where(batch_key: str | None, names: list[Any]) -> str:
    if batch_key is None:
        return ""
    return f" where `adata.obs[{batch_key!r}]` is {' or '.join(repr(name) for name in names[:5])}"


class ValueCheck:
    """What a matrix turns out to hold while it is read."""

    def __init__(self, layer: str | None, *, is_log: bool) -> None:
        self.matrix = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
        self.is_log = is_log
        self.bad = {"nan": 0, "infinite": 0, "negative": 0}
        self.lowest = 0.0
        self.is_whole = True
        self.largest = 0.0

    def look(self, values: np.ndarray) -> bool:
        """Take note of the stored values of a block. False if there are any that cannot be worked with."""
        lowest, highest = values.min(initial=0), values.max(initial=0)
        if not (lowest >= 0 and highest < np.inf):
            self.bad["nan"] += int(np.isnan(values).sum())
            self.bad["infinite"] += int(np.isinf(values).sum())
            self.bad["negative"] += int((values < 0).sum())
            self.lowest = min(self.lowest, float(lowest))
            return False
        self.largest = max(self.largest, float(highest))
        if self.is_whole and values.dtype.kind == "f":
            self.is_whole = bool((values == np.rint(values)).all())
        return not (self.is_log and self.largest > LARGEST_LOG)

    def fail_on_bad_values(self) -> None:
        if any(self.bad.values()):
            raise ValueError(bad_values(self.matrix, **self.bad, lowest=self.lowest))
        if self.is_log and self.largest > LARGEST_LOG:
            msg = f"`{self.matrix}` has values up to {self.largest:g}, which are no log-normalised ones. "
            msg += "For counts leave `target_sum` at its default."
            raise ValueError(msg)

    def warn(self) -> None:
        if self.is_log and self.is_whole:
            msg = f"`{self.matrix}` has whole numbers only, but `target_sum=None` is for log-normalised values."
        elif not self.is_log and not self.is_whole:
            msg = f"`{self.matrix}` has non-integers, as if normalised already, where counts are expected. "
            msg += "Pass `layer=` with the counts, or, unless the flavor is 'seurat_v3', `target_sum=None`."
        else:
            return
        warn(msg)


def _eligible(moments: Moments, min_mean: float | None, max_mean: float | None) -> np.ndarray:
    """Which genes are between the quantiles of mean expression: (genes,) bool."""
    mean = moments.over_batches().mean[0]
    low, high = np.quantile(mean, [min_mean or 0, 1 if max_mean is None else max_mean])
    return (mean >= low) & (mean <= high)


def _expected_sd(mean: np.ndarray, variance: np.ndarray, span: float) -> np.ndarray:
    try:
        return expected_sd(mean, variance, span)
    except ValueError as error:  # loess speaks of condition numbers
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        msg = f"The fit of variance on mean failed: {reason}. Try a larger `span` than {span}."
        raise ValueError(msg) from error


def write_columns(adata: AnnData, columns: dict[str, np.ndarray]) -> None:
    """Write what :func:`find_hvgs` returned, and remove what an earlier call wrote."""
    if adata.is_view and not adata.isbacked:
        with warnings.catch_warnings():
            # the caller asked for the columns, so that the view becomes an AnnData of its own is no surprise
            warnings.simplefilter("ignore", ImplicitModificationWarning)
            adata.var[_keys.GENES] = columns[_keys.GENES]
    var: Any = adata.var
    if isinstance(var, pd.DataFrame):
        # `insert`, since assignment to a view of a backed AnnData wants to copy the file
        for name in var.columns.intersection([*_COLUMNS.values(), _keys.MARKER_T, _keys.MARKER_RANK]):
            del var[name]
        for name, values in columns.items():
            var.insert(var.shape[1], name, values)
    else:  # lazy
        for name, values in columns.items():
            var[name] = values
