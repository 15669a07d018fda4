"""Compute highly variable genes from sums over cells. Works on arrays and data frames, not on AnnData.

Shape letters: `R` cells (rows) of a block, `B` batches, `G` genes.

The arithmetic follows :func:`scanpy.pp.highly_variable_genes` operation by operation, so that even ties between genes
are broken in the same way.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import ndtri

from ginseng._core.normalize import log_normalize

#: Values of a block (R, G), and the batch of each cell (R,).
type Values = tuple[sparse.csr_matrix, np.ndarray]

#: Values from which on it is worth half a second to load the kernels, which are four times as fast.
MANY = 50_000_000
MAD_TO_SD = float(ndtri(0.75))  # the median absolute deviation of a standard normal


def normalised(
    block: sparse.csr_matrix,
    *,
    target_sum: float | None,
    flavor: Literal["seurat", "cell_ranger"],
    base: float | None,
) -> sparse.csr_matrix:
    """Scale each cell to `target_sum`; for cell_ranger, also take log1p.

    Parameters
    ----------
    block
        (R, G), counts, or log-normalised values if `target_sum` is None.
    base
        Base of the logarithm of log-normalised values, None for e.
    """
    if target_sum is not None:
        block = log_normalize(block, None, target_sum, as_scanpy=True)
    x = block.data if block.dtype.kind == "f" else block.data.astype(np.float32)
    if flavor == "seurat":
        if target_sum is None and base is not None:
            x = (x * np.log(base)).astype(x.dtype)
        x = np.expm1(x)  # then log1p again, to round exactly like a log-normalised input
    return sparse.csr_matrix((x, block.indices, block.indptr), shape=block.shape)


def counts(
    block: sparse.csr_matrix, ceiling: np.ndarray | None = None, batch: np.ndarray | None = None
) -> sparse.csr_matrix:
    """Return counts in 64 bits, clipped at the `ceiling` (B, G) of the batch (R,) of each cell."""
    x = block.data.astype(np.float64)
    if ceiling is not None and batch is not None:
        np.minimum(x, ceiling[np.repeat(batch, np.diff(block.indptr)), block.indices], out=x)
    return sparse.csr_matrix((x, block.indices, block.indptr), shape=block.shape)


class Moments:
    """Sums for mean and variance per batch and gene, updated block by block."""

    def __init__(self, n_batches: int, n_genes: int) -> None:
        self.n_cells = np.zeros(n_batches, dtype=np.int64)
        self.n_values = 0
        self.total = np.zeros((n_batches, n_genes))
        self.squares = np.zeros((n_batches, n_genes))

    def add(self, block: sparse.csr_matrix, batch: np.ndarray) -> None:
        """Add the cells of `block` (R, G); `batch` (R,) gives the batch of each cell."""
        self.n_cells += np.bincount(batch, minlength=len(self.n_cells))
        self.n_values += block.nnz
        if self.n_values < MANY and "numba" not in sys.modules:  # the same sums, to the bit
            x = block.data if block.dtype.kind == "f" else block.data.astype(np.float64)
            n_genes = self.total.shape[1]
            place = np.repeat(batch.astype(np.intp) * n_genes, np.diff(block.indptr)) + block.indices
            for sums, values in ((self.total, x), (self.squares, x * x)):
                np.add.at(sums.reshape(-1), place, values.astype(np.float64, copy=False))
            return
        from ginseng._select.kernels import add

        add(block.indptr, block.indices, block.data, batch, self.total, self.squares)

    def add_values(self, values: Values) -> None:
        """Add cells, passed as one."""
        self.add(*values)

    @property
    def mean(self) -> np.ndarray:
        """(B, G) mean."""
        return self.total / self.n_cells[:, None]

    @property
    def variance(self) -> np.ndarray:
        """(B, G) unbiased variance."""
        n = self.n_cells[:, None]
        return (self.squares / n - self.mean**2) * (n / (n - 1))

    def over_batches(self) -> Moments:
        """Return the moments over all cells, as a single batch."""
        out = Moments(1, self.total.shape[1])
        out.n_cells[0] = self.n_cells.sum()
        out.total[0] = self.total.sum(axis=0)
        out.squares[0] = self.squares.sum(axis=0)
        return out


class OnlineMoments(Moments):
    """Moments by Welford's algorithm over the non-zero values.

    Equal to :class:`Moments` up to the last digits. These matter: the fit in :func:`expected_sd` is not continuous, and
    scanpy computes the moments of batches in this way.
    """

    def __init__(self, n_batches: int, n_genes: int) -> None:
        super().__init__(n_batches, n_genes)
        self.n_nonzero = np.zeros((n_batches, n_genes), dtype=np.int64)
        self.nonzero_mean = np.zeros((n_batches, n_genes))
        self.deviation = np.zeros((n_batches, n_genes))

    def add(self, block: sparse.csr_matrix, batch: np.ndarray) -> None:
        super().add(block, batch)
        sums = (self.n_nonzero, self.nonzero_mean, self.deviation)
        from ginseng._select.kernels import add_online

        add_online(block.indptr, block.indices, block.data, batch, *sums)

    @property
    def mean(self) -> np.ndarray:
        n = self.n_cells[:, None]
        return np.where(self.n_nonzero < n, self.nonzero_mean * self.n_nonzero / n, self.nonzero_mean)

    @property
    def variance(self) -> np.ndarray:
        n = self.n_cells[:, None]
        zeros = self.nonzero_mean * self.nonzero_mean * self.n_nonzero * (n - self.n_nonzero) / n
        return (self.deviation + zeros) / n * (n / (n - 1))


def select_by_dispersion(
    moments: Moments,
    names: pd.Index,
    eligible: np.ndarray,
    *,
    n_top_genes: int,
    n_bins: int,
    flavor: Literal["seurat", "cell_ranger"],
    batched: bool,
) -> pd.DataFrame:
    """Select the genes with a high dispersion (variance / mean) among genes of similar mean.

    Parameters
    ----------
    moments
        Of the normalised values; for cell_ranger, of their log1p.
    names
        (G,) gene names, which break ties if `batched`.
    eligible
        (G,) bool, genes that may be selected.
    batched
        Whether to ignore, in each batch, the genes that are not expressed in it, and to prefer the genes selected in
        most batches. This differs from no batches even if there is only one.

    Returns
    -------
    One row per gene: `selected`, `means`, `dispersions`, `dispersions_norm`, `n_batches`.
    """
    how: Any = {"n_top_genes": n_top_genes, "n_bins": n_bins, "flavor": flavor}
    mean, variance = moments.mean, moments.variance
    if not batched:
        table = _dispersions(mean[0], variance[0], eligible, **how)
        return table.assign(n_batches=table["selected"].astype(int))

    frames = []
    for b, expressed in enumerate(moments.total > 0):
        found = _dispersions(mean[b, expressed], variance[b, expressed], eligible[expressed], **how)
        found.index = np.flatnonzero(expressed)
        frames.append(found.astype({"selected": int}).reindex(range(len(names)), fill_value=0))
    table = (
        pd.concat(frames)
        .groupby(level=0)
        .agg({"selected": "sum", "means": "mean", "dispersions": "mean", "dispersions_norm": "mean"})
        .rename(columns={"selected": "n_batches"})
    )
    # order by number of batches, then by dispersion, then by name
    order = table.iloc[np.argsort(names.to_numpy(dtype=object), kind="stable")]
    order = order[eligible[order.index]].sort_values(
        ["n_batches", "dispersions_norm"], ascending=False, na_position="last"
    )
    table["selected"] = False
    table.loc[order.index[:n_top_genes], "selected"] = True
    return table


def _dispersions(
    mean: np.ndarray,
    variance: np.ndarray,
    eligible: np.ndarray,
    *,
    n_top_genes: int,
    n_bins: int,
    flavor: Literal["seurat", "cell_ranger"],
) -> pd.DataFrame:
    mean = np.where(mean == 0, 1e-12, mean)
    dispersion = variance / mean
    if flavor == "seurat":
        # the variance of a constant gene is zero up to rounding errors, and may be negative
        dispersion = np.log(dispersion, out=np.full_like(dispersion, np.nan), where=dispersion > 0)
        mean = np.log1p(mean)
    table = pd.DataFrame({"means": mean, "dispersions": dispersion})
    if flavor == "seurat":
        bins = pd.cut(table["means"], bins=n_bins, labels=False)
        stats = table.groupby(bins)["dispersions"].agg(centre="mean", scale="std")
        # by definition, a gene alone in its bin is one standard deviation above the mean
        alone = stats["scale"].isna()
        stats.loc[alone, "scale"] = stats.loc[alone, "centre"]
        stats.loc[alone, "centre"] = 0
    else:
        edges = np.r_[-np.inf, np.percentile(table["means"], np.arange(10, 105, 5)), np.inf]
        # many genes without counts have a mean of zero, so several percentiles coincide
        bins = pd.cut(table["means"], bins=edges, labels=False, duplicates="drop")
        stats = table.groupby(bins)["dispersions"].agg(centre="median", scale=_mad)
    stats = stats.loc[bins].set_index(table.index)
    table["dispersions_norm"] = (table["dispersions"] - stats["centre"]) / stats["scale"]

    candidates = np.where(eligible, table["dispersions_norm"], np.nan)
    ranked = np.sort(candidates[~np.isnan(candidates)])[::-1]
    # Ties with the last selected gene are selected too. With cell_ranger, most genes of a bin may be equal and the
    # few others infinitely far away; if those are enough, scanpy selects none.
    table.insert(0, "selected", candidates >= ranked[:n_top_genes][-1] if len(ranked) else False)
    return table


def _mad(x: pd.Series) -> float:
    return float(np.median(np.abs(x - np.median(x)) / MAD_TO_SD))


def expected_sd(mean: np.ndarray, variance: np.ndarray, span: float) -> np.ndarray:
    """Expected standard deviation of genes by their mean: loess of log variance on log mean.

    Parameters
    ----------
    mean, variance
        (G,) of the counts.
    span
        Fraction of the genes used for the local fit.

    Returns
    -------
    (G,) expected standard deviations; 1 for constant genes.
    """
    from skmisc.loess import loess

    log_variance = np.zeros_like(mean)
    varies = variance > 0
    if varies.any():
        model = loess(np.log10(mean[varies]), np.log10(variance[varies]), span=span, degree=2)
        model.fit()
        log_variance[varies] = model.outputs.fitted_values
    return np.sqrt(10**log_variance)


def select_by_variance(
    moments: Moments, clipped: Moments, sd: np.ndarray, eligible: np.ndarray, *, n_top_genes: int
) -> pd.DataFrame:
    """Select the genes whose counts vary most, relative to :func:`expected_sd`.

    Parameters
    ----------
    moments
        Of the counts.
    clipped
        Of the counts, clipped at `mean + sd * sqrt(n_cells)` of their batch.
    sd
        (B, G) expected standard deviations.
    eligible
        (G,) bool, genes that may be selected.

    Returns
    -------
    One row per gene: `selected`, `means`, `variances`, `variances_norm`, `rank`, `n_batches`.
    """
    n, mean = moments.n_cells[:, None], moments.mean
    norm = (1 / ((n - 1) * np.square(sd))) * (n * np.square(mean) + clipped.squares - 2 * clipped.total * mean)
    rank = np.argsort(np.argsort(-np.where(eligible, norm, -np.inf), axis=1), axis=1).astype(np.float32)
    is_top = rank < n_top_genes
    rank = np.ma.median(np.ma.masked_array(rank, ~is_top), axis=0).filled(np.nan)

    everywhere = moments.over_batches()
    table = pd.DataFrame(
        {
            "means": everywhere.mean[0],
            "variances": everywhere.variance[0],
            "variances_norm": norm.mean(axis=0),
            "rank": rank,
            "n_batches": is_top.sum(axis=0),
        }
    )
    order = table[eligible].sort_values(["rank", "n_batches"], ascending=[True, False], na_position="last")
    table.insert(0, "selected", False)
    table.loc[order.index[:n_top_genes], "selected"] = True
    return table
