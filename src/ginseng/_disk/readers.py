"""Read cells x genes from all supported formats, detected by content rather than name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from anndata import AnnData

from ginseng._disk import tenx
from ginseng._disk.atomic import check_readable, recover
from ginseng._disk.download import fetch
from ginseng._disk.formats import Backed, expect, format_of, read
from ginseng._disk.samples import join_samples, names_of
from ginseng._errors import suggest

type StrPath = str | os.PathLike[str]

#: Formats that are a single file, and so can be behind a URL.
_FILES = ("h5ad", "10x h5", "h5mu", "compressed HDF5", "table of text")


def read_adata(
    path: StrPath | Sequence[StrPath] | Mapping[str, StrPath],
    backed: bool | Literal["r", "dask"] | None = False,
    *,
    modality: str | None = None,
    transpose: bool | None = None,
    join: Literal["inner", "outer"] = "inner",
    known_hash: str | None = None,
) -> AnnData:
    """Read an AnnData from any of the common formats of single-cell counts.

    Parameters
    ----------
    path
        An h5ad or h5mu file, an AnnData or MuData zarr folder, a 10x Genomics h5 file (Cell Ranger 2 or later), a
        Matrix Market file or the folder that contains it (10x, STARsolo, Parse, kb-python, alevin-fry, GEO), the output
        folder of such a program, a text table (csv, tsv, txt), or the URL of a file. Tables and HDF5 files may be
        compressed (gz, bz2, xz, zip). The format is detected by content, not by name. Files behind a URL are downloaded
        once, into `ginseng.settings.cache_dir`. For several samples, pass a list of such paths, or a dict from sample
        names to paths.
    backed
        With `True` or `"r"`, `X` and the layers of an h5ad file or a zarr folder stay on disk; the object can be
        written to any file but its own. With `"dask"` they are dask arrays, which the workers of a cluster read; all of
        them need to see the path. Other formats are read into memory, with a warning.
    modality
        Modality of a MuData to read. If None, the one with the genes. A path can also name it: `"cells.h5mu/rna"`.
    transpose
        Whether the rows of a table or Matrix Market file are genes. If None, it is inferred: for a table from the
        names, for a matrix from the lengths of the other files.
    join
        For several samples: keep the genes that all samples have (`"inner"`), or all genes, with zeros (`"outer"`).
    known_hash
        Expected hash of the file behind a URL: a SHA-256, or `"md5:..."` and the like.

    Returns
    -------
    Cells x genes, with unchanged values. For several samples, `obs["sample"]` holds the sample of each cell; it is
    appended to cell names that occur more than once.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or a folder lacks a required one.
    ValueError
        If the content has another format, is truncated, contains several genomes or modalities, or does not match the
        hash; if the names of a table do not tell genes from cells; or if samples share no genes. For known unsupported
        formats, the message shows how to convert them to an AnnData.
    PermissionError, TimeoutError, ConnectionError
        If a download fails.

    See Also
    --------
    read_10x_h5, read_10x_mtx : with options for genome, gene names and features.
    """
    if backed not in (True, False, None, "r", "dask"):
        msg = f"`backed` is {backed!r}; it can be True or 'r' (on disk, read only), 'dask', or False."
        raise ValueError(msg)
    if join not in ("inner", "outer"):
        msg = f"`join` is {join!r}; it can be 'inner' (genes that all samples have) or 'outer' (all genes)."
        raise ValueError(msg)
    options: dict[str, Any] = {"modality": modality, "transpose": transpose}
    if isinstance(path, str | os.PathLike):
        return _read(path, options, backed="dask" if backed == "dask" else bool(backed), known_hash=known_hash)
    samples = dict(path) if isinstance(path, Mapping) else _named([os.fspath(each) for each in path])
    if not samples:
        msg = "There are no samples to read: `path` is empty."
        raise ValueError(msg)
    if backed or known_hash is not None:
        msg = f"Several samples cannot be read with `{'backed' if backed else 'known_hash'}`. Leave it out."
        raise ValueError(msg)
    return join_samples({str(name): _read(each, options) for name, each in samples.items()}, join)


def open_adata(path: StrPath, *, dask: bool = False) -> AnnData:
    """Read like :func:`read_adata`, but leave the matrices on disk where the format allows it.

    Parameters
    ----------
    dask
        Whether they become dask arrays; warns if the format does not allow it.
    """
    where, options = _local(path)
    found = format_of(where)
    return read(where, found, options, backed="dask" if dask else found.backed is not None)


def _read(path: StrPath, options: dict[str, Any], *, backed: Backed = False, known_hash: str | None = None) -> AnnData:
    where, named = _local(path, known_hash)
    if named and options["modality"] not in (None, named["modality"]):
        msg = f"{os.fspath(path)!r} names another modality than `modality={options['modality']!r}`. Leave one out."
        raise ValueError(msg)
    return read(where, format_of(where), {**options, **named}, backed=backed)


def _named(paths: list[str]) -> dict[str, str]:
    return dict(zip(names_of(paths), paths, strict=True))


def read_10x_h5(
    path: StrPath,
    genome: str | None = None,
    var_names: Literal["gene_symbols", "gene_ids"] = "gene_symbols",
    make_unique: bool = True,
    *,
    gex_only: bool = True,
    known_hash: str | None = None,
) -> AnnData:
    """Read a 10x Genomics h5 file (Cell Ranger 2 or later).

    Parameters
    ----------
    path
        The file, or its URL.
    genome
        Keep only the genes of this genome. Required for Cell Ranger 2 files with several genomes; by default, all genes
        of later files are read.
    var_names
        Which column names the genes; the other one is stored in `var`.
    make_unique
        Append `-1`, `-2`, ... to repeated names.
    gex_only
        Drop features that are not genes, such as antibodies, with a warning.
    known_hash
        Expected hash of the file behind a URL: a SHA-256, or `"md5:..."` and the like.

    Returns
    -------
    Counts in CSR format, cells x genes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a 10x h5 file, lacks this genome, has no genes, or has several genomes and none was chosen.
    """
    where, _ = _local(path, known_hash)
    expect(where, "10x h5")
    return tenx.read_h5(where, genome, var_names, make_unique=make_unique, gex_only=gex_only)


def read_10x_mtx(
    path: StrPath,
    var_names: Literal["gene_symbols", "gene_ids"] = "gene_symbols",
    make_unique: bool = True,
    *,
    prefix: str | None = None,
    gex_only: bool = True,
    transpose: bool | None = None,
) -> AnnData:
    """Read a folder of `matrix.mtx`, `barcodes.tsv` and `features.tsv` or `genes.tsv`, as 10x Genomics names them.

    Each file may be gzip-compressed. Names and layouts of STARsolo, Parse, kb-python, alevin-fry and GEO are also
    recognised: one features file for several samples, headers, and both orientations of the matrix. In a features file
    without a header, the first column holds ids, the second (if any) symbols, and the third (if any) feature types.

    Parameters
    ----------
    path
        The folder, or the matrix file in it.
    var_names
        Which column names the genes; the other one is stored in `var`.
    make_unique
        Append `-1`, `-2`, ... to repeated names.
    prefix
        Prefix of the three file names, as in `GSM123_matrix.mtx.gz`. Needed only if there are several samples.
    gex_only
        Drop features that are not genes, such as antibodies, with a warning.
    transpose
        Whether the matrix is genes x cells, as written by 10x, rather than cells x genes. If None, it is inferred from
        the lengths of the other files.

    Returns
    -------
    Counts in CSR format, cells x genes, float32.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    ValueError
        If the folder has several samples and none was chosen, or a file is damaged or does not fit the others.
    """
    where, _ = _local(path)
    expect(where, "10x mtx")
    return tenx.read_mtx(
        where, prefix, var_names, make_unique=make_unique, gex_only=gex_only, transpose=transpose
    )  # fmt: skip


def _local(path: StrPath, known_hash: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Return the local path of a file or folder, and the modality if the path names one."""
    name = os.fspath(path)
    if re.match("https?://", name):
        return fetch(name, known_hash, check=lambda file: expect(file, *_FILES, name=name)), {}
    if "://" in name:
        msg = f"{name!r} is not an http or https URL. Download it first and pass the path."
        raise ValueError(msg)
    if known_hash is not None:
        msg = f"{name!r} is a path, and `known_hash` is for URLs. Leave it out."
        raise ValueError(msg)
    path = Path(name).expanduser()
    if not path.exists():
        for file in (path.parent, path.parent.parent if path.parent.name == "mod" else path.parent):
            if file.is_file():  # "cells.h5mu/rna" or "cells.h5mu/mod/rna"
                return file, {"modality": path.name}
        recover(path)
    if not path.exists():
        folder = path.absolute().parent
        found = suggest(path.name, sorted(p.name for p in folder.iterdir())) if folder.is_dir() else ""
        msg = f"There is no {name!r}. {found or f'Nor is there {str(folder)!r}.'}"
        raise FileNotFoundError(msg)
    check_readable(path)
    return path, {}
