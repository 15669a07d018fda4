"""What every architecture keeps."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from ginseng._core import registry
from ginseng._core.layers import dropout, random_bits, standardize
from ginseng._core.losses import cross_entropy
from ginseng._core.members import each_member, together
from ginseng._core.steps import batch_logits
from ginseng.data._memory import MemoryDataset
from ginseng.model import GinsengClassifierState, classifier_from_state, load_model, save_model
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings

NAMES = registry.names()
SMALL = {"hidden_dim": 16}
WITH_GENE_WEIGHTS = [name for name in NAMES if registry.get(name).has_gene_weights]


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest, train_set: MemoryDataset) -> GinsengClassifierState:
    return fitted(train_set, request.param, epochs=15, calibrate=False)


def fitted(train_set: MemoryDataset, architecture: str, **how: Any) -> GinsengClassifierState:
    settings = GinsengClassifierTrainerSettings(architecture=architecture, config=SMALL, batch_size=32, **how)
    return GinsengClassifierTrainer(train_set, settings).fit(silent=True)[1]


@pytest.mark.parametrize("architecture", [name for name in NAMES if registry.get(name).knows_reference])
def test_learns_of_its_errors(train_set: MemoryDataset, architecture: str) -> None:
    state = fitted(train_set, architecture, epochs=1)
    assert state.calibration is not None
    assert len(state.calibration["cells"]) == len(train_set.labels)


def test_learns_separable_data(trained: GinsengClassifierState, test_set: Any) -> None:
    x, y, total = test_set
    logits = classifier_from_state(trained).predict(x, total=total)
    assert logits.shape == (len(x), 3)
    assert (np.asarray(logits).argmax(axis=1) == y).mean() > 0.95


def test_saved_and_loaded_bits_are_the_same(trained: GinsengClassifierState, test_set: Any, tmp_path: Path) -> None:
    save_model(trained, tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    jax.tree.map(np.testing.assert_array_equal, loaded.params, trained.params)
    assert loaded.network == trained.network
    before, after = (classifier_from_state(s).predict(test_set[0], total=test_set[2]) for s in (trained, loaded))
    np.testing.assert_array_equal(before, after)


def test_gene_weights_are_in_0_1_or_refused(trained: GinsengClassifierState, test_set: Any) -> None:
    model = classifier_from_state(trained)
    if not trained.network.has_gene_weights:
        with pytest.raises(NotImplementedError, match="has no gene weights"):
            model.predict(test_set[0], return_attn=True)
        return
    logits, weights = model.predict(test_set[0], total=test_set[2], return_attn=True)
    assert weights.shape == test_set[0].shape
    assert float(weights.min()) > 0
    assert float(weights.max()) < 1
    assert float(np.std(weights)) > 0
    np.testing.assert_array_equal(logits, model.predict(test_set[0], total=test_set[2]))


def test_the_head_reads_the_embedding(trained: GinsengClassifierState, test_set: Any) -> None:
    params, network = jax.device_put(trained.params), trained.network
    x = jnp.log1p(test_set[0][:5])
    embedded = np.asarray(jax.vmap(lambda x: together(network).embed(params, x))(x))
    head = params.get("head")
    if head is None:  # a cascade of one group
        head = {**params["group0"]["layer4"], "b": params["group0"]["layer4"]["b"] + params["offset"]["b"]}
    heads = np.reshape(head["W"], (network.n_members, -1, 3))
    embedded = embedded.reshape(5, network.n_members, -1).swapaxes(0, 1)
    each = embedded @ heads + np.reshape(head["b"], (network.n_members, 1, 3))
    expected = softmax(each, axis=-1).mean(axis=0)
    logits = batch_logits(together(network), params, x)
    np.testing.assert_allclose(softmax(logits, axis=-1), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "transformer" else name for name in NAMES]
)
def test_members_say_their_mean(name: str, test_set: Any) -> None:
    x = jnp.log1p(test_set[0][:6])
    several, one = (registry.get(name, {**SMALL, "n_members": n}) for n in (3, 1))
    params = jax.tree.map(lambda a: a + 0.01, several.init_members(jax.random.key(0), 24, 3))
    each = [jax.tree.map(lambda a, i=i: a[i], params) for i in range(3)]
    assert jax.tree.map(jnp.shape, each[0]) == jax.tree.map(jnp.shape, one.init_members(jax.random.key(0), 24, 3))
    mean = np.mean([softmax(batch_logits(one, p, x), axis=-1) for p in each], axis=0)
    np.testing.assert_allclose(softmax(batch_logits(together(several), params, x), axis=-1), mean, rtol=1e-5)
    if name != "linear":  # whose first weights are zero
        assert not np.allclose(*(batch_logits(one, p, x) for p in each[:2]))
    if several.has_gene_weights:
        of = lambda network, p: jax.vmap(lambda x: network.gene_weights(p, x))(x)  # noqa: E731
        weights = np.mean([of(one, p) for p in each], axis=0)
        np.testing.assert_allclose(of(together(several), params), weights, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite(name: str, test_set: Any) -> None:
    network = registry.get(name, SMALL)
    params = network.init_members(jax.random.key(0), 24, 3)

    def loss(params: Any, x: Any) -> Any:
        return cross_entropy(batch_logits(together(network), params, x, jax.random.key(1)), test_set[1][:8])

    gradients = jax.jit(jax.grad(loss))
    for scale in (1, 0, 1e4):  # usual, empty and absurd cells
        grads = gradients(params, jnp.log1p(test_set[0][:8]) * scale)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
        if network.standardizes:  # the mean and scale of the data are not learned
            assert not any(np.any(g) for g in jax.tree.leaves(grads["input"]))
    assert any(np.any(g) for g in jax.tree.leaves(gradients(params, jnp.log1p(test_set[0][:8]))))


@pytest.mark.parametrize("name", NAMES)
def test_a_key_makes_dropout_act_and_each_cell_has_its_own(name: str, test_set: Any) -> None:
    network = registry.get(name, {**SMALL, "dropout_rate": 0.5})
    # no two sums of these weights are equal, so that equal logits mean equal masks
    apart = lambda a: a + 0.01 * (1 + np.arange(a.size) * np.sqrt(2) % 1).astype(np.float32).reshape(a.shape)  # noqa: E731
    params = jax.tree.map(apart, network.init_members(jax.random.key(0), 24, 3))
    same = jnp.tile(jnp.log1p(test_set[0][:1] + 1), (6, 1))
    says = lambda network, *key: np.asarray(batch_logits(together(network), params, same, *key))  # noqa: E731
    plain = says(network)
    np.testing.assert_allclose(plain, plain[[0] * 6], rtol=1e-5)
    first, again, other = (says(network, jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first, axis=0)) == 6
    off = registry.get(name, {**SMALL, "dropout_rate": 0.0})
    np.testing.assert_allclose(says(off, jax.random.key(0)), says(off), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_has_its_rate_and_keeps_the_mean(rate: float) -> None:
    x = np.random.default_rng(0).uniform(1, 2, 100_000).astype(np.float32)
    out = np.asarray(dropout(random_bits(jax.random.key(0), x.size)[0], x, rate))
    assert stats.binomtest(int((out == 0).sum()), x.size, rate).pvalue > 1e-4
    np.testing.assert_allclose(out[out != 0], x[out != 0] / (1 - rate), rtol=1e-6)
    assert out.mean() == pytest.approx(x.mean(), rel=5 * np.sqrt(rate / (1 - rate) / x.size) + 1e-3)


def test_dropout_draws_differ_between_layers() -> None:
    first, second = random_bits(jax.random.key(0), 1000, 1000)
    assert first.shape == second.shape == (1000,)
    assert not np.array_equal(first, second)
    assert random_bits(None, 3, 4) == [None, None]
    np.testing.assert_array_equal(dropout(None, np.ones(3), 0.5), np.ones(3))


def test_standardize_centres_scales_and_clips() -> None:
    params = {"mean": np.array([1.0, 0.0], np.float32), "scale": np.array([2.0, 0.5], np.float32)}
    np.testing.assert_allclose(standardize(params, np.array([[3.0, 1.0], [1.0, 99.0]])), [[1.0, 2.0], [0.0, 10.0]])


@pytest.mark.parametrize("name", WITH_GENE_WEIGHTS)
def test_gene_weights_of_the_core_are_those_that_gate(name: str, test_set: Any) -> None:
    """Where the gate is shut, nothing of a cell gets through."""
    network = registry.get(name, {**SMALL, "n_members": 1})
    params = network.init(jax.random.key(0), 24, 3)
    gate = next(layer for layer in ("gate2", "attn2") if layer in params)
    shut = {**params, gate: {"W": params[gate]["W"] * 0, "b": params[gate]["b"] - 80}}
    x = jnp.log1p(test_set[0][:4])
    weights = jax.vmap(lambda x: network.gene_weights(shut, x))(x)
    np.testing.assert_allclose(weights, 0, atol=1e-30)
    logits = np.asarray(batch_logits(network, shut, x))
    np.testing.assert_allclose(logits, np.tile(logits[:1], (4, 1)), atol=1e-6)


def test_members_are_the_same_one_by_one_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, x = np.arange(12.0).reshape(3, 4), np.arange(3.0)
    each = [each_member(lambda w, x: {"product": w * x}, weights, x)["product"]]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    each.append(each_member(lambda w, x: {"product": w * x}, weights, x)["product"])
    for found in each:
        np.testing.assert_array_equal(found, weights * x[:, None])
