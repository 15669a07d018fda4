"""Read cells x genes from h5ad, zarr and 10x files, each told by its content rather than its name."""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import anndata
import h5py
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from ginseng._disk.atomic import kind_of_path, recover
from ginseng._disk.download import fetch
from ginseng._disk.matrix_guard import check_matrix
from ginseng._disk.sniff import expect, genomes, kind_of, mtx_files
from ginseng._disk.tables import read_frame
from ginseng._errors import suggest, warn

type StrPath = str | os.PathLike[str]

_GENES = "Gene Expression"


def read_adata(path: StrPath, backed: bool | Literal["r"] | None = False, *, known_hash: str | None = None) -> AnnData:
    """Read an AnnData from any of the formats that single-cell counts come in.

    Parameters
    ----------
    path
        An h5ad file, an AnnData zarr folder, a 10x Genomics h5 file (Cell Ranger 2 or later), a 10x folder or
        the matrix file in it, or the URL of an h5ad or 10x h5 file. The content decides, not the name. What a
        URL leads to is downloaded once, into `ginseng.settings.cache_dir`.
    backed
        With `True` or `"r"`, `X` and the layers of an h5ad file or a zarr folder stay on disk; the object can be
        written to any file but its own. Other formats are read into memory, with a warning.
    known_hash
        What the file behind a URL must hash to: a SHA-256, or `"md5:..."` and the like.

    Returns
    -------
    Cells x genes, the values as they are in the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or a folder lacks one.
    ValueError
        If the content is something else, truncated, of several samples or genomes, or not of that hash.
    PermissionError, TimeoutError, ConnectionError
        If a download fails.

    See Also
    --------
    read_10x_h5, read_10x_mtx : with the choice of genome, gene names and features.
    """
    if backed not in (True, False, None, "r"):
        msg = f"`backed` is {backed!r}; it can be True or 'r' (on disk, read only), or False."
        raise ValueError(msg)
    path = _local(path, known_hash)
    kind = kind_of(path)
    if backed and kind not in ("h5ad", "zarr"):
        msg = f"{str(path)!r} is {kind}, and cannot be backed: all of it is read into memory."
        warn(msg)
    return _open(path, kind, backed=bool(backed))


def open_adata(path: StrPath) -> AnnData:
    """Read what :func:`read_adata` reads, leaving the matrices on disk where the format allows it."""
    path = _local(path)
    return _open(path, kind_of(path), backed=True)


def _open(path: Path, kind: str, *, backed: bool) -> AnnData:
    match kind:
        case "h5ad":
            return _open_backed(path) if backed else anndata.io.read_h5ad(path)
        case "zarr":
            return _open_zarr(path) if backed else anndata.io.read_zarr(path)
        case "10x h5":
            return read_10x_h5(path)
        case _:
            return read_10x_mtx(path)


def read_10x_h5(
    path: StrPath,
    genome: str | None = None,
    var_names: Literal["gene_symbols", "gene_ids"] = "gene_symbols",
    make_unique: bool = True,
    *,
    gex_only: bool = True,
    known_hash: str | None = None,
) -> AnnData:
    """Read a 10x Genomics h5 file, of Cell Ranger 2 or later.

    Parameters
    ----------
    path
        The file, or its URL.
    genome
        Keep only the genes of this genome. A Cell Ranger 2 file with several genomes needs one; of a later
        file all are read.
    var_names
        What names the genes; the other becomes a column of `var`.
    make_unique
        Append `-1`, `-2`, ... to repeated names.
    gex_only
        Drop features that are not genes, such as antibodies, with a warning.
    known_hash
        What the file behind a URL must hash to: a SHA-256, or `"md5:..."` and the like.

    Returns
    -------
    Counts in CSR, cells x genes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a 10x h5 file, has no such genome or no genes, or has several genomes and none is named.
    """
    path = _local(path, known_hash)
    expect(path, "10x h5")
    with h5py.File(path, "r") as f:
        if "matrix" not in f:
            found = genomes(f)
            if genome is None and len(found) > 1:
                msg = (
                    f"{str(path)!r} holds {len(found)} genomes: {', '.join(found)}. "
                    f"Choose one: `read_10x_h5(path, genome={found[0]!r})`."
                )
                raise ValueError(msg)
            genome = genome or found[0]
        elif genome is not None and "genome" not in f["matrix/features"]:
            msg = f"{str(path)!r} does not say which genome a gene is of; leave out `genome={genome!r}`."
            raise ValueError(msg)

    try:  # slow to import
        from scanpy.io import read_10x_h5 as read
    except ImportError:  # scanpy before 1.13
        from scanpy import read_10x_h5 as read

    with _repeated_names():
        adata = read(path, genome=genome, gex_only=False)
    return _finish(adata, path, var_names, make_unique=make_unique, gex_only=gex_only)


