"""Normalisation of counts, shared by training, inference, comparison and figures."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

LibrarySize = Literal["all_genes", "model_genes"]

#: Default genes of the library size.
LIBRARY_SIZE: LibrarySize = "model_genes"


def log_normalize(
    x: Any,
    total: Any | None = None,
    target_sum: float | None = 1e4,
    *,
    as_scanpy: bool = False,
) -> Any:
    """Scale the counts of each cell to a sum of `target_sum`, then take log(1 + x).

    Parameters
    ----------
    x
        (cells, genes) counts: a JAX or NumPy array, or a SciPy CSR matrix.
    total
        (cells,) library sizes; the row sums of `x` if None.
    target_sum
        Counts per cell after scaling; the number of genes if None.
    as_scanpy
        Whether to round like :func:`scanpy.pp.normalize_total`, which divides instead of multiplying.

    Returns
    -------
    log1p counts per `target_sum`, in the same container as `x`. float32, except that `as_scanpy` keeps float64. Cells
    without counts stay zero.
    """
    is_sparse = hasattr(x, "indptr")
    values = x.data if is_sparse else x
    xp = values.__array_namespace__()
    if values.dtype != np.float64 or not as_scanpy:
        values = values.astype(np.float32)
    if total is None:
        total = row_sums(x) if is_sparse else values.sum(axis=1)
    total = total.astype(values.dtype)
    target = float(x.shape[1]) if target_sum is None else float(target_sum)
    total = xp.where(total > 0, total, target if as_scanpy else 1.0)
    scale = total / target if as_scanpy else target / total
    scale = np.repeat(scale, np.diff(x.indptr)) if is_sparse else scale[:, None]
    values = xp.log1p(values / scale if as_scanpy else values * scale)
    return type(x)((values, x.indices, x.indptr), shape=x.shape) if is_sparse else values


def unlog(x: Any) -> Any:
    """Return exp(x) - 1 of logarithms, a JAX array or a SciPy CSR matrix."""
    if hasattr(x, "indptr"):
        return type(x)((unlog(x.data), x.indices, x.indptr), shape=x.shape)
    xp = x.__array_namespace__()
    return xp.expm1(xp.minimum(x, 60.0))  # above any real logarithm, so that the sum cannot overflow


def row_sums(x: Any) -> Any:
    """Return the total of each cell of a JAX array or a SciPy CSR matrix."""
    return x @ np.ones(x.shape[1]) if hasattr(x, "indptr") else x.sum(axis=1)
