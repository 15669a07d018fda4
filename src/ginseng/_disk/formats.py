"""The supported formats, one row each: name, detection and reader."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anndata import AnnData

from ginseng._disk import packed, tenx
from ginseng._disk.anndata_files import as_dask, open_h5ad, open_mudata, open_zarr, read_h5ad, read_mudata, read_zarr
from ginseng._disk.mtx import folders_below, has_matrix
from ginseng._disk.samples import join_samples
from ginseng._disk.sniff import HDF5, Look
from ginseng._disk.text_table import is_text_table, read_text_table
from ginseng._disk.unread import explain
from ginseng._errors import suggest, warn

#: Whether matrices stay on disk, and whether they are dask arrays then.
type Backed = bool | Literal["dask"]


@dataclass(frozen=True)
class Format:
    """A kind of file or folder that can be read.

    Attributes
    ----------
    name
        Its name, also in messages.
    sniff
        Whether something has this format; the first match wins.
    read
        Reads it into memory; called with the path and those `options` that the user passed.
    backed
        Opens it with the matrices left on disk; None if that is not possible.
    options
        Options of :func:`ginseng.read_adata` that apply to it.
    """

    name: str
    sniff: Callable[[Look], bool]
    read: Callable[..., AnnData]
    backed: Callable[..., AnnData] | None = None
    options: frozenset[str] = frozenset()


def _read_packed(path: Path, **options: Any) -> AnnData:
    """Read a compressed HDF5 file, after unpacking it."""
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder, path.name).with_suffix("")
        packed.unpack(path, inner)
        found = format_of(inner, repr(str(path)))
        return read(inner, found, options, repr(str(path)))


def _read_run(path: Path) -> AnnData:
    """Read the output of a counting program for one or more samples, from the folder of the run."""
    folders = folders_below(path)
    samples = {name: tenx.read_mtx(folder) for name, folder in folders.items()}
    if len(samples) == 1:
        return next(iter(samples.values()))
    return join_samples(samples)


def _is_tenx_h5(look: Look) -> bool:
    return look.has("hdf5", *(f"matrix/features/{name}" for name in ("id", "name", "feature_type"))) or any(
        look.has("hdf5", *(f"{name}/{member}" for member in tenx.FIRST_MEMBERS)) for name in look.members
    )


FORMATS = (
    Format("h5mu", lambda k: k.has("hdf5", "mod"), read_mudata, open_mudata, frozenset({"modality"})),
    Format("h5ad", lambda k: k.has("hdf5", "obs", "var"), read_h5ad, open_h5ad),
    Format("10x h5", _is_tenx_h5, tenx.read_h5),
    Format("MuData zarr", lambda k: k.has("zarr", "mod"), read_mudata, open_mudata, frozenset({"modality"})),
    Format("zarr", lambda k: k.has("zarr", "obs", "var"), read_zarr, open_zarr),
    Format(
        "10x mtx",
        lambda k: k.head.startswith(b"%%MatrixMarket") or (k.container == "folder" and has_matrix(k.members)),
        tenx.read_mtx,
        options=frozenset({"transpose"}),
    ),
    Format("folder of a run", lambda k: k.container == "folder" and bool(folders_below(k.path)), _read_run),
    Format(
        "compressed HDF5",
        lambda k: k.packing is not None and k.head.startswith(HDF5),
        _read_packed,
        options=frozenset({"modality"}),
    ),
    Format(
        "table of text",
        lambda k: k.is_text and is_text_table(k.head),
        read_text_table,
        options=frozenset({"transpose"}),
    ),
)
#: The formats, for messages.
READ = "h5ad, h5mu, AnnData zarr, 10x h5, 10x mtx and tables of text (csv, tsv)"


def expect(path: Path, *kinds: str, name: str | None = None) -> None:
    """Raise a `ValueError` unless a file or folder has one of the formats `kinds`."""
    found = kind_of(path, name)
    if found not in kinds:
        msg = f"{name or repr(str(path))} is {found}, not {' or '.join(kinds)}. "
        msg += "Download all of its files into a folder." if name else "Use `read_adata`, which reads both."
        raise ValueError(msg)


def kind_of(path: Path, name: str | None = None) -> str:
    """Return the name of the format; `name` stands for the path in errors."""
    return format_of(path, name).name


def format_of(path: Path, name: str | None = None) -> Format:
    """Detect the format of a file or folder.

    Raises
    ------
    ValueError
        If it has no supported format; the message says what it is and, if known, how to convert it to an AnnData.
    FileNotFoundError
        If a folder contains no counts.
    """
    look = Look(path, name or repr(str(path)))
    for known in FORMATS:
        if known.sniff(look):
            return known
    if known_as := explain(look):
        raise ValueError(known_as)
    if look.container == "folder":
        raise _no_counts(look)
    members = sorted(member for member in look.members if "/" not in member)
    if look.container == "hdf5":
        msg = f"{look.name} is HDF5, but neither h5ad nor 10x h5. {suggest('matrix', members)}"
    elif look.container == "zarr":
        msg = f"{look.name} is a zarr store, but not of an AnnData. {suggest('X', members)}"
    else:
        what = f"starts with {look.head[:16]!r}, which matches no supported format" if look.head else "is empty"
        msg = f"{look.name} {what}. Supported are {READ}."
    raise ValueError(msg)


def _no_counts(look: Look) -> Exception:
    below = [p.parent for depth in ("*", "*/*") for p in look.path.glob(f"{depth}/*matrix.mtx*")]
    files = [
        p
        for p in look.path.iterdir()
        if p.is_file() and p.suffix in (".h5", ".h5ad", ".h5mu", ".csv", ".tsv", ".txt", ".gz")
    ]
    msg = f"{look.name} is neither a zarr store nor a 10x folder: it has no 'matrix.mtx' or 'matrix.mtx.gz'. "
    if below:
        msg += f"Did you mean {str(below[0])!r}?"
    elif files:
        listed = ", ".join(repr(str(p)) for p in sorted(files)[:3])
        msg += f"{suggest('matrix.mtx', sorted(look.members))} As samples: `read_adata([{listed}, ...])`."
    else:
        msg += suggest("matrix.mtx", sorted(look.members))
    return FileNotFoundError(msg)


def read(
    path: Path, found: Format, options: dict[str, Any], name: str | None = None, *, backed: Backed = False
) -> AnnData:
    """Read a file or folder in its format.

    Raises
    ------
    ValueError
        If an option does not apply to the format.
    """
    given = {option: value for option, value in options.items() if value is not None}
    if unknown := given.keys() - found.options:
        msg = f"{name or repr(str(path))} is {found.name}, which has no `{min(unknown)}`. Leave it out."
        raise ValueError(msg)
    if backed and found.backed is not None:
        adata = found.backed(path, **given)
        return as_dask(adata) if backed == "dask" else adata
    if backed:
        warn(f"{name or repr(str(path))} is {found.name}, which cannot be backed: all of it is read into memory.")
    return found.read(path, **given)
