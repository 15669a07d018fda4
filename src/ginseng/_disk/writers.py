"""Write an AnnData to a file, or add results to an existing file, atomically."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import write_elem

from ginseng._disk.atomic import replacing, replacing_folder
from ginseng._disk.formats import kind_of
from ginseng._disk.hdf5 import added_to
from ginseng._disk.tables import name_parts
from ginseng._disk.zarr_guard import DESCRIBING, foreign

#: Members of an AnnData.
_MEMBERS = frozenset({"X", "layers", "obs", "var", "obsm", "varm", "obsp", "varp", "uns", "raw"})


def write_adata(adata: AnnData, path: Path) -> None:
    """Write an AnnData in memory to zarr or h5ad, by the suffix of `path`; existing files are replaced."""
    if path.suffix == ".zarr":
        with replacing_folder(path) as folder:
            adata.write_zarr(folder)
            root = zarr.open_group(folder, mode="r+", use_consolidated=False)
            if _drop_null_raw(root):
                _consolidate(folder)
        return
    with replacing(path) as partial:
        # not `write_h5ad`, which opens the file itself and crashes when the disk is full
        adata.strings_to_categoricals()
        if adata.raw is not None:
            adata.strings_to_categoricals(adata.raw.var)
        with added_to(partial) as file:
            write_elem(file, "/", adata)
            _drop_null_raw(file)


def _drop_null_raw(root: Any) -> bool:
    """Remove a null `raw`, which anndata before 0.12 cannot open; return whether there was one."""
    if "raw" not in root or root["raw"].attrs.get("encoding-type") != "null":
        return False
    del root["raw"]
    return True


def check_adata_target(path: Path) -> None:
    """Refuse to replace a file that is not an AnnData or holds more than one, so that nothing is lost by accident.

    Raises
    ------
    FileExistsError
        If there is such a file; the message says why.
    """
    if not path.exists():
        return
    why = None
    try:
        if (kind := kind_of(path)) != path.suffix.removeprefix("."):
            why = f"it is of another format ({kind})"
        elif path.is_dir():
            others = [p for p in path.iterdir() if p.name not in _MEMBERS | DESCRIBING] or sorted(foreign(path))
            if others:
                why = f"it holds members that are not part of an AnnData: {', '.join(map(str, others[:5]))}"
    except (ValueError, OSError) as error:
        why = str(error)
    if why:
        msg = f"{path} is not replaced: {why.removesuffix('.')}. Choose another path, or move it away."
        raise FileExistsError(msg)


def can_be_added_to(source: Path, output: Path) -> bool:
    """Whether `output` can be a copy of `source` with additions: both have the same format."""
    kind = kind_of(source)
    if output.suffix != f".{kind}":
        return False
    with _opened(source, kind, "r") as root:
        return root.attrs.get("encoding-type") == "anndata" and root["obs"].attrs.get("encoding-version") == "0.2.0"


def write_added(
    source: Path,
    output: Path,
    obs: Mapping[str, Any],
    obsm: Mapping[str, Any],
    uns: Mapping[str, Any],
    *,
    obs_names: pd.Index,
    var: Mapping[str, Any] | None = None,
) -> None:
    """Copy the file of an AnnData and add results; everything else is kept, and never loaded.

    Parameters
    ----------
    source
        An h5ad file or a zarr folder for which :func:`can_be_added_to` holds.
    output
        Where to write it; may be `source`.
    obs, obsm, uns, var
        Entries to add, by name. Existing ones are replaced, or removed if the value is `None`.
    obs_names
        Names of the cells that the entries belong to.

    Raises
    ------
    RuntimeError
        If the cells in `source` have changed.
    """
    if output.suffix == ".zarr":
        with replacing_folder(output) as folder:
            _copy(source, folder)
            with _opened(folder, "zarr", "r+") as root:
                _add(root, source, obs, obsm, uns, obs_names, var or {})
            if _is_consolidated(folder):
                _consolidate(folder)
        return
    with replacing(output) as partial:
        shutil.copyfile(source, partial)
        with added_to(partial) as file:
            _add(file, source, obs, obsm, uns, obs_names, var or {})


def _copy(source: Path, target: Path) -> None:
    """Copy a folder, stopping at the first error; `shutil.copytree` would continue."""
    for here, _, files in os.walk(source):
        folder = target / Path(here).relative_to(source)
        folder.mkdir()
        for name in files:
            shutil.copyfile(Path(here, name), folder / name)


def _is_consolidated(folder: Path) -> bool:
    newer = folder / "zarr.json"
    return (folder / ".zmetadata").exists() or (newer.exists() and "consolidated_metadata" in newer.read_text())


def _consolidate(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", UserWarning)
        zarr.consolidate_metadata(str(folder))


@contextmanager
def _opened(path: Path, kind: str, mode: Any) -> Iterator[Any]:
    if kind == "zarr":  # the actual contents, whatever the consolidated metadata say
        yield zarr.open_group(path, mode=mode, use_consolidated=False)
        return
    with h5py.File(path, mode) as file:
        yield file


def _add(root: Any, source: Path, obs: Any, obsm: Any, uns: Any, obs_names: pd.Index, var: Any) -> None:
    table = root["obs"]
    start = 0
    for part in name_parts(table[str(table.attrs["_index"])]):
        if not np.array_equal(part, np.asarray(obs_names[start : start + len(part)], object)):
            break
        start += len(part)
    if start != len(obs_names):
        msg = f"{source} was changed while its cells were labelled; nothing is written. Label it again."
        raise RuntimeError(msg)
    for columns, new in ((table, obs), (root["var"], var)):
        if not new:
            continue
        order = [str(name) for name in columns.attrs["column-order"] if new.get(str(name), "kept") is not None]
        order += [name for name, values in new.items() if values is not None and name not in order]
        columns.attrs["column-order"] = order if isinstance(columns, zarr.Group) else np.array(order, object)
    for group, new in (("obs", obs), ("var", var), ("obsm", obsm), ("uns", uns)):
        if new and group not in root:  # other writers omit empty groups
            write_elem(root, group, {})
        for name, value in new.items():
            if value is not None:
                write_elem(root[group], name, value)
            elif name in root[group]:
                del root[group][name]
    _drop_null_raw(root)