def read_10x_mtx(
    path: StrPath,
    var_names: Literal["gene_symbols", "gene_ids"] = "gene_symbols",
    make_unique: bool = True,
    *,
    prefix: str | None = None,
    gex_only: bool = True,
) -> AnnData:
    """Read a 10x Genomics folder of `matrix.mtx`, `barcodes.tsv` and `features.tsv` or `genes.tsv`.

    Each may be gzip-compressed. Of the features file, the first column is read as ids, the second, if any, as
    symbols, and the third as the kind of feature.

    Parameters
    ----------
    path
        The folder, or the matrix file in it.
    var_names
        What names the genes; the other becomes a column of `var`.
    make_unique
        Append `-1`, `-2`, ... to repeated names.
    prefix
        What precedes the three names, as in `GSM123_matrix.mtx.gz`. Needed only if there are several samples.
    gex_only
        Drop features that are not genes, such as antibodies, with a warning.

    Returns
    -------
    Counts in CSR, cells x genes, float32.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    ValueError
        If the folder has several samples and none is named, or a file is damaged or does not fit the others.
    """
    path = _local(path)
    expect(path, "10x mtx")
    matrix, features, barcodes = mtx_files(path, prefix)
    _check_kind(matrix)
    # scanpy wants all files compressed or none, two columns or more, and takes a gene called NA for missing
    try:
        x: Any = anndata.io.read_mtx(matrix).X
        genes, cells = (
            pd.read_csv(file, sep="\t", header=None, dtype=str, na_filter=False) for file in (features, barcodes)
        )
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"The 10x files at {str(path)!r} are truncated or damaged: {error}. Download or copy them again."
        raise ValueError(msg) from error
    if x.shape != (len(genes), len(cells)):
        msg = (
            f"{matrix.name!r} has {x.shape[0]} rows and {x.shape[1]} columns, but {features.name!r} has "
            f"{len(genes)} lines and {barcodes.name!r} {len(cells)}. "
            "The matrix must be genes x cells, and the other files have no header."
        )
        raise ValueError(msg)
    var = pd.DataFrame({"gene_ids": genes[0].array}, index=genes[min(1, genes.shape[1] - 1)].array)
    if genes.shape[1] > 2:
        var["feature_types"] = genes[2].array
    with _repeated_names():
        adata = AnnData(sparse.csr_matrix(x.T), obs=pd.DataFrame(index=cells[0].array), var=var)
    return _finish(adata, path, var_names, make_unique=make_unique, gex_only=gex_only)


def _finish(adata: AnnData, path: Path, var_names: str, *, make_unique: bool, gex_only: bool) -> AnnData:
    if var_names not in ("gene_symbols", "gene_ids"):
        msg = f"`var_names` is {var_names!r}; it can be 'gene_symbols' or 'gene_ids'."
        raise ValueError(msg)
    check_matrix(adata.X, f"The matrix of {str(path)!r}")  # before columns of it are taken
    if gex_only and "feature_types" in adata.var:
        kinds = pd.Series(adata.var["feature_types"].to_numpy())
        is_gene = (kinds == _GENES).to_numpy()
        others = ", ".join(f"{n} {kind!r}" for kind, n in kinds[~is_gene].value_counts().items())
        if others and not is_gene.any():
            msg = f"{str(path)!r} has no {_GENES!r} features, only {others}. Keep them with `gex_only=False`."
            raise ValueError(msg)
        if others:
            msg = f"Dropped features that are not genes: {others}. Keep them with `gex_only=False`."
            warn(msg)
            with _repeated_names():
                adata = adata[:, is_gene].copy()
    if var_names == "gene_ids":
        var: Any = adata.var
        var = var.set_index("gene_ids").rename_axis(index=None)
        var.insert(0, "gene_symbols", adata.var_names)
        adata.var = var
    if make_unique:
        adata.var_names_make_unique()
    return adata


