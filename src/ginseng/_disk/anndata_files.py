"""AnnData and MuData in HDF5 and zarr, in memory or with the matrices left on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anndata
import h5py
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset

from ginseng._disk.tables import read_frame
from ginseng._errors import suggest, warn

#: Names of the modality with the genes.
_GENE_WORDS = {"rna", "gex", "gene expression", "gene", "genes", "expression", "mrna", "scrna", "transcriptome"}
_MEMBERS = ("obs", "var", "obsm", "varm", "obsp", "varp", "uns")


def read_h5ad(path: Path) -> AnnData:
    """Read an h5ad into memory."""
    with _names_as_text():
        return anndata.io.read_h5ad(path)


def open_h5ad(path: Path) -> AnnData:
    """Open an h5ad with all matrices on disk; anndata's own backed mode would load each layer."""
    with ExitStack() as on_error:
        f = on_error.enter_context(h5py.File(path, "r"))
        if f.attrs.get("encoding-type") != "anndata":
            f.close()
            with _names_as_text():
                return anndata.io.read_h5ad(path, backed="r")
        if not _is_there(f, "X") or (
            "raw" in f and not _has_raw(f)
        ):  # anndata would fail on a missing `X` or null `raw`
            adata = _on_disk(f)
            on_error.pop_all()
            return adata
        # a separate handle: anndata closes its own when it writes the object to another file
        layers: Any = on_error.enter_context(h5py.File(path, "r")).get("layers", {})
        raw: Any = (
            {name: _element(f["raw"][name]) for name in ("var", "varm") if name in f["raw"]} if _has_raw(f) else {}
        )
        adata = AnnData(
            filename=f,
            layers={name: _matrix(layer) for name, layer in layers.items()},
            raw=raw or None,
            **{name: _element(f[name]) for name in _MEMBERS if name in f},
        )
        on_error.pop_all()
    return adata


def read_zarr(path: Path) -> AnnData:
    """Read a zarr folder into memory."""
    with _names_as_text():
        return anndata.io.read_zarr(path)


def open_zarr(path: Path) -> AnnData:
    """Open a zarr folder with all matrices on disk."""
    return _on_disk(zarr.open_group(path, mode="r"))


def read_mudata(path: Path, modality: str | None = None) -> AnnData:
    """Read one modality of a MuData into memory."""
    return open_mudata(path, modality).to_memory()


def open_mudata(path: Path, modality: str | None = None) -> AnnData:
    """Open one modality of a MuData, with all matrices on disk.

    Parameters
    ----------
    path
        An h5mu file or a zarr folder.
    modality
        Name of the modality. If None, the one with the genes.

    Raises
    ------
    ValueError
        If there is no such modality, or the choice is ambiguous; the message lists all of them.
    """
    with ExitStack() as on_error:
        root: Any = zarr.open_group(path, mode="r") if path.is_dir() else on_error.enter_context(h5py.File(path, "r"))
        modalities = root["mod"]
        names = sorted(modalities)
        listed = ", ".join(map(repr, names)) or "none"
        if modality is None:
            modality = _with_genes(modalities, names)
            if modality is None:
                first = names[0] if names else "rna"
                msg = f"{str(path)!r} is a MuData file with the modalities {listed}. Which of them has the genes? "
                msg += f"`read_adata(path, modality={first!r})`, or the path {f'{path}/{first}'!r} for any verb."
                raise ValueError(msg)
            if len(names) > 1:
                warn(f"{str(path)!r} is a MuData file; of its modalities {listed}, {modality!r} is read.")
        elif modality not in names:
            msg = f"{str(path)!r} has no modality {modality!r}. {suggest(modality, names)}"
            raise ValueError(msg)
        if not {"obs", "var"} <= set(modalities[modality]):
            msg = f"The modality {modality!r} of {str(path)!r} has no `obs` or `var`: it is damaged. Copy it again."
            raise ValueError(msg)
        adata = _on_disk(modalities[modality])
        _add_shared_columns(adata, read_frame(root["obs"]) if "obs" in root else None, names)
        on_error.pop_all()
    return adata


