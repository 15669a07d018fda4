import dataclasses
import math
from typing import Any

import jax
import numpy as np
import pytest

from ginseng.data._memory import MemoryDataset
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings

BASE: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 32,
    "config": {"hidden_dim": 6, "gate_dim": 4, "n_layers": 1},
    "group_level": True,
}

#: A change of each setting, and what else has to be set for it to act.
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "rate": (0.5, {}),
    "lam_max": (2.0, {}),
    "lower": (5, {"upper": 6}),
    "upper": (200, {"lower": 0}),
    "hidden_dim": (7, {"config": {}}),
    "dropout_rate": (0.1, {}),
    "batch_size": (24, {}),
    "lr": (1e-3, {}),
    "betas": ((0.5, 0.9), {}),
    "eps": (0.1, {}),
    "weight_decay": (0.5, {}),
    "normalize": (False, {}),
    "target_sum": (100.0, {}),
    "holdout_fraction": (0.5, {}),
    "balance_train": (False, {}),
    "group_level": (False, {}),
    "group_mode": ("loo", {"holdout_fraction": 0.4}),
    "seed": (1, {}),
    "architecture": ("linear", {"config": {}}),
    "config": ({"hidden_dim": 6, "gate_dim": 5, "n_layers": 1}, {}),
    "epochs": (3, {}),
    "label_smoothing": (0.3, {}),
    "balance_exponent": (0.5, {}),
    "n_uncentered": (0, {}),
    "fold_change": (0.6, {}),
    "logit_adjustment": (0.5, {}),
    "scale_floor": (30.0, {}),
    "weigh_genes": (False, {}),
    "library_size": ("all_genes", {}),
    "standardize": (False, {}),
    "balance_by": ("weights", {}),
    "solver": ("lbfgs", {"architecture": "linear", "config": {}}),
    "C": (0.1, {"architecture": "linear", "config": {}, "solver": "lbfgs"}),
}
#: In test_trainer.py, test_devices.py and test_assess.py.
ELSEWHERE = {"patience", "monitor", "n_streams", "calibrate"}


def weights(dataset: MemoryDataset, **settings: Any) -> list[np.ndarray]:
    trainer = GinsengClassifierTrainer(dataset, GinsengClassifierTrainerSettings(**{**BASE, **settings}))
    return jax.tree.leaves(trainer.fit(silent=True)[1].params)


@pytest.fixture(scope="module")
def base(dataset: MemoryDataset) -> list[np.ndarray]:
    return weights(dataset)


def test_all_settings_are_tested() -> None:
    fields = {field.name for field in dataclasses.fields(GinsengClassifierTrainerSettings)}
    assert fields == CHANGES.keys() | ELSEWHERE


@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_acts(name: str, dataset: MemoryDataset, base: list[np.ndarray]) -> None:
    value, needed = CHANGES[name]
    assert value != getattr(GinsengClassifierTrainerSettings(**{**BASE, **needed}), name)
    without = weights(dataset, **needed) if needed and needed != {"config": {}} and name != "lower" else base
    changed = weights(dataset, **needed, **{name: value})
    same = len(changed) == len(without) and all(map(np.array_equal, changed, without))
    assert not same


def test_equal_class_weights_are_the_same_as_none(dataset: MemoryDataset) -> None:
    alike = weights(dataset, balance_by="weights", balance_exponent=0.0, logit_adjustment=0.0)
    assert all(map(np.array_equal, alike, weights(dataset, balance_train=False)))


def test_every_setting_is_documented() -> None:
    doc = GinsengClassifierTrainerSettings.__doc__ or ""
    names = {n.strip() for line in doc.splitlines() if line.startswith("    ") for n in line.split(",")}
    assert {field.name for field in dataclasses.fields(GinsengClassifierTrainerSettings)} <= names


def test_lower_0_and_upper_200_act_on_few_genes(dataset: MemoryDataset, base: list[np.ndarray]) -> None:
    changed = weights(dataset, lower=0, upper=200)
    assert not all(map(np.array_equal, changed, base))
    assert all(np.isfinite(a).all() for a in changed)


INVALID: list[dict[str, Any]] = [
    {"rate": -0.1}, {"rate": 1.0}, {"rate": math.nan},
    {"lam_max": -1.0}, {"lower": -1}, {"upper": -1}, {"upper": 5, "lower": 6}, {"upper": 5, "lower": 5},
    {"lower": 3},
    {"batch_size": 0}, {"lr": 0.0}, {"lr": -1e-3}, {"lr": math.nan},
    {"betas": (1.0, 0.9)}, {"betas": (0.9,)}, {"betas": (-0.1, 0.9)}, {"eps": 0.0},
    {"weight_decay": -0.1}, {"target_sum": 0.0}, {"target_sum": -1.0},
    {"holdout_fraction": 1.0}, {"holdout_fraction": -0.1}, {"group_mode": "leave-one-out"},
    {"epochs": 0}, {"label_smoothing": 1.0}, {"label_smoothing": -0.1},
    {"balance_exponent": 1.1}, {"balance_exponent": -0.1}, {"patience": 0}, {"scale_floor": 0.0},
    {"balance_by": "loss"}, {"monitor": "accuracy"}, {"solver": "sgd"}, {"C": 0.0}, {"C": math.inf},
    {"dropout_rate": 1.0}, {"hidden_dim": 0},
]  # fmt: skip


@pytest.mark.parametrize("settings", INVALID, ids=str)
def test_out_of_range_values_are_refused(settings: dict[str, Any]) -> None:
    names = "upper" if settings.keys() & {"upper", "lower"} and settings != {"lower": -1} else next(iter(settings))
    with pytest.raises(ValueError, match=f"`{names}`"):
        GinsengClassifierTrainerSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "logistic"}, "'logistic'.*'gated'"),
        ({"architecture": "gatd"}, "'gatd'.*'gated'"),
        ({"config": {"depth": 3}}, "depth.*dropout_rate, gate_dim"),
        ({"config": {"n_layers": 10**9}}, "`n_layers`.*'gated'"),
    ],
)
def test_architecture_and_its_settings_are_checked_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GinsengClassifierTrainerSettings(**settings)


def test_the_trainer_keeps_its_own_settings(dataset: MemoryDataset) -> None:
    settings = GinsengClassifierTrainerSettings(**BASE)
    trainer = GinsengClassifierTrainer(dataset, settings)
    settings.epochs = 9
    assert trainer.settings.epochs == trainer.epochs == 2


@pytest.mark.parametrize(
    ("n_train", "least", "most"),
    [(50, 60, 100), (1000, 10, 40), (40_000, 10, 10), (100_000, 4, 4), (300_000, 3, 3), (10**7, 3, 3)],
)
def test_default_number_of_epochs(dataset: MemoryDataset, n_train: int, least: int, most: int) -> None:
    trainer = GinsengClassifierTrainer(dataset, GinsengClassifierTrainerSettings())
    trainer.keep = np.ones(n_train, bool)
    assert least <= trainer.epochs <= most
