"""The examples of the reference documentation, and the network against NumPy."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.special import expit, log_softmax

from ginseng._core import registry
from ginseng.data import GinsengDataset
from ginseng.data.io import load_model, save_model
from ginseng.model import GinsengClassifierState, classifier_from_state, state_from_classifier_trainer
from ginseng.model.instance import (
    GinsengClassifier,
    nn_annotate,
    nn_annotate_evaluate,
    nn_annotate_init,
    nn_annotate_loss,
    nn_normalize,
)
from ginseng.model.nn import nn_dropout, nn_init_linear, nn_linear, nn_xavier_uniform
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings

rng = np.random.default_rng(0)
X = rng.poisson(2, (60, 12)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(np.int32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> GinsengDataset:
    obs = pd.DataFrame({"cell_type": np.array(["B", "T/NK"])[Y]}, index=[f"cell{i}" for i in range(60)])
    adata = AnnData(X, obs, pd.DataFrame(index=[f"gene{i}" for i in range(12)]))
    return GinsengDataset.create(tmp_path_factory.mktemp("store") / "a.zarr", adata, "cell_type", silent=True)


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=pytest.mark.slow) if name == "transformer" else name for name in registry.names()],
)
def test_documented_flow(
    architecture: str, dataset: GinsengDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = GinsengClassifierTrainerSettings(architecture=architecture, hidden_dim=9, epochs=1, batch_size=16)
    trainer = GinsengClassifierTrainer(dataset, settings)
    model, _ = trainer.fit(silent=True)

    state = GinsengClassifierState(
        params=model.params,
        genes=dataset.gene_names,
        label_keys=dataset.label_names,
        label_values=np.arange(len(dataset.label_names)),
        n_genes=dataset.n_genes,
        n_classes=len(dataset.label_names),
        hidden_dim=9,
        normalize=True,
        target_sum=1e4,
        dropout_rate=0.5,
        training=False,
    )
    save_model(state, "./models/my_classifier.h5")
    assert os.listdir("models") == ["my_classifier.h5"]

    state = load_model("./models/my_classifier.h5")
    assert state.architecture == architecture
    again = GinsengClassifier(
        n_genes=state.n_genes,
        n_classes=state.n_classes,
        hidden_dim=state.hidden_dim,
        dropout_rate=state.dropout_rate,
        normalize=state.normalize,
        target_sum=state.target_sum,
    )
    again.params = state.params
    new_data = pd.DataFrame(X[:, ::-1], columns=dataset.gene_names[::-1])
    predictions = again.predict(new_data[state.genes].values, training=False)
    np.testing.assert_array_equal(predictions, model.predict(X))
    np.testing.assert_array_equal(predictions, classifier_from_state(state).predict(X))
    trained = state_from_classifier_trainer(trainer)
    jax.tree.map(np.testing.assert_array_equal, trained.params, state.params)


def test_settings_that_no_shape_shows_must_be_passed(random_state: Any) -> None:
    state = random_state("gated", gate_dim=7)
    model = GinsengClassifier(state.n_genes, state.n_classes, hidden_dim=5)
    with pytest.raises(ValueError, match="`architecture` and `config`"):
        model.params = state.params
    assert classifier_from_state(state).predict(np.ones((2, 12))).shape == (2, 3)


def test_training_needs_keys_and_draws_its_own() -> None:
    model = GinsengClassifier(12, 2, hidden_dim=8, dropout_rate=0.5)
    first, second = model.predict(X, training=True), model.predict(X, training=True)
    assert not np.array_equal(first, second)
    key = jax.random.key(3)
    np.testing.assert_array_equal(model.predict(X, key=key, training=True), model.predict(X, key=key, training=True))
    np.testing.assert_array_equal(model.predict(X, key=key), model.predict(X))
    same = GinsengClassifier(12, 2, hidden_dim=8, dropout_rate=0.5)
    np.testing.assert_array_equal(same.predict(X, training=True), first)


def test_loss_and_evaluate() -> None:
    model = GinsengClassifier(12, 2, dropout_rate=0.0)
    logits = np.asarray(model.predict(X), float)
    expected = -log_softmax(logits, axis=1)[np.arange(60), Y].mean()
    assert float(model.loss(model.params, model._get_key(), X, Y)) == pytest.approx(expected, rel=1e-5)
    loss, accuracy = model.evaluate(X, Y)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(axis=1) == Y).mean())
    grads = jax.grad(model.loss)(model.params, model._get_key(), X, Y)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_first_weights_depend_on_the_seed_alone() -> None:
    a, b, c = (GinsengClassifier(12, 2, seed=s).params["gate1"]["W"] for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


# -- the documented functions ------------------------------------------------------------------------------------

PARAMS = jax.tree.map(
    lambda a: a + 0.01 * rng.normal(size=a.shape).astype(np.float32), nn_annotate_init(jax.random.key(0), 12, 2, 6)
)


def numpy_forward(params: Any, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = jax.tree.map(lambda a: np.asarray(a, float), params)
    layer = lambda name, x: x @ p[name]["W"] + p[name]["b"]  # noqa: E731
    x = np.log1p(counts * 1e4 / counts.sum(axis=1, keepdims=True))
    f = layer("features2", np.maximum(layer("features1", x), 0))
    a = expit(layer("attn2", np.tanh(layer("attn1", f))))
    return layer("head", f * a), a


def test_annotate_is_the_documented_network() -> None:
    logits, attention = nn_annotate(PARAMS, jax.random.key(0), jnp.asarray(X), training=False, return_attn=True)
    expected = numpy_forward(PARAMS, X)
    np.testing.assert_allclose(logits, expected[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(attention, expected[1], rtol=1e-3, atol=1e-4)
    plain = nn_annotate(PARAMS, jax.random.key(0), nn_normalize(X), normalize=False, training=False)
    np.testing.assert_allclose(plain, expected[0], rtol=1e-3, atol=1e-4)


def test_annotate_drops_out_in_training_only() -> None:
    x = jnp.asarray(X)
    one, two = (nn_annotate(PARAMS, jax.random.key(i), x) for i in range(2))
    assert not np.array_equal(one, two)
    one, two = (nn_annotate(PARAMS, jax.random.key(i), x, training=False) for i in range(2))
    np.testing.assert_array_equal(one, two)


def test_annotate_loss_and_evaluate() -> None:
    logits = numpy_forward(PARAMS, X)[0]
    expected = -log_softmax(logits, axis=1)[np.arange(60), Y].mean()
    key, x, y = jax.random.key(0), jnp.asarray(X), jnp.asarray(Y)
    assert float(nn_annotate_loss(PARAMS, key, x, y, dropout_rate=0.0)) == pytest.approx(expected, rel=1e-3)
    loss, n, right = nn_annotate_evaluate(PARAMS, key, x, y)
    assert float(loss) == pytest.approx(expected, rel=1e-3)
    assert (n, int(right)) == (60, (logits.argmax(axis=1) == Y).sum())


def test_parts_of_a_network() -> None:
    key = jax.random.key(0)
    weights = np.asarray(nn_xavier_uniform(key, (200, 100)))
    limit = np.sqrt(6 / 300)
    assert np.abs(weights).max() <= limit
    assert weights.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    layer = nn_init_linear(key, 200, 100)
    assert not np.any(layer["b"])
    x = rng.normal(size=(3, 200)).astype(np.float32)
    np.testing.assert_allclose(nn_linear(layer, x), x @ np.asarray(layer["W"]), rtol=1e-4, atol=1e-5)
    ones = jnp.ones((100, 50))
    dropped = np.asarray(nn_dropout(key, ones, 0.25))
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(nn_dropout(key, ones, 0.25, training=False), ones)
