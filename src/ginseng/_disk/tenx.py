"""Read counts from 10x Genomics files, and from programs that write the same formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import h5py
import pandas as pd
from anndata import AnnData

from ginseng._disk import mtx
from ginseng._disk.matrix_guard import check_matrix
from ginseng._disk.tables import repeated_names
from ginseng._errors import warn

type VarNames = Literal["gene_symbols", "gene_ids"]

#: Members per genome in a Cell Ranger 2 file.
FIRST_MEMBERS = frozenset({"barcodes", "data", "gene_names", "genes", "indices", "indptr", "shape"})
_GENES = "Gene Expression"


def read_h5(
    path: Path,
    genome: str | None = None,
    var_names: VarNames = "gene_symbols",
    *,
    make_unique: bool = True,
    gex_only: bool = True,
) -> AnnData:
    """Read a 10x h5 file, see :func:`ginseng.read_10x_h5`."""
    with h5py.File(path, "r") as f:
        if "matrix" not in f:
            found = [name for name, group in f.items() if isinstance(group, h5py.Group) and set(group) >= FIRST_MEMBERS]
            if genome is None and len(found) > 1:
                msg = (
                    f"{str(path)!r} holds {len(found)} genomes: {', '.join(found)}. "
                    f"Choose one: `read_10x_h5(path, genome={found[0]!r})`."
                )
                raise ValueError(msg)
            genome = genome or found[0]
        elif genome is not None and "genome" not in f["matrix/features"]:
            msg = f"{str(path)!r} does not say to which genome a gene belongs; leave out `genome={genome!r}`."
            raise ValueError(msg)

    try:  # slow to import
        from scanpy.io import read_10x_h5 as read
    except ImportError:  # scanpy before 1.13
        from scanpy import read_10x_h5 as read

    with repeated_names():
        adata = read(path, genome=genome, gex_only=False)
    return _finish(adata, path, var_names, make_unique=make_unique, gex_only=gex_only)


def read_mtx(
    path: Path,
    prefix: str | None = None,
    var_names: VarNames = "gene_symbols",
    *,
    make_unique: bool = True,
    gex_only: bool = True,
    transpose: bool | None = None,
) -> AnnData:
    """Read a folder with a Matrix Market file, see :func:`ginseng.read_10x_mtx`."""
    with repeated_names():
        adata = mtx.read_mtx(path, prefix, transpose=transpose)
    return _finish(adata, path, var_names, make_unique=make_unique, gex_only=gex_only)


def _finish(adata: AnnData, path: Path, var_names: str, *, make_unique: bool, gex_only: bool) -> AnnData:
    if var_names not in ("gene_symbols", "gene_ids"):
        msg = f"`var_names` is {var_names!r}; it can be 'gene_symbols' or 'gene_ids'."
        raise ValueError(msg)
    check_matrix(adata.X, f"The matrix of {str(path)!r}")  # before its columns are indexed
    if gex_only and "feature_types" in adata.var:
        kinds = pd.Series(adata.var["feature_types"].to_numpy())
        is_gene = (kinds == _GENES).to_numpy()
        others = ", ".join(f"{n} {kind!r}" for kind, n in kinds[~is_gene].value_counts().items())
        if others and not is_gene.any():
            msg = f"{str(path)!r} has no {_GENES!r} features, only {others}. Keep them with `gex_only=False`."
            raise ValueError(msg)
        if others:
            warn(f"Dropped features that are not genes: {others}. Keep them with `gex_only=False`.")
            with repeated_names():
                adata = adata[:, is_gene].copy()
    if var_names == "gene_ids":
        var: Any = adata.var
        var = var.set_index("gene_ids").rename_axis(index=None)
        var.insert(0, "gene_symbols", adata.var_names)
        adata.var = var
    if make_unique:
        adata.var_names_make_unique()
    return adata
