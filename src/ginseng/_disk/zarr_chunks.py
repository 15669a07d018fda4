"""Determine the unpacked size of zarr chunks from their first bytes, without unpacking them.

The frames of Blosc, LZ4 and Zstandard declare it, and their decoders allocate no more. gzip and zlib may lie, so a
limited amount of them is unpacked piecewise and discarded.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Compressors; all other codecs preserve the number of bytes, up to a few.
COMPRESSORS = {"blosc", "zstd", "gzip", "zlib", "lz4"}
#: Names of chunk files in the folder of an array.
NAME = re.compile(r"c|(c[./])?\d+([./]\d+)*")
#: Bytes that a chunk may have beyond its values, such as checksums.
MARGIN = 2**20
#: Maximum unpacked bytes of any chunk.
SMALL = 64 * 2**20
#: Maximum bytes of gzip and zlib per store that are unpacked for the check, which takes a second.
UNFOLDED = 64 * 2**20
#: Maximum expansion of Deflate, and maximum size of a Zstandard block.
_DEFLATE_RATIO, _ZSTD_BLOCK = 1032, 2**17


@dataclass(frozen=True)
class Packing:
    """How the chunks of an array are stored.

    Attributes
    ----------
    size
        Bytes of a chunk in memory; `None` for text.
    compressor
        One of `COMPRESSORS`, or `None`.
    n_in_file
        Number of chunks in a file with an index; `None` if each chunk is a file.
    index_first, index_size
        Position of that index, and its bytes, including a checksum.
    trailer
        Bytes of checksums after the compressed data.
    """

    size: int | None
    compressor: str | None
    n_in_file: int | None = None
    index_first: bool = False
    index_size: int = 0
    trailer: int = 0


class DamagedError(Exception):
    """A chunk does not match its array."""


class Chunks:
    """Measures the unpacked size of the chunks of a store; text may expand to `ratio` times the stored bytes."""

    def __init__(self, ratio: int) -> None:
        self.ratio = ratio
        self.left = UNFOLDED

    def sizes(self, path: Path, stored: int, packing: Packing) -> Iterator[int]:
        """Yield an upper bound of the bytes that each chunk of a file takes in memory.

        Parameters
        ----------
        path, stored
            The file and its size.
        packing
            How it is stored.

        Raises
        ------
        DamagedError
            If a chunk takes more than it should, or its size cannot be determined.
        """
        if packing.compressor is None and packing.n_in_file is None:
            yield self._checked(stored, stored, packing)
            return
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            for start, size in [(0, stored)] if packing.n_in_file is None else _index(file, stored, packing):
                yield self._checked(self._told(file, start, size - packing.trailer, packing), size, packing)
        finally:
            os.close(file)

    def _checked(self, size: int, stored: int, packing: Packing) -> int:
        if size > self._limit(stored, packing):
            most = f"stores {stored:,}" if packing.size is None else f"has room for {packing.size:,}"
            msg = f"unpacks to {size:,} bytes or more, but {most}"
            raise DamagedError(msg)
        return size

    def _limit(self, stored: int, packing: Packing) -> int:
        return max(SMALL, self.ratio * stored) if packing.size is None else packing.size + MARGIN

    def _told(self, file: int, start: int, stored: int, packing: Packing) -> int:
        match packing.compressor:
            case "blosc":
                return _number(file, start + 4, 4)
            case "lz4":
                return _number(file, start, 4)
            case "zstd":
                return _zstd(file, start, start + stored)
            case "gzip" | "zlib":
                if stored * _DEFLATE_RATIO <= SMALL or stored > self.left:
                    return stored
                self.left -= stored
                return _deflated(file, start, stored, packing.compressor, self._limit(stored, packing))
            case _:
                return stored


def _read(file: int, at: int, n: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, n, at)
    os.lseek(file, at, os.SEEK_SET)
    return os.read(file, n)


def _number(file: int, at: int, n: int) -> int:
    found = _read(file, at, n)
    if len(found) < n:
        msg = "ends too early"
        raise DamagedError(msg)
    return int.from_bytes(found, "little")


def _index(file: int, stored: int, packing: Packing) -> list[list[int]]:
    """List offset and length of the chunks of a file."""
    start = 0 if packing.index_first else stored - packing.index_size
    if start < 0 or packing.index_size > stored:
        msg = "ends too early"
        raise DamagedError(msg)
    if packing.index_size > SMALL:
        msg = f"has an index of {packing.index_size:,} bytes"
        raise DamagedError(msg)
    entries = np.frombuffer(_read(file, start, 16 * (packing.n_in_file or 0)), "<u8").reshape(-1, 2)
    entries = entries[(entries != 2**64 - 1).all(axis=1)]
    if (entries > stored).any() or (entries.sum(axis=1) > stored).any():
        msg = "has an index with out-of-bounds offsets"
        raise DamagedError(msg)
    return entries.tolist()


def _zstd(file: int, at: int, end: int) -> int:
    """Add up the sizes that frames declare; for frames that do not, the maximum of their blocks.

    RFC 8878, section 3.1.
    """
    said, most, all_say = 0, 0, True
    while at < end:
        magic = _number(file, at, 4)
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # a skippable frame
            at += 8 + _number(file, at + 4, 4)
            continue
        if magic != 0xFD2FB528:
            msg = "is not Zstandard, although its array says so"
            raise DamagedError(msg)
        flags = _number(file, at + 4, 1)
        single, checksum = flags >> 5 & 1, flags >> 2 & 1
        n_bytes = (single, 2, 4, 8)[flags >> 6]
        at += 5 + (not single) + (0, 1, 2, 4)[flags & 3]
        if n_bytes:
            said += _number(file, at, n_bytes) + (256 if n_bytes == 2 else 0)
        all_say &= n_bytes > 0
        at += n_bytes
        last = 0
        while not last:
            block = _number(file, at, 3)
            last, kind, size = block & 1, block >> 1 & 3, block >> 3
            most += _ZSTD_BLOCK if kind == 2 else size
            at += 3 + (1 if kind == 1 else size)
        at += 4 * checksum
    return said if all_say else most


def _deflated(file: int, start: int, stored: int, compressor: str, limit: int) -> int:
    """Unpack at most `limit` bytes."""
    bits, end = 31 if compressor == "gzip" else 15, start + stored
    unfolding, total, waiting = zlib.decompressobj(bits), 0, b""
    try:
        while total <= limit:
            if not waiting:
                waiting = _read(file, start, min(2**16, end - start))
                start += len(waiting)
                if not waiting:
                    break
            if unfolding.eof:  # gzip may have several members, with zeros in between
                if not (waiting := waiting.lstrip(b"\0")):
                    continue
                unfolding = zlib.decompressobj(bits)
            total += len(unfolding.decompress(waiting, 2**20))
            waiting = unfolding.unused_data if unfolding.eof else unfolding.unconsumed_tail
    except zlib.error as error:
        msg = f"cannot be unpacked ({error})"
        raise DamagedError(msg) from error
    return total
