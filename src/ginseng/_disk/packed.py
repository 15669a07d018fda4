"""Unpack compressed files, with a limit against decompression bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ginseng._disk.zarr_guard import ALLOWANCE, RATIO

#: Magic bytes of compressed files.
SIGNATURES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
#: Exceptions raised for truncated or damaged files.
ERRORS = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, OSError)
_OPEN: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}


def packing_of(path: Path) -> str | None:
    """Return the kind of compression, by the first bytes."""
    with path.open("rb") as f:
        head = f.read(6)
    return next((packing for start, packing in SIGNATURES.items() if head.startswith(start)), None)


@contextmanager
def unpacked(path: Path) -> Iterator[io.BufferedReader]:
    """Yield the content of a file as a stream, unpacked if it is compressed.

    Raises
    ------
    ValueError
        While reading, if it expands to far more than it stores; or if it is an archive of several files.
    """
    packing = packing_of(path)
    if packing is None:
        with path.open("rb") as f:
            yield f
        return
    limit = max(ALLOWANCE, RATIO * path.stat().st_size)
    if packing != "zip":
        with _OPEN[packing](path) as f:
            yield io.BufferedReader(_Bounded(f, limit, path.name), 2**20)
        return
    with zipfile.ZipFile(path) as archive:
        files = files_of(archive)
        if len(files) != 1:
            msg = f"{path.name!r} is a zip archive of {len(files)} files: unpack it first."
            raise ValueError(msg)
        if files[0].flag_bits & 1:
            msg = f"{path.name!r} is an encrypted zip archive: unpack it first."
            raise ValueError(msg)
        with archive.open(files[0]) as f:
            yield io.BufferedReader(_Bounded(f, limit, path.name), 2**20)


def files_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """List the files in an archive, without those added by macOS."""
    return [i for i in archive.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX/")]


def unpack(path: Path, target: Path) -> None:
    """Write the content of a compressed file to another.

    Raises
    ------
    ValueError
        If it is truncated or damaged, or expands to far more than it stores.
    """
    with target.open("wb") as f:
        try:
            with unpacked(path) as source:
                shutil.copyfileobj(source, f, 2**22)
        except ERRORS as error:
            if getattr(error, "errno", None) is not None:  # not a fault of the content: no space, no permission, ...
                raise
            msg = f"{str(path)!r} is truncated or damaged: {error}. Download or copy it again."
            raise ValueError(msg) from error


class _Bounded(io.RawIOBase):
    """A stream that raises after more than `limit` bytes."""

    def __init__(self, stream: Any, limit: int, name: str) -> None:
        self.stream, self.left, self.name = stream, limit, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            msg = f"{self.name!r} expands to far more than it stores; reading stopped."
            raise ValueError(msg)
        buffer[: len(data)] = data
        return len(data)
