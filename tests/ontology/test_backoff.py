"""Labels with their terms and with back-off, against sums over the probabilities of a model."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import ginseng as gs
from ginseng.ontology.terms import cell_ontology

Cells = Callable[..., AnnData]
TYPES = ("CD4 T cell", "CD8 T cell", "B cell", "hepatocyte")
T = "CL:0000084"


@pytest.fixture(scope="module")
def model(make_cells: Cells) -> gs.model.GinsengClassifierState:
    adata = make_cells(labels=TYPES)
    gs.tl.train(adata, "cell_type", epochs=2, silent=True, architecture="linear")
    return gs.model.GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])


def with_ids(state: gs.model.GinsengClassifierState, **ids: str) -> gs.model.GinsengClassifierState:
    import dataclasses

    return dataclasses.replace(state, info={**state.info, "ontology": ids})


def test_both_labels_are_kept(model: gs.model.GinsengClassifierState, make_cells: Cells, tmp_path: Path) -> None:
    adata = make_cells(labels=TYPES, seed=1)
    gs.tl.classify(adata, model, store_probs=True, silent=True)
    plain = adata.copy()
    probs = np.asarray(adata.obsm["ginseng_probs"], float)
    threshold = float(np.quantile(probs.max(1), 0.6))
    gs.tl.classify(adata, model, backoff=True, min_confidence=threshold, silent=True)
    obs = adata.obs
    assert obs["ginseng_class"].tolist() == plain.obs["ginseng_cell_type"].tolist()
    np.testing.assert_array_equal(obs["ginseng_class_confidence"], plain.obs["ginseng_confidence"])
    sure = plain.obs["ginseng_confidence"] >= np.float32(threshold)
    assert obs["ginseng_cell_type"][sure].tolist() == obs["ginseng_class"][sure].tolist()

    classes = [str(name) for name in model.label_keys]
    ids = gs.tl.map_labels(classes)["ontology_term_id"].tolist()
    ontology = cell_ontology()
    said = dict(zip(classes, ids, strict=True))
    n_broader = 0
    for i in np.flatnonzero(~sure):
        label, term = obs["ginseng_cell_type"].iloc[i], obs["ginseng_cell_type_ontology_term_id"].iloc[i]
        if label == "unassigned":
            assert term == "unknown"
            continue
        n_broader += 1
        assert term == said.get(label, term)
        below = [k for k, name in enumerate(classes) if term in ontology.with_ancestors(said[name])]
        assert obs["ginseng_confidence"].iloc[i] == pytest.approx(probs[i, below].sum(), abs=1e-5)
        assert obs["ginseng_confidence"].iloc[i] >= threshold - 1e-6
        assert label == ontology.label(term)
    assert n_broader > 0
    assert adata.uns["ginseng"]["backoff"]["n_broader"] == n_broader
    assert adata.uns["ginseng"]["classes"].tolist() == classes
    assert len(adata.uns["ginseng_cell_type_colors"]) == len(obs["ginseng_cell_type"].cat.categories)
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    table = gs.tl.classify(again, model, backoff=True, min_confidence=threshold, return_table=True, silent=True)
    assert isinstance(table, pd.DataFrame)
    assert table["cell_type"].tolist() == obs["ginseng_cell_type"].tolist()
    assert table["class"].tolist() == obs["ginseng_class"].tolist()

    gs.tl.classify(again, model, silent=True)  # what only back-off writes goes
    assert [name for name in again.obs if name.startswith("ginseng")] == ["ginseng_cell_type", "ginseng_confidence"]
    assert "backoff" not in again.uns["ginseng"]


def test_a_model_with_ids_says_them(model: gs.model.GinsengClassifierState, make_cells: Cells) -> None:
    adata = make_cells(labels=TYPES, seed=1)
    state = with_ids(model, **{"CD4 T cell": T, "B cell": "CL:0000236", "hepatocyte": "unmapped"})
    gs.tl.classify(adata, state, silent=True)
    wanted = {"CD4 T cell": T, "B cell": "CL:0000236"}
    for label, term in zip(
        adata.obs["ginseng_cell_type"], adata.obs["ginseng_cell_type_ontology_term_id"], strict=True
    ):
        assert term == wanted.get(label, "unknown")
    assert "ginseng_class" not in adata.obs
    adata.obs["ginseng_class"] = "mine"
    del adata.uns["ginseng"]
    with pytest.raises(ValueError, match="was not written by ginseng"):
        gs.tl.classify(adata, state, backoff=True, silent=True)


def test_ids_beside_the_labels_are_learned(make_cells: Cells) -> None:
    adata = make_cells(labels=("a", "b", "c"))
    ids = {"a": T, "b": "CL:0000236", "c": "unknown"}
    adata.obs["cell_type_ontology_term_id"] = adata.obs["cell_type"].map(ids).astype("category")
    gs.tl.train(adata, "cell_type", epochs=1, silent=True, architecture="linear")
    query = make_cells(labels=("a", "b", "c"), seed=1)
    gs.tl.classify(query, adata, silent=True)
    terms = query.obs["ginseng_cell_type_ontology_term_id"].astype(str)
    assert terms.tolist() == [ids.get(label, "unknown") for label in query.obs["ginseng_cell_type"]]


def test_without_terms_there_is_no_back_off(make_cells: Cells) -> None:
    adata = make_cells(labels=("c1", "c2", "c3"))
    gs.tl.train(adata, "cell_type", epochs=1, silent=True, architecture="linear")
    with pytest.raises(ValueError, match="known to the Cell Ontology"):
        gs.tl.classify(adata, adata, backoff=True, silent=True)
