from pathlib import Path

import anndata as ad
import dask.array as da
import jax
import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from ginseng._core import bins
from ginseng.datasets import pbmc68k
from ginseng.pp import bin_expression


@pytest.fixture(scope="module")
def pbmc() -> ad.AnnData:
    """log1p of counts per 10k."""
    adata = pbmc68k()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def digitized(x: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Bins of one cell by NumPy, and which values are so near an edge that rounding decides."""
    x = x.astype(float)
    if not (x > 0).any():
        return np.zeros(len(x), int), np.zeros(len(x), bool)
    edges = np.linspace(x[x > 0].min(), x.max(), n_bins + 1)
    inner = np.abs(x[:, None] - edges[1:-1]).min(axis=1) < 1e-5 * x.max()
    if edges[0] == edges[-1]:
        return (x > 0).astype(int), inner & False
    return np.where(x > 0, np.digitize(x, edges), 0), inner


def dense(adata: ad.AnnData, key: str = "ginseng_bins") -> np.ndarray:
    layer = adata.layers[key]
    return layer.toarray() if sparse.issparse(layer) else np.asarray(layer)


@pytest.mark.parametrize("n_bins", [2, 5, 14, 51])
def test_equals_digitize_between_the_lowest_and_the_highest_value(pbmc: ad.AnnData, n_bins: int) -> None:
    found = dense(bin_expression(pbmc, n_bins, copy=True))
    expected, near = map(np.array, zip(*(digitized(x, n_bins) for x in pbmc.X.toarray()), strict=True))
    assert near.mean() < 0.01
    np.testing.assert_array_equal(found[~near], expected[~near])
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert {0, 1, n_bins + 1} <= set(np.unique(found)) <= set(range(n_bins + 2))


@pytest.mark.parametrize("n_bins", [2, 14, 64])
def test_the_network_reads_the_same_bins(pbmc: ad.AnnData, n_bins: int) -> None:
    counts = pbmc68k()
    for adata in (pbmc, counts):
        x = adata.X.toarray().astype(np.float32)
        found = dense(bin_expression(adata, n_bins, copy=True)).astype(int)
        np.testing.assert_array_equal(np.array([bins.bin_expression(cell, n_bins) for cell in x]), found)
        core = jax.jit(jax.vmap(lambda x: bins.bin_expression(x, n_bins)))(x)
        away = np.abs(np.asarray(core, int) - found)  # compiled, a value on the edge of two may be rounded into either
        assert away.max() <= 1
        assert away.mean() < 1e-5


def test_whole_numbers_on_an_edge_are_in_the_upper_bin() -> None:
    adata = ad.AnnData(np.array([[0, 1, 2, 3, 4, 5], [7, 0, 0, 7, 0, 0], [0, 0, 0, 0, 0, 0]], np.float32))
    bin_expression(adata, 4)
    np.testing.assert_array_equal(adata.layers["ginseng_bins"], [[0, 1, 2, 3, 4, 5], [1, 0, 0, 1, 0, 0], [0] * 6])


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(2**-10, 2**10, width=32)), min_size=1, max_size=20), st.integers(2, 300)
)
@settings(deadline=None, max_examples=50)
def test_order_is_kept_and_zeros_alone_are_zero(values: list[float], n_bins: int) -> None:
    x = np.array([values], np.float32)
    found = dense(bin_expression(ad.AnnData(x), n_bins, copy=True))[0]
    np.testing.assert_array_equal(found == 0, x[0] == 0)
    assert found.max() <= n_bins + 1
    assert (np.diff(found[np.argsort(x[0])].astype(int)) >= 0).all()
    assert found.dtype == (np.uint8 if n_bins <= 254 else np.uint16)


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_matrix", "dense", "float64", "explicit zeros", "view",
                                  "backed", "dask", "layer"])  # fmt: skip
def test_whatever_holds_the_values(pbmc: ad.AnnData, kind: str, tmp_path: Path) -> None:
    expected = dense(bin_expression(pbmc, copy=True))
    adata, layer = pbmc.copy(), None
    match kind:
        case "csr_array" | "csc_matrix" | "csr_matrix":
            adata.X = getattr(sparse, kind)(adata.X)
        case "dense":
            adata.X = adata.X.toarray()
        case "float64":
            adata.X = adata.X.astype(np.float64)
        case "explicit zeros":
            full = adata.X.toarray()
            adata.X = sparse.csr_matrix((full.ravel(), np.tile(np.arange(adata.n_vars), adata.n_obs),
                                         np.arange(adata.n_obs + 1) * adata.n_vars), shape=adata.shape)  # fmt: skip
        case "view":
            whole = adata
            adata, expected = whole[::2], expected[::2]
        case "backed":
            adata.write_h5ad(tmp_path / "x.h5ad")
            adata = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
        case "dask":
            adata.X = da.from_array(adata.X.toarray(), chunks=(100, -1))
        case "layer":
            adata.layers["log"], adata.X, layer = adata.X, None, "log"
    bin_expression(adata, layer=layer)
    np.testing.assert_array_equal(dense(adata), expected)
    made = adata.layers["ginseng_bins"]
    assert getattr(made, "format", None) == {"dense": None, "dask": None, "csc_matrix": "csc"}.get(kind, "csr")
    assert made.dtype == np.uint8
    if kind == "view":
        assert "ginseng_bins" not in whole.layers
    if kind == "csr_matrix":  # and it is kept in a file
        adata.write_h5ad(tmp_path / "y.h5ad")
        np.testing.assert_array_equal(dense(ad.read_h5ad(tmp_path / "y.h5ad")), expected)


def test_a_copy_leaves_the_original_alone(pbmc: ad.AnnData) -> None:
    before = pbmc.X.copy()
    assert "bins" in bin_expression(pbmc, 5, key_added="bins", copy=True).layers
    assert not {"bins", "ginseng_bins"} & set(pbmc.layers)
    assert (before != pbmc.X).nnz == 0


@pytest.mark.parametrize(("n_bins", "value"), [(1, 1.0), (0, 1.0), (65_535, 1.0), (5, -1.0), (5, np.nan)])
def test_what_cannot_be_binned_is_refused(n_bins: int, value: float) -> None:
    adata = ad.AnnData(np.array([[1.0, value]], np.float32))
    with pytest.raises(
        ValueError, match=r"`n_bins` must be from 2 to 65,534|has (negative values|values that are NaN)"
    ):
        bin_expression(adata, n_bins)
    assert "ginseng_bins" not in adata.layers


def test_a_layer_that_is_not_there(pbmc: ad.AnnData) -> None:
    with pytest.raises(KeyError, match=r"`adata\.layers` has no 'log'"):
        bin_expression(pbmc, layer="log")
