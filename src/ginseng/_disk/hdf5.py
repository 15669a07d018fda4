"""Write HDF5 files safely on a disk that may be full.

HDF5 does not survive a failed write: when its objects are freed it retries, from memory that no longer exists, and
crashes the process. Here it therefore never sees a write fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def written(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file in memory, which is written to `path` when the block ends without an error."""
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)


@contextmanager
def added_to(path: Path) -> Iterator[h5py.File]:
    """Yield the HDF5 file at `path` for changes; a new one if there is none.

    Raises
    ------
    OSError
        If a write failed; raised once HDF5 has closed the file, which is then unusable.
    """
    new = not path.exists()
    with _Kept(path, "x+" if new else "r+") as kept:
        try:
            with h5py.File(kept, "w" if new else "r+") as file:
                yield file
        except Exception:
            if kept.error is None:
                raise
        if kept.error is not None:
            raise kept.error


class _Kept(RawIOBase):
    """A file that never fails: after the first failed write, kept as `error`, further writes go to memory.

    HDF5 reads back what it has written, so the data must stay available although the file is unusable.
    """

    def __init__(self, path: Path, mode: str = "r+") -> None:
        self.file = FileIO(path, mode)
        self.size = path.stat().st_size
        self.position = 0
        self.error: OSError | None = None
        self.unwritten: list[tuple[int, bytes]] = []

    def close(self) -> None:
        self.file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; bytes that were never written are zero, as in a sparse file."""
        into = memoryview(buffer).cast("B")
        into[:] = bytes(len(into))
        start, stop = self.position, self.position + len(into)
        done, n = start, -1
        self.file.seek(start)
        while done < stop and n:
            n = self.file.readinto(into[done - start :])
            done += n
        for at, data in self.unwritten:
            first, last = max(at, start), min(at + len(data), stop)
            if first < last:
                into[first - start : last - start] = data[first - at : last - at]
        self.position = stop
        return len(into)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            if self.error is None:
                self.file.seek(self.position)
            while len(left) and self.error is None:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.error = error.with_traceback(None)  # the traceback would keep `data` alive, which is HDF5's memory
        if self.error is not None:
            self.unwritten.append((self.position, bytes(memoryview(data).cast("B"))))
        self.position += size
        self.size = max(self.size, self.position)
        return size

    def truncate(self, size: int | None = None) -> int:
        self.size = self.position if size is None else size
        try:
            if self.error is None:
                self.file.truncate(self.size)
        except OSError as error:
            self.error = error.with_traceback(None)
        return self.size
