import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from ginseng.datasets import pbmc68k


@pytest.fixture(scope="module")
def shipped():
    return sc.datasets.pbmc68k_reduced()


def test_what_is_in_it(shipped):
    adata = pbmc68k()
    assert adata.shape == (700, 765)
    for x in (adata.X, adata.layers["counts"]):
        assert isinstance(x, sparse.csr_matrix)
        assert x.dtype == np.float32
        assert x.has_canonical_format
        assert (x.data == np.rint(x.data)).all()
        assert x.data.min() == 1
    assert adata.X is not adata.layers["counts"]
    assert (adata.layers["counts"] != adata.X).nnz == 0
    assert adata.obs["cell_type"].dtype == "category"
    assert adata.obs["cell_type"].tolist() == shipped.obs["bulk_labels"].tolist()
    assert adata.obs["n_counts"].dtype == np.int64
    assert adata.var_names.equals(shipped.var_names)
    assert adata.obs_names.equals(shipped.obs_names)
    assert np.array_equal(adata.obsm["X_umap"], shipped.obsm["X_umap"])


def test_counts_are_those_that_the_shipped_values_came_from(shipped):
    adata = pbmc68k()
    per_10k = np.expm1(shipped.raw.X.toarray().astype(float))
    library_size = shipped.obs["n_counts"].to_numpy(float)[:, None]
    exact = per_10k * library_size / 1e4
    counts = adata.X.toarray()
    largest_move = np.abs(exact - counts).max()
    assert largest_move < 0.1  # so rint is never in doubt
    assert (adata.obs["n_counts"].to_numpy()[:, None] == library_size).all()
    assert np.abs(np.log1p(1e4 * counts / library_size) - shipped.raw.X.toarray()).max() < 1e-3
    assert (adata.obs["n_counts"] >= counts.sum(axis=1)).all()


def test_each_call_is_a_new_one(tmp_path):
    first = pbmc68k()
    first.X.data[:] = 0
    assert pbmc68k().X.sum() > 0
    first.write_h5ad(tmp_path / "cells.h5ad")
