"""What is written into an AnnData and its file: what is renewed, what is kept, and what scanpy makes of it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from sklearn.naive_bayes import MultinomialNB

import ginseng as gs
from ginseng._cells.colors import DISTINCT, UNASSIGNED

mpl.use("agg")

type Make = Callable[..., ad.AnnData]
type State = gs.model.GinsengClassifierState

LABELS = ["B cell", "T/NK", "γδ T"]
QUICK: dict[str, Any] = {"architecture": "linear", "epochs": 2, "batch_size": 16, "silent": True}


def colors_of(adata: ad.AnnData, column: str) -> dict[str, str]:
    """Return the colours as scanpy reads them: one for each category, in their order."""
    values = adata.obs[column].astype("category")
    return dict(zip(values.cat.categories, adata.uns[f"{column}_colors"], strict=True))


@pytest.fixture
def partly(make_cells: Make, state: State) -> ad.AnnData:
    """Return cells of two of three types, labelled, and a few without counts."""
    adata = make_cells(seed=4)
    adata = adata[adata.obs["cell_type"] != "T/NK"].copy()
    adata.X = sparse.csr_matrix(adata.X.toarray() * (np.arange(adata.n_obs) >= 2)[:, None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gs.tl.classify(adata, state)
    return adata


# -- labels ------------------------------------------------------------------------------------------------------


def test_label_columns_hold_the_types_that_occur(partly: ad.AnnData, state: State) -> None:
    assert partly.obs["ginseng_cell_type"].cat.categories.tolist() == ["B cell", "γδ T", "unassigned"]
    assert partly.uns["ginseng"]["classes"].tolist() == LABELS
    partly.obs["cluster"] = partly.obs["ginseng_cell_type"].astype(str)
    gs.tl.vote(partly, "cluster")
    assert partly.obs["ginseng_vote"].cat.categories.tolist() == ["B cell", "γδ T", "unassigned"]
    some = partly[2:12].copy()
    table = gs.tl.classify(some, state, return_table=True)
    assert table["cell_type"].cat.categories.tolist() == sorted(set(table["cell_type"]))
    gs.tl.cross_validate(some, "cell_type", MultinomialNB(), n_folds=2, silent=True)
    said = some.obs["ginseng_cv_cell_type"]
    assert said.cat.categories.tolist() == sorted(set(said))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_scanpy_takes_the_labels_and_ranks_as_they_are(partly: ad.AnnData, state: State) -> None:
    partly.obs["cluster"] = partly.obs["ginseng_cell_type"].astype(str)
    gs.tl.vote(partly, "cluster")
    partly.layers["counts"] = partly.X.copy()
    sc.pp.normalize_total(partly, target_sum=1e4)
    sc.pp.log1p(partly)
    sc.pp.pca(partly, n_comps=3)
    gs.tl.rank_genes(partly, state, layer="counts", silent=True)
    for groupby in ("ginseng_cell_type", "ginseng_vote"):
        sc.tl.rank_genes_groups(partly, groupby)
        assert set(partly.uns["rank_genes_groups"]["names"].dtype.names) == set(partly.obs[groupby])
        sc.tl.dendrogram(partly, groupby, use_rep="X_pca")
        for plot in (sc.pl.dotplot, sc.pl.stacked_violin, sc.pl.matrixplot):
            plot(partly, partly.var_names[:4].tolist(), groupby=groupby, dendrogram=True, show=False)
        sc.pl.rank_genes_groups_dotplot(partly, n_genes=2, show=False)
    for plot in (sc.pl.rank_genes_groups_dotplot, sc.pl.rank_genes_groups_stacked_violin):
        plot(partly, key="ginseng_rank_genes", n_genes=2, show=False)
    sc.pl.rank_genes_groups(partly, key="ginseng_rank_genes", show=False)
    gs.tl.classify(partly, state, layer="counts")
    # scanpy's tree of the categories that were there would no longer fit
    assert "dendrogram_ginseng_cell_type" not in partly.uns
    assert "dendrogram_ginseng_vote" not in partly.uns
    mpl.pyplot.close("all")


# -- colours -----------------------------------------------------------------------------------------------------


def test_a_label_has_one_colour_everywhere(make_cells: Make) -> None:
    ref, query = make_cells(), make_cells(seed=2)
    query = query[query.obs["cell_type"] != "B cell"].copy()
    query.obs["cell_type"] = query.obs["cell_type"].cat.remove_unused_categories()
    gs.tl.train(ref, "cell_type", **QUICK)
    assert colors_of(ref, "cell_type") == dict(zip(LABELS, DISTINCT, strict=False))
    gs.tl.classify(query, ref)
    query.obs["leiden"] = query.obs["ginseng_cell_type"].astype(str)
    gs.tl.vote(query)
    for column in ("cell_type", "ginseng_cell_type", "ginseng_vote"):
        found = colors_of(query, column)
        assert found == {label: colors_of(ref, "cell_type")[label] for label in found}
    before = {name: list(query.uns[name]) for name in query.uns if name.endswith("_colors")}
    query.obsm["X_umap"] = np.random.default_rng(0).normal(size=(query.n_obs, 2))
    sc.pl.umap(query, color=["cell_type", "ginseng_cell_type", "ginseng_vote"], show=False)
    assert {name: list(query.uns[name]) for name in before} == before  # scanpy is content with them
    mpl.pyplot.close("all")


@pytest.mark.parametrize("saved", [False, True])
def test_colours_of_the_user_come_first(make_cells: Make, tmp_path: Path, saved: bool) -> None:
    ref, query = make_cells(), make_cells(seed=2)
    ref.uns["cell_type_colors"] = ["#111111", "#222222", "#333333"]
    gs.tl.train(ref, "cell_type", **QUICK)
    assert ref.uns["cell_type_colors"] == ["#111111", "#222222", "#333333"]
    model: Any = ref
    if saved:
        gs.save_model(ref, tmp_path / "m.h5")
        model = tmp_path / "m.h5"
    other = query.copy()
    gs.tl.classify(query, model)
    assert colors_of(query, "ginseng_cell_type") == dict(zip(LABELS, ref.uns["cell_type_colors"], strict=True))
    other.obs["cell_type"] = other.obs["cell_type"].cat.reorder_categories(LABELS[::-1])
    other.uns["cell_type_colors"] = np.array(["#AAAAAA", "#BBBBBB", "#CCCCCC"], object)
    gs.tl.classify(other, model)
    assert colors_of(other, "ginseng_cell_type") == colors_of(other, "cell_type")
    assert list(other.uns["cell_type_colors"]) == ["#AAAAAA", "#BBBBBB", "#CCCCCC"]


def test_true_labels_of_another_name_get_the_colours_when_they_are_compared(partly: ad.AnnData) -> None:
    partly.obs["author"] = partly.obs["cell_type"].astype(str)
    partly.obs.loc[partly.obs_names[:5], "author"] = "T10 cell"
    partly.obs.loc[partly.obs_names[5:9], "author"] = "T2 cell"
    assert "author_colors" not in partly.uns
    gs.tl.evaluate(partly, "author")
    assert partly.obs["author"].dtype.kind != "i"
    found = dict(zip(["B cell", "T2 cell", "T10 cell", "γδ T"], partly.uns["author_colors"], strict=True))
    predicted = colors_of(partly, "ginseng_cell_type")
    assert (found["B cell"], found["γδ T"]) == (predicted["B cell"], predicted["γδ T"])
    assert len(set(found.values())) == 4
    partly.strings_to_categoricals()  # as scanpy does before it draws
    assert partly.obs["author"].cat.categories.tolist() == list(found)


def test_cells_without_a_label_are_grey(partly: ad.AnnData) -> None:
    assert colors_of(partly, "ginseng_cell_type")["unassigned"] == UNASSIGNED


# -- what is stale -------------------------------------------------------------------------------------------------


def everything(adata: ad.AnnData, model: Any, key: str = "ginseng") -> None:
    """Make all that can be made from labels."""
    gs.tl.classify(adata, model, store_probs=True, key_added=key)
    gs.tl.evaluate(adata, "cell_type", key_added=key)
    gs.tl.evaluate(adata, "cell_type", key_added="elsewhere", prediction_key=f"{key}_cell_type")
    gs.tl.vote(adata, "by_hand", key_added=key)
    gs.tl.evaluate(adata, "cell_type", key_added="of_vote", prediction_key=f"{key}_vote")
    gs.tl.explain(adata, model, adata.obs_names[0], key_added=key, silent=True)
    gs.tl.rank_genes(adata, model, key_added=key, silent=True)
    gs.tl.rank_genes(adata, model, "donor", key_added="by_donor", silent=True)
    gs.tl.evaluate(adata, "cell_type", key_added="mine", prediction_key="by_hand")
    gs.tl.embed(adata, model, key_added=key, silent=True)


@pytest.fixture(scope="module")
def trained(make_cells: Make) -> ad.AnnData:
    adata = make_cells(240)
    adata.obs["by_hand"] = adata.obs["cell_type"]
    gs.tl.train(adata, "cell_type", **{**QUICK, "architecture": "gated"})
    return adata


@pytest.fixture
def made(trained: ad.AnnData) -> tuple[ad.AnnData, State]:
    adata = trained.copy()
    model = gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])
    everything(adata, model)
    gs.tl.uncertainty(adata, model, n_passes=2, silent=True)
    return adata, model


def no_longer_there(adata: ad.AnnData) -> None:
    assert not {"metrics", "vote", "explanation", "uncertainty"} & set(adata.uns["ginseng"])
    assert not {"elsewhere", "of_vote", "ginseng_rank_genes", "ginseng_vote_colors"} & set(adata.uns)
    gone = ["ginseng_vote", "ginseng_vote_fraction", "ginseng_uncertainty", "ginseng_spread"]
    assert not set(gone) & set(adata.obs)
    assert not {"ginseng_probs", "ginseng_probs_mean", "ginseng_probs_std"} & set(adata.obsm)


def still_there(adata: ad.AnnData) -> None:
    """What was made from other columns or from the model alone."""
    assert {"model", "history", "params", "overlap", "embedding"} <= set(adata.uns["ginseng"])
    assert {"by_donor_rank_genes", "mine", "cell_type_colors", "ginseng_cell_type_colors"} <= set(adata.uns)
    assert "X_ginseng" in adata.obsm


def test_new_labels_remove_what_was_made_from_the_old(made: tuple[ad.AnnData, State]) -> None:
    adata, model = made
    gs.pl.confusion(adata, show=False)
    gs.tl.classify(adata, model)
    no_longer_there(adata)
    still_there(adata)
    with pytest.raises(KeyError, match="has no 'metrics'"):
        gs.pl.confusion(adata, show=False)
    everything(adata, model)
    gs.pl.confusion(adata, show=False)
    mpl.pyplot.close("all")


@pytest.mark.parametrize("target", ["h5ad", "zarr"])
@pytest.mark.parametrize("source", ["h5ad", "zarr"])
def test_from_file_to_file_as_well(made: tuple[ad.AnnData, State], tmp_path: Path, source: str, target: str) -> None:
    adata, model = made
    path, output = tmp_path / f"in.{source}", tmp_path / f"out.{target}"
    (adata.write_h5ad if source == "h5ad" else adata.write_zarr)(path)
    for to in (output, path):  # another file, and the same
        gs.tl.classify(path, model, output=to)
        found = ad.read_h5ad(to) if to.suffix == ".h5ad" else ad.read_zarr(to)
        no_longer_there(found)
        still_there(found)
        assert colors_of(found, "ginseng_cell_type") == colors_of(adata, "ginseng_cell_type")
        assert found.obs.columns.tolist() == [
            "cell_type",
            "donor",
            "by_hand",
            "ginseng_cell_type",
            "ginseng_confidence",
            "ginseng_novelty",
        ]


def test_a_new_comparison_removes_the_labels_of_models_that_are_not_in_it(make_cells: Make) -> None:
    adata = make_cells()
    common: Any = {"epochs": 1, "silent": True}
    gs.tl.compare(adata, "cell_type", {"a": MultinomialNB(), "b": MultinomialNB()}, **common)
    gs.tl.evaluate(adata[adata.obs["ginseng_split"] == "test"].copy(), "cell_type", key_added="ginseng_b")
    gs.tl.compare(adata, "cell_type", {"a": MultinomialNB()}, **common)
    assert "ginseng_a_cell_type" in adata.obs
    assert not any(name.startswith("ginseng_b") for name in (*adata.obs, *adata.uns))


def test_training_anew_drops_probabilities_of_other_classes(make_cells: Make) -> None:
    adata = make_cells()
    gs.tl.train(adata, "cell_type", **QUICK)
    gs.tl.classify(adata, adata, store_probs=True)
    gs.tl.train(adata, "cell_type", **QUICK)
    assert "ginseng_probs" in adata.obsm
    gs.tl.train(adata, "donor", **QUICK)
    assert "ginseng_probs" not in adata.obsm
    assert "ginseng_cell_type" in adata.obs


# -- what is not ginseng's -----------------------------------------------------------------------------------------

MODEL: Any = object()
FOREIGN = [
    ("obs", "ginseng_cell_type", "text", lambda a, m, **k: gs.tl.classify(a, m, **k)),
    ("obs", "ginseng_confidence", "number", lambda a, m, **k: gs.tl.classify(a, m, **k)),
    ("obsm", "ginseng_probs", "matrix", lambda a, m, **k: gs.tl.classify(a, m, store_probs=True, **k)),
    ("uns", "ginseng", "text", lambda a, m, **k: gs.tl.classify(a, m, **k)),
    ("uns", "ginseng", "text", lambda a, m, **k: gs.tl.train(a, "cell_type", **QUICK, **k)),
    ("obs", "ginseng_vote", "text", lambda a, m, **k: gs.tl.vote(a, "donor", prediction_key="cell_type", **k)),
    ("obs", "ginseng_vote_fraction", "number",
     lambda a, m, **k: gs.tl.vote(a, "donor", prediction_key="cell_type", **k)),
    ("obs", "ginseng_uncertainty", "number", lambda a, m, **k: gs.tl.uncertainty(a, m, n_passes=2, silent=True, **k)),
    ("obsm", "ginseng_probs_mean", "matrix", lambda a, m, **k: gs.tl.uncertainty(a, m, n_passes=2, silent=True, **k)),
    ("obsm", "X_ginseng", "matrix", lambda a, m, **k: gs.tl.embed(a, m, silent=True, **k)),
    ("uns", "ginseng_rank_genes", "dict", lambda a, m, **k: gs.tl.rank_genes(a, m, "cell_type", silent=True, **k)),
    ("uns", "ginseng", "text", lambda a, m, **k: gs.tl.explain(a, m, a.obs_names[0], silent=True, **k)),
    ("uns", "ginseng", "text", lambda a, m, **k: gs.tl.evaluate(a, "cell_type", prediction_key="cell_type", **k)),
    ("obs", "ginseng_split", "text",
     lambda a, m, **k: gs.tl.compare(a, "cell_type", [MultinomialNB()], silent=True, **k)),
    ("obs", "ginseng_MultinomialNB_cell_type", "text",
     lambda a, m, **k: gs.tl.compare(a, "cell_type", [MultinomialNB()], silent=True, **k)),
    ("obs", "ginseng_cv_fold", "text",
     lambda a, m, **k: gs.tl.cross_validate(a, "cell_type", MultinomialNB(), n_folds=2, silent=True, **k)),
    ("obs", "ginseng_cv_cell_type", "text",
     lambda a, m, **k: gs.tl.cross_validate(a, "cell_type", MultinomialNB(), n_folds=2, silent=True, **k)),
    ("var", "ginseng_genes", "mask", lambda a, m, **k: gs.pp.select_hvgs(a, 10, silent=True, **k)),
    ("var", "ginseng_genes", "mask", lambda a, m, **k: gs.pp.select_markers(a, "cell_type", 10, silent=True, **k)),
    ("layers", "ginseng_bins", "counts", lambda a, m, **k: gs.pp.bin_expression(a, 5, **k)),
]  # fmt: skip


@pytest.fixture(scope="module")
def gated(make_cells: Make) -> State:
    adata = make_cells(240)
    gs.tl.train(adata, "cell_type", **{**QUICK, "architecture": "gated"})
    return gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])


def foreign(adata: ad.AnnData, what: str) -> Any:
    n, g = adata.shape
    made: dict[str, Any] = {
        "text": "mine",
        "number": 0.5,
        "matrix": np.full((n, 3), 1 / 3),
        "dict": {"params": {"groupby": "cell_type", "method": "wilcoxon"}},
        "mask": np.arange(g) < 7,
        "counts": sparse.csr_matrix(adata.X, dtype=np.uint8),
    }
    return made[what]


@pytest.mark.parametrize(("where", "name", "what", "verb"), FOREIGN)
def test_what_ginseng_did_not_write_is_refused_and_kept(
    make_cells: Make, gated: State, where: str, name: str, what: str, verb: Callable[..., Any]
) -> None:
    adata = make_cells()
    getattr(adata, where)[name] = foreign(adata, what)
    before = adata.copy()
    with pytest.raises(ValueError, match=rf"`adata.{where}\['{name}'\]` was not written by ginseng.*overwrite=True"):
        verb(adata, gated)
    same(adata, before)
    verb(adata, gated, overwrite=True)
    assert "ginseng did" not in str(getattr(adata, where)[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verb(adata, gated)  # its own


def test_labels_of_merged_samples_can_be_written_again(make_cells: Make, gated: State) -> None:
    parts = [make_cells(seed=i)[: 60 + i].copy() for i in range(2)]
    for part in parts:
        part.obs["by_hand"] = part.obs["cell_type"]
        everything(part, gated)
        gs.tl.uncertainty(part, gated, n_passes=2, silent=True)
    merged = ad.concat(parts, index_unique="-")
    assert "ginseng" not in merged.uns
    everything(merged, gated)
    assert not {"ginseng_uncertainty", "ginseng_probs_mean"} & set(merged.obs) | set(merged.obsm) & {
        "ginseng_probs_std"
    }
    gs.tl.classify(merged, gated, store_probs=True)
    alone = merged.copy()
    for name in [n for n in alone.obs if n.startswith("ginseng")]:
        del alone.obs[name]
    alone.uns.clear()
    alone.obsm.clear()
    gs.tl.classify(alone, gated, store_probs=True)
    pd.testing.assert_frame_equal(alone.obs, merged.obs)
    np.testing.assert_array_equal(alone.obsm["ginseng_probs"], merged.obsm["ginseng_probs"])
    # with cells that were never labelled
    outer = ad.concat([parts[0], make_cells(seed=5)], join="outer", index_unique="-")
    assert outer.obs["ginseng_confidence"].isna().any()
    gs.tl.classify(outer, gated)
    assert outer.obs["ginseng_confidence"].notna().all()


def test_columns_by_hand_are_not_taken_for_those_of_merged_samples(make_cells: Make, gated: State) -> None:
    for label, confidence in [("x", 0.5), ("x", np.float32(70)), (np.float32(1), np.float32(0.5))]:
        adata = make_cells()
        adata.obs["ginseng_cell_type"], adata.obs["ginseng_confidence"] = label, confidence
        with pytest.raises(ValueError, match="was not written by ginseng"):
            gs.tl.classify(adata, gated)


# -- what else there is --------------------------------------------------------------------------------------------


def rich(make_cells: Make) -> ad.AnnData:
    """Return cells with something in every corner."""
    adata = make_cells()
    rng = np.random.default_rng(0)
    adata.obs["n"] = pd.array([1, None] * 60, dtype="Int64")
    adata.obs["batch"] = pd.Categorical(["b"] * 120, categories=["c", "b", "a"])
    adata.var["symbol"] = [f"g{i}" for i in range(30)]
    adata.layers["counts"] = adata.X.copy()
    adata.obsm["X_pca"], adata.varm["PCs"] = rng.normal(size=(120, 2)), rng.normal(size=(30, 2))
    adata.obsm["table"] = pd.DataFrame({"a": rng.normal(size=120)}, index=adata.obs_names)
    adata.obsp["near"], adata.varp["near"] = sparse.eye_array(120).tocsr(), sparse.eye_array(30).tocsr()
    adata.uns = {"mine": {"a": [1, 2], "b": "text"}, "batch_colors": ["#000001", "#000002", "#000003"]}
    adata.raw = adata.copy()
    return adata


def is_ours(name: str) -> bool:
    return name.startswith(("ginseng", "X_ginseng")) or name == "cell_type_colors"


def same(a: ad.AnnData, b: ad.AnnData, ours: Callable[[str], bool] = lambda _: False) -> None:
    """Assert that two AnnData are equal to the bit, besides what is ours in the first."""
    for name in ("obs", "var"):
        left, right = getattr(a, name), getattr(b, name)
        pd.testing.assert_frame_equal(left[[c for c in left if not ours(c)]], right)
    for x, y in ((a.X, b.X), *((a.layers[n], b.layers[n]) for n in b.layers.keys() - {None})):
        assert type(x) is type(y)
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(x, part), getattr(y, part), strict=True)
    for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        left, right = getattr(a, name), getattr(b, name)
        assert {n for n in left if n is None or not ours(n)} == set(right), name
    for holder in ("obsm", "varm"):
        for n, value in getattr(b, holder).items():
            np.testing.assert_array_equal(np.asarray(getattr(a, holder)[n]), np.asarray(value), strict=True)
            assert type(getattr(a, holder)[n]) is type(value)
    for holder in ("obsp", "varp"):
        for n, value in getattr(b, holder).items():
            assert (getattr(a, holder)[n] != value).nnz == 0
    for n, value in b.uns.items():
        np.testing.assert_equal(a.uns[n], value)
    if b.raw is not None:
        np.testing.assert_array_equal(a.raw.X.toarray(), b.raw.X.toarray(), strict=True)
        pd.testing.assert_frame_equal(a.raw.var, b.raw.var)


#: Calls, with `CELLS` for what is given.
CALLS = {
    "train": "gs.tl.train(CELLS, 'cell_type', **QUICK)",
    "classify": "gs.tl.classify(CELLS, model, store_probs=True, store_gene_weights=True)",
    "evaluate": "gs.tl.evaluate(CELLS, 'cell_type', prediction_key='cell_type')",
    "vote": "gs.tl.vote(CELLS, 'donor', prediction_key='cell_type')",
    "explain": "gs.tl.explain(CELLS, model, 'cell3', silent=True)",
    "rank_genes": "gs.tl.rank_genes(CELLS, model, 'cell_type', silent=True)",
    "embed": "gs.tl.embed(CELLS, model, silent=True)",
    "prediction_sets": "gs.tl.prediction_sets(CELLS, model, silent=True)",
    "uncertainty": "gs.tl.uncertainty(CELLS, model, n_passes=2, silent=True)",
    "compare": "gs.tl.compare(CELLS, 'cell_type', [MultinomialNB()], silent=True)",
    "cross_validate": "gs.tl.cross_validate(CELLS, 'cell_type', MultinomialNB(), n_folds=2, silent=True)",
    "select_hvgs": "gs.pp.select_hvgs(CELLS, 10, silent=True)",
    "select_markers": "gs.pp.select_markers(CELLS, 'cell_type', 10, silent=True)",
    "bin_expression": "gs.pp.bin_expression(CELLS, 5)",
}


def call(verb: str, cells: str, **names: Any) -> Any:
    """Call a verb with an expression, so that nothing but the call holds what it gives."""
    return eval(CALLS[verb].replace("CELLS", cells), globals(), names)


@pytest.mark.parametrize("verb", CALLS)
def test_a_verb_leaves_everything_else_as_it_was(make_cells: Make, gated: State, verb: str) -> None:
    adata = rich(make_cells)
    before, colors = adata.copy(), list(adata.uns["batch_colors"])
    call(verb, "adata", adata=adata, model=gated)
    same(adata, before, is_ours)
    assert adata.uns["batch_colors"] == colors


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_all_of_it_survives_a_file(make_cells: Make, gated: State, tmp_path: Path, kind: str) -> None:
    adata = rich(make_cells)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for verb in CALLS:
            call(verb, "adata", adata=adata, model=gated)
    path = tmp_path / f"a.{kind}"
    (adata.write_h5ad if kind == "h5ad" else adata.write_zarr)(path)
    again = ad.read_h5ad(path) if kind == "h5ad" else ad.read_zarr(path)
    for name in [n for n in adata.obs if n.endswith(("cell_type", "vote"))]:
        assert again.obs[name].cat.categories.tolist() == adata.obs[name].cat.categories.tolist()
        assert again.obs[name].astype(str).tolist() == adata.obs[name].astype(str).tolist()
    for name in [n for n in adata.uns if n.endswith("_colors")]:
        assert list(again.uns[name]) == list(adata.uns[name])
    before = sc.get.rank_genes_groups_df(adata, "T/NK", key="ginseng_rank_genes")
    pd.testing.assert_frame_equal(sc.get.rank_genes_groups_df(again, "T/NK", key="ginseng_rank_genes"), before)
    for verb in CALLS:  # known for what they are
        call(verb, "adata", adata=again, model=gated)


# -- views that nobody holds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backed", [False, True])
def test_a_model_is_not_lost_with_a_view_without_a_name(make_cells: Make, tmp_path: Path, backed: bool) -> None:
    adata = make_cells()
    if backed:
        adata.write_h5ad(tmp_path / "a.h5ad")
        adata = gs.read_adata(tmp_path / "a.h5ad", backed=True)
    with pytest.raises(ValueError, match="`adata` is a temporary view"):
        gs.tl.train(adata[:90], "cell_type", **QUICK)
    with pytest.raises(ValueError, match="`adata` is a temporary view"):
        gs.tl.train(adata=adata[adata.obs["donor"] != "d1", 3:], label_key="cell_type", **QUICK)
    view = adata[:90]
    kept = {"view": adata[:90]}
    for given in (view, kept["view"]):
        gs.tl.train(given, "cell_type", **QUICK)
        assert "model" in given.uns["ginseng"]
    gs.tl.train({"view": view}["view"], "cell_type", **QUICK)
    copy = gs.tl.train(adata[:90], "cell_type", copy=True, **QUICK)
    assert copy is not None
    assert "model" in copy.uns["ginseng"]
    assert not adata.uns
