"""Whether a model has learned anything."""

from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

import ginseng as gs
from ginseng.data._memory import MemoryDataset
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings
from ginseng.train.diagnosis import by_chance, has_learned


@pytest.mark.parametrize(("n", "n_classes"), [(2, 2), (10, 3), (40, 10), (500, 4)])
def test_chance_is_what_shuffled_labels_give(n: int, n_classes: int) -> None:
    rng = np.random.default_rng(n)
    y, labels = rng.integers(0, n_classes, n) ** 2 // n_classes, rng.integers(0, n_classes, n)
    right = np.array([(rng.permutation(labels) == y).sum() for _ in range(20_000)])
    mean, deviation = by_chance(y, labels)
    assert mean == pytest.approx(right.mean(), abs=5 * right.std() / np.sqrt(len(right)) + 1e-9)
    assert deviation == pytest.approx(right.std(), rel=0.05, abs=1e-9)
    if len({*y}) > 1:  # where Cohen's kappa is 0
        kappa = ((labels == y).sum() - mean) / (n - mean)
        assert kappa == pytest.approx(cohen_kappa_score(y, labels))


def test_labels_by_chance_are_told_from_a_model() -> None:
    rng = np.random.default_rng(0)
    for n, n_classes in ((12, 3), (40, 10), (40, 2), (2000, 5)):
        y = rng.choice(n_classes, n, p=(p := np.arange(n_classes) + 1.0) / p.sum())
        shuffled = [has_learned(y, rng.permutation(y)) for _ in range(300)]
        assert np.mean([learned is False for learned in shuffled]) > 0.8
        right = [has_learned(y, np.where(rng.random(n) < 0.2, rng.permutation(y), y)) for _ in range(300)]
        assert np.mean([learned is True for learned in right]) > 0.97
        assert has_learned(y, y) is True
        assert has_learned(y, np.full(n, np.bincount(y).argmax())) is False  # always the most common class


def test_rare_types_found_are_something_learned() -> None:
    """Whatever the accuracy: all 60 of 3000 cells are found, with 100 false positives."""
    y = np.arange(3000) < 60
    predicted = np.arange(3000) < 160
    assert (predicted == y).mean() < (~y).mean()
    assert has_learned(y.astype(int), predicted.astype(int)) is True


@pytest.mark.parametrize(("y", "labels"), [([], []), ([1], [0]), ([0, 1, 2], [2, 0, 1]), ([0] * 40, [1] * 40)])
def test_what_could_not_be_told_is_not_said(y: list[int], labels: list[int]) -> None:
    assert has_learned(np.array(y, int), np.array(labels, int)) is None


@pytest.fixture
def pbmc() -> ad.AnnData:
    adata = gs.datasets.pbmc68k()
    adata.obs["shuffled"] = np.random.default_rng(1).permutation(adata.obs["cell_type"].to_numpy())
    return adata


@pytest.mark.parametrize("architecture", ["gated", "linear"])
def test_shuffled_labels_are_noticed_in_training_and_labelling(
    pbmc: ad.AnnData, architecture: str, recwarn: pytest.WarningsRecorder
) -> None:
    quick: Any = {"epochs": 3, "holdout_fraction": 0.2, "calibrate": False, "silent": True}
    gs.tl.train(pbmc, "cell_type", architecture=architecture, **quick)
    gs.tl.classify(pbmc.copy(), pbmc)
    assert not [w for w in recwarn if "learned nothing" in str(w.message)]
    assert gs.model.GinsengClassifierState.from_dict(pbmc.uns["ginseng"]["model"]).info["learned"] is True

    gs.tl.train(pbmc, "shuffled", architecture=architecture, **quick)
    (told,) = [w for w in recwarn if "learned nothing" in str(w.message)]
    assert told.filename == __file__
    state = gs.model.GinsengClassifierState.from_dict(pbmc.uns["ginseng"]["model"])
    assert state.info["learned"] is False
    recwarn.clear()
    gs.tl.classify(pbmc.copy(), state)
    (told,) = [w for w in recwarn if "learned nothing" in str(w.message)]
    assert told.filename == __file__


def test_lbfgs_is_diagnosed_as_well(pbmc: ad.AnnData) -> None:
    pbmc = pbmc[:, :60].copy()
    with pytest.warns(UserWarning, match="learned nothing"):
        gs.tl.train(pbmc, "shuffled", architecture="linear", solver="lbfgs", C=0.01, holdout_fraction=0.3, silent=True)


def test_larger_batches_than_cells_are_cut(make_donors: Callable[..., MemoryDataset]) -> None:
    data = make_donors(400)
    given = {"epochs": 1, "architecture": "linear", "holdout_fraction": 0.1}
    trainer = GinsengClassifierTrainer(data, GinsengClassifierTrainerSettings(batch_size=100_000, **given))
    assert trainer.batch_size == trainer.keep.sum() == 360
    exact = GinsengClassifierTrainer(data, GinsengClassifierTrainerSettings(batch_size=360, **given))
    found, expected = (t.fit(silent=True)[1].params for t in (trainer, exact))
    np.testing.assert_array_equal(found["head"]["W"], expected["head"]["W"])
    small = GinsengClassifierTrainer(data, GinsengClassifierTrainerSettings(batch_size=7, **given))
    assert small.batch_size == 7
