"""Reject damaged stores, instead of reading lost chunks as zeros.

Names and sizes of members and the columns of cells are checked when a store is opened, the counts as they are read: the
fast pipeline reads parts of chunks, and ignores their checksums.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from anndata.io import read_elem
from google_crc32c import value as crc32c
from scipy import sparse


class DamagedStoreError(ValueError):
    """A store differs from what was written."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} is damaged: {what}. Create it again from its input: "
            f"`GinsengDataset.create({str(path)!r}, ..., overwrite=True)`."
        )


def read_part(path: Path, root: zarr.Group, name: str) -> Any:
    """Read a member of a store.

    Raises
    ------
    DamagedStoreError
        If it is missing or cannot be read.
    """
    try:
        return read_elem(root[name])
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        what = "is missing" if isinstance(error, KeyError) else f"cannot be read ({error})"
        raise DamagedStoreError(path, f"`{name}` {what}") from error


def check_columns_of_cells(
    path: Path,
    *,
    codes: dict[str, tuple[np.ndarray, int]],
    totals: np.ndarray,
    split: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    strict: bool,
) -> None:
    """Reject columns that :meth:`ginseng.data.GinsengDataset.create` cannot have written.

    Parameters
    ----------
    codes
        Codes of labels and groups, and the number of names, by column of `obs`.
    totals, split, rows
        Library size, split and row in the input of each cell.
    lengths
        (cells,) number of values of each cell in `X`.
    strict
        Whether no zeros are stored.
    """
    n_cells = len(lengths)
    for name, (values, n_names) in codes.items():
        _check_length(path, name, values, n_cells)
        if n_cells and not 0 <= values.min() <= values.max() < n_names:
            msg = f"`{name}/codes` has {values.min()} to {values.max()} for {n_names} names"
            raise DamagedStoreError(path, msg)
        if not np.bincount(values, minlength=n_names).all():
            msg = f"`{name}/codes` leaves {n_names - len(np.unique(values))} of {n_names} names without a cell"
            raise DamagedStoreError(path, msg)
    for name, values in {"obs/total_counts": totals, "uns/ginseng/split": split, "obs/original_row": rows}.items():
        _check_length(path, name, values, n_cells)
    if not (np.isfinite(totals) & (totals >= 0)).all():
        raise DamagedStoreError(path, "`obs/total_counts` has values that are NaN, infinite or negative")
    empty = (totals == 0)[lengths > 0]  # cells with counts that add up to zero
    if len(empty) and (empty.any() if strict else empty.all()):
        raise DamagedStoreError(path, f"`obs/total_counts` is 0 for {empty.sum():,} cells that have counts")
    if rows.dtype.kind not in "iu" or (n_cells and ((rows < 0).any() or (np.diff(np.sort(rows)) == 0).any())):
        raise DamagedStoreError(path, "`obs/original_row` has repeated rows")
    if not ((split == 255).all() or (split <= 1).all()):
        found = ", ".join(map(str, np.unique(split)[:10]))
        raise DamagedStoreError(path, f"`uns/ginseng/split` has {found}, but should have 0 and 1, or only 255")


def check_pointer(path: Path, indptr: np.ndarray, n_cells: int, sizes: dict[str, int]) -> None:
    """Reject an `indptr` that does not partition the values."""
    name = "X/indptr"
    _check_length(path, name, indptr, n_cells + 1)
    for other, size in sizes.items():
        if indptr[0] != 0 or indptr[-1] != size:
            msg = f"`{name}` runs from {indptr[0]:,} to {indptr[-1]:,}, but `{other}` has {size:,} values"
            raise DamagedStoreError(path, msg)
    if (indptr[1:] < indptr[:-1]).any():
        raise DamagedStoreError(path, f"`{name}` does not ascend")


def check_counts(path: Path, counts: sparse.csr_matrix, *, strict: bool) -> None:
    """Reject invalid rows of counts before compiled code reads them."""
    n_genes = counts.shape[1]
    if not counts.nnz:
        return
    indices, indptr, data = counts.indices, counts.indptr, counts.data
    if indices.min() < 0 or indices.max() >= n_genes:
        raise DamagedStoreError(path, f"`X/indices` has gene {indices.max():,}, but there are {n_genes:,}")
    ascending = indices[1:] > indices[:-1]
    ends = indptr[1:-1]
    ascending[ends[(ends > 0) & (ends < len(indices))] - 1] = True  # between two rows
    if not ascending.all():
        raise DamagedStoreError(path, "`X/indices` does not ascend within a cell")
    if data.dtype.kind == "f" and not (np.isfinite(data).all() and data.min() >= 0):
        raise DamagedStoreError(path, "`X/data` has values that are NaN, infinite or negative")
    if not (data.all() if strict else data.any()):
        raise DamagedStoreError(path, "`X/data` contains explicit zeros")


def _check_length(path: Path, name: str, values: np.ndarray, n: int) -> None:
    if values.shape != (n,):
        raise DamagedStoreError(path, f"`{name}` has {len(values):,} values, but should have {n:,}")


class Checksums:
    """Verifies the CRC-32C of each chunk of a sharded array once, before it is first read.

    Parameters
    ----------
    path
        Folder of the store.
    array
        One-dimensional; each chunk is followed by its checksum, and each shard ends with an index.
    """

    def __init__(self, path: Path, array: zarr.Array) -> None:
        assert array.shards is not None
        self.path = path
        self.name = array.path
        self.chunk = array.chunks[0]
        self.per_shard = array.shards[0] // self.chunk
        self.seen = np.zeros(-(-array.shape[0] // self.chunk), bool)
        self.index: dict[int, np.ndarray] = {}  # by shard: offset and length of its chunks

    def check(self, spans: Iterable[tuple[int, int]]) -> None:
        """Verify the chunks that contain these values.

        Raises
        ------
        DamagedStoreError
            If a chunk is missing or differs from what was written.
        """
        for start, stop in spans:
            first, last = start // self.chunk, -(-stop // self.chunk)
            for chunk in first + np.flatnonzero(~self.seen[first:last]):
                self._check(*divmod(int(chunk), self.per_shard))
                self.seen[chunk] = True

    def _check(self, shard: int, chunk: int) -> None:
        name = f"{self.name}/c/{shard}"
        try:
            with (self.path / name).open("rb", buffering=0) as file:
                if shard not in self.index:
                    self.index[shard] = self._index(file, name)
                start, size = self.index[shard][chunk].tolist()
                file.seek(min(start, 2**62))
                stored = file.read(min(size, os.fstat(file.fileno()).st_size))
        except FileNotFoundError as error:
            raise DamagedStoreError(self.path, f"`{name}` is missing") from error
        if len(stored) < max(size, 4) or crc32c(stored[:-4]) != int.from_bytes(stored[-4:], "little"):
            raise DamagedStoreError(self.path, f"`{name}` does not match its checksum")

    def _index(self, file: Any, name: str) -> np.ndarray:
        size = 16 * self.per_shard
        if os.fstat(file.fileno()).st_size < size + 4:
            raise DamagedStoreError(self.path, f"`{name}` ends too early")
        file.seek(-size - 4, os.SEEK_END)
        stored = file.read(size + 4)
        if crc32c(stored[:-4]) != int.from_bytes(stored[-4:], "little"):
            raise DamagedStoreError(self.path, f"`{name}` does not match its checksum")
        return np.frombuffer(stored[:-4], "<u8").reshape(-1, 2)