def _add_shared_columns(adata: AnnData, shared: pd.DataFrame | None, modalities: list[str]) -> None:
    """Add the columns of `obs` that a MuData holds for all modalities together, such as labels."""
    if shared is None or not shared.index.is_unique:
        return
    copies = tuple(f"{name}:" for name in modalities)
    new = [c for c in shared.columns if c not in adata.obs and not str(c).startswith(copies)]
    if new:
        obs: Any = adata.obs
        adata.obs = obs.join(shared[new])


def _with_genes(modalities: Any, names: list[str]) -> str | None:
    if len(names) == 1:
        return names[0]
    named = [name for name in names if name.lower().replace("_", " ").replace("-", " ").strip() in _GENE_WORDS]
    if not named:
        for name in names:
            if "var" not in modalities[name]:
                continue
            var = read_frame(modalities[name]["var"])
            column = next((var[c] for c in ("feature_types", "feature_type", "modality") if c in var), None)
            if column is not None and len(column) and column.astype(str).str.lower().isin(_GENE_WORDS).all():
                named.append(name)
    return named[0] if len(named) == 1 else None


def _on_disk(root: Any) -> AnnData:
    layers: Any = root.get("layers", {})
    raw: Any = root["raw"] if _has_raw(root) else {}
    parts: Any = {name: _matrix(raw[name]) if name == "X" else _element(raw[name]) for name in raw}
    return AnnData(
        X=_matrix(root["X"]) if _is_there(root, "X") else None,
        layers={name: _matrix(layers[name]) for name in layers},
        raw=parts or None,
        **{name: _element(root[name]) for name in _MEMBERS if name in root},
    )


def as_dask(adata: AnnData) -> AnnData:
    """Return an AnnData that was opened from a file with its matrices as dask arrays, which any process can read.

    Raises
    ------
    ImportError
        If dask is not installed.
    """
    if find_spec("dask") is None:
        msg = 'Reading with dask needs dask: `pip install "ginseng[dask]"`.'
        raise ImportError(msg)
    from anndata.experimental import read_elem_lazy

    def lazy(x: Any) -> Any:
        element = getattr(x, "group", x)
        on_disk = isinstance(element, h5py.Group | h5py.Dataset | zarr.Group | zarr.Array)
        return read_elem_lazy(element) if on_disk else x

    layers: Any = adata.layers
    raw: Any = adata.raw
    return AnnData(
        X=lazy(adata.X),
        layers={name: lazy(layers[name]) for name in layers if name is not None},  # anndata >= 0.13 lists X as None
        raw=None if raw is None else {"X": lazy(raw.X), "var": raw.var, "varm": raw.varm},
        **{name: getattr(adata, name) for name in _MEMBERS},
    )


def _is_there(root: Any, name: str) -> bool:
    """Whether a member exists and is not null."""
    return name in root and root[name].attrs.get("encoding-type") != "null"


def _has_raw(root: Any) -> bool:
    return isinstance(root.get("raw"), h5py.Group | zarr.Group)


def _element(element: Any) -> Any:
    return read_frame(element) if element.attrs.get("encoding-type") == "dataframe" else read_elem(element)


def _matrix(element: Any) -> Any:
    if element.attrs.get("encoding-type") in ("csr_matrix", "csc_matrix"):
        return sparse_dataset(element)
    return element if isinstance(element, h5py.Dataset | zarr.Array) else read_elem(element)


@contextmanager
def _names_as_text() -> Iterator[None]:
    """Convert names stored as numbers or bytes to text, as anndata does, but without its warnings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Transforming to str index", anndata.ImplicitModificationWarning)
        warnings.filterwarnings("ignore", ".*_index' was written without encoding", anndata.OldFormatWarning)
        yield
