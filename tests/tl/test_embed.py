"""Embedding of the cells by the model, and its uncertainty under dropout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import jax
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from scipy.stats import entropy

import ginseng as gs
from ginseng._core.members import together
from ginseng.model import GinsengClassifierState

type Make = Callable[..., ad.AnnData]
type State = GinsengClassifierState


@pytest.fixture(scope="module")
def gated(make_cells: Make) -> State:
    ref = make_cells(seed=1)
    gs.tl.train(ref, "cell_type", epochs=3, batch_size=32, silent=True)
    return GinsengClassifierState.from_dict(ref.uns["ginseng"]["model"])


@pytest.mark.slow
def test_the_embedding_is_what_the_network_says(make_cells: Make, gated: State, tmp_path: Path) -> None:
    adata = make_cells(seed=5)[:, ::-1].copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert gs.tl.embed(adata, gated, batch_size=50) is None
    x = adata[:, gated.genes].X.toarray()
    x = np.log1p(1e4 * x / x.sum(axis=1, keepdims=True))
    expected = jax.vmap(lambda x: together(gated.network).embed(gated.params, x))(x)
    np.testing.assert_allclose(adata.obsm["X_ginseng"], expected, atol=1e-4)
    assert adata.obsm["X_ginseng"].dtype == np.float32
    table: Any = gs.tl.embed(tmp_path / "a.h5ad", gated)
    assert isinstance(table, pd.DataFrame)
    assert table.columns[0] == "X_ginseng1"
    np.testing.assert_allclose(table, adata.obsm["X_ginseng"], atol=1e-5)
    copy: Any = gs.tl.embed(tmp_path / "a.h5ad", gated, copy=True, key_added="other")
    assert list(copy.obsm) == ["X_other"]
    sc.pp.neighbors(adata, use_rep="X_ginseng")
    assert "connectivities" in adata.obsp


def test_a_view_is_written_to_and_its_parent_is_not(make_cells: Make, gated: State) -> None:
    parent = make_cells(seed=5)
    view = parent[10:50]
    gs.tl.embed(view, gated)
    gs.tl.uncertainty(view, gated, n_passes=2)
    assert not parent.obsm
    assert list(parent.obs) == ["cell_type", "donor"]
    assert "ginseng_uncertainty" in view.obs


@pytest.mark.slow
def test_passes_agree_with_those_of_classify(make_cells: Make, gated: State) -> None:
    """Mean and spread over many passes agree statistically with as many calls with other seeds."""
    adata = make_cells(seed=5)[:30].copy()
    gs.tl.uncertainty(adata, gated, n_passes=400)
    options: Any = {"randomness": True, "adapt": False, "store_probs": True, "return_table": True, "silent": True}
    draws = np.stack([gs.tl.classify(adata, gated, seed=i, **options)[list(gated.label_keys)] for i in range(200)])
    mean, std = np.asarray(adata.obsm["ginseng_probs_mean"]), np.asarray(adata.obsm["ginseng_probs_std"])
    np.testing.assert_allclose(mean.sum(axis=1), 1, atol=1e-5)
    assert np.abs(mean - draws.mean(axis=0)).max() < 5 * draws.std(axis=0).max() / np.sqrt(200)
    np.testing.assert_allclose(std, draws.std(axis=0), atol=0.06)
    assert std.max() > 0.05
    label = mean.argmax(axis=1)
    np.testing.assert_array_equal(adata.obs["ginseng_spread"], std[np.arange(30), label])
    np.testing.assert_allclose(adata.obs["ginseng_uncertainty"], entropy(mean, axis=1) / np.log(3), atol=1e-5)


def test_what_is_drawn_depends_on_seed_and_cell_alone(make_cells: Make, gated: State, tmp_path: Path) -> None:
    adata = make_cells(seed=5)
    adata.X = sparse.csr_matrix(adata.X.toarray() * (np.arange(120) != 3)[:, None])
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.warns(UserWarning, match="1 of 120"):
        first: Any = gs.tl.uncertainty(adata, gated, n_passes=5, copy=True)
    with pytest.warns(UserWarning, match="of 120"):
        again: Any = gs.tl.uncertainty(tmp_path / "a.h5ad", gated, n_passes=5, batch_size=7, copy=True)
    with pytest.warns(UserWarning, match="of 120"):
        other: Any = gs.tl.uncertainty(adata, gated, n_passes=5, rng=1, copy=True)
    with pytest.warns(UserWarning, match="of 120"):
        table: Any = gs.tl.uncertainty(tmp_path / "a.h5ad", gated, n_passes=5)
    np.testing.assert_allclose(
        np.asarray(again.obsm["ginseng_probs_mean"]), np.asarray(first.obsm["ginseng_probs_mean"]), atol=1e-5
    )
    assert (
        np.abs(np.asarray(other.obsm["ginseng_probs_mean"]) - np.asarray(first.obsm["ginseng_probs_mean"])).max() > 0.01
    )
    assert np.flatnonzero(first.obs["ginseng_uncertainty"].isna()).tolist() == [3]
    assert table.columns.tolist() == ["cell_type", "confidence", "uncertainty", "spread"]
    assert table["cell_type"].iloc[3] == "unassigned"
    assert table["confidence"].iloc[3] == 0
    first.write_h5ad(tmp_path / "b.h5ad")
    pd.testing.assert_series_equal(ad.read_h5ad(tmp_path / "b.h5ad").obs["ginseng_spread"], first.obs["ginseng_spread"])


def test_passes_need_dropout(make_cells: Make, gated: State) -> None:
    with pytest.raises(ValueError, match=r"`n_passes`.* 2"):
        gs.tl.uncertainty(make_cells(), gated, n_passes=1)
    ref = make_cells(seed=1)
    gs.tl.train(ref, "cell_type", architecture="linear", config={"dropout_rate": 0.0}, epochs=1, silent=True)
    with pytest.raises(ValueError, match="trained without dropout"):
        gs.tl.uncertainty(ref, ref)
