"""Types that were left out of the reference are found as clusters; with none left out, nothing is."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from sklearn.cluster import KMeans

import ginseng as gs

type Halves = tuple[ad.AnnData, ad.AnnData]
OUT = "CD19+ B"


def clustered(query: ad.AnnData) -> ad.AnnData:
    query = query.copy()
    cluster = KMeans(10, random_state=0, n_init=3).fit_predict(query.obsm["X_umap"])
    query.obs["leiden"] = pd.Categorical(cluster.astype(str))
    return query


@pytest.fixture(scope="module")
def without(halves: Halves, model_without_b: gs.model.GinsengClassifierState) -> ad.AnnData:
    """Return the query, labelled by a model of all types but one."""
    query = clustered(halves[1])
    gs.tl.classify(query, model_without_b, silent=True)
    return query


def test_a_type_that_was_left_out_is_found(without: ad.AnnData) -> None:
    query = without.copy()
    table: Any = gs.tl.novel(query)
    found = query.obs["leiden"].isin(table.index[table["novel"]])
    left_out = query.obs["cell_type"] == OUT
    assert left_out[found].mean() > 0.9
    assert found[left_out].mean() > 0.6
    new = table[table["novel"]].iloc[0]
    here = query.obs["leiden"] == table.index[0]
    assert new["n_cells"] == here.sum()
    assert new["novel_fraction"] == (query.obs["ginseng_novelty"][here] > 0.5).mean()
    assert new["confidence"] == pytest.approx(query.obs["ginseng_confidence"][here].mean())
    assert new["nearest"] == query.obs["ginseng_cell_type"][here].mode()[0]
    assert {"CD79A", "CD79B", "MS4A1", "CD74"} & set(new["markers"].split(", ")[:5])
    pd.testing.assert_frame_equal(query.uns["ginseng"]["novel"]["table"], table)
    assert not table.loc[~table["novel"], "markers"].any()


def test_markers_are_those_of_scanpy(without: ad.AnnData) -> None:
    query = without.copy()
    table: Any = gs.tl.novel(query, n_genes=7)
    new = table.index[0]
    sc.pp.normalize_total(query, target_sum=1e4)
    sc.pp.log1p(query)
    sc.tl.rank_genes_groups(query, "leiden", groups=[new], n_genes=7, use_raw=False)
    assert table.loc[new, "markers"].split(", ") == list(query.uns["rank_genes_groups"]["names"][new])


def test_with_no_type_left_out_nothing_is_found(halves: Halves, real_model: gs.model.GinsengClassifierState) -> None:
    query = clustered(halves[1])
    gs.tl.classify(query, real_model, silent=True)
    table: Any = gs.tl.novel(query)
    assert len(table) == 10
    assert not table["novel"].any()


def labelled(novelty: list[float], confidence: float = 0.5) -> ad.AnnData:
    """Return clusters of 20 cells, of which these shares are novel."""
    n = 20 * len(novelty)
    adata = ad.AnnData(np.random.default_rng(0).poisson(1.0, (n, 5)).astype(np.float32))
    adata.obs["leiden"] = pd.Categorical(np.repeat(np.arange(len(novelty)), 20).astype(str))
    adata.obs["ginseng_cell_type"] = pd.Categorical(["T"] * n)
    adata.obs["ginseng_confidence"] = np.float32(confidence)
    adata.obs["ginseng_novelty"] = np.concatenate([np.arange(20) < 20 * share for share in novelty]).astype(np.float32)
    return adata


@pytest.mark.parametrize(
    ("shares", "confidence", "new"),
    [
        ([0.05, 0.05, 0.5], 0.5, ["2"]),
        ([0.05, 0.05, 0.45], 0.5, []),  # most of its cells are known
        ([0.05, 0.05, 0.9], 0.9, []),  # and labels are sure
        ([0.4, 0.4, 0.7], 0.5, []),  # as all are, nearly
        ([0.4, 0.4, 0.9], 0.5, ["2"]),
    ],
)
def test_the_rule(shares: list[float], confidence: float, new: list[str]) -> None:
    table: Any = gs.tl.novel(labelled(shares, confidence))
    assert table.index[table["novel"]].tolist() == new
    small: Any = gs.tl.novel(labelled(shares, confidence), min_cells=21)
    assert not small["novel"].any()


@pytest.mark.parametrize(("n_empty", "new"), [(8, ["2"]), (12, []), (20, [])])
def test_cells_without_counts_are_not_of_a_new_type(n_empty: int, new: list[str]) -> None:
    adata = labelled([0.05, 0.05, 1.0])
    confidence = adata.obs["ginseng_confidence"].to_numpy().copy()
    confidence[40 : 40 + n_empty] = 0
    adata.obs["ginseng_confidence"] = confidence
    table: Any = gs.tl.novel(adata)
    assert table.index[table["novel"]].tolist() == new
    assert table.loc["2", "novel_fraction"] == (20 - n_empty) / 20


def test_where_all_is_unlike_the_reference_nothing_stands_out() -> None:
    with pytest.warns(UserWarning, match="unlike the reference"):
        table: Any = gs.tl.novel(labelled([0.55, 0.55, 0.6, 1.0]))
    assert not table["novel"].any()


def test_what_is_missing_is_said(without: ad.AnnData) -> None:
    with pytest.raises(KeyError, match="leiden"):
        gs.tl.novel(without[:, :5].copy(), "leidn")
    query = without.copy()
    del query.obs["ginseng_novelty"]
    with pytest.raises(KeyError, match="ginseng_novelty"):
        gs.tl.novel(query)
    with pytest.raises(ValueError, match="min_cells"):
        gs.tl.novel(without.copy(), min_cells=0)
    assert "novel" not in without.uns["ginseng"]


def test_new_labels_remove_what_was_found(halves: Halves, real_model: gs.model.GinsengClassifierState) -> None:
    query = clustered(halves[1])
    gs.tl.classify(query, real_model, silent=True)
    copied: Any = gs.tl.novel(query, copy=True)
    assert "novel" in copied.uns["ginseng"]
    assert "novel" not in query.uns["ginseng"]
    gs.tl.classify(copied, real_model, silent=True)
    assert "novel" not in copied.uns["ginseng"]


def test_where_types_differ_in_other_genes_no_cluster_is_called_new(without: ad.AnnData) -> None:
    query = without.copy()
    assert gs.tl.novel(query, overwrite=True)["novel"].any()
    query.uns["ginseng"]["adaptation"]["agreement"] = 0.65
    with pytest.warns(UserWarning, match=r"correlation 0\.65"):
        table = gs.tl.novel(query, overwrite=True)
    assert not table["novel"].any()
    assert table["novel_fraction"].max() > 0.5  # which is still said
