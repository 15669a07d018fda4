"""Inspect a file or folder, to detect its format by content rather than name."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import h5py
import zarr

from ginseng._disk import packed
from ginseng._disk.zarr_guard import check_zarr

#: Number of bytes to inspect.
HEAD = 2**16
HDF5 = b"\x89HDF\r\n\x1a\n"


class Look:
    """What can be seen of a file or folder without reading all of it.

    Attributes
    ----------
    path
        The file or folder.
    name
        Its name in errors.
    container
        Kind of container.
    members
        Members: files of a folder, or members of HDF5 or zarr; for groups in HDF5 also nested ones, as `"a/b"`.
    head
        First bytes of a file, unpacked if it is compressed.
    packing
        Kind of compression, if any.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.container: Literal["folder", "zarr", "hdf5", "bytes"] = "bytes"
        self.members: frozenset[str] = frozenset()
        self.head = b""
        self.packing: str | None = None
        if path.is_dir():
            self._look_into_folder()
        elif h5py.is_hdf5(path):  # also with a user block, as in MuData files
            self.container = "hdf5"
            self._look_into_hdf5()
        else:
            self._look_at_bytes()

    def has(self, container: str, *members: str) -> bool:
        """Whether it is this kind of container and has these members."""
        return self.container == container and self.members.issuperset(members)

    @property
    def is_text(self) -> bool:
        """Whether the first bytes are text."""
        if self.container != "bytes" or not self.head:
            return False
        if self.head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
            return True
        return not any(byte < 32 and byte not in b"\t\n\r\f" for byte in self.head)

    def _look_into_folder(self) -> None:
        if any((self.path / node).exists() for node in ("zarr.json", ".zgroup")):
            self.container = "zarr"
            check_zarr(self.path, self.name)
            self.members = frozenset(zarr.open_group(self.path, mode="r"))
        else:
            self.container = "folder"
            self.members = frozenset(p.name for p in self.path.iterdir())

    def _look_into_hdf5(self) -> None:
        try:
            f = h5py.File(self.path, "r")
        except OSError as error:
            if error.errno is not None:  # not a fault of the content: no permission, locked, ...
                raise
            msg = f"{self.name} cannot be opened: {error}. If it is truncated or damaged, download or copy it again."
            raise ValueError(msg) from error
        with f:
            _check_storage(f, self.path, self.name)
            found = set(f)
            for name, member in f.items():
                if isinstance(member, h5py.Group):
                    found |= {f"{name}/{below}" for below in member}
            if isinstance(features := f.get("matrix/features"), h5py.Group):
                found |= {f"matrix/features/{below}" for below in features}
            self.members = frozenset(found)

    def _look_at_bytes(self) -> None:
        with self.path.open("rb") as f:
            self.head = f.read(HEAD)
        self.packing = packed.packing_of(self.path)
        if self.packing == "zip":
            with suppress(*packed.ERRORS), zipfile.ZipFile(self.path) as archive:
                self.members = frozenset(info.filename for info in packed.files_of(archive))
            if len(self.members) != 1:
                return
        if self.packing:
            with suppress(*packed.ERRORS, ValueError), packed.unpacked(self.path) as f:
                self.head = f.read(HEAD) or self.head


def _check_storage(f: h5py.File, path: Path, name: str) -> None:
    """Reject a file that refers to other files: HDF5 would open whatever path the author chose."""
    found: list[str] = []

    def look(link: bytes, info: Any) -> None:
        where = link.decode(errors="replace")
        if info.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            found.append(f"{where!r} is a link to another file")
        elif info.type == h5py.h5l.TYPE_HARD:
            data = h5py.h5o.open(f.id, link)
            if isinstance(data, h5py.h5d.DatasetID):
                plan = data.get_create_plist()
                if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
                    found.append(f"{where!r} keeps its values in another file")

    try:
        f.id.links.visit(look, info=True)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        msg = f"{name} cannot be read: {error}. If it is truncated or damaged, download or copy it again."
        raise ValueError(msg) from error
    if found:
        read = "scanpy.read_10x_h5" if "matrix" in f.id and "obs" not in f.id else "anndata.read_h5ad"
        code = f"{read}({str(path)!r}).write_h5ad('whole.h5ad')"
        msg = f"{name} is not opened: {found[0]}. If you trust both, copy the data into one: `{code}`."
        raise ValueError(msg)
