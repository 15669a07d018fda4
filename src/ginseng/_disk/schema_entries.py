"""Entries of the schema of a small HDF5 file: how each is packed, stored, read and described.

Values have two forms. Packed values are those kept in `uns`: arrays, numbers, text and nested dicts of them. Stored
values are those in the file, with names as bytes; the SHA-256 is computed over them.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ginseng._disk.safe_json import check_parts, parsed
from ginseng._disk.strict_hdf5 import ModelFileError, Reader
from ginseng._errors import check_unique_names

#: Maximum bytes of all names together, and of all columns of a table.
MAX_NAME_BYTES, MAX_COLUMN_BYTES = 8 * 2**20, 16 * 2**20
#: Allowed range of a number that counts something.
MAX_COUNT = 2**31


@dataclasses.dataclass
class Found:
    """Values read so far, which determine what else the file must contain."""

    reader: Reader
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    name_bytes: int = MAX_NAME_BYTES
    values: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A member of a file, or an attribute.

    Parameters
    ----------
    name
        Name in the file, in `uns`, and of the attribute of the object.
    about
        Description in Markdown.
    since
        First format version that has it.
    optional
        Whether it may be missing; its value is then None.
    always
        Computes, from the packed values, a fixed value to write for readers of earlier versions.
    """

    name: str
    about: str
    _: dataclasses.KW_ONLY
    since: str = "1.0"
    optional: bool = False
    always: Callable[[Mapping[str, Any]], Any] | None = None

    is_attribute = False

    def pack(self, value: Any) -> Any:
        """Return the packed form of an attribute of the object."""
        return value

    def unpack(self, value: Any) -> Any:
        """Return the attribute of the object, from the packed form."""
        return value

    def store(self, value: Any) -> Any:
        """Return the stored form of a packed value."""
        return value

    def is_there(self, reader: Reader) -> bool:
        """Whether the file contains it."""
        return self.name in (reader.file.attrs if self.is_attribute else reader.members())

    def read(self, found: Found) -> Any:
        """Return the stored value."""
        raise NotImplementedError

    def restore(self, value: Any) -> Any:
        """Return the packed form of a stored value, after the file was verified."""
        return value

    def leaves(self, value: Any) -> Iterator[tuple[str, Any]]:
        """Yield the path and value of each dataset, or of the attribute."""
        yield from _leaves(value, self.name) if isinstance(value, Mapping) else [(self.name, value)]

    def shown(self) -> tuple[str, str]:
        """Return its path and type for the documentation."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Text(Entry):
    """Text; a JSON object if `json`. If too long for an attribute, it is a dataset of up to `longest` bytes."""

    _: dataclasses.KW_ONLY
    json: bool = False
    longest: int = 0

    is_attribute = True

    def is_there(self, reader: Reader) -> bool:
        return super().is_there(reader) or bool(self.longest and self.name in reader.members())

    def pack(self, value: Any) -> str:
        return json.dumps(value) if self.json else value

    def unpack(self, value: Any) -> Any:
        return parsed(value, self.name) if self.json else str(value)

    def read(self, found: Found) -> str:
        if self.longest and self.name in found.reader.members():
            text = found.reader.array(self.name, (None,), "u", self.longest).tobytes().decode("utf-8")
        else:
            text = found.reader.text(self.name)
        if self.json:
            check_parts(text, self.name)
        return text

    def shown(self) -> tuple[str, str]:
        return self.name, "text"


@dataclasses.dataclass(frozen=True)
class Number(Entry):
    """A number of a given kind; if `nan`, NaN stands for None. Numbers that count something can be sizes of arrays."""

    kind: type = float
    _: dataclasses.KW_ONLY
    nan: bool = False
    counts: bool = False

    is_attribute = True

    def pack(self, value: Any) -> Any:
        return np.nan if self.nan and value is None else self.kind(value)

    def unpack(self, value: Any) -> Any:
        value = self.kind(value)
        return None if self.nan and np.isnan(value) else value

    def read(self, found: Found) -> Any:
        value = found.reader.number(self.name)
        if self.counts:
            if type(value) is not int or not 0 <= value < MAX_COUNT:
                msg = f"attribute {self.name!r} is {value!r}"
                raise ModelFileError(msg)
            found.sizes[self.name] = value
        return value

    def shown(self) -> tuple[str, str]:
        return self.name, {bool: "true or false", int: "integer", float: "float"}[self.kind]


@dataclasses.dataclass(frozen=True)
class Names(Entry):
    """Names in fixed-length UTF-8; `size` names the size that is their number.

    They are unique and not empty, unless `blank`: some may then be missing, and are empty.
    """

    size: str = ""
    _: dataclasses.KW_ONLY
    most: int = sys.maxsize
    blank: bool = False

    def store(self, value: Any) -> np.ndarray:
        encoded = np.char.encode(np.asarray(value, str), "utf-8")
        return encoded if encoded.dtype.itemsize else encoded.astype("S1")

    def read(self, found: Found) -> np.ndarray:
        names = found.reader.array(self.name, (None,), "S", self.most, found.name_bytes)
        found.name_bytes -= names.nbytes
        if not len(names):
            msg = f"{self.name!r} are empty or not unique"
            raise ModelFileError(msg)
        if found.sizes.setdefault(self.size, len(names)) != len(names):
            msg = f"{self.size!r} is {found.sizes[self.size]}, but there are {len(names)} {self.name}"
            raise ModelFileError(msg)
        # padded to the longest name, as written
        return names.astype(f"S{max(1, int(np.strings.str_len(names).max(initial=0)))}", copy=False)

    def restore(self, value: np.ndarray) -> list[str]:
        """Return text; a list until its length was checked."""
        names = [name.decode("utf-8") for name in value.tolist()]
        if not self.blank:
            check_unique_names(names, self.name)
        return names

    def shown(self) -> tuple[str, str]:
        return self.name, f"text, ({self.size.removeprefix('n_')},)"


@dataclasses.dataclass(frozen=True)
class Array(Entry):
    """An array of a given type and sizes: each the name of a `Names` or `Number`, a number, or None for any size."""

    dtype: str = "<f4"
    shape: tuple[str | int | None, ...] = ()
    _: dataclasses.KW_ONLY
    most: int = MAX_COUNT

    def unpack(self, value: Any) -> np.ndarray:
        return np.asarray(value, self.dtype)

    def store(self, value: Any) -> np.ndarray:
        return np.asarray(value, self.dtype)

    def read(self, found: Found) -> np.ndarray:
        shape = tuple(found.sizes[n] if isinstance(n, str) else n for n in self.shape)
        return found.reader.array(self.name, shape, "iu" if "i" in self.dtype else "f", self.most)

    def shown(self) -> tuple[str, str]:
        sizes = ", ".join("any" if n is None else str(n).removeprefix("n_") for n in self.shape)
        return self.name, f"{np.dtype(self.dtype).name}, ({sizes}{',' if len(self.shape) == 1 else ''})"


@dataclasses.dataclass(frozen=True)
class Tree(Entry):
    """A nested dict of arrays with shapes given by the caller; if `exact`, also with the same types and finite."""

    inner: str = "..."
    _: dataclasses.KW_ONLY
    exact: bool = False

    def unpack(self, value: Any) -> Any:
        return {k: self.unpack(v) for k, v in value.items()} if isinstance(value, Mapping) else value

    def store(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: self.store(v) for k, v in value.items()}
        return np.asarray(value) if self.exact else np.asarray(value, "<f4")

    def read_shapes(self, found: Found, shapes: Mapping[str, Any], path: str = "") -> dict[str, Any]:
        """Return the arrays, which must match these shapes exactly."""
        path = path or self.name
        if (members := sorted(found.reader.members(path))) != sorted(shapes):
            msg = f"{path!r} has {', '.join(members[:10])}, where {', '.join(sorted(shapes))} are expected"
            raise ModelFileError(msg)
        out: dict[str, Any] = {}
        for name, shape in shapes.items():
            inside = f"{path}/{name}"
            if isinstance(shape, Mapping):
                out[name] = self.read_shapes(found, shape, inside)
                continue
            kinds = shape.dtype.kind if self.exact else "f"
            out[name] = found.reader.array(inside, shape.shape, kinds, sys.maxsize)
            if not self.exact:
                out[name] = out[name].astype(np.float32, copy=False)
            elif out[name].dtype != shape.dtype or not np.isfinite(out[name]).all():
                msg = f"{inside!r} is {out[name].dtype}, not {shape.dtype}, or has values that are not finite"
                raise ModelFileError(msg)
        return out

    def shown(self) -> tuple[str, str]:
        return f"{self.name}/{self.inner}", "as they are" if self.exact else "float32, contiguous"


@dataclasses.dataclass(frozen=True)
class Columns(Entry):
    """Numeric columns by name, with the length of a `Number`, or any."""

    length: str | None = None
    _: dataclasses.KW_ONLY
    most: int = MAX_COUNT

    def unpack(self, value: Any) -> dict[str, np.ndarray]:
        return {k: np.asarray(v) for k, v in value.items()}

    def store(self, value: Any) -> dict[str, np.ndarray]:
        return {k: np.asarray(v, "<f8") for k, v in value.items()}

    def read(self, found: Found) -> dict[str, np.ndarray]:
        names = found.reader.members(self.name) if self.name in found.reader.members() else []
        columns, left = {}, MAX_COLUMN_BYTES
        length = None if self.length is None else found.sizes[self.length]
        for name in names:
            columns[name] = found.reader.array(f"{self.name}/{name}", (length,), "f", self.most, left)
            left -= columns[name].nbytes
        return columns

    def shown(self) -> tuple[str, str]:
        return f"{self.name}/<name>", f"float64, ({'epochs' if self.length is None else self.length},)"


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(tree):
        value, path = tree[name], f"{prefix}/{name}"
        yield from _leaves(value, path) if isinstance(value, Mapping) else [(path, value)]
