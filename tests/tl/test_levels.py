"""Labels of several levels: one model, whose probabilities add up."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng._cells.levels import labels_by_level
from ginseng.ontology.backoff import BackOff

type Make = Callable[..., ad.AnnData]

LINEAGE = {"CD14+ Monocyte": "myeloid", "Dendritic": "myeloid", "CD34+": "progenitor"}
LEVELS = ["lineage", "major", "cell_type"]
FAST = {"architecture": "linear", "epochs": 15, "silent": True}


def blood() -> ad.AnnData:
    """Return real cells with three levels."""
    adata = gs.datasets.pbmc68k()
    label = adata.obs["cell_type"].astype(str)
    adata.obs["lineage"] = [LINEAGE.get(each, "lymphoid") for each in label]
    adata.obs["major"] = [
        each if each in LINEAGE or "CD19" in each or "CD56" in each else "T cell" for each in label
    ]  # fmt: skip
    return adata


@pytest.fixture(scope="module")
def trained() -> ad.AnnData:
    half = blood()[::2].copy()
    gs.tl.train(half, levels=LEVELS, **FAST)
    return half


def test_labels_and_probabilities_are_sums_over_the_classes_within(trained: ad.AnnData) -> None:
    query = blood()[1::2].copy()
    gs.tl.classify(query, trained, store_probs=True, silent=True)
    probs = gs.get.probabilities(query)
    obs = blood().obs
    for level, column in (("lineage", "ginseng_lineage"), ("major", "ginseng_major")):
        of_class = dict(zip(obs["cell_type"].astype(str), obs[level], strict=True))
        sums = probs.T.groupby(of_class).sum().T
        assert query.obs[column].astype(str).tolist() == sums.idxmax(axis=1).tolist()
        np.testing.assert_allclose(query.obs[f"{column}_confidence"], sums.max(axis=1), atol=1e-6)
        accuracy = (query.obs[column].astype(str) == query.obs[level]).mean()
        assert accuracy > (query.obs["ginseng_cell_type"].astype(str) == query.obs["cell_type"].astype(str)).mean()
    # of the name of another result
    assert query.obs["ginseng_cell_type_level"].tolist() == query.obs["ginseng_cell_type"].tolist()
    assert query.uns["ginseng"]["levels"].tolist() == LEVELS
    assert query.obs["ginseng_lineage"].dtype == "category"
    assert query.obs["ginseng_lineage_confidence"].dtype == np.float32
    assert "ginseng_lineage_colors" in query.uns


def test_the_model_is_that_of_its_finest_level(trained: ad.AnnData) -> None:
    alone = blood()[::2].copy()
    gs.tl.train(alone, "cell_type", **FAST)
    for name in ("W", "b"):
        one, other = (a.uns["ginseng"]["model"]["params"]["head"][name] for a in (alone, trained))
        np.testing.assert_array_equal(one, other)


def test_levels_survive_files(trained: ad.AnnData, tmp_path: Path) -> None:
    gs.save_model(trained, tmp_path / "model.h5")
    state = gs.load_model(tmp_path / "model.h5")
    assert state.levels is not None
    assert list(state.levels) == LEVELS
    assert state.levels["cell_type"] == state.label_keys.tolist()
    obs = blood().obs
    parent = dict(zip(obs["cell_type"].astype(str), obs["lineage"], strict=True))
    assert state.levels["lineage"] == [parent[label] for label in state.label_keys]
    query = blood()[:40].copy()
    gs.tl.classify(query, state, silent=True)
    query.write_h5ad(tmp_path / "query.h5ad")
    again = ad.read_h5ad(tmp_path / "query.h5ad")
    gs.tl.classify(again, state, silent=True)  # its own columns are renewed
    merged = ad.concat([again[:20], again[20:]])  # which drops `uns`
    gs.tl.classify(merged, state, silent=True)
    table = gs.tl.classify(query, trained, return_table=True, silent=True)
    assert isinstance(table, pd.DataFrame)
    assert table["lineage"].tolist() == query.obs["ginseng_lineage"].tolist()
    plain = gs.tl.train(blood(), "cell_type", **FAST, copy=True)
    gs.tl.classify(again, plain, silent=True)  # what only levels write goes
    assert [name for name in again.obs if name.startswith("ginseng")] == [
        "ginseng_cell_type", "ginseng_confidence", "ginseng_novelty",
    ]  # fmt: skip
    assert "ginseng_lineage_colors" not in again.uns
    assert "levels" not in again.uns["ginseng"]


def test_columns_of_the_user_are_kept(trained: ad.AnnData) -> None:
    query = blood()[:40].copy()
    query.obs["ginseng_major"] = "mine"
    before = query.copy()
    with pytest.raises(ValueError, match=r"ginseng_major.* was not written by ginseng"):
        gs.tl.classify(query, trained, silent=True)
    pd.testing.assert_frame_equal(query.obs, before.obs)
    gs.tl.classify(query, trained, overwrite=True, silent=True)
    assert "mine" not in query.obs["ginseng_major"].tolist()


def test_unsure_cells_back_off_to_a_level(trained: ad.AnnData) -> None:
    query = blood()[1::2].copy()
    gs.tl.classify(query, trained, backoff=True, min_confidence=0.7, store_probs=True, silent=True)
    classes = query.uns["ginseng"]["classes"].tolist()
    obs = blood().obs
    parent = {level: dict(zip(obs["cell_type"].astype(str), obs[level], strict=True)) for level in LEVELS}
    expected = []
    for probs in gs.get.probabilities(query).to_numpy():
        label = "unassigned"
        for level in LEVELS:
            sums = pd.Series(probs, classes).groupby(parent[level]).sum()
            label = str(sums.idxmax()) if sums.max() >= 0.7 else label
        expected.append(label)
    assert query.obs["ginseng_cell_type"].tolist() == expected
    assert query.uns["ginseng"]["backoff"]["n_broader"] > 0
    assert {"T cell", "myeloid"} & set(expected)


def test_back_off_tells_a_level_from_a_class_of_the_same_name() -> None:
    levels = {"broad": ["T", "T", "B"], "fine": ["T", "CD4", "B"]}
    (label,) = BackOff.to_levels(levels, 0.5).labels
    assert (label.label, label.of, label.classes) == ("T", "broad", {0, 1})


def test_ids_come_before_levels(make_cells: Make) -> None:
    adata = make_cells(labels=("CD4 T cell", "CD8 T cell", "B cell"))
    adata.obs["level"] = adata.obs["cell_type"].map(lambda label: "mine" if "T" in label else "other").astype(str)
    ids = {"CD4 T cell": "CL:0000624", "CD8 T cell": "CL:0000625", "B cell": "CL:0000236"}
    adata.obs["cell_type_ontology_term_id"] = adata.obs["cell_type"].map(ids).astype("category")
    gs.tl.train(adata, levels=["level", "cell_type"], architecture="linear", epochs=1, silent=True)
    gs.tl.classify(adata, adata, backoff=True, min_confidence=0.9, silent=True)
    assert "mine" not in adata.obs["ginseng_cell_type"].tolist()


def test_a_label_within_two_others_is_named() -> None:
    adata = blood()
    rows = np.flatnonzero(adata.obs["cell_type"] == "CD19+ B")[:3]
    adata.obs.iloc[rows, adata.obs.columns.get_loc("lineage")] = "myeloid"
    before = adata.copy()
    with pytest.raises(ValueError, match=r"'CD19\+ B'.*92 in 'lymphoid' and 3 in 'myeloid'"):
        gs.tl.train(adata, levels=LEVELS, **FAST)
    assert adata.uns.keys() == before.uns.keys()


@pytest.mark.parametrize(
    ("levels", "label_key", "error", "match"),
    [
        ("cell_type", None, TypeError, "the broadest first"),
        (["cell_type"], None, ValueError, "at least two"),
        (["cell_type", "cell_type"], None, ValueError, "at least two"),
        (["donor", "nothing"], None, KeyError, "nothing"),
        (["nothing", "cell_type"], None, KeyError, "nothing"),
        (["donor", "cell_type"], "donor", ValueError, "leave that out"),
        (["a/b", "cell_type"], None, ValueError, "'a/b'"),
    ],
)
def test_bad_levels(
    make_cells: Make, levels: object, label_key: str | None, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        gs.tl.train(make_cells(), label_key, levels=levels, silent=True)


def test_cells_without_a_broad_label_are_in_that_of_their_class(make_cells: Make) -> None:
    adata = make_cells()
    codes, names = adata.obs["cell_type"].cat.codes.to_numpy(), adata.obs["cell_type"].cat.categories.to_numpy()
    adata.obs["broad"] = pd.Series(np.where(codes == 0, "x", "y"), adata.obs_names).where(np.arange(120) > 60)
    assert labels_by_level(adata, ["broad", "cell_type"], codes, names)["broad"] == ["x", "y", "y"]
    adata.obs.loc[codes == 1, "broad"] = None
    with pytest.raises(ValueError, match=re.escape(repr(str(names[1])))):
        labels_by_level(adata, ["broad", "cell_type"], codes, names)


def test_a_dataset_has_levels(tmp_path: Path) -> None:
    adata = blood()
    store = gs.data.GinsengDataset.create(tmp_path / "store.zarr", adata, levels=LEVELS, silent=True)
    assert store.levels is not None
    assert list(store.levels) == LEVELS
    state = gs.tl.train(store, levels=LEVELS, architecture="linear", epochs=1, silent=True)
    other = gs.tl.train(tmp_path / "store.zarr", architecture="linear", epochs=1, silent=True)
    assert state.levels == other.levels == store.levels
    with pytest.raises(ValueError, match="`levels`"):
        gs.tl.train(store, levels=LEVELS[1:], silent=True)
    gs.data.GinsengDataset.create(tmp_path / "store.zarr", adata, "cell_type", overwrite=True, silent=True)
    assert gs.data.GinsengDataset(tmp_path / "store.zarr").levels is None
    with pytest.raises(TypeError, match="levels"):
        gs.data.GinsengDataset.create(tmp_path / "other.zarr", adata)


@pytest.mark.parametrize(
    "levels",
    [
        {},
        {"broad": ["x", "y"], "cell_type": ["a", "b", "c"]},
        {"broad": ["x", 1, "y"], "cell_type": ["a", "b", "c"]},
        {"broad": ["x", "y", "z"]},
        {"broad": ["x", "y", "z"], "middle": ["m", "m", "n"], "cell_type": ["a", "b", "c"]},
        [["x", "y", "z"]],
    ],
)
def test_levels_that_do_not_fit_are_refused(make_cells: Make, levels: object) -> None:
    adata = make_cells(labels=("a", "b", "c"))
    gs.tl.train(adata, "cell_type", architecture="linear", epochs=1, silent=True)
    state = gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])
    state.levels = levels  # type: ignore[assignment]
    with pytest.raises(ValueError, match="levels"):
        state.check()
