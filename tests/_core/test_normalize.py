import anndata as ad
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from ginseng._core.normalize import log_normalize
from ginseng._core.steps import Normalization

rng = np.random.default_rng(0)
COUNTS = rng.negative_binomial(1, 0.2, (40, 30)).astype(np.float32) + np.eye(40, 30, dtype=np.float32)


def scanpy_log1p(counts: np.ndarray, target_sum: float) -> np.ndarray:
    adata = ad.AnnData(counts.copy())
    sc.pp.normalize_total(adata, target_sum=target_sum)
    sc.pp.log1p(adata)
    return adata.X


@pytest.mark.parametrize("target_sum", [1e4, 37.0])
def test_equals_scanpy(target_sum: float) -> None:
    np.testing.assert_allclose(log_normalize(COUNTS, None, target_sum), scanpy_log1p(COUNTS, target_sum), rtol=2e-6)


def test_total_over_more_genes_than_the_model_has() -> None:
    expected = scanpy_log1p(COUNTS, 1e4)[:, :7]
    np.testing.assert_allclose(log_normalize(COUNTS[:, :7], COUNTS.sum(axis=1), 1e4), expected, rtol=2e-6)
    assert not np.allclose(log_normalize(COUNTS[:, :7], None, 1e4), expected, rtol=1e-2)


@pytest.mark.parametrize("total", [None, np.zeros(2, np.float32)])
def test_empty_cell_stays_zero(total: np.ndarray | None) -> None:
    np.testing.assert_array_equal(log_normalize(np.zeros((2, 5), np.float32), total), np.zeros((2, 5)))


def test_without_target_sum_the_mean_count_is_one() -> None:
    np.testing.assert_allclose(np.expm1(log_normalize(COUNTS, None, None)).mean(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("total", [None, COUNTS.sum(axis=1) + 3])
@pytest.mark.parametrize("target_sum", [1e4, None])
def test_numpy_scipy_and_jax_get_the_same(total: np.ndarray | None, target_sum: float | None) -> None:
    expected = log_normalize(COUNTS, total, target_sum)
    assert type(expected) is np.ndarray
    csr = log_normalize(sparse.csr_matrix(COUNTS), total, target_sum)
    assert csr.dtype == np.float32
    np.testing.assert_allclose(csr.toarray(), expected, rtol=1e-6)
    for function in (log_normalize, jax.jit(log_normalize, static_argnums=2)):
        found = function(jnp.asarray(COUNTS), total, target_sum)
        assert isinstance(found, jax.Array)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_as_scanpy_is_scanpy_to_the_bit(dtype: type) -> None:
    found = log_normalize(sparse.csr_matrix(COUNTS.astype(dtype)), None, 1e4, as_scanpy=True)
    np.testing.assert_array_equal(found.toarray(), scanpy_log1p(sparse.csr_matrix(COUNTS.astype(dtype)), 1e4).toarray())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64])
def test_dtype_of_counts_does_not_matter(dtype: type) -> None:
    np.testing.assert_array_equal(log_normalize(COUNTS.astype(dtype)), log_normalize(COUNTS))


def test_normalize_false_takes_the_values_as_they_are() -> None:
    np.testing.assert_array_equal(Normalization(normalize=False)(COUNTS, None), COUNTS)
