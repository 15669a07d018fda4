"""Sums over the cells of many blocks, compiled with numba, which takes half a second to load."""

from __future__ import annotations

import numba
import numpy as np

# The kernels process one cell after the other and add to running sums, not to sums per block, so that the result does
# not depend on the block size.


@numba.njit(cache=True)
def add(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    batch: np.ndarray,
    total: np.ndarray,
    squares: np.ndarray,
) -> None:
    for row in range(len(indptr) - 1):
        b = batch[row]
        for i in range(indptr[row], indptr[row + 1]):
            g, value = indices[i], data[i]
            total[b, g] += value
            squares[b, g] += value * value  # in 32 bits if the value has 32, as in scanpy


@numba.njit(cache=True)
def add_online(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    batch: np.ndarray,
    n_nonzero: np.ndarray,
    mean: np.ndarray,
    deviation: np.ndarray,
) -> None:
    for row in range(len(indptr) - 1):
        b = batch[row]
        for i in range(indptr[row], indptr[row + 1]):
            g, value = indices[i], data[i]
            n_nonzero[b, g] += 1
            from_old = value - mean[b, g]
            mean[b, g] += from_old / n_nonzero[b, g]
            deviation[b, g] += from_old * (value - mean[b, g])
