"""Schema of a small HDF5 file as one table, from which writing, reading, checks and documentation follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ginseng._disk.schema_entries import Entry, Found, Text, Tree
from ginseng._disk.strict_hdf5 import MAX_ATTRIBUTE, ModelFileError, Reader


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


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
