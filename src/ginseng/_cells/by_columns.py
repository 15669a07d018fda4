"""Read a column-major matrix by rows, in memory that does not grow with the matrix.

The values of a row are scattered over the whole file. They are therefore distributed, column by column, to temporary
files that each cover a range of consecutive rows; these files are then sorted one after the other.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from ginseng._disk.matrix_guard import check_matrix

#: Up to `IN_MEMORY` values a matrix is converted in memory (8 to 16 bytes per value, twice); `AT_A_TIME` values are
#: distributed per step.
IN_MEMORY, AT_A_TIME = 2**24, 2**22
#: Minimum number of rows per temporary file: 200 MB at 1,000 values per row.
ROWS = 16_384


def is_by_columns(x: Any) -> bool:
    """Whether reading any row of a matrix means reading all of it."""
    if hasattr(x, "chunks") and hasattr(x, "dask"):
        return len(x.chunks[1]) > 1 and len(x.chunks[0]) == 1 and x.shape[0] > 1
    return getattr(x, "format", None) == "csc"


def blocks(x: Any, size: int) -> Iterator[sparse.csr_matrix]:
    """Yield blocks of `size` rows of a matrix for which :func:`is_by_columns` holds."""
    if sparse.issparse(x):
        turned = sparse.csr_matrix(x)
    elif hasattr(x, "group") and x.group["data"].shape[0] <= IN_MEMORY:
        whole = x.to_memory()
        check_matrix(whole)
        turned = sparse.csr_matrix(whole)
    else:
        yield from _dealt(x, size)
        return
    for start in range(0, x.shape[0], size):
        yield turned[start : start + size]


def _dealt(x: Any, size: int) -> Iterator[sparse.csr_matrix]:
    rows = max(1, ROWS // size) * size
    entry = np.dtype([("row", np.int32), ("column", np.int32), ("value", x.dtype)])
    with tempfile.TemporaryDirectory(prefix="ginseng-") as folder:
        files = [Path(folder) / f"{start}" for start in range(0, x.shape[0], rows)]
        for file in files:
            file.touch()
        for first, part in _column_parts(x):
            check_matrix(part)
            part = part.tocoo()
            entries = np.empty(part.nnz, entry)
            entries["row"], entries["column"], entries["value"] = part.row % rows, part.col + first, part.data
            of = part.row // rows
            entries = entries[np.argsort(of, kind="stable")]
            ends = np.cumsum(np.bincount(of, minlength=len(files)))
            for file, begin, end in zip(files, [0, *ends], ends, strict=False):
                if end > begin:
                    _append(file, entries[begin:end])
        for start, file in zip(range(0, x.shape[0], rows), files, strict=True):
            entries = np.fromfile(file, entry)
            file.unlink()
            shape = (min(rows, x.shape[0] - start), x.shape[1])
            part = sparse.csr_matrix((entries["value"], (entries["row"], entries["column"])), shape=shape)
            for first in range(0, shape[0], size):
                yield part[first : first + size]


def _column_parts(x: Any) -> Iterator[tuple[int, Any]]:
    """Yield blocks of consecutive columns, each with the index of its first column."""
    if not hasattr(x, "group"):  # dask
        starts = np.cumsum([0, *x.chunks[1]])
        for i, start in enumerate(starts[:-1]):
            yield int(start), sparse.csc_matrix(x.blocks[0, i].compute())
        return
    indptr = np.asarray(x.group["indptr"][:], np.int64)
    start = 0
    while start < x.shape[1]:
        stop = max(start + 1, int(np.searchsorted(indptr, indptr[start] + AT_A_TIME, side="right")) - 1)
        here = slice(int(indptr[start]), int(indptr[stop]))
        part = (x.group["data"][here], x.group["indices"][here], indptr[start : stop + 1] - indptr[start])
        yield start, sparse.csc_matrix(part, shape=(x.shape[0], stop - start))
        start = stop


def _append(file: Path, values: np.ndarray) -> None:
    try:
        with file.open("ab") as f:
            f.write(values.tobytes())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        msg = (
            f"No space left for temporary files in {file.parents[1]}; matrices stored by columns need some. "
            "Free some space there, or set TMPDIR to a folder on another disk."
        )
        raise OSError(error.errno, msg) from error
