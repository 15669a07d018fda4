"""HDF5 files that are written on a disk that may be full.

HDF5 does not survive a write that fails: what it could not write it tries to write again when its objects are freed,
among memory that is no more, and ends the process. So it never sees one here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def written(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file in memory, which is at `path` once the block has ended without an error."""
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)


@contextmanager
def added_to(path: Path) -> Iterator[h5py.File]:
    """Yield the HDF5 file at `path`, to be changed.

    Raises
    ------
    OSError
        If a write failed, once HDF5 is done; the file is of no use then.
    """
    with _Kept(path) as kept:
        try:
            with h5py.File(kept, "r+") as file:
                yield file
        except Exception:
            if kept.error is None:
                raise
        if kept.error is not None:
            raise kept.error


class _Kept:
    """A file whose first write that fails is kept as `error`; what comes after is not written."""

    def __init__(self, path: Path) -> None:
        self.file = FileIO(path, "r+")
        self.error: OSError | None = None

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self.error is None:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> None:
        try:
            if self.error is None:
                self.file.truncate(size)
        except OSError as error:
            self.error = error
