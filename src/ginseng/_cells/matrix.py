"""Read a count matrix by blocks of rows, in memory or on disk."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from scipy import sparse

from ginseng._cells.by_columns import blocks, is_by_columns
from ginseng._disk.matrix_guard import check_matrix
from ginseng._errors import MissingKeyError, suggest

#: Number of blocks between two calls of `malloc_trim`.
BLOCKS_PER_TRIM = 4

type Block = sparse.csr_matrix | np.ndarray


class Part(NamedTuple):
    """Consecutive cells."""

    start: int
    stop: int
    block: Block  # cells x genes
    of_cell: Any = None  # what the caller has for each of these cells


def matrix_of(adata: AnnData, layer: str | None = None) -> Any:
    """Return `adata.X` or a layer, without loading it: NumPy, SciPy, dask or on disk.

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
            if not layers_of(adata):
                raw = ", or pass `layer='raw'` for `adata.raw`" if adata.raw is not None else ""
                msg += f" Leave out `layer` to use `adata.X`{raw}."
            raise MissingKeyError(msg)
        return adata.layers[layer]
    if (x := x_of(adata)) is None:
        msg = "`adata.X` is empty. "
        if layers := layers_of(adata):
            msg += f"Pass `layer=`. Layers: {', '.join(layers)}."
        elif adata.raw is not None:
            msg += "Pass `layer='raw'`, which takes the matrix and the genes of `adata.raw`."
        raise ValueError(msg)
    return x


def x_of(adata: AnnData) -> Any:
    """Return `adata.X`, or None where there is none, which anndata finds in memory alone."""
    try:
        return adata.X
    except KeyError:  # the file has no such member
        return None


def layers_of(adata: AnnData) -> list[str]:
    """Return the names of the layers."""
    return [name for name in list(adata.layers.keys()) if name is not None]  # anndata >= 0.13 lists X as None


def row_blocks(
    adata: AnnData, layer: str | None = None, *, size: int = 4096, every: int = 1
) -> Iterator[tuple[int, int, Block]]:
    """Yield `(start, stop, block)` over consecutive rows of the matrix.

    Parameters
    ----------
    adata
        In memory, backed, lazy or a view.
    layer
        Layer to read instead of `X`.
    size
        Rows per block.
    every
        Read only the first of every so many blocks.

    Yields
    ------
    start, stop
        Row range of the block.
    block
        CSR or dense array in memory, cells x genes, with the dtype of the data.

    Raises
    ------
    TypeError, ValueError
        If a matrix on disk is not numeric, or is sparse with out-of-bounds indices. Matrices in memory must be checked
        beforehand.
    """
    starts = range(0, adata.n_obs, size * every)
    whole = held(adata, layer)
    by_columns = is_by_columns(whole)
    if adata.is_view and not by_columns:
        # `.X` of a view would load all of its rows at once
        parts: Iterator[Any] = (matrix_of(adata[start : start + size], layer) for start in starts)
    else:
        x = matrix_of(adata, layer)
        parts = islice(blocks(x, size), 0, None, every) if by_columns else (x[start : start + size] for start in starts)
    for i, (start, part) in enumerate(zip(starts, parts, strict=True)):
        if i % BLOCKS_PER_TRIM == BLOCKS_PER_TRIM - 1:
            trim()
        yield start, start + part.shape[0], to_memory(part, of=whole)


def parts_of(block: Block, start: int, size: int, of_cell: Any = None) -> Iterator[Part]:
    """Yield a block, whose first row is cell `start`, in parts of `size` rows."""
    for i in range(0, block.shape[0], size):
        part = block if block.shape[0] <= size else block[i : i + size]
        yield Part(start + i, start + i + part.shape[0], part, None if of_cell is None else of_cell[i : i + size])


def trim() -> None:
    """Return free memory to the operating system.

    The blocks of a sparse matrix differ in size; without this, glibc retains 100 MB more per million cells.
    """
    with suppress(AttributeError, OSError, TypeError):  # only glibc has, and needs, `malloc_trim`
        ctypes.CDLL(None).malloc_trim(0)


def held(adata: AnnData, layer: str | None) -> Any:
    """Return the matrix of an AnnData, or of the parent if it is a view."""
    holder: Any = adata._adata_ref if adata.is_view else adata
    return matrix_of(holder, layer)


def is_in_memory(x: Any) -> bool:
    """Whether a matrix is entirely in memory, so that one check covers all of it."""
    return isinstance(x, np.ndarray) or sparse.issparse(x)


def all_to_memory(parts: Iterable[Any], *, of: Any) -> Iterator[Block]:
    """Yield rows of the matrix `of` as :func:`to_memory` does; a dask array computes all of them at once."""
    if hasattr(of, "to_delayed"):
        import dask

        parts = dask.compute(*parts)
    return (to_memory(part, of=of) for part in parts)


def to_memory(x: Any, *, of: Any) -> Block:
    """Return rows `x` of the matrix `of` as CSR or dense array in memory."""
    if hasattr(x, "to_memory"):
        x = x.to_memory()
    elif hasattr(x, "compute"):
        x = x.compute()
    if not is_in_memory(of):
        check_matrix(x)
    if x.dtype == np.float16:  # not supported by SciPy
        x = x.astype(np.float32)
    return sparse.csr_matrix(x) if sparse.issparse(x) else np.asarray(x)


def copied(adata: AnnData) -> AnnData:
    """Return a copy, in memory if the matrices are on disk."""
    if not adata.isbacked:
        with suppress(NotImplementedError):  # anndata cannot copy backed matrices that it did not open itself
            return adata.copy()
    return adata.to_memory(copy=True)


def make_actual(adata: AnnData) -> None:
    """Turn a view into an actual AnnData, so that writing leaves its parent alone, without anndata's warning."""
    if adata.is_view:
        adata._init_as_actual(copied(adata))


def row_sums(block: Block, columns: np.ndarray | None = None) -> np.ndarray:
    """Return total counts per cell in float64, (rows,); over all columns, or those where `columns` is True."""
    if columns is not None and columns.all():
        columns = None
    if isinstance(block, np.ndarray):
        return (block if columns is None else block[:, columns]).sum(axis=1, dtype=np.float64)
    # much faster than `.sum(axis=1)`
    return block @ (np.ones(block.shape[1]) if columns is None else columns.astype(np.float64))


def take_columns(block: Block, position: np.ndarray, n_columns: int) -> Block:
    """Rearrange the columns of `block` by `position`.

    Parameters
    ----------
    block
        (rows, columns).
    position
        (columns,) index of each column in the result, or -1 to drop it. Columns with the same index are summed.
    n_columns
        Number of columns of the result; those that no column maps to are zero.

    Returns
    -------
    (rows, n_columns), sparse if `block` is.
    """
    columns = np.flatnonzero(position >= 0)
    columns = columns[np.argsort(position[columns], kind="stable")]
    places = position[columns]
    one_each = len(np.unique(places)) == len(places)
    if not one_each:  # sums may overflow the dtype of the addends
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


def index_dtype(n: int) -> type[np.signedinteger]:
    """Return the smaller of int32 and int64 that holds the indices of `n` cells."""
    return np.int32 if n <= np.iinfo(np.int32).max else np.int64


def smallest_dtype(largest: float, integers: bool) -> np.dtype:
    """Return the smallest dtype that holds counts up to `largest`; float32 if not all are integers."""
    if not integers:
        return np.dtype(np.float32)
    types = (np.uint8, np.uint16, np.uint32, np.uint64)
    return next((np.dtype(t) for t in types if largest <= np.iinfo(t).max), np.dtype(np.float32))
