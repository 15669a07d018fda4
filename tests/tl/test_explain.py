"""Contributions of the genes: complete, exact where possible, and in the layout that scanpy reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import ginseng as gs
from ginseng.model import GinsengClassifierState, classifier_from_state

type Make = Callable[..., ad.AnnData]
type State = GinsengClassifierState


def trained(make_cells: Make, architecture: str) -> State:
    ref = make_cells(seed=1)
    gs.tl.train(ref, "cell_type", architecture=architecture, epochs=8, batch_size=32, silent=True)
    return GinsengClassifierState.from_dict(ref.uns["ginseng"]["model"])


def logits_of(state: State, adata: ad.AnnData) -> np.ndarray:
    x = adata[:, state.genes].X.toarray()
    return np.asarray(classifier_from_state(state).predict(x, total=adata.X.toarray().sum(axis=1)))


# -- explain -----------------------------------------------------------------------------------------------------


def test_linear_contributions_are_exact_also_of_outliers(make_cells: Make, state: State) -> None:
    """Compared with weights times standardised expression in NumPy; one gene is far outside the training range."""
    adata = make_cells(seed=5)
    state.params["input"]["scale"] = state.params["input"]["scale"].copy()
    before = state.params["input"]["scale"][7]
    state.params["input"]["scale"][7] = 0.05
    try:
        z = np.log1p(1e4 * adata.X.toarray() / adata.X.toarray().sum(axis=1, keepdims=True))
        z = (z - state.params["input"]["mean"]) / state.params["input"]["scale"]
        assert np.abs(z[:9]).max() > 10
        z = np.clip(z, -10, 10).astype(float)
        weights = state.params["head"]["W"].astype(float)
        logits = z @ weights + state.params["head"]["b"]
        cells = adata.obs_names[:9]
        table: Any = gs.tl.explain(adata, state, cells, n_genes=None, return_table=True)
    finally:
        state.params["input"]["scale"][7] = before
    assert table["cell"].unique().tolist() == cells.tolist()
    for i, (_, rows) in enumerate(table.groupby("cell", sort=False)):
        second, first = np.argsort(logits[i])[-2:]
        assert (rows["label"] == state.label_keys[first]).all()
        assert (rows["versus"] == state.label_keys[second]).all()
        expected = z[i] * (weights[:, first] - weights[:, second])
        found = rows.set_index("gene")["contribution"][state.genes]
        np.testing.assert_allclose(found, expected, atol=2e-5)
        assert rows["contribution"].is_monotonic_decreasing
        np.testing.assert_allclose(rows["difference"], logits[i, first] - logits[i, second], atol=1e-4)


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "transformer" else name
        for name in gs.model.architectures()
    ],
)
def test_contributions_add_up_to_the_difference_of_the_logits(make_cells: Make, architecture: str) -> None:
    state, adata = trained(make_cells, architecture), make_cells(seed=5)
    logits = logits_of(state, adata)[:12]
    table: Any = gs.tl.explain(adata, state, adata.obs_names[:12], n_genes=None, n_steps=128, return_table=True)
    by_cell = table.groupby("cell", sort=False)
    top = np.sort(logits, axis=1)
    np.testing.assert_allclose(by_cell["difference"].first(), top[:, -1] - top[:, -2], rtol=1e-3, atol=1e-3)
    total = by_cell["contribution"].sum() + by_cell["difference_at_baseline"].first()
    tolerance = 1e-4 if state.network.is_linear else 0.02 * np.abs(by_cell["difference"].first()).mean()
    np.testing.assert_allclose(total, by_cell["difference"].first(), atol=tolerance)


def test_the_table_goes_into_uns_and_a_file(make_cells: Make, state: State, tmp_path: Path) -> None:
    adata = make_cells(seed=5)
    adata.write_h5ad(tmp_path / "query.h5ad")
    assert gs.tl.explain(adata, state, adata.obs_names[4], n_genes=3) is None
    table = adata.uns["ginseng"]["explanation"]
    assert table["direction"].isin(["for", "against"]).all()
    assert (np.sign(table["contribution"]) == table["direction"].map({"for": 1, "against": -1})).all()
    assert (table["direction"] == "for").sum() == 3
    for name, write, read in (("a.h5ad", "write_h5ad", ad.read_h5ad), ("a.zarr", "write_zarr", ad.read_zarr)):
        getattr(adata, write)(tmp_path / name)
        pd.testing.assert_frame_equal(read(tmp_path / name).uns["ginseng"]["explanation"], table)
    from_path = gs.tl.explain(tmp_path / "query.h5ad", state, [adata.obs_names[4]], n_genes=3)
    pd.testing.assert_frame_equal(from_path, table)
    several: Any = gs.tl.explain(tmp_path / "query.h5ad", state, ["cell9", "cell2", "cell5"])
    assert several["cell"].unique().tolist() == ["cell9", "cell2", "cell5"]
    versus: Any = gs.tl.explain(adata, state, "cell0", versus="γδ T", return_table=True)
    assert set(versus["versus"]) == {"γδ T"}


def test_genes_that_were_not_measured_are_marked(make_cells: Make, state: State) -> None:
    adata = make_cells(seed=5)[:, 5:].copy()
    table: Any = gs.tl.explain(adata, state, "cell1", n_genes=None, return_table=True, silent=True)
    assert set(table.loc[~table["measured"], "gene"]) == {f"GENE{i}" for i in range(5)}
    absent = table[~table["measured"]]  # read as in the baseline, so that they say nothing
    np.testing.assert_allclose(absent["expression"], absent["baseline"], rtol=1e-6)
    np.testing.assert_allclose(absent["contribution"], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("cells", "how", "error", "message"),
    [
        ("cel3", {}, KeyError, "'cel3'.*'cell3'"),
        ("twin", {}, ValueError, "2 .*'twin'"),
        ("empty", {}, ValueError, "'empty'"),
        ([], {}, ValueError, "`cells`"),
        ("cell0", {"versus": "T"}, KeyError, "'T'"),
        ("cell0", {"versus": "B cell"}, ValueError, "`versus`"),
        ("cell0", {"n_genes": 0}, ValueError, "`n_genes`.* 1"),
    ],
)
def test_what_cannot_be_explained(
    make_cells: Make, state: State, cells: Any, how: dict, error: type[Exception], message: str
) -> None:
    adata = make_cells(seed=5)
    adata.obs_names = [*adata.obs_names[:-3], "twin", "twin", "empty"]
    adata.X = sparse.csr_matrix(adata.X.toarray() * (np.arange(120) < 119)[:, None])  # the last cell is empty
    with pytest.raises(error, match=message):
        gs.tl.explain(adata, state, cells, **how)
    assert not adata.uns


# -- rank_genes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "transformer" else name
        for name in gs.model.architectures()
    ],
)
def test_markers_come_first(make_cells: Make, architecture: str) -> None:
    state, adata = trained(make_cells, architecture), make_cells(seed=5)
    adata = adata[:, ::-1].copy()  # genes are matched by name
    gs.tl.rank_genes(adata, state, "cell_type")
    found = sc.get.rank_genes_groups_df(adata, None, key="ginseng_rank_genes")
    for i, label in enumerate(("B cell", "T/NK", "γδ T")):
        ranks = found[found["group"] == label]
        markers = {f"GENE{j}" for j in range(5 * i, 5 * i + 5)}
        # relative to an empty cell, a gene that all cells express may be among the best
        assert len(markers & set(ranks["names"][:3])) >= 2
        assert ranks["scores"].is_monotonic_decreasing
        assert len(ranks) == 30
    params = adata.uns["ginseng_rank_genes"]["params"]
    assert params["gene_weights"] == state.network.has_gene_weights
    assert 0 <= params["unexplained"] < 0.02


def test_linear_scores_are_exact(make_cells: Make, state: State) -> None:
    adata = make_cells(seed=5)
    adata.obs["cluster"] = [f"c{i}" for i in np.arange(120) % 2]
    adata.obs.loc["cell7", "cluster"] = None
    x = adata.X.toarray()
    z = np.log1p(1e4 * x / x.sum(axis=1, keepdims=True))
    z = np.clip((z - state.params["input"]["mean"]) / state.params["input"]["scale"], -10, 10)
    weights = state.params["head"]["W"] - state.params["head"]["W"].mean(axis=1, keepdims=True)
    predicted = logits_of(state, adata).argmax(axis=1)
    own = z * weights.T[predicted]  # for the most probable class of each cell
    table: Any = gs.tl.rank_genes(adata, state, "cluster", return_table=True, batch_size=50)
    for group, rows in table.groupby("group", observed=True):
        expected = own[(adata.obs["cluster"] == group).to_numpy()].mean(axis=0)
        np.testing.assert_allclose(rows.set_index("names")["scores"][state.genes], expected, atol=1e-5)
    assert not adata.uns


@pytest.mark.slow
def test_log_fold_changes_are_those_of_scanpy(make_cells: Make, state: State) -> None:
    adata = make_cells(seed=5)
    gs.tl.rank_genes(adata, state, "cell_type")
    other = adata.copy()
    sc.pp.normalize_total(other, target_sum=1e4)
    sc.pp.log1p(other)
    sc.tl.rank_genes_groups(other, "cell_type", method="t-test")
    for label in adata.obs["cell_type"].cat.categories:
        ours = sc.get.rank_genes_groups_df(adata, label, key="ginseng_rank_genes").set_index("names")
        theirs = sc.get.rank_genes_groups_df(other, label).set_index("names")
        np.testing.assert_allclose(ours["logfoldchanges"], theirs["logfoldchanges"][ours.index], atol=1e-3)


def test_ranks_survive_files_and_are_plotted_by_scanpy(make_cells: Make, state: State, tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    adata = make_cells(seed=5)
    gs.tl.classify(adata, state)
    gs.tl.rank_genes(adata, state, n_genes=4)
    expected = sc.get.rank_genes_groups_df(adata, None, key="ginseng_rank_genes")
    assert len(expected) == 12
    assert adata.uns["ginseng_rank_genes"]["params"]["groupby"] == "ginseng_cell_type"
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for again in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        found = sc.get.rank_genes_groups_df(again, None, key="ginseng_rank_genes")
        pd.testing.assert_frame_equal(found, expected)
        axes = gs.pl.rank_genes(again, show=False)
        assert axes is not None
        plt.close("all")
    for plot in (sc.pl.rank_genes_groups_dotplot, sc.pl.rank_genes_groups_matrixplot, sc.pl.rank_genes_groups_heatmap):
        plot(adata, key="ginseng_rank_genes", n_genes=2, min_logfoldchange=0, dendrogram=False, show=False)
        plt.close("all")
    table = gs.tl.rank_genes(tmp_path / "a.h5ad", state, n_genes=4)
    pd.testing.assert_frame_equal(
        table[["group", "names", "scores", "logfoldchanges"]],  # type: ignore[index]
        expected[["group", "names", "scores", "logfoldchanges"]],
        check_categorical=False,
    )


def test_what_cannot_be_ranked(make_cells: Make, state: State) -> None:
    adata = make_cells(seed=5)
    with pytest.raises(KeyError, match=r"`gs\.tl\.classify`"):
        gs.tl.rank_genes(adata, state)
    with pytest.raises(KeyError, match=r"'celltype'.*'cell_type'"):
        gs.tl.rank_genes(adata, state, "celltype")
    adata.obs["none"] = None
    with pytest.raises(ValueError, match="'none'"):
        gs.tl.rank_genes(adata, state, "none")
    assert not adata.uns


def test_the_genes_of_blood_cells_are_those_that_are_known() -> None:
    """Markers of Zheng et al. 2017 are among the top of the 765 genes."""
    adata = gs.datasets.pbmc68k()
    gs.tl.train(adata, "cell_type", architecture="linear", layer="counts", silent=True)
    table: Any = gs.tl.rank_genes(adata, adata, "cell_type", layer="counts", n_genes=15, return_table=True, silent=True)
    best = table.groupby("group", observed=True)["names"].agg(set)
    assert {"CD79A", "MS4A1"} <= best["CD19+ B"]
    assert {"NKG7", "GNLY"} <= best["CD56+ NK"]
    assert {"LYZ", "CST3"} <= best["Dendritic"]
    assert {"CD8A", "CD8B"} <= best["CD8+/CD45RA+ Naive Cytotoxic"]
