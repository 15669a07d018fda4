"""Binned expression per cell, for JAX arrays in the network and NumPy arrays elsewhere."""

from __future__ import annotations

from typing import Any


def bin_expression(x: Any, n_bins: int) -> Any:
    """Bin the expression of one cell into `n_bins` bins of equal width.

    Parameters
    ----------
    x
        (genes,) float32 JAX or NumPy array.

    Returns
    -------
    0 for genes that are not expressed, 1 to `n_bins` for the others by increasing value. The highest value has bin
    `n_bins` + 1 to itself. If all expressed genes have the same value, their bin is 1.
    """
    xp = x.__array_namespace__()
    low, high = xp.min(x, initial=xp.inf, where=x > 0), xp.max(x, initial=0.0)
    return xp.where(x > 0, bins_between(x, low, high, n_bins), 0).astype(xp.int32)


def bins_between(x: Any, low: Any, high: Any, n_bins: int) -> Any:
    """Return the bin (from 1) of each expressed value, given the lowest and highest value of its cell."""
    xp = x.__array_namespace__()
    width = xp.where(high > low, high - low, 1.0).astype(x.dtype)
    inner = xp.clip(xp.floor((x - low) * n_bins / width), 0, n_bins - 1)
    return xp.where((x >= high) & (high > low), n_bins, inner) + 1
