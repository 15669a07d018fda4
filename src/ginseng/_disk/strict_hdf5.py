"""A strict reader and writer of small HDF5 files, for models and checkpoints.

Members are opened by name with an expected type; the file is never walked, and nothing is read before its size, type
and location were checked. A `sha256` covers all contents.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ginseng._disk.atomic import kind_of_path
from ginseng._disk.hdf5 import written
from ginseng._errors import MAX_NAME

#: Maximum number of members of a group.
MAX_MEMBERS = 256
#: Maximum bytes of an attribute; longer text is a dataset (format 1.1 of models; 1.0 has no such files).
MAX_ATTRIBUTE = 60_000

_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
#: Maximum expansion of packed data, and the bytes of a file that may exceed it: names of one length pack well.
_RATIO, _BEYOND = 64, 4 * 2**20
#: Maximum number of chunks of a small dataset, and minimum chunk size of a large one.
_CHUNKS, _CHUNK_BYTES = 1024, 4096
#: Supported types: converting others for NumPy takes time that the file controls.
_PLAIN = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING}
#: Errors that a malformed file can cause in h5py, NumPy or here.
ERRORS = (OSError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, RecursionError, zlib.error)


class ModelFileError(ValueError):
    """A model file that is damaged, of another format, or of a later version."""


def write_members(path: Path, attributes: Mapping[str, Any], datasets: Mapping[str, np.ndarray]) -> None:
    """Write these attributes and datasets to an HDF5 file, with a `sha256` over all of them."""
    with written(path) as file:
        for name, value in {**attributes, "sha256": digest_of(attributes, datasets)}.items():
            if isinstance(value, str) and len(value.encode()) > MAX_ATTRIBUTE:  # HDF5 limits attributes to 64 kB
                file.create_dataset(name, data=np.frombuffer(value.encode(), np.uint8))
            else:
                file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
        for name, array in datasets.items():
            file.create_dataset(name, data=array)


def read_members[T](path: Path, what: str, read: Callable[[Reader], T], max_bytes: int = sys.maxsize) -> T:
    """Return what `read` returns for an HDF5 file; errors caused by the file become a `ModelFileError`."""
    if (kind := kind_of_path(path)) != "a file":
        msg = f"{path} is {kind}, not a {what} file."
        if kind == "a folder" and (names := models_in(path)):
            msg += f" There are: {names}."
        raise ModelFileError(msg)
    try:
        with h5py.File(path, "r") as file:
            return read(Reader(file, max_bytes))
    except ModelFileError as error:
        msg = f"{path}: {error}"
        raise ModelFileError(msg) from error.__cause__
    except ERRORS as error:
        msg = f"{path} is not a readable {what}: {error}"
        raise ModelFileError(msg) from error


def models_in(folder: Path) -> str:
    """List the files in a folder that may be models, for messages."""
    return ", ".join(sorted(p.name for p in folder.glob("*.h5"))[:10])


def digest_of(attributes: Mapping[str, Any], datasets: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over all members, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(attributes):
        digest.update(f"{name}={attributes[name]!s}\n".encode())
    for name in sorted(datasets):
        array = np.ascontiguousarray(datasets[name])
        digest.update(f"{name}:{array.dtype.str}{array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class Reader:
    """Members of an HDF5 file by name, each checked before any of it is read."""

    def __init__(self, file: h5py.File, max_bytes: int) -> None:
        self.file = file
        self.left = max_bytes
        self.beyond = 0  # bytes by which packed data exceed the usual ratio
        self.groups: dict[str, h5py.Group] = {}  # already checked

    def number(self, name: str) -> Any:
        """Return a scalar numeric attribute."""
        attribute = self._attribute(name)
        if attribute.shape != () or attribute.dtype.kind not in "biuf" or attribute.dtype.itemsize > 8:
            msg = f"attribute {name!r} is {attribute.dtype}{attribute.shape}, not a number"
            raise ModelFileError(msg)
        return self.file.attrs[name].item()

    def text(self, name: str, default: str | None = None) -> str:
        """Return a fixed-length UTF-8 attribute."""
        if default is not None and name not in self.file.attrs:
            return default
        attribute = self._attribute(name)
        if (
            attribute.shape != ()
            or attribute.dtype.kind != "S"
            or h5py.check_string_dtype(attribute.dtype).length is None
            or attribute.dtype.itemsize > 2**16
        ):
            msg = f"attribute {name!r} is {attribute.dtype}{attribute.shape}, not a fixed-length text"
            raise ModelFileError(msg)
        return bytes(self.file.attrs[name]).decode("utf-8")

    def _attribute(self, name: str) -> h5py.h5a.AttrID:
        if name not in self.file.attrs:
            msg = f"attribute {name!r} is missing"
            raise ModelFileError(msg)
        attribute = self.file.attrs.get_id(name)
        kind = attribute.get_type()
        is_bool = isinstance(kind, h5py.h5t.TypeEnumID) and kind.get_nmembers() == 2
        if kind.get_class() not in _PLAIN and not is_bool:
            msg = f"attribute {name!r} is neither a number nor text"
            raise ModelFileError(msg)
        return attribute

    def members(self, group: str = "") -> list[str]:
        """Return the names in a group, or at the root."""
        found = self.member(group, h5py.Group) if group else self.file
        if len(found) > MAX_MEMBERS:
            msg = f"{group or 'the file'!r} has {len(found):,} members, more than {MAX_MEMBERS}"
            raise ModelFileError(msg)
        return list(found)

    def has(self, name: str) -> bool:
        """Whether the group exists."""
        try:
            self.member(name, h5py.Group)
        except ModelFileError:
            return False
        return True

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape that a dataset declares."""
        return self.member(name, h5py.Dataset).shape

    def array(
        self, name: str, shape: tuple[int | None, ...], kinds: str, most: int, most_bytes: int = sys.maxsize
    ) -> np.ndarray:
        """Return a dataset of a given shape (None: up to `most`), kind of dtype and size in memory."""
        data = self.member(name, h5py.Dataset)
        if data.id.get_type().get_class() not in _PLAIN:
            msg = f"{name!r} has values that are neither numbers nor text"
            raise ModelFileError(msg)
        if data.external is not None or data.is_virtual:
            msg = f"{name!r} stores its values in another file"
            raise ModelFileError(msg)
        if data.dtype.kind not in kinds or data.dtype.itemsize > (4 * MAX_NAME if data.dtype.kind == "S" else 8):
            msg = f"{name!r} has values of type {data.dtype}"
            raise ModelFileError(msg)
        if len(data.shape) != len(shape) or any(
            found != expected for found, expected in zip(data.shape, shape, strict=True) if expected is not None
        ):
            msg = f"{name!r} has shape {data.shape}, where {shape} is expected"
            raise ModelFileError(msg)
        if max(data.shape, default=0) > most:
            msg = f"{name!r} has {max(data.shape):,} values, more than {most:,}"
            raise ModelFileError(msg)
        size = int(np.prod(data.shape, dtype=object)) * data.dtype.itemsize
        plan = data.id.get_create_plist()
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        if set(filters) - {_DEFLATE, _SHUFFLE, _FLETCHER32} or filters.count(_DEFLATE) > 1:
            msg = f"{name!r} uses unknown filters {filters}"
            raise ModelFileError(msg)
        if size > most_bytes:
            msg = f"{name!r} takes {size:,} bytes, more than {max(most_bytes, 0):,}"
            raise ModelFileError(msg)
        chunk_bytes = 0 if data.chunks is None else self._chunk_bytes(data, size)
        if chunk_bytes is None:  # before the chunks are visited
            msg = f"{name!r} has chunks of shape {data.chunks}, too many or too large for {size:,} bytes"
            raise ModelFileError(msg)
        stored = data.id.get_storage_size()
        self.beyond += max(0, size - _RATIO * stored)
        # unpacked data must store as many bytes as declared
        if (size > stored and not filters) or (size and not stored) or self.beyond > _BEYOND:
            msg = f"{name!r} declares {size:,} bytes and stores {stored:,}"
            raise ModelFileError(msg)
        self.left -= size * (
            5 if data.dtype.kind == "S" else 1
        )  # text takes up to four more bytes per character in Python
        if self.left < 0:
            msg = f"{name!r} is too large; `max_bytes=` sets the limit"
            raise ModelFileError(msg)
        if chunk_bytes and self._unfolds(data, filters, chunk_bytes):
            msg = f"{name!r} has chunks that do not have the declared size"
            raise ModelFileError(msg)
        return data[()]

    @staticmethod
    def _chunk_bytes(data: h5py.Dataset, size: int) -> int | None:
        """Return the bytes per chunk, or None if chunks are too large or too many."""
        declared = int(np.prod(data.chunks, dtype=object)) * data.dtype.itemsize
        n = int(np.prod([-(-n // m) for n, m in zip(data.shape, data.chunks, strict=True)], dtype=object))
        if declared > max(size, 2**20) or n > max(_CHUNKS, size // _CHUNK_BYTES):
            return None
        return declared if n * declared <= 4 * size + 2**22 else None  # chunks at the edges have the full size

    @staticmethod
    def _unfolds(data: h5py.Dataset, filters: list[int], declared: int) -> bool:
        """Whether a chunk takes more memory than declared: HDF5 unpacks all stored bytes, whatever is declared."""
        stored: list[Any] = []
        data.id.chunk_iter(stored.append)
        for chunk in stored:
            if chunk.size > declared + declared // 100 + 100:  # incompressible data grow by this at most
                return True
            if _DEFLATE not in filters:
                continue
            skipped, packed = data.id.read_direct_chunk(chunk.chunk_offset)
            if skipped >> filters.index(_DEFLATE) & 1:
                continue
            limit = declared + 4  # including a checksum
            if len(zlib.decompressobj().decompress(packed, limit + 1)) > limit:
                return True
        return False

    def verify(self, attributes: Mapping[str, Any], datasets: Mapping[str, np.ndarray]) -> None:
        """Compare the SHA-256 of what was read with the stored one."""
        if digest_of(attributes, datasets) != self.text("sha256"):
            msg = "its contents differ from what was saved (SHA-256 mismatch): the file is damaged or was changed"
            raise ModelFileError(msg)

    def member(self, name: str, kind: type) -> Any:
        """Return a dataset or group of this file, unread; links to other files are rejected."""
        parent, _, last = name.rpartition("/")
        found: Any = self.groups.get(parent, self.file)
        for part in [last] if parent in self.groups else name.split("/"):
            if not isinstance(found, h5py.Group) or part not in found:
                msg = f"{name!r} is missing"
                raise ModelFileError(msg)
            if found.get(part, getclass=True, getlink=True) is not h5py.HardLink:
                msg = f"{name!r} is a link to another place"
                raise ModelFileError(msg)
            found = found[part]
        if not isinstance(found, kind):
            msg = f"{name!r} is not a {kind.__name__.lower()}"
            raise ModelFileError(msg)
        if kind is h5py.Group:
            self.groups[name] = found
        return found
