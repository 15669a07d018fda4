"""Sparse matrices with places outside of them: one error, where compiled code would end the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import ginseng as gs

N_CELLS, N_GENES = 90, 30


def cells(form: str = "csr") -> ad.AnnData:
    rng = np.random.default_rng(0)
    kind = np.arange(N_CELLS) % 3
    x = rng.poisson(np.where(np.arange(N_GENES) // 10 == kind[:, None], 8, 1)).astype(np.float32)
    return ad.AnnData(
        sparse.csr_matrix(x) if form == "csr" else sparse.csc_matrix(x),
        obs=pd.DataFrame(
            {"cell_type": pd.Categorical(np.array(["B", "NK", "T"])[kind])}, index=map(str, range(N_CELLS))
        ),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(N_GENES)]),
    )


@pytest.fixture(scope="module")
def model() -> ad.AnnData:
    adata = cells()
    gs.tl.train(adata, "cell_type", architecture="linear", epochs=2, silent=True)
    return adata


DAMAGE: dict[str, tuple[str, Callable[[np.ndarray], None]]] = {
    "far outside": ("indices", lambda a: a.__setitem__(slice(5, 6), 10**6)),
    "just outside": ("indices", lambda a: a.__setitem__(slice(5, 6), max(N_CELLS, N_GENES))),
    "below zero": ("indices", lambda a: a.__setitem__(slice(5, 6), -3)),
    "past the end": ("indptr", lambda a: a.__setitem__(slice(-1, None), 10**6)),
    "falling": ("indptr", lambda a: a.__setitem__(slice(4, 6), a[[5, 4]])),
    "from below": ("indptr", lambda a: a.__setitem__(slice(0, 1), -7)),
}


def damaged_memory(form: str, what: str, tmp_path: Path) -> ad.AnnData:
    adata = cells(form)
    name, damage = DAMAGE[what]
    damage(getattr(adata.X, name))
    return adata


def damaged_h5ad(form: str, what: str, tmp_path: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    cells(form).write_h5ad(path)
    name, damage = DAMAGE[what]
    with h5py.File(path, "r+") as file:
        values = file["X"][name][:]
        damage(values)
        file["X"][name][:] = values
    return path


def damaged_zarr(form: str, what: str, tmp_path: Path) -> Path:
    path = tmp_path / "cells.zarr"
    cells(form).write_zarr(path)
    name, damage = DAMAGE[what]
    array: Any = zarr.open_group(path, mode="r+")[f"X/{name}"]
    values = array[:]
    damage(values)
    array[:] = values
    return path


VERBS: dict[str, Callable[[Any, Any, Path], Any]] = {
    "classify": lambda data, model, folder: gs.tl.classify(data, model, silent=True),
    "train": lambda data, model, folder: gs.tl.train(data, "cell_type", epochs=1, silent=True),
    "create": lambda data, model, folder: gs.data.GinsengDataset.create(folder / "store", data, "cell_type"),
    "select_hvgs": lambda data, model, folder: gs.pp.select_hvgs(_opened(data), 5, silent=True),
    "select_markers": lambda data, model, folder: gs.pp.select_markers(_opened(data), "cell_type", 5, silent=True),
    "embed": lambda data, model, folder: gs.tl.embed(_opened(data), model, silent=True),
    "check": lambda data, model, folder: gs.pp.check(data, model),
}


def _opened(data: Any) -> ad.AnnData:
    return data if isinstance(data, ad.AnnData) else gs.read_adata(data, backed=True)


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("holder", [damaged_memory, damaged_h5ad, damaged_zarr])
def test_refused(holder: Callable[..., Any], form: str, what: str, model: Any, tmp_path: Path) -> None:
    data = holder(form, what, tmp_path)
    for name, verb in VERBS.items():
        with pytest.raises(ValueError, match="is damaged: "):
            verb(data, model, tmp_path)
        assert not (tmp_path / "store").exists(), name
    if isinstance(data, ad.AnnData):
        assert list(data.obs) == ["cell_type"]
        assert data.var.columns.empty


def test_blocks_of_dask(model: Any) -> None:
    def damaged(block: sparse.csr_matrix) -> sparse.csr_matrix:
        block = block.copy()
        block.indices[5:6] = 10**6
        return block

    adata = cells()
    whole = da.from_array(adata.X, chunks=(30, N_GENES), asarray=False)
    adata.X = whole.map_blocks(damaged, dtype=whole.dtype, meta=whole._meta)
    with pytest.raises(ValueError, match="damaged"):
        gs.tl.classify(adata, model, silent=True)


def test_10x(tmp_path: Path) -> None:
    x = cells().X
    x.indices[5:6] = 10**6
    with h5py.File(tmp_path / "10x.h5", "w") as file:
        matrix = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            matrix[name] = getattr(x, name).astype(np.int32)
        matrix["shape"] = [N_GENES, N_CELLS]
        matrix["barcodes"] = np.array([f"cell{i}" for i in range(N_CELLS)], "S")
        names = np.array([f"gene{i}" for i in range(N_GENES)], "S")
        kinds = {"feature_type": b"Gene Expression", "genome": b"hg"}
        for name, values in {"id": names, "name": names, **{k: np.full(N_GENES, v) for k, v in kinds.items()}}.items():
            matrix[f"features/{name}"] = values
    with pytest.raises(ValueError, match=r"10x\.h5' is damaged"):
        gs.read_adata(tmp_path / "10x.h5")


def test_views(model: Any) -> None:
    adata = damaged_memory("csr", "far outside", Path())
    with pytest.raises(ValueError, match="damaged"):
        gs.tl.classify(adata[:50], model, silent=True)


def test_room_that_is_not_used_is_no_damage(model: Any) -> None:
    adata = cells()
    x = adata.X
    roomy = sparse.csr_matrix(x.shape, dtype=x.dtype)
    roomy.data, roomy.indices, roomy.indptr = np.append(x.data, 0), np.append(x.indices, 0), x.indptr
    adata.X = roomy
    gs.tl.classify(adata, model, silent=True)
