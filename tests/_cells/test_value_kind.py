"""What a matrix holds, whatever holds it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import ginseng as gs
from ginseng._cells.accept import where_counts_are
from ginseng._cells.open import open_cells
from ginseng._cells.value_kind import CELLS, judge_matrix

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(RNG.gamma(0.5, 4.0, 60), (300, 60)).astype(float) + np.eye(300, 60)
PER_CELL = 1e4 * COUNTS / COUNTS.sum(axis=1, keepdims=True)

MATRICES = {
    "counts": (COUNTS, "counts", None),
    "log1p": (np.log1p(PER_CELL), "log1p", 1e4),
    "log1p of a million": (np.log1p(100 * PER_CELL), "log1p", 1e6),
    "log1p to three decimals": (np.round(np.log1p(PER_CELL), 3), "log1p", 1e4),
    "log1p of some genes": (np.log1p(PER_CELL)[:, 5:45], "log1p", None),
    "log2": (np.log2(1 + PER_CELL), "log1p", 1e4),
    "per 10,000": (PER_CELL, "normalised", 1e4),
    "corrected": (0.97 * COUNTS, "fractional", None),
    "scaled": (COUNTS - COUNTS.mean(axis=0), "scaled", None),
    "zeros": (0 * COUNTS, "empty", None),
}
HOLDERS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": np.asarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_matrix,
    "array": sparse.csr_array,
    "dask": lambda x: da.from_array(x, chunks=(100, 30)),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("name", MATRICES)
def test_kinds(name: str, holder: str) -> None:
    x, kind, target = MATRICES[name]
    found = judge_matrix(HOLDERS[holder](x), "adata.X")
    assert (found.kind, found.target_sum) == (kind, target)
    assert (found.n_cells, found.n_bad) == (300, 0)
    if kind == "log1p" and target:
        assert found.base == (2 if name == "log2" else np.e)
    if x.any():
        assert (found.lowest, found.highest) == (x[x != 0].min(), x[x != 0].max())


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
def test_numbers_of_any_type(dtype: str) -> None:
    assert judge_matrix(sparse.csr_matrix(COUNTS.astype(dtype)), "adata.X").kind == "counts"


@pytest.mark.parametrize("holder", ["csr", "csc", "numpy"])
def test_on_disk_and_in_views(tmp_path: Path, holder: str) -> None:
    adata = ad.AnnData(HOLDERS[holder](COUNTS), layers={"log": HOLDERS[holder](np.log1p(PER_CELL))})
    adata.raw = adata.copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = gs.read_adata(tmp_path / "a.h5ad", backed=True)
    for some, on_disk in ((backed, True), (backed[20:], True), (adata[20:], False)):
        assert open_cells(some).values.kind == "counts"
        log = open_cells(some, layer="log").values
        assert log.kind == "log1p"
        assert log.target_sum == (None if holder == "csc" and on_disk else 1e4)  # by columns, cells have no sum
        assert open_cells(some, layer="raw").values.kind == "counts"
        assert where_counts_are(open_cells(some, layer="log")) == [
            "leave out `layer`: `adata.X` has counts", "pass `layer='raw'`, which has counts",
        ]  # fmt: skip
    backed.file.close()


def test_cells_all_over_are_looked_at_and_no_more_than_that() -> None:
    class Counted:
        shape, dtype, rows = (100_000, 60), np.dtype(float), 0

        def __getitem__(self, rows: slice) -> np.ndarray:
            Counted.rows += rows.stop - rows.start
            x = COUNTS[: rows.stop - rows.start].copy()
            x[:, 0] += 0.5 * (rows.stop > 99_000)
            return x

    found = judge_matrix(Counted(), "adata.X")
    assert Counted.rows == found.n_cells == CELLS
    assert found.kind == "fractional"  # the last thousand cells


def test_what_is_no_number_among_numbers() -> None:
    x = COUNTS.copy()
    x[3, :2], x[0, 5] = np.nan, np.inf
    x[7] = 0
    found = judge_matrix(sparse.csr_matrix(x), "adata.X")
    assert (found.kind, found.n_bad, found.n_empty) == ("counts", 3, 1)
    with pytest.raises(TypeError, match="values of type object"):
        _ = open_cells(ad.AnnData(x.astype(object))).values


def ambient_removed(x: np.ndarray) -> np.ndarray:
    """As SoupX and DecontX: less a share of what all cells have, and never below zero."""
    profile = x.sum(axis=0) / x.sum()
    return np.maximum(x - 0.05 * x.sum(axis=1, keepdims=True) * profile, 0)


def shared(x: np.ndarray) -> np.ndarray:
    """As alevin, STARsolo's EM and kallisto: some reads are shared by genes in fractions."""
    part = RNG.choice([0, 0, 0, 0.5, 1 / 3, 0.25], x.shape) * (x > 0)
    return x - part + np.roll(part, 1, axis=1)


CORRECTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "SoupX": ambient_removed,
    "alevin": shared,
    "CellBender": lambda x: np.where(RNG.random(x.shape) < 0.1, 0.9 * x, x),
    "Seurat's corrected": lambda x: 0.97 * x,
    "float32": lambda x: x.astype(np.float32) / np.float32(3),
    "rounding below zero": lambda x: np.where(x == 0, -1e-17, x),
    "rounding above zero": lambda x: np.where(x == 0, 1e-17, x),
}


@pytest.mark.parametrize("tool", CORRECTED)
@pytest.mark.parametrize("depth", [1, 10])
def test_corrected_counts_pass_check_and_verbs_without_a_warning(tool: str, depth: int) -> None:
    kind = np.arange(300) % 3
    x = RNG.poisson(np.where(np.arange(60) // 10 == kind[:, None], 8.0, 1.0) * depth)
    adata = ad.AnnData(
        CORRECTED[tool](x.astype(float)),
        obs=pd.DataFrame({"cell_type": np.array(["a", "b", "c"])[kind]}, index=[f"c{i}" for i in range(300)]),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(60)]),
    )
    found = gs.pp.check(adata)
    assert found.ok, found
    assert found.matrices["X"].kind == ("counts" if "rounding" in tool else "fractional")
    gs.tl.train(adata, "cell_type", architecture="linear", epochs=2, silent=True)
    assert gs.pp.check(adata, adata).call == "gs.tl.classify(adata, model)"
    gs.tl.classify(adata, adata, silent=True)
    assert (adata.obs["ginseng_cell_type"] == adata.obs["cell_type"]).mean() > 0.95
    gs.pp.select_markers(adata, "cell_type", 10, silent=True)
    gs.pp.select_hvgs(adata, 10, silent=True)


@pytest.mark.parametrize("target_sum", [1e4, 1e6, 500])
@pytest.mark.parametrize("log", [np.log1p, lambda x: np.log2(1 + x)])
def test_a_logarithm_is_told_without_the_genes_that_were_left_out(
    target_sum: float, log: Callable[[np.ndarray], np.ndarray]
) -> None:
    x = log(target_sum * COUNTS / COUNTS.sum(axis=1, keepdims=True))[:, 5:45]
    assert judge_matrix(sparse.csr_matrix(x.astype(np.float32)), "adata.X").kind == "log1p"


def test_nan_of_an_outer_join_gets_its_own_advice() -> None:
    parts = [ad.AnnData(COUNTS[:150, :50].copy()), ad.AnnData(COUNTS[150:, 10:].copy())]
    for part, genes in zip(parts, (range(50), range(10, 60)), strict=True):
        part.var_names = [f"GENE{i}" for i in genes]
        part.obs["cell_type"] = np.array(["a", "b"])[np.arange(150) % 2]
    joined = ad.concat(parts, join="outer", index_unique="-", fill_value=np.nan)
    with pytest.raises(ValueError, match=r"NaN.*join='inner'.*fill_value=0"):
        gs.tl.train(joined, "cell_type", architecture="linear", epochs=1, silent=True)
    assert "fill_value=0" in repr(gs.pp.check(joined))
    other = ad.AnnData(COUNTS.copy())
    other.var_names = [f"GENE{i}" for i in range(other.n_vars)]
    other.obs["cell_type"] = np.array(["a", "b"])[np.arange(300) % 2]
    other.X[3, 4], other.X[7, 9] = np.nan, np.nan
    with pytest.raises(ValueError, match="2 NaN"):
        gs.tl.train(other, "cell_type", architecture="linear", epochs=1, silent=True)


def test_no_cells() -> None:
    adata = ad.AnnData(sparse.csr_matrix((0, 5), dtype=np.float32), var=pd.DataFrame(index=list("abcde")))
    assert open_cells(adata).values.kind == "empty"
