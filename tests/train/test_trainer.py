import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score, f1_score

from ginseng.data import GinsengDataset
from ginseng.data import _batches as batches
from ginseng.data._batches import MemorySource
from ginseng.data._memory import MemoryDataset
from ginseng.model import state_from_classifier_trainer
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings, GinsengLogger
from ginseng.train import trainer as trainer_module
from ginseng.train.metrics import MEASURES

SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 32, "config": {"hidden_dim": 6, "gate_dim": 4, "n_layers": 1}}


def trainer_of(dataset: Any, **settings: Any) -> GinsengClassifierTrainer:
    return GinsengClassifierTrainer(dataset, GinsengClassifierTrainerSettings(**{**SMALL, **settings}))


def leaves(state: Any) -> list[np.ndarray]:
    return jax.tree.leaves(state.params)


# -- randomness --------------------------------------------------------------------------------------------------


def test_same_seed_gives_the_same_bits_whatever_the_global_generator(dataset: MemoryDataset) -> None:
    np.random.seed(1)  # noqa: NPY002
    first = trainer_of(dataset, rate=0.1, lam_max=0.1).fit(silent=True)[1]
    np.random.seed(2)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    second = trainer_of(dataset, rate=0.1, lam_max=0.1).fit(silent=True)[1]
    after = np.random.get_state()  # noqa: NPY002
    assert all(map(np.array_equal, leaves(first), leaves(second)))
    assert all(map(np.array_equal, before, after))
    for name, column in first.history.items():
        np.testing.assert_array_equal(column, second.history[name])


def test_a_second_fit_starts_anew(dataset: MemoryDataset) -> None:
    trainer = trainer_of(dataset)
    first = trainer.fit(silent=True)[1]
    second = trainer.fit(silent=True)[1]
    assert all(map(np.array_equal, leaves(first), leaves(second)))
    assert trainer.logger.epoch == [1, 2, 3]


def test_another_seed_gives_other_weights_and_another_holdout(dataset: MemoryDataset) -> None:
    one, two = trainer_of(dataset), trainer_of(dataset, seed=1)
    assert not np.array_equal(one.holdout, two.holdout)
    assert not all(map(np.array_equal, leaves(one.fit(silent=True)[1]), leaves(two.fit(silent=True)[1])))


# -- holdout -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.9])
def test_every_class_keeps_cells(dataset: MemoryDataset, fraction: float) -> None:
    trainer = trainer_of(dataset, holdout_fraction=fraction)
    assert set(dataset.labels[trainer.keep]) == {0, 1, 2, 3}
    assert not (trainer.keep & trainer.holdout).any()
    assert (trainer.keep | trainer.holdout).all()
    assert trainer.holdout.mean() == pytest.approx(fraction, abs=0.05)


