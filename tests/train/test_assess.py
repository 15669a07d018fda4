"""Calibration in training, and what comes of it, on real cells."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

import ginseng as gs
from ginseng._core.probs import Probability
from ginseng.model import calibration
from ginseng.model.state import GinsengClassifierState
from ginseng.train import GinsengClassifierTrainerSettings, calibrating, refits, trainer
from ginseng.train.loop import run

OUT = "CD19+ B"


def trained(adata: ad.AnnData, **settings: Any) -> GinsengClassifierState:
    adata = adata.copy()
    gs.tl.train(adata, "cell_type", silent=True, **{"epochs": 20, **settings})
    return GinsengClassifierState.from_dict(adata.uns["ginseng"]["model"])


def test_the_weights_are_those_of_training_without(
    halves: tuple[ad.AnnData, ad.AnnData], real_model: GinsengClassifierState
) -> None:
    without = trained(halves[0], calibrate=False)
    assert without.calibration is None
    assert without.params["head"]["W"].tobytes() == real_model.params["head"]["W"].tobytes()


def test_every_cell_is_judged_by_a_model_that_has_not_seen_it(
    halves: tuple[ad.AnnData, ad.AnnData], real_model: GinsengClassifierState
) -> None:
    assert real_model.calibration is not None
    cells = calibration.records(real_model.calibration)
    sizes = halves[0].obs["cell_type"].astype(str).value_counts()
    assert np.bincount(cells["label"], minlength=10).tolist() == [sizes[label] for label in real_model.label_keys]
    unseen = (cells["label"] == cells["predicted"]).mean()
    table: Any = gs.tl.classify(halves[0], real_model, return_table=True, silent=True)
    seen = (table["cell_type"].astype(str) == halves[0].obs["cell_type"].astype(str)).mean()
    fresh: Any = gs.tl.classify(halves[1], real_model, return_table=True, silent=True)
    true = halves[1].obs["cell_type"].astype(str)
    assert seen > unseen + 0.1
    assert unseen == pytest.approx((fresh["cell_type"].astype(str) == true).mean(), abs=0.06)


def test_confidence_is_calibrated_and_labels_stay(
    halves: tuple[ad.AnnData, ad.AnnData], real_model: GinsengClassifierState
) -> None:
    query = halves[1]
    right_of: dict[str, np.ndarray] = {}
    tables: dict[str, Any] = {}
    uncalibrated = GinsengClassifierState(**(vars(real_model) | {"calibration": None}))
    for name, model in {"calibrated": real_model, "as it is": uncalibrated}.items():
        tables[name] = gs.tl.classify(query, model, return_table=True, silent=True)
        right_of[name] = (tables[name]["cell_type"].astype(str) == query.obs["cell_type"].astype(str)).to_numpy()
    assert (tables["calibrated"]["cell_type"] == tables["as it is"]["cell_type"]).all()
    assert "novelty" not in tables["as it is"]
    error = {
        name: calibration.calibration_error(table["confidence"].to_numpy(float), right_of[name])
        for name, table in tables.items()
    }
    assert error["calibrated"] < min(0.09, error["as it is"])


def test_probabilities_are_those_of_the_logits_over_the_temperature(
    halves: tuple[ad.AnnData, ad.AnnData], real_model: GinsengClassifierState
) -> None:
    query, found = halves[1][:50].copy(), real_model.calibration
    assert found is not None
    gs.tl.classify(query, real_model, silent=True, store_probs=True, adapt=False)
    uncalibrated = GinsengClassifierState(**(vars(real_model) | {"calibration": None}))
    table: Any = gs.tl.classify(query, uncalibrated, adapt=False, return_table=True, silent=True, store_probs=True)
    logits = np.log(table[list(real_model.label_keys)].to_numpy(float))
    level = calibration.novelty(found, np.array([0.0]), alone=True)[0]
    novelty = query.obs["ginseng_novelty"].to_numpy(float)
    s = np.log(novelty / (1 - novelty)) - np.log(level / (1 - level))
    expected = softmax(logits / (float(found["temperature"]) * (1 + 0.1 * np.clip(s, 0, 15)))[:, None], axis=1)
    assert np.asarray(query.obsm["ginseng_probs"]) == pytest.approx(expected, abs=2e-3)
    assert Probability().probs(logits.astype(np.float32), None, 1.0) == pytest.approx(softmax(logits, axis=1), abs=1e-5)


def test_a_type_that_the_reference_lacks_is_novel(
    halves: tuple[ad.AnnData, ad.AnnData], model_without_b: GinsengClassifierState
) -> None:
    query, model = halves[1], model_without_b
    table: Any = gs.tl.classify(query, model, return_table=True, silent=True)
    true = query.obs["cell_type"].astype(str).to_numpy()
    unknown, right = true == OUT, table["cell_type"].astype(str).to_numpy() == true
    judged = unknown | right
    assert roc_auc_score(unknown[judged], table["novelty"].to_numpy()[judged]) > 0.85
    auto: Any = gs.tl.classify(query, model, min_confidence="auto", return_table=True, silent=True)
    kept = (auto["cell_type"] != "unassigned").to_numpy()
    assert kept[right].mean() > 0.85
    assert kept[unknown].mean() < 0.6
    same: Any = gs.tl.classify(query, model, unassigned="auto", return_table=True, silent=True)
    assert same.equals(auto)


def test_what_is_written(
    halves: tuple[ad.AnnData, ad.AnnData], real_model: GinsengClassifierState, tmp_path: Path
) -> None:
    query = halves[1][:, ::4].copy()  # a quarter of the genes
    with pytest.warns(UserWarning, match="Partial gene overlap"):
        gs.tl.classify(query, real_model, min_confidence="auto")
    said = query.uns["ginseng"]
    at = calibration.thresholds(real_model.calibration or {})
    assert said["unassigned"]["min_confidence"] == pytest.approx(at.min_confidence)
    assert said["unassigned"]["max_novelty"] == pytest.approx(at.max_novelty)
    given_up = (query.obs["ginseng_confidence"] < at.min_confidence) | (query.obs["ginseng_novelty"] > at.max_novelty)
    assert (query.obs["ginseng_cell_type"] == "unassigned").to_numpy().tolist() == given_up.to_numpy().tolist()
    assert said["calibration"]["accuracy"] < calibration.expected_at(real_model.calibration or {}, 1.0)["accuracy"]
    query.write_h5ad(tmp_path / "query.h5ad")
    gs.save_model(real_model, tmp_path / "model.h5")
    loaded = gs.load_model(tmp_path / "model.h5")
    assert loaded.calibration is not None
    assert real_model.calibration is not None
    assert all(loaded.calibration[name].tobytes() == a.tobytes() for name, a in real_model.calibration.items())
    # relabelled by a model that does not know, nothing of it is left
    gs.tl.classify(query, trained(halves[0], calibrate=False, epochs=1), silent=True)
    assert "ginseng_novelty" not in query.obs
    assert "calibration" not in query.uns["ginseng"]


def test_groups_are_judged_by_models_that_have_not_seen_them(halves: tuple[ad.AnnData, ad.AnnData]) -> None:
    adata = halves[0].copy()
    adata.obs["donor"] = np.arange(adata.n_obs) % 4
    adata.obs["donor"] = adata.obs["donor"].astype(str)
    gs.tl.train(adata, "cell_type", group_key="donor", epochs=1, silent=True)
    found = adata.uns["ginseng"]["model"]["calibration"]
    assert len(found["cells"]) == adata.n_obs


def test_enough_held_out_cells_need_no_further_training(
    halves: tuple[ad.AnnData, ad.AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "ENOUGH", 50)
    monkeypatch.setattr(trainer.GinsengClassifierTrainer, "_refit", lambda *_: pytest.fail("trained again"))
    model = trained(halves[0], holdout_fraction=0.2, epochs=2)
    assert model.calibration is not None
    assert len(model.calibration["cells"]) == model.info["n_holdout"]


@pytest.mark.parametrize(("enough", "n_parts"), [(100, 1), (130, 2), (10**6, 3)])
@pytest.mark.parametrize("grouped", [False, True])
def test_models_are_trained_again_until_enough_cells_are_judged(
    halves: tuple[ad.AnnData, ad.AnnData], monkeypatch: pytest.MonkeyPatch, enough: int, n_parts: int, grouped: bool
) -> None:
    monkeypatch.setattr(refits, "ENOUGH", enough)
    adata = halves[0]
    groups = np.arange(adata.n_obs) % 5
    codes = adata.obs["cell_type"].cat.codes.to_numpy()
    data: Any = SimpleNamespace(labels=codes, groups=groups, group_names=[*"abcde"])
    settings = GinsengClassifierTrainerSettings(group_level=grouped)
    found = refits.parts(data, settings, 10)
    assert len(found) == (3 if grouped else n_parts)  # groups differ
    judged = np.sum([part.others for part in found], axis=0)
    assert judged.max() == 1
    assert grouped or judged.sum() >= min(enough, adata.n_obs)
    assert all((part.keep == ~part.others).all() and part.lacks is None for part in found)
    if grouped:
        assert not any(set(groups[part.keep]) & set(groups[part.others]) for part in found)
    lacking = refits.parts(data, settings, 10, lacking=True)
    assert np.sum([part.lacks for part in lacking], axis=0).tolist() == [1] * 10
    assert not any(part.lacks[codes[part.keep]].any() for part in lacking)


def test_no_thresholds_without_calibration(halves: tuple[ad.AnnData, ad.AnnData]) -> None:
    model = trained(halves[0], calibrate=False, epochs=1)
    with pytest.raises(ValueError, match="min_confidence"):
        gs.tl.classify(halves[1], model, min_confidence="auto", silent=True)
    with pytest.raises(ValueError, match="'auto'"):
        gs.tl.classify(halves[1], model, min_confidence="high", silent=True)  # type: ignore[arg-type]


def test_types_are_left_out_on_request(
    halves: tuple[ad.AnnData, ad.AnnData], real_model: GinsengClassifierState
) -> None:
    model = trained(halves[0], calibrate="types")
    assert model.params["head"]["W"].tobytes() == real_model.params["head"]["W"].tobytes()
    assert (real_model.calibration or {})["lacking"].tolist() == [-1] * 10
    rows = {row["label"]: row["novelty_auroc"] for row in model.assessment()["classes"]}
    assert rows[OUT] > 0.8  # as without it altogether, in the test above
    measured = [auroc for auroc in rows.values() if auroc is not None]
    assert 0.6 < np.mean(measured) < 1
    sizes = halves[0].obs["cell_type"].astype(str).value_counts()
    assert {label for label, auroc in rows.items() if auroc is not None} >= set(sizes.index[sizes > 30])
    assert "AUROC if lacking" in repr(model)
    assert "AUROC if lacking" not in repr(real_model)
    with pytest.raises(ValueError, match="'types', not 'type'"):
        trained(halves[0], calibrate="type")


def heard(interrupted: Callable[[], bool]) -> None:
    """Wait until ctrl-C is heard."""
    for _ in range(6000):
        if interrupted():
            return
        time.sleep(0.01)
    pytest.fail("not heard")


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Return what presses ctrl-C in the first steps of a run of training, the first being number 1."""

    def at(number: int) -> list[int]:
        runs: list[int] = []

        def counted(progress: Any, plan: Any, *args: Any, **kwargs: Any) -> bool:
            runs.append(plan.epochs)
            windows = plan.windows
            if len(runs) == number:

                def pressed(epoch: int) -> Any:
                    signal.raise_signal(signal.SIGINT)
                    heard(kwargs["interrupted"])
                    return windows(epoch)

                plan = dataclasses.replace(plan, windows=pressed)
            return run(progress, plan, *args, **kwargs)

        monkeypatch.setattr(trainer, "run", counted)
        return runs

    return at


