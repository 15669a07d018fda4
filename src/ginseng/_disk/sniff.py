"""Tell what a file or folder holds, by its content rather than its name."""

from __future__ import annotations

import gzip
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import h5py
import zarr

from ginseng._disk.zarr_guard import check_zarr
from ginseng._errors import suggest

type Kind = Literal["h5ad", "zarr", "10x h5", "10x mtx"]

#: The name of a 10x matrix file; the first group is what precedes it, as in `GSM123_matrix.mtx.gz`.
_MTX = re.compile(r"(.*)matrix\.mtx(\.gz)?")

# what users hand over instead of a matrix, by its first bytes or its HDF5 members
_WRONG_BYTES = {
    b"<": "a web page: the link wants a login, or leads to a page about the file",
    b"version https://git-lfs": "a Git LFS pointer: run `git lfs pull` to get the file itself",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x1f\x8b": "gzip-compressed: run `gunzip` on it first",
    b"RDX": "an R data file: convert it to h5ad first",
    b"X\n": "an R object: convert it to h5ad first",
}
_WRONG_MEMBERS = {
    ("gem_group", "umi"): "a 10x molecule_info file: pass `filtered_feature_bc_matrix.h5` of the same run",
    ("mod",): "a MuData file: read it with `mudata.read_h5mu` and pass its RNA part",
    ("col_attrs", "row_attrs"): "a loom file: read it with `anndata.io.read_loom`",
    ("params",): "a model: read it with `ginseng.load_model`",
}


def expect(path: Path, *kinds: Kind, name: str | None = None) -> None:
    """Raise a `ValueError` unless a file or folder is of one of `kinds`."""
    found = kind_of(path, name)
    if found not in kinds:
        msg = f"{name or repr(str(path))} is {found}, not {' or '.join(kinds)}. "
        msg += "Download its three files into a folder." if name else "Use `read_adata`, which reads both."
        raise ValueError(msg)


def kind_of(path: Path, name: str | None = None) -> Kind:
    """Tell what a file or folder holds; `name` is what errors call it."""
    name = name or repr(str(path))
    if path.is_dir():
        return _kind_of_folder(path, name)
    with path.open("rb") as f:
        head = f.read(512)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _kind_of_hdf5(path, name)
    inside = b""
    if head.startswith(b"\x1f\x8b"):
        with suppress(EOFError, OSError, zlib.error), gzip.open(path) as f:
            inside = f.read(14)
    for start in (inside, head.lstrip(b"\xef\xbb\xbf \t\r\n")):
        if start.startswith(b"%%MatrixMarket"):
            return "10x mtx"
        for signature, what in _WRONG_BYTES.items():
            if start.startswith(signature):
                msg = f"{name} is {what}."
                raise ValueError(msg)
    what = f"starts with {head[:16]!r}, which no format that ginseng reads does" if head else "is empty"
    msg = f"{name} {what}. It reads h5ad, AnnData zarr, 10x h5 and 10x mtx."
    raise ValueError(msg)


def _kind_of_hdf5(path: Path, name: str) -> Kind:
    try:
        f = h5py.File(path, "r")
    except OSError as error:
        if error.errno is not None:  # not the content: no permission, locked, ...
            raise
        msg = f"{name} cannot be opened: {error}. If it is truncated or damaged, download or copy it again."
        raise ValueError(msg) from error
    with f:
        _check_storage(f, path, name)
        members = set(f)
        if {"obs", "var"} <= members:
            return "h5ad"
        for signature, what in _WRONG_MEMBERS.items():
            if members.issuperset(signature):
                msg = f"{name} is {what}."
                raise ValueError(msg)
        features = f.get("matrix/features")
        if (features is not None and {"id", "name", "feature_type"} <= set(features)) or genomes(f):
            return "10x h5"
    msg = f"{name} is HDF5, but neither h5ad nor 10x h5. {suggest('matrix', sorted(members))}"
    raise ValueError(msg)


def _check_storage(f: h5py.File, path: Path, name: str) -> None:
    """Refuse a file whose data are in other files, which HDF5 would open: those of somebody else's choice."""
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
        msg = f"{name} is not opened: {found[0]}. If you trust both, copy the data into one: "
        msg += f"`{read}({str(path)!r}).write_h5ad('whole.h5ad')`."
        raise ValueError(msg)


def genomes(f: h5py.File) -> list[str]:
    """List the genomes of a Cell Ranger 2 file, one group each."""
    needed = {"barcodes", "data", "gene_names", "genes", "indices", "indptr", "shape"}
    return [name for name, group in f.items() if isinstance(group, h5py.Group) and needed <= set(group)]


def _kind_of_folder(path: Path, name: str) -> Kind:
    if any((path / node).exists() for node in ("zarr.json", ".zgroup")):
        check_zarr(path, name)
        members = set(zarr.open_group(path, mode="r"))
        if {"obs", "var"} <= members:
            return "zarr"
        msg = f"{name} is a zarr store, but not of an AnnData. {suggest('X', sorted(members))}"
        raise ValueError(msg)
    names = sorted(p.name for p in path.iterdir())
    if any(map(_MTX.fullmatch, names)):
        return "10x mtx"
    below = [p.parent for depth in ("*", "*/*") for p in path.glob(f"{depth}/*matrix.mtx*")]
    msg = f"{name} is neither a zarr store nor a 10x folder: it has no 'matrix.mtx' or 'matrix.mtx.gz'. "
    msg += f"Did you mean {str(below[0])!r}?" if below else suggest("matrix.mtx", names)
    raise FileNotFoundError(msg)


def mtx_files(path: Path, prefix: str | None) -> tuple[Path, Path, Path]:
    """Find the matrix, the features and the barcodes of one sample."""
    if path.is_file():
        folder, matrix = path.parent, path
        named = _MTX.fullmatch(path.name)
        prefix = prefix or (named[1] if named else "")
    else:
        folder = path
        samples = {m[1]: p for p in sorted(path.iterdir(), reverse=True) if (m := _MTX.fullmatch(p.name))}
        if prefix is None and len(samples) > 1:
            listed = ", ".join(map(repr, sorted(samples)))
            msg = f"{str(path)!r} has several samples. Name one by `read_10x_mtx(path, prefix=...)`: {listed}."
            raise ValueError(msg)
        prefix = next(iter(samples)) if prefix is None else prefix
        if prefix not in samples:
            msg = f"{str(path)!r} has no sample with prefix {prefix!r}. {suggest(prefix, sorted(samples))}"
            raise ValueError(msg)
        matrix = samples[prefix]

    def beside(*names: str) -> Path:
        files = [folder / f"{prefix}{name}.tsv{gz}" for name in names for gz in ("", ".gz")]
        for file in files:
            if file.is_file():
                return file
        msg = f"{str(matrix)!r} needs a file beside it that is not there: {' or '.join(f.name for f in files)}."
        raise FileNotFoundError(msg)

    return matrix, beside("features", "genes"), beside("barcodes")
