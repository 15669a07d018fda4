"""Sets have the true type as often as they say, on real cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng.model import conformal

type Halves = tuple[ad.AnnData, ad.AnnData]


def calibration_of(probability: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Return what a model records of cells, as far as sets need it."""
    none = np.zeros(len(label))
    return {"cells": np.stack([label, label, probability, probability, none, none], axis=1)}


@pytest.fixture(scope="module")
def true_probs(halves: Halves, real_model: gs.model.GinsengClassifierState) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of the query, and the place of its true classes."""
    table: Any = gs.tl.classify(halves[1], real_model, store_probs=True, return_table=True, silent=True)
    names = [str(name) for name in real_model.label_keys]
    return table[names].to_numpy(), pd.Index(names).get_indexer(halves[1].obs["cell_type"].astype(str))


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_random_splits_of_real_cells_are_covered(true_probs: tuple[np.ndarray, np.ndarray], alpha: float) -> None:
    probs, y = true_probs
    rng, n = np.random.default_rng(0), 99  # fewer than have a threshold of their own
    covered = []
    for _ in range(400):
        order = rng.permutation(len(y))
        known, others = order[:n], order[n:]
        at = conformal.thresholds(calibration_of(probs[known, y[known]], y[known]), alpha, probs.shape[1])
        covered.append((probs[others, y[others]] >= at[y[others]]).mean())
    assert np.ceil((n + 1) * (1 - alpha)) / (n + 1) == pytest.approx(np.mean(covered), abs=0.01)


def test_each_class_of_many_cells_is_covered() -> None:
    rng = np.random.default_rng(1)
    label = np.repeat([0, 1, 2], [4000, 4000, 60])
    probability = np.where(label == 0, rng.uniform(0.8, 1, len(label)), rng.uniform(0, 1, len(label)) ** 2)
    at = conformal.thresholds(calibration_of(probability, label), 0.1, 4)
    for c in (0, 1):
        assert (probability[label == c] >= at[c]).mean() == pytest.approx(0.9, abs=0.001)
    assert at[2] == at[3] == np.float32(conformal.threshold(probability, 0.1))  # of too few cells, and of none


def test_too_few_cells_exclude_nothing() -> None:
    assert conformal.threshold(np.array([0.9, 0.8]), 0.1) == 0
    assert conformal.threshold(np.linspace(0.1, 1, 10), 0.1) == pytest.approx(0.1)  # of 11, ten are covered


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_sets_of_a_query(halves: Halves, real_model: gs.model.GinsengClassifierState, alpha: float) -> None:
    query, names = halves[1].copy(), [str(name) for name in real_model.label_keys]
    gs.tl.prediction_sets(query, real_model, alpha=alpha, silent=True)
    table: Any = gs.tl.prediction_sets(query, real_model, alpha=alpha, return_table=True, silent=True)
    assert table.columns.tolist() == names
    assert table.dtypes.unique().tolist() == [np.dtype(bool)]
    assert np.array_equal(table, query.obsm["ginseng_sets"])
    true = pd.Index(names).get_indexer(query.obs["cell_type"].astype(str))
    assert table.to_numpy()[np.arange(len(true)), true].mean() == pytest.approx(1 - alpha, abs=0.05)
    assert query.obs["ginseng_set_size"].tolist() == table.sum(axis=1).tolist()
    for row, text in zip(table.to_numpy(), query.obs["ginseng_set"], strict=True):
        assert {names[c] for c in np.flatnonzero(row)} == (set() if text == "unassigned" else set(text.split(" | ")))
    found = query.uns["ginseng"]["sets"]
    assert found["mean_size"] == table.sum(axis=1).mean()
    assert found["n_empty"] == (table.sum(axis=1) == 0).sum()
    assert "ginseng_set_ancestor" not in query.obs


def test_without_adaptation_a_set_depends_on_its_cell_alone(
    halves: Halves, real_model: gs.model.GinsengClassifierState
) -> None:
    how: Any = {"adapt": False, "return_table": True, "silent": True}
    whole: Any = gs.tl.prediction_sets(halves[1], real_model, **how)
    some: Any = gs.tl.prediction_sets(halves[1][40:60].copy(), real_model, **how)
    pd.testing.assert_frame_equal(whole.iloc[40:60], some)


def test_thresholds_follow_a_query_that_is_less_sure_throughout() -> None:
    rng = np.random.default_rng(2)
    confidence = rng.beta(8, 2, 5000)
    calibration: Any = calibration_of(confidence, np.zeros(5000, int))
    at = np.array([np.quantile(confidence, 0.1)], np.float32)
    less = confidence**2
    moved = conformal.matched(at, calibration, less, np.zeros(5000, int))
    assert (less >= moved[0]).mean() == pytest.approx(0.9, abs=0.002)
    assert conformal.matched(at, calibration, less[:99], np.zeros(99, int)) is at


def test_a_set_is_summed_up_by_its_ancestor(halves: Halves, real_model: gs.model.GinsengClassifierState) -> None:
    broad = {"CD14+ Monocyte": "myeloid", "Dendritic": "myeloid", "CD19+ B": "B", "CD34+": "stem"}
    coarse = [broad.get(str(name), "T or NK") for name in real_model.label_keys]
    names = [str(name) for name in real_model.label_keys]
    state = dataclasses.replace(real_model, levels={"coarse": coarse, "cell_type": names})
    query = halves[1].copy()
    gs.tl.prediction_sets(query, state, alpha=0.1, silent=True)
    sets, ancestor = query.obs["ginseng_set"].astype(str), query.obs["ginseng_set_ancestor"].astype(str)
    for text, above in zip(sets, ancestor, strict=True):
        members = text.split(" | ")
        within = {coarse[names.index(name)] for name in members if name in names}
        expected = members[0] if len(members) == 1 else within.pop() if len(within) == 1 else "unassigned"
        assert above == expected
    assert {"myeloid", "T or NK"} & set(ancestor)
    assert query.uns["ginseng"]["ancestors"] == "levels"


def test_ancestors_are_terms_of_the_ontology() -> None:
    from ginseng.ontology.backoff import BackOff

    ids = ["CL:0000624", "CL:0000625", "CL:0000236", None]  # CD4 T, CD8 T, B
    ancestors = BackOff.to_terms(ids, threshold=1)
    sets = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]], bool)
    labels = [None if i < 0 else ancestors.labels[i].label for i in ancestors.common(sets)]
    assert "T cell" in str(labels[0])
    assert labels[1] == "lymphocyte"
    assert labels[2:] == [None, None]


def test_written_sets_survive_a_file_and_are_replaced(
    halves: Halves, real_model: gs.model.GinsengClassifierState, tmp_path: Path
) -> None:
    query = halves[1].copy()
    gs.tl.classify(query, real_model, silent=True)
    gs.tl.prediction_sets(query, real_model, silent=True)
    query.write_h5ad(tmp_path / "query.h5ad")
    again = ad.read_h5ad(tmp_path / "query.h5ad")
    pd.testing.assert_frame_equal(again.obsm["ginseng_sets"], query.obsm["ginseng_sets"], check_column_type=False)
    gs.tl.prediction_sets(again, real_model, alpha=0.5, silent=True)
    assert again.obs["ginseng_set_size"].sum() < query.obs["ginseng_set_size"].sum()
    gs.tl.classify(again, real_model, silent=True)
    assert not {"ginseng_set", "ginseng_set_size"} & set(again.obs)
    assert "ginseng_sets" not in again.obsm
    mine = halves[1].copy()
    mine.obs["ginseng_set"] = "mine"
    with pytest.raises(ValueError, match="ginseng_set"):
        gs.tl.prediction_sets(mine, real_model, silent=True)


def test_what_cannot_be_done_is_said(
    state: gs.model.GinsengClassifierState, real_model: gs.model.GinsengClassifierState, make_cells: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match="not calibrated"):
        gs.tl.prediction_sets(make_cells(), dataclasses.replace(state, calibration=None), silent=True)
    for alpha in (0, 1, -0.1, True):
        with pytest.raises(ValueError, match="alpha"):
            gs.tl.prediction_sets(make_cells(), real_model, alpha=alpha, silent=True)
