"""One way to read a count matrix by rows, whatever holds it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from ginseng._cells.by_columns import blocks, is_by_columns
from ginseng._disk.matrix_guard import check_matrix
from ginseng._errors import MissingKeyError, suggest

#: Blocks of rows that are read between two clearings of memory.
BLOCKS_PER_TRIM = 16

type Block = sparse.csr_matrix | np.ndarray


def matrix_of(adata: AnnData, layer: str | None = None) -> Any:
    """Return `adata.X`, or the layer of that name, as it is held: NumPy, SciPy, dask or on disk.

    Raises
    ------
    KeyError
        If there is no such layer.
    ValueError
        If `adata` has no `X`.
    """
    if layer is not None:
        if layer not in adata.layers:
            msg = f"`adata.layers` has no {layer!r}. {suggest(layer, layers_of(adata))}"
            raise MissingKeyError(msg)
        return adata.layers[layer]
    if adata.X is None:
        msg = "`adata.X` is empty. "
        if layers := layers_of(adata):
            msg += f"Pass `layer=`. Layers: {', '.join(layers)}."
        elif adata.raw is not None:
            msg += "Pass `layer='raw'`, which takes the matrix and the genes of `adata.raw`."
        raise ValueError(msg)
    return adata.X


def layers_of(adata: AnnData) -> list[str]:
    """Names of the layers."""
    return [name for name in list(adata.layers.keys()) if name is not None]  # from 0.13 on, anndata lists X as None


def row_blocks(adata: AnnData, layer: str | None = None, *, size: int = 4096) -> Iterator[tuple[int, int, Block]]:
    """Yield `(start, stop, block)` over consecutive rows of the matrix.

    Parameters
    ----------
    adata
        In memory, backed, lazy or a view.
    layer
        Layer to read instead of `X`.
    size
        Rows a block.

    Yields
    ------
    start, stop
        The rows of the block.
    block
        CSR or a dense array, cells x genes, in memory, of the dtype that the data have.

    Raises
    ------
    TypeError, ValueError
        If what comes from disk is not of numbers, or is sparse and has indices that are out of bounds. A matrix in
        memory is to be checked before.
    """
    starts = range(0, adata.n_obs, size)
    whole = held(adata, layer)
    by_columns = is_by_columns(whole)
    if adata.is_view and not by_columns:
        # `.X` of a view would load all of its rows
        parts: Iterator[Any] = (matrix_of(adata[start : start + size], layer) for start in starts)
    else:
        x = matrix_of(adata, layer)
        parts = blocks(x, size) if by_columns else (x[start : start + size] for start in starts)
    for i, (start, part) in enumerate(zip(starts, parts, strict=True)):
        if i % BLOCKS_PER_TRIM == BLOCKS_PER_TRIM - 1:
            _trim()
        yield start, start + part.shape[0], to_memory(part, of=whole)


def _trim() -> None:
    """Have the C library give back memory that is free.

    The blocks of a sparse matrix differ in size, and what glibc keeps between them grows by 100 MB in a million cells.
    """
    with suppress(AttributeError, OSError, TypeError):  # other C libraries have no need of it
        ctypes.CDLL(None).malloc_trim(0)


def held(adata: AnnData, layer: str | None) -> Any:
    """Return the matrix that an AnnData, or the one it is a view of, holds."""
    holder: Any = adata._adata_ref if adata.is_view else adata
    return matrix_of(holder, layer)


def is_in_memory(x: Any) -> bool:
    """Whether a matrix is in memory, so that checking it checks all parts of it."""
    return isinstance(x, np.ndarray) or sparse.issparse(x)


def to_memory(x: Any, *, of: Any) -> Block:
    """Return rows `x` of the matrix `of` as CSR or as a dense array."""
    if hasattr(x, "to_memory"):
        x = x.to_memory()
    elif hasattr(x, "compute"):
        x = x.compute()
    if not is_in_memory(of):
        check_matrix(x)
    if x.dtype == np.float16:  # SciPy has no such matrices
        x = x.astype(np.float32)
    return sparse.csr_matrix(x) if sparse.issparse(x) else np.asarray(x)


def copied(adata: AnnData) -> AnnData:
    """Return a copy, in memory where the matrices are on disk."""
    if not adata.isbacked:
        with suppress(NotImplementedError):  # anndata copies no matrix that it did not open itself
            return adata.copy()
    return adata.to_memory(copy=True)


def make_actual(adata: AnnData) -> None:
    """Make a view an AnnData of its own, so that writing to it leaves its parent alone; anndata would warn of it."""
    if adata.is_view:
        adata._init_as_actual(copied(adata))


def row_sums(block: Block, columns: np.ndarray | None = None) -> np.ndarray:
    """Total counts a cell, in float64: (rows,); over all columns, or those for which `columns` is True."""
    if columns is not None and columns.all():
        columns = None
    if isinstance(block, np.ndarray):
        return (block if columns is None else block[:, columns]).sum(axis=1, dtype=np.float64)
    # far faster than `.sum(axis=1)`
    return block @ (np.ones(block.shape[1]) if columns is None else columns.astype(np.float64))


def take_columns(block: Block, position: np.ndarray, n_columns: int) -> Block:
    """Place columns of `block` where `position` says.

    Parameters
    ----------
    block
        (rows, columns).
    position
        (columns,), the place of each column in the result, or -1 for a column that is left out. Columns that share
        a place are summed.
    n_columns
        Columns of the result; those that no column of `block` goes to are zero.

    Returns
    -------
    (rows, n_columns), sparse if `block` is.
    """
    columns = np.flatnonzero(position >= 0)
    columns = columns[np.argsort(position[columns], kind="stable")]
    places = position[columns]
    one_each = len(np.unique(places)) == len(places)
    if not one_each:  # a sum may not fit the type of its parts
        block = block.astype(np.result_type(block.dtype, np.float32))
    if isinstance(block, np.ndarray):
        out = np.zeros((block.shape[0], n_columns), dtype=block.dtype)
        if one_each:
            out[:, places] = block[:, columns]
        else:
            np.add.at(out.T, places, block[:, columns].T)
        return out
    taken = block[:, columns]
    out = sparse.csr_matrix((taken.data, places[taken.indices], taken.indptr), shape=(block.shape[0], n_columns))
    out.sum_duplicates()  # also sorts the indices
    return out


def smallest_dtype(largest: float, integers: bool) -> np.dtype:
    """Return the smallest dtype that holds counts up to `largest`; float32 if they are not all integers."""
    if not integers:
        return np.dtype(np.float32)
    types = (np.uint8, np.uint16, np.uint32, np.uint64)
    return next((np.dtype(t) for t in types if largest <= np.iinfo(t).max), np.dtype(np.float32))
