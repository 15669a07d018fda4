"""What a model says of itself follows from its records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

import ginseng as gs
from ginseng.cli import main
from ginseng.model.overlap import collapsing, expectation

type State = gs.model.GinsengClassifierState
type Halves = tuple[ad.AnnData, ad.AnnData]


def test_figures_are_those_of_scikit_learn(real_model: State, halves: Halves) -> None:
    found = real_model.assessment()
    assert real_model.calibration is not None
    label, predicted, confidence = real_model.calibration["cells"].T[:3]
    assert found["n_cells"] == len(label) == 350
    assert found["accuracy"] == pytest.approx(accuracy_score(label, predicted))
    scores = f1_score(label, predicted, average=None, labels=range(10), zero_division=0)
    assert [row["f1"] for row in found["classes"]] == pytest.approx(scores)
    assert found["macro_f1"] == pytest.approx(scores.mean())
    bins = np.minimum((confidence * 15).astype(int), 14)
    right = label == predicted
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    assert found["ece"] == pytest.approx(sum(gaps), abs=1e-6)
    given_up = right & (confidence < found["min_confidence"])
    assert given_up.sum() <= 0.05 * right.sum()
    assert sum(row["n_trained"] for row in found["classes"]) == real_model.info["n_train"]
    counts = halves[0].obs["cell_type"].value_counts()
    assert {row["label"]: row["n_cells"] for row in found["classes"]} == counts.to_dict()
    assert [row["weight"] for row in found["overlap"]][-1] == pytest.approx(1)


def test_a_card_and_the_shell_show_them(real_model: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gs.save_model(real_model, tmp_path / "model.h5")
    assert main(["info", str(tmp_path / "model.h5"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["assessment"] == json.loads(json.dumps(real_model.assessment()))
    assert main(["info", str(tmp_path / "model.h5")]) == 0
    found = real_model.assessment()
    for text in (capsys.readouterr().out, repr(real_model), real_model._repr_html_()):
        for value in (found["accuracy"], found["macro_f1"], found["ece"]):
            assert f"{value:.3f}" in text
        for row in found["classes"]:
            assert f"{row['f1']:.3f}" in text
        assert real_model.info["date"] in text
        assert real_model.info["data"]["cells"][:12] in text


def test_digests_tell_data_apart(real_model: State, halves: Halves) -> None:
    def digests(adata: ad.AnnData) -> dict[str, str]:
        gs.tl.train(adata, "cell_type", architecture="linear", epochs=1, silent=True)
        return json.loads(adata.uns["ginseng"]["model"]["info"])["data"]

    same, other = halves[0].copy(), halves[0].copy()
    other.X[0, other.X[0].indices[0]] += 1
    assert digests(same) == real_model.info["data"]
    changed = digests(other)
    assert {name for name in changed if changed[name] != real_model.info["data"][name]} == {"cells"}


def test_a_model_that_was_not_calibrated_says_nothing(state: State) -> None:
    bare = dataclasses.replace(state, calibration=None)
    assert bare.assessment() == {}
    assert "out of fold" not in repr(bare)


def test_a_damaged_calibration_is_not_described(real_model: State) -> None:
    assert real_model.calibration is not None
    for name, values in real_model.calibration.items():
        damaged = dataclasses.replace(real_model, calibration=real_model.calibration | {name: values[None]})
        assert damaged.assessment() == {}
    cells = real_model.calibration["cells"].copy()
    cells[0, 0] = 10
    assert dataclasses.replace(real_model, calibration=real_model.calibration | {"cells": cells}).assessment() == {}


def test_what_the_genes_that_are_there_are_worth(real_model: State, halves: Halves) -> None:
    query = halves[1][:, ::3].copy()
    check = gs.pp.check(query, real_model)
    assert check.weight is not None
    assert 0 < check.weight < 0.98
    levels = real_model.assessment()["overlap"]
    weights, accuracy = ([row[name] for row in levels] for name in ("weight", "accuracy"))
    expected = np.interp(check.weight, weights, accuracy)
    note = next(note for note in check.notes if "weight" in note)
    for shown in (f"{check.weight:.0%}", f"{expected:.2f}", f"{accuracy[-1]:.2f}"):
        assert shown in note
    with pytest.warns(UserWarning, match="overlap"):
        gs.tl.classify(query, real_model)
    found = query.uns["ginseng"]
    assert found["overlap"]["weight"] == pytest.approx(check.weight)
    assert found["calibration"]["accuracy"] == pytest.approx(expected)
    assert gs.pp.check(halves[1], real_model).weight == 1
    assert not any("weight" in note for note in gs.pp.check(halves[1], real_model).notes)


def test_types_that_collapse(real_model: State) -> None:
    calibration: dict[str, Any] = dict(real_model.calibration or {})
    n = len(calibration["overlap"])
    recall = np.full((n, 10), 0.9, np.float32)
    recall[0, :4] = [0.3, 0.55, 0.3, -1]
    recall[1:, 2] = 0.6
    state = dataclasses.replace(real_model, calibration=calibration | {"recall": recall})
    assert collapsing(state, float(calibration["overlap"][0, 0])) == [str(real_model.label_keys[0])]
    assert collapsing(state, 1.0) == []
    assert expectation(state, 0.99) == expectation(state, None) == ""
