"""`gs.tl.train`: inputs, results, and errors before anything is written."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import jax
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import ginseng as gs
from ginseng.data import GinsengDataset
from ginseng.model import GinsengClassifierState
from ginseng.tl import _train
from ginseng.train import GinsengClassifierTrainerSettings

type Make = Callable[..., ad.AnnData]

FAST = {"architecture": "linear", "epochs": 4, "batch_size": 16, "silent": True}


def same(a: ad.AnnData, b: ad.AnnData, *, but: tuple[str, ...] = ()) -> None:
    """Assert that two AnnData are bit-identical, except for the named entries."""
    np.testing.assert_array_equal(a.X.toarray(), b.X.toarray())
    assert a.X.dtype == b.X.dtype
    assert type(a.X) is type(b.X)
    for name in ("obs", "var"):
        left, right = getattr(a, name), getattr(b, name)
        pd.testing.assert_frame_equal(left.drop(columns=list(but), errors="ignore"), right)
    for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        assert set(getattr(a, name)) - set(but) == set(getattr(b, name)), name
    for key in set(b.layers) - {None}:
        np.testing.assert_array_equal(a.layers[key].toarray(), b.layers[key].toarray())


def probs(state: GinsengClassifierState | ad.AnnData | Path, adata: ad.AnnData) -> np.ndarray:
    adata = adata.copy()
    gs.tl.classify(adata, state, store_probs=True, silent=True)
    return np.asarray(adata.obsm["ginseng_probs"])


def test_a_trained_model_is_in_uns_and_nothing_else_is_touched(make_cells: Make) -> None:
    adata = make_cells()
    adata.layers["counts"] = adata.X.copy()
    adata.uns["mine"], adata.uns["ginseng"] = 1, {"metrics": {"accuracy": 0.5}}
    adata.obsm["X_pca"] = np.ones((120, 2))
    before = adata.copy()
    assert gs.tl.train(adata, "cell_type", layer="counts", **FAST) is None
    same(adata, before, but=("cell_type_colors",))
    found = adata.uns["ginseng"]
    assert set(found) == {"metrics", "params", "classes", "model", "history", "versions"}
    assert found["classes"].tolist() == ["B cell", "T/NK", "γδ T"]
    assert found["params"]["label_key"] == "cell_type"
    assert found["params"]["layer"] == "counts"
    assert set(found["history"]) >= {"epoch", "train_loss", "holdout_loss", "holdout_accuracy"}
    assert list(found["history"]["epoch"]) == [1, 2, 3, 4]
    assert (probs(adata, adata).argmax(axis=1) == np.arange(120) % 3).mean() > 0.95


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
@pytest.mark.parametrize("architecture", ["linear", "gated", "instance"])
def test_a_trained_model_survives_a_file(make_cells: Make, tmp_path: Path, kind: str, architecture: str) -> None:
    adata, query = make_cells(), make_cells(seed=2)
    gs.tl.train(adata, "cell_type", **{**FAST, "architecture": architecture, "epochs": 2, "target_sum": None})
    if kind == "h5ad":
        adata.write_h5ad(tmp_path / "a.h5ad")
        again = ad.read_h5ad(tmp_path / "a.h5ad")
    else:
        adata.write_zarr(tmp_path / "a.zarr")
        again = ad.read_zarr(tmp_path / "a.zarr")
    gs.save_model(again, tmp_path / "m.h5")
    expected = probs(adata, query)
    np.testing.assert_array_equal(probs(again, query), expected)
    np.testing.assert_array_equal(probs(tmp_path / "m.h5", query), expected)
    state = gs.load_model(tmp_path / "m.h5")
    assert state.target_sum is None
    assert state.label_keys.tolist() == ["B cell", "T/NK", "γδ T"]


def test_a_copy_leaves_the_original(make_cells: Make) -> None:
    adata = make_cells()
    before = adata.copy()
    copy = gs.tl.train(adata, "cell_type", copy=True, **FAST)
    same(adata, before)
    assert isinstance(copy, ad.AnnData)
    same(copy, before, but=("ginseng", "cell_type_colors"))
    assert "model" in copy.uns["ginseng"]


def test_a_copy_of_a_backed_one_is_in_memory(make_cells: Make, tmp_path: Path) -> None:
    make_cells().write_h5ad(tmp_path / "a.h5ad")
    before = (tmp_path / "a.h5ad").read_bytes()
    backed = gs.read_adata(tmp_path / "a.h5ad", backed=True)
    copy = gs.tl.train(backed, "cell_type", copy=True, **FAST)
    assert isinstance(copy, ad.AnnData)
    assert not copy.isbacked
    assert not backed.uns
    gs.tl.train(backed, "cell_type", **FAST)
    np.testing.assert_array_equal(probs(backed, make_cells()), probs(copy, make_cells()))
    backed.file.close()
    assert (tmp_path / "a.h5ad").read_bytes() == before


def test_a_view_gets_the_model_and_its_parent_nothing(make_cells: Make) -> None:
    parent = make_cells()
    view = parent[:90]
    gs.tl.train(view, "cell_type", **FAST)
    assert "model" in view.uns["ginseng"]
    assert not parent.uns
    own = parent[:90].copy()
    gs.tl.train(own, "cell_type", **FAST)
    np.testing.assert_array_equal(probs(view, parent), probs(own, parent))


def test_the_same_model_from_memory_path_and_layer(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    gs.tl.train(adata, "cell_type", **FAST)
    expected = probs(adata, adata)
    for given in (tmp_path / "a.h5ad", str(tmp_path / "a.zarr")):
        state = gs.tl.train(given, "cell_type", **FAST)
        assert isinstance(state, GinsengClassifierState)
        np.testing.assert_array_equal(probs(state, adata), expected)
    assert ad.read_h5ad(tmp_path / "a.h5ad").uns == {}
    layered = ad.AnnData(adata.X.tocsc() * 3, obs=adata.obs, var=adata.var, layers={"counts": adata.X.toarray()})
    gs.tl.train(layered, adata.obs["cell_type"].tolist(), layer="counts", **FAST)
    np.testing.assert_array_equal(probs(layered, adata), expected)


def test_a_dataset_gives_a_state(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells(300)
    data = GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", silent=True)
    for given in (data, tmp_path / "s.zarr", str(tmp_path / "s.zarr")):
        state = gs.tl.train(given, **FAST)
        assert isinstance(state, GinsengClassifierState)
        assert state.genes.tolist() == adata.var_names.tolist()
        assert (probs(state, adata).argmax(axis=1) == np.arange(300) % 3).mean() > 0.95
    assert isinstance(gs.tl.train(data, "cell_type", **FAST), GinsengClassifierState)
    for wrong in ({"label_key": "other"}, {"genes": ["GENE1"]}, {"layer": "counts"}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
            gs.tl.train(data, **wrong, **FAST)


# -- genes -------------------------------------------------------------------------------------------------------


def genes_of(adata: ad.AnnData) -> list[str]:
    return list(adata.uns["ginseng"]["model"]["genes"])


def test_all_genes_are_taken_where_they_are_few(make_cells: Make) -> None:
    adata = make_cells()
    gs.tl.train(adata, "cell_type", **FAST)
    assert genes_of(adata) == adata.var_names.tolist()
    assert adata.var.columns.empty


def test_selected_genes_are_taken_where_there_are_some(make_cells: Make) -> None:
    adata = make_cells()
    adata.var["ginseng_genes"] = np.arange(30) % 3 == 0
    gs.tl.train(adata, "cell_type", **FAST)
    assert genes_of(adata) == adata.var_names[::3].tolist()
    gs.tl.train(adata, "cell_type", genes=["GENE4", "GENE2"], **FAST)
    assert genes_of(adata) == ["GENE4", "GENE2"]


def test_genes_that_are_not_selected_may_share_a_name(make_cells: Make) -> None:
    adata = make_cells()
    adata.var["ginseng_genes"] = np.arange(30) < 20
    adata.var_names = [*adata.var_names[:25], *["same"] * 5]
    gs.tl.train(adata, "cell_type", **FAST)
    assert genes_of(adata) == [f"GENE{i}" for i in range(20)]


def test_those_that_differ_most_are_taken_where_they_are_many(make_cells: Make) -> None:
    adata = make_cells(60, 5001)
    before, by_hand = adata.copy(), adata.copy()
    gs.tl.train(adata, "cell_type", holdout_fraction=0, **FAST)
    gs.pp.select_markers(by_hand, "cell_type", silent=True)
    expected = by_hand.var["ginseng_genes"]
    assert adata.var["ginseng_genes"].equals(expected)
    assert genes_of(adata) == adata.var_names[expected].tolist()
    assert len(genes_of(adata)) == 2000
    same(adata, before, but=(*adata.var.columns, "ginseng", "cell_type_colors"))

    copied = gs.tl.train(before, "cell_type", copy=True, holdout_fraction=0, **FAST)
    assert before.var.columns.empty
    assert isinstance(copied, ad.AnnData)
    assert genes_of(copied) == genes_of(adata)


def test_genes_chosen_for_one_column_are_not_taken_for_another(make_cells: Make) -> None:
    adata = make_cells(60, 5001)
    adata.obs["other"] = np.resize(["u", "v"], 60)
    alone = adata.copy()
    gs.tl.train(alone, "other", **FAST)
    gs.tl.train(adata, "cell_type", **FAST)
    first = genes_of(adata)
    gs.tl.train(adata, "cell_type", **FAST)
    assert genes_of(adata) == first
    gs.tl.train(adata, "other", **FAST)
    assert genes_of(adata) == genes_of(alone) != first

    selected = adata.var_names[:100].tolist()  # by the user, for any labels
    adata.var["ginseng_genes"] = adata.var_names.isin(selected)
    gs.tl.train(adata, "cell_type", **FAST)
    assert genes_of(adata) == selected


def test_the_holdout_does_not_choose_genes(make_cells: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    find = _train.find_markers
    spy = lambda adata, labels, *rest, **how: find(adata, seen.setdefault(0, labels), *rest, **how)  # noqa: E731
    monkeypatch.setattr(_train, "find_markers", spy)
    adata = make_cells(60, 5001)
    gs.tl.train(adata, "cell_type", holdout_fraction=0.25, **FAST)
    assert (seen[0] < 0).sum() == json.loads(adata.uns["ginseng"]["model"]["info"])["n_holdout"] == 15


@pytest.mark.parametrize("library_size", ["all_genes", "model_genes"])
def test_totals_are_of_these_genes(make_cells: Make, library_size: str) -> None:
    """Training on some genes of the counts is the same as training on normalised data."""
    adata = make_cells()
    x, of = adata.X.toarray(), adata.X.toarray()
    if library_size == "model_genes":
        of = of[:, [1, 6, 11]]
    log = ad.AnnData(np.log1p(1e4 * x / np.maximum(of.sum(axis=1, keepdims=True), 1)), obs=adata.obs, var=adata.var)
    gs.tl.train(adata, "cell_type", genes=["GENE1", "GENE6", "GENE11"], library_size=library_size, **FAST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the library size is unknown
        gs.tl.train(log, "cell_type", genes=["GENE1", "GENE6", "GENE11"], normalize=False, **FAST)
    np.testing.assert_allclose(probs(adata, adata), probs(log, log), atol=1e-5)


# -- settings and errors -----------------------------------------------------------------------------------------


def test_settings_by_name_by_dict_and_as_they_are(make_cells: Make) -> None:
    wanted = {"lr": 1e-3, "holdout_fraction": 0.2, "architecture": "linear", "batch_size": 16, "seed": 4}
    runs = [
        {"settings": wanted},
        {**wanted},
        {"settings": GinsengClassifierTrainerSettings(**wanted)},
        {"settings": {**wanted, "lr": 9.0}, "lr": 1e-3},
        {"settings": GinsengClassifierTrainerSettings(**{**wanted, "lr": 9.0}), "lr": 1e-3},
    ]
    found = []
    for run in runs:
        adata = make_cells()
        gs.tl.train(adata, "cell_type", epochs=2, silent=True, **run)
        found.append(probs(adata, adata))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    adata = make_cells()
    gs.tl.train(adata, "cell_type", epochs=2, silent=True, **{**wanted, "lr": 1e-2})
    assert np.abs(probs(adata, adata) - found[0]).max() > 1e-3


def test_groups_are_held_out_whole(make_cells: Make) -> None:
    adata = make_cells()
    gs.tl.train(adata, "cell_type", group_key="donor", holdout_fraction=0.2, **FAST)
    sizes = adata.obs["donor"].value_counts().tolist()
    state = GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])
    assert state.info["n_holdout"] in sizes
    assert state.info["n_train"] + state.info["n_holdout"] == 120


def test_cells_without_label_do_not_train(make_cells: Make) -> None:
    adata = make_cells()
    known = adata[:90].copy()
    gs.tl.train(known, "cell_type", **FAST)
    labels = adata.obs["cell_type"].astype(object).where(np.arange(120) < 90)
    adata.obs["cell_type"] = labels
    with pytest.warns(UserWarning, match=r"30 of 120 .*'cell_type'"):
        gs.tl.train(adata, "cell_type", **FAST)
    np.testing.assert_array_equal(probs(adata, adata), probs(known, adata))


def test_a_label_called_unassigned_is_a_label(make_cells: Make) -> None:
    adata = make_cells(labels=("a", "unassigned", "z"))
    gs.tl.train(adata, "cell_type", unlabeled=[], **FAST)
    x = adata.X.toarray()
    x[:4] = 0
    query = ad.AnnData(sparse.csr_matrix(x), var=adata.var)
    with pytest.warns(UserWarning, match="4 of 120"):
        gs.tl.classify(query, adata, silent=True)
    found, expected = query.obs["ginseng_cell_type"], adata.obs["cell_type"].to_numpy()
    assert found.cat.categories.tolist() == ["a", "unassigned", "z"]
    assert (found[:4] == "unassigned").all()
    assert (found[4:] == expected[4:]).mean() > 0.95


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label_key": "celltype"}, KeyError, "'celltype'.*'cell_type'"),
        ({"label_key": None}, ValueError, "`label_key`.*'cell_type'"),
        ({"label_key": ["a"] * 120}, ValueError, "'label'.*'a'"),
        ({"layer": "counts"}, KeyError, r"`adata\.layers`.*'counts'"),
        ({"group_key": "batch"}, KeyError, "'cell_type', 'donor', 'one'"),
        ({"group_level": True}, ValueError, "`group_key=`"),
        ({"group_level": True, "group_key": "one"}, ValueError, "groups.* 1"),
        ({"gene_key": "numbers"}, ValueError, "'numbers'"),
        ({"genes": ["GENE1", "TP53"]}, KeyError, "TP53"),
        ({"learning_rate": 1.0}, TypeError, "'learning_rate'.*lr"),
        ({"settings": {"learning_rate": 1.0}}, TypeError, "'learning_rate'"),
        ({"lr": -1.0}, ValueError, "`lr`.* 0"),
        ({"architecture": "lineer"}, ValueError, "linear"),
        ({"epochs": 0}, ValueError, "`epochs`.* 1"),
        ({"value": np.nan}, ValueError, "NaN"),
        ({"value": -1.0}, ValueError, "negative"),
    ],
)
@pytest.mark.parametrize("many_genes", [False, True])
def test_an_error_comes_before_anything_is_written(
    make_cells: Make, many_genes: bool, arguments: dict, error: type[Exception], message: str
) -> None:
    adata = make_cells(60, 5001) if many_genes else make_cells()
    if isinstance(arguments.get("label_key"), list):
        arguments = {"label_key": ["a"] * adata.n_obs}
    adata.var["numbers"], adata.obs["one"] = range(adata.n_vars), "d0"
    arguments = dict(arguments)
    if (value := arguments.pop("value", None)) is not None:
        adata.X[7, adata.n_vars - 1] = value
    before = adata.copy()
    with pytest.raises(error, match=message):
        gs.tl.train(adata, **{"label_key": "cell_type", **FAST, **arguments})
    assert adata.var.columns.tolist() == ["numbers"]
    same(adata, before)


def test_rows_of_one_name_are_summed_wherever_they_are_read(make_cells: Make, tmp_path: Path) -> None:
    """Counts split over rows of the same name give the same model as their sums, in memory and from disk."""
    whole = make_cells(200, 40)
    counts = whole.X.toarray()
    part = np.random.default_rng(0).binomial(counts[:, 5:15].astype(int), 0.4)
    counts[:, 5:15] -= part
    dealt = ad.AnnData(sparse.csr_matrix(np.hstack([counts, part]).astype(np.float32)), obs=whole.obs)
    dealt.var_names = [f"id{i}" for i in range(50)]
    dealt.var["symbol"] = [*whole.var_names, *whole.var_names[5:15]]
    dealt.write_h5ad(tmp_path / "a.h5ad")
    dealt.write_zarr(tmp_path / "a.zarr")
    gs.tl.train(whole, "cell_type", **FAST)
    expected = whole.uns["ginseng"]["model"]["params"]
    for given in (dealt, tmp_path / "a.h5ad", tmp_path / "a.zarr"):
        with pytest.warns(UserWarning, match="20 rows share the names of 10 genes .*: GENE5"):
            state = gs.tl.train(given, "cell_type", gene_key="symbol", **FAST)
        state = GinsengClassifierState.from_dict(dealt.uns["ginseng"]["model"]) if state is None else state
        assert state.genes.tolist() == whole.var_names.tolist()
        jax.tree.map(np.testing.assert_array_equal, state.params, expected)
    with pytest.warns(UserWarning, match="20 rows share the names of 10 genes"):
        store = GinsengDataset.create(
            tmp_path / "s.zarr", dealt, "cell_type", gene_key="symbol", chunk_size=64, silent=True
        )
    row = ad.read_zarr(tmp_path / "s.zarr").obs["original_row"].to_numpy()
    assert store.gene_names == whole.var_names.tolist()
    np.testing.assert_array_equal(store.get_batch(np.arange(200)), whole.X.toarray()[row])


def test_genes_are_selected_again_for_other_labels(make_cells: Make) -> None:
    """Genes selected by one call are not reused for other labels, also with `gene_key`."""
    adata = make_cells(60, 5001)
    adata.var["symbol"] = [f"S{i}" for i in range(5001)]
    adata.obs["other"] = ["x", "y"] * 30
    gs.tl.train(adata, "cell_type", gene_key="symbol", **FAST)
    first = adata.var["ginseng_genes"].to_numpy(copy=True)
    gs.tl.train(adata, "other", gene_key="symbol", **FAST)
    assert adata.uns["ginseng"]["params"]["genes_chosen_for"] == "other"
    assert not np.array_equal(first, adata.var["ginseng_genes"])
