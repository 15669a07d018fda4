"""Expression as one of a few levels, cell by cell: of arrays of JAX in the network, of NumPy elsewhere."""

from __future__ import annotations

from typing import Any


def bin_expression(x: Any, n_bins: int) -> Any:
    """Cut what a cell expresses into `n_bins` bins of equal width.

    Parameters
    ----------
    x
        (genes,) float32, an array of JAX or NumPy.

    Returns
    -------
    0 for a gene that is not expressed, 1 to `n_bins` from the lowest value to the highest, which is in `n_bins` + 1 by
    itself; 1 for all where a cell has a single value.
    """
    xp = x.__array_namespace__()
    low, high = xp.min(x, initial=xp.inf, where=x > 0), xp.max(x, initial=0.0)
    return xp.where(x > 0, bins_between(x, low, high, n_bins), 0).astype(xp.int32)


def bins_between(x: Any, low: Any, high: Any, n_bins: int) -> Any:
    """Return the bin, from 1, of each expressed value between the lowest and the highest of its cell."""
    xp = x.__array_namespace__()
    width = xp.where(high > low, high - low, 1.0).astype(x.dtype)
    inner = xp.clip(xp.floor((x - low) * n_bins / width), 0, n_bins - 1)
    return xp.where((x >= high) & (high > low), n_bins, inner) + 1
