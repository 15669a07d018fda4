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


def test_figures_are_those_of_scikit_learn(calibrated: State, halves: Halves) -> None:
    found = calibrated.assessment()
    assert calibrated.calibration is not None
    label, predicted, confidence, _, _ = calibrated.calibration["cells"].T
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
    assert sum(row["n_trained"] for row in found["classes"]) == calibrated.info["n_train"]
    counts = halves[0].obs["cell_type"].value_counts()
    assert {row["label"]: row["n_cells"] for row in found["classes"]} == counts.to_dict()
    assert [row["weight"] for row in found["overlap"]][-1] == pytest.approx(1)


def test_a_card_and_the_shell_show_them(calibrated: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gs.save_model(calibrated, tmp_path / "model.h5")
    assert main(["info", str(tmp_path / "model.h5"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["assessment"] == json.loads(json.dumps(calibrated.assessment()))
    assert main(["info", str(tmp_path / "model.h5")]) == 0
    found = calibrated.assessment()
    for text in (capsys.readouterr().out, repr(calibrated), calibrated._repr_html_()):
        for value in (found["accuracy"], found["macro_f1"], found["ece"]):
            assert f"{value:.3f}" in text
        for row in found["classes"]:
            assert f"{row['f1']:.3f}" in text
        assert calibrated.info["date"] in text
        assert calibrated.info["data"]["cells"][:12] in text


def test_digests_tell_data_apart(calibrated: State, halves: Halves) -> None:
    def digests(adata: ad.AnnData) -> dict[str, str]:
        gs.tl.train(adata, "cell_type", architecture="linear", epochs=1, silent=True)
        return json.loads(adata.uns["ginseng"]["model"]["info"])["data"]

    same, other = halves[0].copy(), halves[0].copy()
    other.X[0, other.X[0].indices[0]] += 1
    assert digests(same) == calibrated.info["data"]
    changed = digests(other)
    assert {name for name in changed if changed[name] != calibrated.info["data"][name]} == {"cells"}


def test_a_model_that_was_not_calibrated_says_nothing(state: State) -> None:
    bare = dataclasses.replace(state, calibration=None)
    assert bare.assessment() == {}
    assert "out of fold" not in repr(bare)


def test_a_damaged_calibration_is_not_described(calibrated: State) -> None:
    assert calibrated.calibration is not None
    for name, values in calibrated.calibration.items():
        damaged = dataclasses.replace(calibrated, calibration=calibrated.calibration | {name: values[None]})
        assert damaged.assessment() == {}
    cells = calibrated.calibration["cells"].copy()
    cells[0, 0] = 10
    assert dataclasses.replace(calibrated, calibration=calibrated.calibration | {"cells": cells}).assessment() == {}


def test_what_the_genes_that_are_there_are_worth(calibrated: State, halves: Halves) -> None:
    query = halves[1][:, ::3].copy()
    check = gs.pp.check(query, calibrated)
    assert check.weight is not None
    assert 0 < check.weight < 0.98
    levels = calibrated.assessment()["overlap"]
    weights, accuracy = ([row[name] for row in levels] for name in ("weight", "accuracy"))
    expected = np.interp(check.weight, weights, accuracy)
    note = next(note for note in check.notes if "weight" in note)
    for shown in (f"{check.weight:.0%}", f"{expected:.2f}", f"{accuracy[-1]:.2f}"):
        assert shown in note
    with pytest.warns(UserWarning, match="overlap"):
        gs.tl.classify(query, calibrated)
    found = query.uns["ginseng"]
    assert found["overlap"]["weight"] == pytest.approx(check.weight)
    assert found["calibration"]["accuracy"] == pytest.approx(expected)
    assert gs.pp.check(halves[1], calibrated).weight == 1
    assert not any("weight" in note for note in gs.pp.check(halves[1], calibrated).notes)


def test_types_that_collapse(calibrated: State) -> None:
    calibration: dict[str, Any] = dict(calibrated.calibration or {})
    n = len(calibration["overlap"])
    recall = np.full((n, 10), 0.9, np.float32)
    recall[0, :4] = [0.3, 0.55, 0.3, -1]
    recall[1:, 2] = 0.6
    state = dataclasses.replace(calibrated, calibration=calibration | {"recall": recall})
    assert collapsing(state, float(calibration["overlap"][0, 0])) == [str(calibrated.label_keys[0])]
    assert collapsing(state, 1.0) == []
    assert expectation(state, 0.99) == expectation(state, None) == ""