def test_the_holdout_is_never_seen_in_training(dataset: MemoryDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the steps nor the mean and scale of the input depend on held-out cells."""
    trainer = trainer_of(dataset, holdout_fraction=0.3, epochs=1)
    expected = leaves(trainer.fit(silent=True)[1])
    counts = dataset.source.counts.toarray()
    counts[trainer.holdout] = 200
    totals = np.where(trainer.holdout, 1.0, dataset.source.totals).astype(np.float32)
    other = MemoryDataset(
        MemorySource(type(dataset.source.counts)(counts), dataset.labels, totals),
        dataset.labels, dataset.label_names, dataset.gene_names, dataset.groups, dataset.group_names,
    )  # fmt: skip
    changed = trainer_of(other, holdout_fraction=0.3, epochs=1)
    np.testing.assert_array_equal(changed.holdout, trainer.holdout)
    assert all(map(np.array_equal, leaves(changed.fit(silent=True)[1]), expected))
    counts[trainer.keep] += 1
    seen = trainer_of(
        MemoryDataset(MemorySource(type(dataset.source.counts)(counts), dataset.labels, totals), dataset.labels,
                      dataset.label_names, dataset.gene_names, None, None),
        holdout_fraction=0.3, epochs=1,
    )  # fmt: skip
    assert not all(map(np.array_equal, leaves(seen.fit(silent=True)[1]), expected))


def test_whole_groups_are_held_out(dataset: MemoryDataset) -> None:
    groups = dataset.groups
    assert groups is not None
    trainer = trainer_of(dataset, group_level=True, holdout_fraction=0.34)
    assert len(set(groups[trainer.holdout])) == 2
    assert not set(groups[trainer.holdout]) & set(groups[trainer.keep])
    one = trainer_of(dataset, group_mode="loo")
    assert len(set(groups[one.holdout])) == 1
    assert not set(groups[one.holdout]) & set(groups[one.keep])


def test_groups_that_are_not_there(dataset: MemoryDataset) -> None:
    alone = MemoryDataset(
        dataset.source, dataset.labels, dataset.label_names, dataset.gene_names, groups=None, group_names=None
    )
    with pytest.raises(ValueError, match="`group_key=`"):
        trainer_of(alone, group_level=True)


def test_a_class_that_only_the_held_out_groups_have_is_named(dataset: MemoryDataset) -> None:
    own = MemoryDataset(
        dataset.source, dataset.labels, dataset.label_names, dataset.gene_names,
        groups=(dataset.labels == 3).astype(np.int32), group_names=["a", "b"],
    )  # fmt: skip
    seed = next(s for s in range(50) if np.random.default_rng([s, 1]).choice([0, 1]) == 1)  # holds out group b
    with pytest.warns(UserWarning, match="'mast'"):
        trainer_of(own, group_mode="loo", seed=seed)


def test_without_a_holdout_the_last_epoch_is_kept(dataset: MemoryDataset) -> None:
    trainer = trainer_of(dataset, holdout_fraction=0.0)
    state = trainer.fit(silent=True)[1]
    assert np.isnan(state.history["holdout_loss"]).all()
    assert np.isfinite(state.history["train_loss"]).all()
    assert state.info["best_epoch"] == 3
    assert (state.info["n_train"], state.info["n_holdout"]) == (120, 0)


# -- model selection ---------------------------------------------------------------------------------------------


def holdout_losses(trainer: GinsengClassifierTrainer) -> np.ndarray:
    data, out = trainer.dataset, trainer.holdout
    logits = trainer.model.predict(data.source.counts[out].toarray(), total=data.source.totals[out])
    y = data.labels[out]
    return -log_softmax(np.asarray(logits, float), axis=1)[np.arange(len(y)), y]


@pytest.fixture(scope="module")
def overfitted(make_donors: Callable[..., MemoryDataset]) -> GinsengClassifierTrainer:
    """A model of random labels, which gets worse on the holdout the longer it trains."""
    trainer = trainer_of(
        make_donors(160, noise=1.0), epochs=40, lr=0.05, holdout_fraction=0.3, patience=3, dropout_rate=0.0
    )
    trainer.fit(silent=True)
    return trainer


def test_training_stops_after_patience(overfitted: GinsengClassifierTrainer) -> None:
    best, n = overfitted.best_epoch, len(overfitted.logger.epoch)
    assert best is not None
    assert n == best + 3 < 40
    settings = overfitted.settings
    longer = GinsengClassifierTrainer(
        overfitted.dataset, GinsengClassifierTrainerSettings(**{**vars(settings), "patience": 6})
    )
    longer.fit(silent=True)
    assert len(longer.logger.epoch) > n


def test_the_kept_weights_are_those_of_the_best_epoch(overfitted: GinsengClassifierTrainer) -> None:
    losses, history = holdout_losses(overfitted), np.asarray(overfitted.logger.holdout_loss)
    best = overfitted.best_epoch
    assert best is not None
    assert losses.mean() == pytest.approx(history[best - 1], rel=1e-4)
    assert history[-1] > history[best - 1]
    # the lowest, up to one standard error
    assert history[best - 1] <= history.min() + losses.std() / np.sqrt(len(losses)) * 1.5
    assert overfitted.state.info["best_epoch"] == best


def test_large_classes_are_lowered_once_training_has_ended(overfitted: GinsengClassifierTrainer) -> None:
    plain = GinsengClassifierTrainerSettings(**{**vars(overfitted.settings), "logit_adjustment": 0.0, "epochs": 2})
    found = {}
    for name, settings in {
        "plain": plain,
        "lowered": dataclasses.replace(plain, logit_adjustment=0.3),
        "as they come": dataclasses.replace(plain, logit_adjustment=0.3, balance_train=False),
        "as they come, plain": dataclasses.replace(plain, balance_train=False),
    }.items():
        trainer = GinsengClassifierTrainer(overfitted.dataset, settings)
        found[name] = trainer.fit(silent=True)[1].params
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found[name]))
    sizes = np.log(np.bincount(trainer.dataset.labels[trainer.keep]))
    difference = found["lowered"]["head"]["b"] - found["plain"]["head"]["b"]
    np.testing.assert_allclose(difference, np.broadcast_to(-0.3 * (sizes - sizes.mean()), difference.shape), atol=1e-6)
    np.testing.assert_array_equal(found["lowered"]["head"]["W"], found["plain"]["head"]["W"])
    np.testing.assert_array_equal(found["as they come"]["head"]["b"], found["as they come, plain"]["head"]["b"])


def test_macro_f1_can_be_watched(overfitted: GinsengClassifierTrainer) -> None:
    settings = {**vars(overfitted.settings), "monitor": "macro_f1"}
    trainer = GinsengClassifierTrainer(overfitted.dataset, GinsengClassifierTrainerSettings(**settings))
    trainer.fit(silent=True)
    f1, data, out = np.asarray(trainer.logger.holdout_f1), trainer.dataset, trainer.holdout
    best = len(f1) - int(f1[::-1].argmax())  # the last of the best epochs
    assert trainer.best_epoch == best
    assert len(f1) == min(best + 3, 40)
    logits = trainer.model.predict(data.source.counts[out].toarray(), total=data.source.totals[out])
    predicted = np.asarray(logits).argmax(axis=1)
    assert f1_score(data.labels[out], predicted, average="macro") == pytest.approx(f1.max())


def test_history_holds_the_metrics_of_scikit_learn(overfitted: GinsengClassifierTrainer) -> None:
    data, out = overfitted.dataset, overfitted.holdout
    x, y = data.source.counts[out].toarray(), data.labels[out]
    predicted = np.asarray(overfitted.model.predict(x, total=data.source.totals[out])).argmax(axis=1)
    i = (overfitted.best_epoch or 0) - 1
    assert overfitted.logger.holdout_accuracy[i] == pytest.approx((predicted == y).mean())
    assert overfitted.logger.holdout_f1[i] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert overfitted.logger.epoch == list(range(1, len(overfitted.logger.epoch) + 1))


def test_divergence_is_explained(dataset: MemoryDataset) -> None:
    with pytest.raises(ValueError, match=r"nan in epoch 1, batch 2.*data are not the cause.*lr=1e\+30.*1e\+29"):
        trainer_of(dataset, lr=1e30, architecture="instance", config={}).fit(silent=True)


@pytest.mark.parametrize("architecture", ["linear", "gated"])
def test_values_that_overflow_are_named(dataset: MemoryDataset, architecture: str) -> None:
    counts = dataset.source.counts.astype(np.float32).tolil()
    counts[17, 5] = 1e38
    totals = np.asarray(counts.sum(axis=1), np.float32).ravel()
    source = MemorySource(counts.tocsr(), dataset.labels, totals)
    data = MemoryDataset(source, dataset.labels, dataset.label_names, dataset.gene_names, None, None)
    trainer = trainer_of(data, architecture=architecture, config={}, normalize=False, holdout_fraction=0.0)
    with pytest.raises(ValueError, match=r"data are the cause.*1e\+38.*'gene5'"):
        trainer.fit(silent=True)
    assert not hasattr(trainer, "state")


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs_are_refused(dataset: MemoryDataset, epochs: int) -> None:
    with pytest.raises(ValueError, match=r"`epochs`.* 1"):
        trainer_of(dataset).fit(epochs=epochs, silent=True)


# -- return values -----------------------------------------------------------------------------------------------


def test_fit_returns_model_and_state(dataset: MemoryDataset) -> None:
    trainer = trainer_of(dataset)
    with pytest.raises(ValueError, match=r"`trainer\.fit\(\)`"):
        state_from_classifier_trainer(trainer)
    model, state = trainer.fit(epochs=1, silent=True)
    assert state is state_from_classifier_trainer(trainer)
    assert list(state.genes) == dataset.gene_names
    assert list(state.label_keys) == dataset.label_names
    assert list(state.label_values) == [0, 1, 2, 3]
    assert (state.n_genes, state.n_classes, state.hidden_dim) == (16, 4, 6)
    assert state.network == model.network == trainer.network
    assert {len(column) for column in state.history.values()} == {1}


NUMBER = r"\d\.\d{3}e[+-]\d\d"


def test_the_documented_line_is_printed_for_each_epoch(
    dataset: MemoryDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer_of(dataset).fit(epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for i, line in enumerate(lines, 1):
        wanted = rf"\[ginseng\] Epoch {i} report \|  Training loss: {NUMBER} \| Holdout loss: {NUMBER} \|"
        assert re.match(wanted + rf" Holdout accuracy: {NUMBER} \|", line)


def test_silent_prints_nothing(dataset: MemoryDataset, capsys: pytest.CaptureFixture[str]) -> None:
    trainer_of(dataset).fit(epochs=1, silent=True)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("by", ["sampling", "weights"])
def test_balanced_training_finds_the_rare_class_more_often(by: str, make_donors: Callable[..., MemoryDataset]) -> None:
    """Measured on the predictions for all cells, with overlapping classes."""
    data = make_donors(400, noise=0.3, seed=2)
    share = {}
    for balanced in (True, False):
        trainer = trainer_of(
            data, balance_train=balanced, balance_by=by, balance_exponent=1.0, holdout_fraction=0.0,
            architecture="linear", config={},
        )  # fmt: skip
        model = trainer.fit(silent=True)[0]
        predicted = np.asarray(model.predict(data.source.counts.toarray(), total=data.source.totals)).argmax(axis=1)
        share[balanced] = (predicted == 3).mean()
    assert share[True] > 1.2 * share[False]


# -- datasets on disk --------------------------------------------------------------------------------------------


@pytest.fixture
def adata(dataset: MemoryDataset) -> ad.AnnData:
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical.from_codes(dataset.labels, dataset.label_names)},
        index=[f"cell{i}" for i in range(len(dataset.labels))],
    )
    return ad.AnnData(dataset.source.counts.copy(), obs, pd.DataFrame(index=dataset.gene_names))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()
    }


def test_training_writes_nothing_to_the_store(adata: ad.AnnData, tmp_path: Path) -> None:
    store = GinsengDataset.create(tmp_path / "cells.zarr", adata, "cell_type", silent=True)
    before = snapshot(store.path)
    folders = [store.path, *(p for p in store.path.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        first = trainer_of(store).fit(silent=True)[1]
        second = trainer_of(store).fit(silent=True)[1]
        from_path = trainer_of(str(store.path)).fit(silent=True)[1]
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert snapshot(store.path) == before
    for other in (second, from_path):
        assert all(map(np.array_equal, leaves(first), leaves(other)))
    assert not GinsengDataset(store.path).has_split


def test_the_split_of_a_store_is_its_holdout(adata: ad.AnnData, tmp_path: Path) -> None:
    store = GinsengDataset.create(tmp_path / "cells.zarr", adata, "cell_type", silent=True)
    store.make_split(0.3)
    trainer = trainer_of(GinsengDataset(store.path))
    np.testing.assert_array_equal(np.flatnonzero(trainer.holdout), store.test_idx)


def test_a_split_that_leaves_a_class_without_cells_is_named(adata: ad.AnnData, tmp_path: Path) -> None:
    adata.obs["donor"] = np.where(adata.obs["cell_type"] == "mast", "a", "b")
    store = GinsengDataset.create(tmp_path / "cells.zarr", adata, "cell_type", group_key="donor", silent=True)
    store.make_split(stratify_group=True, mode="loo", group="a")
    with pytest.warns(UserWarning, match="'mast'"):
        trainer_of(store)


def test_windows_of_any_size_give_a_model(dataset: MemoryDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights do not depend on how many batches go through one compiled call."""
    whole = trainer_of(dataset).fit(silent=True)[1]
    monkeypatch.setattr(batches, "WINDOW_BYTES", 4 * 32 * 16)
    single = trainer_of(dataset).fit(silent=True)[1]
    for a, b in zip(leaves(whole), leaves(single), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_many_cells_come_in_larger_batches(make_donors: Callable[..., MemoryDataset]) -> None:
    few, many = make_donors(1000, 4), make_donors(60_000, 4)

    def size(data: MemoryDataset, **settings: Any) -> int:
        return GinsengClassifierTrainer(data, GinsengClassifierTrainerSettings(**settings)).batch_size

    assert (size(few), size(many)) == (128, 256)
    assert (size(few, batch_size=100), size(many, batch_size=100)) == (100, 100)
    assert size(many, architecture="linear") == 128


def test_no_thread_or_file_is_left_behind(dataset: MemoryDataset) -> None:
    trainer_of(dataset).fit(silent=True)
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    trainer_of(dataset).fit(silent=True)
    after = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    assert after <= before


def test_a_measure_more_takes_a_row_and_a_column(dataset: MemoryDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Logger(GinsengLogger):
        holdout_balanced: list[float] = dataclasses.field(default_factory=list, metadata={"label": "BA", "bar": ""})

    monkeypatch.setitem(MEASURES, "balanced", lambda losses, y, predicted: balanced_accuracy_score(y, predicted))
    monkeypatch.setattr(trainer_module, "GinsengLogger", Logger)
    trainer = trainer_of(dataset, holdout_fraction=0.4, architecture="linear", config={}, epochs=1)
    state = trainer.fit(silent=True)[1]
    data, out = trainer.dataset, trainer.holdout
    logits = trainer.model.predict(data.source.counts[out].toarray(), total=data.source.totals[out])
    expected = balanced_accuracy_score(data.labels[out], logits.argmax(axis=1))
    assert state.history["holdout_balanced"].tolist() == [pytest.approx(expected)]