@contextmanager
def _repeated_names() -> Iterator[None]:
    with warnings.catch_warnings():  # what to do about them is up to `make_unique`
        warnings.filterwarnings("ignore", ".*names are not unique", UserWarning)
        yield


def _open_backed(path: Path) -> AnnData:
    """Open an h5ad with all matrices on disk; anndata's own backed mode would load each layer."""
    with ExitStack() as on_error:
        f = on_error.enter_context(h5py.File(path, "r"))
        if f.attrs.get("encoding-type") != "anndata":
            f.close()
            return anndata.io.read_h5ad(path, backed="r")
        # a handle of their own, since anndata closes its one when it writes the object to another file
        layers: Any = on_error.enter_context(h5py.File(path, "r")).get("layers", {})
        names = ("obs", "var", "obsm", "varm", "obsp", "varp", "uns")
        elements: Any = {name: _element(f[name]) for name in names if name in f}
        raw = f["raw"] if isinstance(f.get("raw"), h5py.Group) else {}
        adata = AnnData(
            filename=f,
            layers={name: _on_disk(layer) for name, layer in layers.items()},
            raw={name: read_elem(raw[name]) for name in ("var", "varm") if name in raw},
            **elements,
        )
        on_error.pop_all()
    return adata


def _open_zarr(path: Path) -> AnnData:
    """Open a zarr store with all matrices on disk."""
    root = zarr.open_group(path, mode="r")
    names = ("obs", "var", "obsm", "varm", "obsp", "varp", "uns")
    elements: Any = {name: _element(root[name]) for name in names if name in root}
    layers: Any = root.get("layers", {})
    raw: Any = root.get("raw", {})
    return AnnData(
        X=_on_disk(root["X"]) if "X" in root else None,
        layers={name: _on_disk(layers[name]) for name in layers},
        raw={name: _on_disk(raw[name]) for name in ("X", "var", "varm") if name in raw} or None,
        **elements,
    )


def _element(element: Any) -> Any:
    return read_frame(element) if element.attrs.get("encoding-type") == "dataframe" else read_elem(element)


def _on_disk(element: Any) -> Any:
    if element.attrs.get("encoding-type") in ("csr_matrix", "csc_matrix"):
        return sparse_dataset(element)
    return element if isinstance(element, h5py.Dataset | zarr.Array) else read_elem(element)


def _local(path: StrPath, known_hash: str | None = None) -> Path:
    name = os.fspath(path)
    if re.match("https?://", name):
        return fetch(name, known_hash, check=lambda file: expect(file, "h5ad", "10x h5", name=name))
    if "://" in name:
        msg = f"{name!r} is not an http or https URL. Download it first and pass the path."
        raise ValueError(msg)
    if known_hash is not None:
        msg = f"{name!r} is a path, and `known_hash` is for URLs. Leave it out."
        raise ValueError(msg)
    path = Path(name).expanduser()
    if not path.exists():
        recover(path)
    if not path.exists():
        folder = path.absolute().parent
        found = suggest(path.name, sorted(p.name for p in folder.iterdir())) if folder.is_dir() else ""
        msg = f"There is no {name!r}. {found or f'Nor is there {str(folder)!r}.'}"
        raise FileNotFoundError(msg)
    _check_kind(path)
    return path


def _check_kind(path: Path) -> None:
    if (kind := kind_of_path(path)) not in ("a file", "a folder"):
        msg = f"{str(path)!r} is {kind}, not a file or folder. Write what comes from it to a file, and pass that."
        raise ValueError(msg)