@pytest.fixture
def side_by_side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let so many models be trained side by side, whatever the machine has."""
    monkeypatch.setattr(refits, "n_at_once", lambda n: min(n, request.param))
    return request.param


@pytest.mark.parametrize(("number", "side_by_side"), [(1, 1), (2, 1), (2, 3)], indirect=["side_by_side"])
def test_calibration_that_diverges_leaves_the_model(
    halves: tuple[ad.AnnData, ad.AnnData], monkeypatch: pytest.MonkeyPatch, number: int, side_by_side: int
) -> None:
    runs: list[int] = []

    def diverges(progress: Any, plan: Any, *args: Any, **kwargs: Any) -> bool:
        runs.append(plan.epochs)
        if len(runs) == number:
            plan = dataclasses.replace(plan, rates=np.full_like(plan.rates, 1e30))
        return run(progress, plan, *args, **kwargs)

    monkeypatch.setattr(trainer, "run", diverges)
    if number == 1:
        with pytest.raises(ValueError, match="training loss is"):
            trained(halves[0], epochs=2)
        return
    with pytest.warns(UserWarning, match=r"diverged in epoch 1.*`lr`") as warned:
        model = trained(halves[0], epochs=2)
    assert len(warned) == 1
    assert number <= len(runs) < number + side_by_side  # and no more
    assert model.calibration is None
    assert not model.info["interrupted"]
    assert model.history["epoch"].tolist() == [1, 2]
    table: Any = gs.tl.classify(halves[1], model, return_table=True, silent=True)
    assert (table["cell_type"].astype(str) == halves[1].obs["cell_type"].astype(str)).mean() > 0.3


@pytest.mark.parametrize("side_by_side", [1], indirect=True)
@pytest.mark.parametrize(("number", "n_parts", "n_runs"), [(2, 0, 2), (3, 1, 3), (6, 3, 6)])
@pytest.mark.usefixtures("side_by_side")
def test_ctrl_c_in_calibration_leaves_the_model(
    halves: tuple[ad.AnnData, ad.AnnData], ctrl_c: Callable[[int], list[int]], capsys: pytest.CaptureFixture[str],
    number: int, n_parts: int, n_runs: int,
) -> None:  # fmt: skip
    runs = ctrl_c(number)
    model = trained(halves[0], calibrate="types", epochs=2)
    assert len(runs) == n_runs  # and no more
    assert "Calibration was interrupted" in capsys.readouterr().err
    assert not model.info["interrupted"]
    assert model.history["epoch"].tolist() == [1, 2]
    if n_parts == 0:
        assert model.calibration is None
        return
    assert model.calibration is not None
    share = len(model.calibration["cells"]) / halves[0].n_obs
    assert share == pytest.approx(n_parts / 3, abs=0.05)
    measured = (model.calibration["lacking"] >= 0).any()
    assert measured == (number > 5)


@pytest.mark.parametrize("side_by_side", [3], indirect=True)
@pytest.mark.usefixtures("side_by_side")
def test_ctrl_c_ends_all_that_are_trained_side_by_side(
    halves: tuple[ad.AnnData, ad.AnnData], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    under_way, steps = threading.Barrier(3), []

    def pressed(progress: Any, plan: Any, step: Any, *args: Any, **kwargs: Any) -> bool:
        def waits(*of_step: Any) -> Any:
            steps.append(of_step[-1])
            if under_way.wait(60) == 0:
                signal.raise_signal(signal.SIGINT)
            heard(kwargs["interrupted"])
            return step(*of_step)

        vars(waits).update(vars(step))
        is_the_model = threading.current_thread() is threading.main_thread()
        return run(progress, plan, step if is_the_model else waits, *args, **kwargs)

    monkeypatch.setattr(trainer, "run", pressed)
    model = trained(halves[0], epochs=2)
    assert steps == [0, 0, 0]  # and no more
    assert model.calibration is None
    assert model.history["epoch"].tolist() == [1, 2]
    assert "was not calibrated" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_models_side_by_side_are_those_of_one_after_the_other(
    halves: tuple[ad.AnnData, ad.AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, threads = [], set()

    def seen(*args: Any, **kwargs: Any) -> bool:
        threads.add(threading.get_ident())
        return run(*args, **kwargs)

    monkeypatch.setattr(trainer, "run", seen)
    for n in (1, 3):
        threads.clear()
        monkeypatch.setattr(refits, "n_at_once", lambda _, n=n: n)
        found.append(trained(halves[0], epochs=2).calibration)
        assert len(threads) == 1 + n  # that of the model itself, too
    assert all(found[0][name].tobytes() == values.tobytes() for name, values in found[1].items())


def test_ctrl_c_while_cells_are_judged(halves: tuple[ad.AnnData, ad.AnnData], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "assess", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    model = trained(halves[0], epochs=1)
    assert model.calibration is None
    assert model.info["n_train"] > 200


def test_types_that_lack_are_measured_with_the_solver_of_the_model(
    halves: tuple[ad.AnnData, ad.AnnData], ctrl_c: Callable[[int], list[int]]
) -> None:
    runs = ctrl_c(99)
    model = trained(halves[0][:, ::4], architecture="linear", solver="lbfgs", calibrate="types")
    assert runs == []
    assert model.calibration is not None
    lacking = dict(zip(model.label_keys, model.calibration["lacking"], strict=True))
    assert lacking[OUT] > 0.8


def test_cells_that_are_all_the_same(halves: tuple[ad.AnnData, ad.AnnData]) -> None:
    """No gene tells the classes apart, and the model can be used all the same."""
    adata = ad.AnnData(np.tile(np.arange(40, dtype=np.float32), (300, 1)))
    adata.var_names = [f"gene{i}" for i in range(40)]
    adata.obs["cell_type"] = np.resize(["a", "b"], 300)
    model = trained(adata, epochs=1)
    assert model.calibration is not None
    assert all(np.isfinite(values).all() for values in model.calibration.values())
    table: Any = gs.tl.classify(adata, model, return_table=True, silent=True)
    assert table["confidence"].to_numpy() == pytest.approx(np.full(300, 0.5), abs=0.2)


@pytest.mark.parametrize(("n", "alone"), [(99, True), (100, False)])
def test_few_cells_are_given_up_as_those_that_stand_alone(
    halves: tuple[ad.AnnData, ad.AnnData], real_model: GinsengClassifierState, n: int, alone: bool
) -> None:
    query = halves[1][:n].copy()
    gs.tl.classify(query, real_model, min_confidence="auto", silent=True)
    expected = calibration.thresholds(real_model.calibration or {}, alone=alone)
    assert query.uns["ginseng"]["unassigned"]["max_novelty"] == pytest.approx(expected.max_novelty)
