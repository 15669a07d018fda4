"""Schema of a small HDF5 file as one table, from which writing, reading, checks and documentation follow.

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

from ginseng._disk.strict_hdf5 import MAX_ATTRIBUTE, ModelFileError, Reader
from ginseng._errors import check_unique_names

#: Maximum number of brackets and commas in a JSON text: parsed objects take many times the memory of the text.
MAX_PARTS = 300_000
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


@dataclasses.dataclass(frozen=True)
class Schema:
    """The schema of a file format.

    Parameters
    ----------
    format
        Its name, which is stored in the file; None for files without a header and SHA-256.
    entries
        The entries; sizes come before the entries that use them.
    """

    format: str
    entries: tuple[Entry, ...]

    @property
    def version(self) -> str:
        """The latest version, which reads all earlier ones with the same major number."""
        return max((self._since(entry) for entry in self.entries), key=_numbers)

    def _since(self, entry: Entry) -> str:
        return max(entry.since, "1.1" if isinstance(entry, Text) and entry.longest else "1.0", key=_numbers)

    def pack(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the packed values of an object from its attributes."""
        packed: dict[str, Any] = {}
        for entry in self.entries:
            if entry.always is not None:
                packed[entry.name] = entry.always(packed)
            elif not (entry.optional and values.get(entry.name) is None):
                packed[entry.name] = entry.pack(values[entry.name])
        return packed

    def unpack(self, packed: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of an object, without values written only for other readers.

        Raises
        ------
        KeyError
            If one is missing.
        """
        return {
            entry.name: entry.unpack(packed[entry.name])
            for entry in self.entries
            if entry.always is None and not (entry.optional and packed.get(entry.name) is None)
        }

    def stored(self, packed: Mapping[str, Any], written_by: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the attributes and datasets to store, in the lowest version that can hold them."""
        values = {entry.name: entry.store(packed[entry.name]) for entry in self.entries if entry.name in packed}
        versions = ["1.0"]
        for entry in self.entries:
            if entry.name in values:
                long = isinstance(entry, Text) and len(values[entry.name].encode()) > MAX_ATTRIBUTE
                versions.append(self._since(entry) if long else entry.since)
        header = {"format": self.format, "format_version": max(versions, key=_numbers), "written_by": written_by}
        return self._split(values, header)

    def _split(
        self, values: Mapping[str, Any], header: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        there = [entry for entry in self.entries if entry.name in values]
        attributes = {entry.name: values[entry.name] for entry in there if entry.is_attribute}
        datasets = {
            path: leaf for entry in there if not entry.is_attribute for path, leaf in entry.leaves(values[entry.name])
        }
        return {**header, **attributes}, datasets

    def check_header(self, reader: Reader, this: str, what: str) -> dict[str, str]:
        """Return the header of a file, if it has this format in a supported version."""
        if (found := reader.text("format", "")) != self.format:
            msg = f"its format is {found!r}, not {self.format!r}; it is not a {what}"
            raise ModelFileError(msg)
        header = {name: reader.text(name) for name in ("format", "format_version", "written_by")}
        if header["format_version"].split(".")[0] != self.version.split(".")[0]:
            msg = (
                f"it was written by {header['written_by']} in format {header['format_version']}, and this is {this}, "
                f"which reads {self.version}. Run `pip install -U ginseng`."
            )
            raise ModelFileError(msg)
        return header

    def read(
        self,
        reader: Reader,
        header: Mapping[str, Any],
        shapes: Callable[[str, Found], Mapping[str, Any] | None],
    ) -> dict[str, Any]:
        """Return the packed values of a file whose header :func:`check_header` accepted.

        Parameters
        ----------
        header
            The header.
        shapes
            Returns the expected shapes of a tree, by its name and the values read so far; None if the tree is absent.
        """
        known = {e.name for e in self.entries if not e.is_attribute or (isinstance(e, Text) and e.longest)}
        if unknown := set(reader.members()) - known:
            msg = f"it has unknown members: {', '.join(map(repr, sorted(unknown)[:10]))}"
            raise ModelFileError(msg)
        found = Found(reader)
        for entry in self.entries:
            if entry.optional and not entry.is_there(reader):
                continue
            if isinstance(entry, Tree):
                if (expected := shapes(entry.name, found)) is not None:
                    found.values[entry.name] = entry.read_shapes(found, expected)
            else:
                found.values[entry.name] = entry.read(found)
        if self.format:
            reader.verify(*self._split(found.values, header))  # before any processing beyond reading
        by_name = {entry.name: entry for entry in self.entries}
        return {name: by_name[name].restore(value) for name, value in found.values.items()}

    def table(self) -> str:
        """Return the documentation: attributes and datasets in Markdown."""
        rows: dict[bool, list[str]] = {True: [], False: []}
        if self.format:
            versions = sorted({*(e.since for e in self.entries), *map(self._since, self.entries)}, key=_numbers)
            about = f'`"{self.format}"`, ' + " or ".join(f'`"{v}"`' for v in versions)
            rows[True] += [f"| `format`, `format_version` | text | {about}: the lowest that can hold it |",
                           "| `written_by` | text | version of what wrote it |"]  # fmt: skip
        for entry in self.entries:
            path, kind = entry.shown()
            about = entry.about
            if isinstance(entry, Text) and entry.longest:
                about += f"; over {MAX_ATTRIBUTE:,} bytes a dataset of uint8 ({self._since(entry)})"
            if entry.since != "1.0":
                about += f" (since {entry.since})"
            rows[entry.is_attribute].append(
                f"| `{path}` | {kind} | {about}{'; may be missing' if entry.optional else ''} |"
            )
        if self.format:
            rows[True].append("| `sha256` | text | over all other attributes and all datasets |")
        heads = {True: "attribute", False: "dataset"}
        return "\n\n".join(
            "\n".join([f"| {heads[what]} | type | |", "|---|---|---|", *rows[what]]) for what in (True, False)
        )


def check_parts(text: str, name: str) -> None:
    """Reject JSON that would take many times the memory of its text.

    Raises
    ------
    ValueError
        If it has more than 300,000 brackets and commas.
    """
    if sum(map(text.count, "[{,")) > MAX_PARTS:
        msg = f"{name!r} has over {MAX_PARTS:,} brackets and commas"
        raise ValueError(msg)


def parsed(text: Any, name: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    ValueError
        If it is not a JSON object, or :func:`check_parts` rejects it.
    """
    text = str(text)
    check_parts(text, name)
    value = json.loads(text)
    if not isinstance(value, dict):
        msg = f"{name!r} must be a JSON object"
        raise ValueError(msg)
    return value


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(tree):
        value, path = tree[name], f"{prefix}/{name}"
        yield from _leaves(value, path) if isinstance(value, Mapping) else [(path, value)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
