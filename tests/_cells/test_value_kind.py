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
from ginseng._cells.value_kind import CELLS, judge, judge_matrix, where_counts_are

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
        assert judge(some).kind == "counts"
        log = judge(some, "log")
        assert log.kind == "log1p"
        assert log.target_sum == (None if holder == "csc" and on_disk else 1e4)  # by columns, cells have no sum
    assert where_counts_are(backed, "log") == ["leave out `layer`: `adata.X` has counts"] + [
        w for w in where_counts_are(backed, "log") if "adata.raw" in w
    ]
    assert any("adata.raw" in w for w in where_counts_are(backed, "log"))
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
        judge_matrix(x.astype(object), "adata.X")


def test_no_cells() -> None:
    adata = ad.AnnData(sparse.csr_matrix((0, 5), dtype=np.float32), var=pd.DataFrame(index=list("abcde")))
    assert judge(adata).kind == "empty"
