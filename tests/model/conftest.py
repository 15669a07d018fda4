"""Small models with random weights."""

import jax
import numpy as np
import pytest

from ginseng._core import registry
from ginseng.model import GinsengClassifierState
from ginseng.model.state import calibration_shapes

LABELS = ["T/NK", "γδ T cell", "x" * 256]


def random_state(
    architecture: str = "gated", n_genes: int = 12, seed: int = 0, **config: int
) -> GinsengClassifierState:
    network = registry.get(architecture, {"hidden_dim": 5, "dropout_rate": 0.25, **config})
    rng = np.random.default_rng(seed)
    shapes = registry.shapes(network, n_genes, 3)
    return GinsengClassifierState(
        params=jax.tree.map(lambda a: rng.uniform(0.1, 1, a.shape).astype(np.float32), shapes),
        genes=np.array([f"gene/{i}" for i in range(n_genes - 1)] + ["HLA-DRA β"]),
        label_keys=np.array(LABELS),
        label_values=np.arange(3),
        n_genes=n_genes,
        n_classes=3,
        hidden_dim=5,
        dropout_rate=0.25,
        architecture=architecture,
        config=dict(config),
        history={"epoch": np.array([1.0, 2.0]), "holdout_loss": np.array([0.5, np.nan])},
        reference={
            "mean": rng.random(n_genes),
            "share": rng.dirichlet(np.ones(n_genes)),
            "classes": rng.random((3, n_genes)),
            "cells": np.array([7, 0, 5]),
        },
        info={"label_key": "cell type", "layer": None, "n_train": 7},
    )


def calibrated(state: GinsengClassifierState) -> GinsengClassifierState:
    """Return the state with what training would measure, of random cells."""
    rng, n = np.random.default_rng(0), state.n_classes
    values = {
        name: rng.uniform(0.1, 1, [9 if size is None else size for size in shape.shape])
        for name, shape in calibration_shapes(state.network, state.params, state.n_genes, n).items()
    }
    values["cells"][:, :2] = rng.integers(0, n, (9, 2))
    return GinsengClassifierState(**(vars(state) | {"calibration": values}))


def assert_equal(a: GinsengClassifierState, b: GinsengClassifierState) -> None:
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    for name in ("genes", "label_keys", "label_values"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("n_genes", "n_classes", "hidden_dim", "dropout_rate", "normalize", "target_sum", "training",
                 "architecture", "config", "library_size", "info"):  # fmt: skip
        assert getattr(a, name) == getattr(b, name), name
    for name in ("history", "reference", "calibration"):
        found, expected = getattr(a, name) or {}, getattr(b, name) or {}
        assert found.keys() == expected.keys()
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected[name])


@pytest.fixture(name="random_state", scope="session")
def _random_state():
    return random_state


@pytest.fixture(name="calibrated", scope="session")
def _calibrated():
    return calibrated


@pytest.fixture(name="assert_equal", scope="session")
def _assert_equal():
    return assert_equal
