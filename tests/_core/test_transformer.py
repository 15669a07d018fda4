"""The transformer against NumPy, and its cost, which grows with the number of expressed genes."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from ginseng._core import registry
from ginseng._core.steps import Normalization, batch_logits, in_form, predict_logits
from ginseng.model import GinsengClassifierState, load_model, save_model

N_GENES, N_CLASSES = 200, 3
NORMALIZATION = Normalization(normalize=False)
SMALL: dict[str, Any] = {"d_model": 8, "n_heads": 2, "hidden_dim": 12, "n_bins": 5}
Params = dict[str, Any]


def made(**config: Any) -> tuple[Any, Params]:
    """Return a network that uses all of its parameters."""
    network = registry.get("transformer", {**SMALL, **config})
    params = network.init(jax.random.key(0), N_GENES, N_CLASSES)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda a: jnp.asarray(a + rng.normal(0, 0.3, a.shape), jnp.float32), params)
    params["input"] = {"mean": np.zeros(N_GENES, np.float32), "scale": rng.uniform(0.5, 2, N_GENES).astype(np.float32)}
    return network, params


def cells(n_cells: int, n_expressed: int, seed: int = 0) -> np.ndarray:
    """Return log-normalised values with at most this many expressed genes per cell."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n_cells, N_GENES), np.float32)
    for row in x:
        row[rng.choice(N_GENES, rng.integers(n_expressed // 2, n_expressed + 1), replace=False)] = 1
    return (x * rng.gamma(2, 1, x.shape)).astype(np.float32)


def by_numpy(network: Any, params: Params, x: np.ndarray) -> np.ndarray:
    """Logits of one cell from its expressed genes alone, without padding."""
    genes = np.arange(N_GENES) if network.all_genes else np.flatnonzero(x)
    genes = genes[np.argsort(-x[genes], kind="stable")][: None if network.all_genes else network.max_tokens]
    edges = np.linspace(x[x > 0].min(), x.max(), network.n_bins + 1)
    bins = np.where(x > 0, np.digitize(x, edges[:-1]) + (x == x.max()), 0)[genes]
    value = np.clip(x / params["input"]["scale"], 0, 10)[genes]
    h = params["genes"]["W"][genes] + params["bins"]["W"][bins] + value[:, None] * params["values"]["W"][genes]
    if network.pooling == "cls":
        h = np.concatenate([params["cls"]["W"], h])

    def norm(p: Params, h: np.ndarray) -> np.ndarray:
        return (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-6) * p["scale"] + p["b"]

    def linear(p: Params, h: np.ndarray) -> np.ndarray:
        return h @ p["W"] + p["b"]

    for i in range(network.n_layers):
        p = params[f"block{i + 1}"]
        qkv = linear(p["qkv"], norm(p["norm1"], h)).reshape(len(h), 3, network.n_heads, -1)
        heads = [(qkv[:, 0, j], qkv[:, 1, j], qkv[:, 2, j]) for j in range(network.n_heads)]
        out = [softmax(q @ k.T / np.sqrt(q.shape[1]), axis=1) @ v for q, k, v in heads]
        h = h + linear(p["out"], np.concatenate(out, axis=1))
        up = linear(p["up"], norm(p["norm2"], h))
        h = h + linear(p["down"], 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3))))
    pooled = h[0] if network.pooling == "cls" else h.mean(axis=0)
    return linear(params["head"], norm(params["norm"], pooled))


FORMS: list[dict[str, Any]] = [
    {}, {"n_layers": 2, "n_heads": 4}, {"pooling": "cls"}, {"all_genes": True}, {"all_genes": True, "pooling": "cls"},
    {"max_tokens": 20},
]  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [pytest.param(form, marks=pytest.mark.slow) if "pooling" in form and len(form) == 1 else form for form in FORMS],
    ids=str,
)
def test_equals_numpy(config: dict[str, Any]) -> None:
    network, params = made(**config)
    x = cells(5, 40)
    found = predict_logits(params, x, x.sum(axis=1), architecture=network, normalization=NORMALIZATION)
    np.testing.assert_allclose(found, [by_numpy(network, params, row) for row in x], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("n_expressed", "length"), [(30, 64), (64, 64), (65, 128), (128, 128), (140, 150)])
def test_the_form_is_the_smallest_with_room(n_expressed: int, length: int) -> None:
    network, params = made(max_tokens=150)
    x = np.zeros((3, N_GENES), np.float32)
    x[:, :10], x[1, :n_expressed] = 1, 1
    forms, i = network.forms(jnp.asarray(x), training=False)
    assert forms[int(i)].max_tokens == length
    np.testing.assert_allclose(
        in_form(lambda form: batch_logits(form, params, x), network, x, training=False),
        batch_logits(network, params, x), rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_forms_share_parameters_and_training_takes_smaller_ones() -> None:
    network, _ = made(max_tokens=150, dropout_rate=0.5)
    forms, i = network.forms(jnp.asarray(cells(8, 120)), training=True)
    assert forms[int(i)].max_tokens == 64
    assert [form.max_tokens for form in forms] == [64, 128, 150]
    assert len({str(registry.shapes(form, N_GENES, N_CLASSES)) for form in forms}) == 1
    assert dataclasses.replace(network, all_genes=True).forms(jnp.ones((2, N_GENES)), training=True)[1] == 0


def test_genes_that_no_cell_expresses_have_no_part() -> None:
    x = cells(6, 40)
    x[:, 100:] = 0
    for config, same in (({}, True), ({"all_genes": True}, False)):
        network, params = made(**config)
        other = {**params, "genes": {"W": params["genes"]["W"] + (np.arange(N_GENES) >= 100)[:, None]}}
        assert np.array_equal(*(np.asarray(batch_logits(network, p, x)) for p in (params, other))) == same


def test_the_order_of_the_genes_is_of_no_account() -> None:
    network, params = made()
    x, order = cells(4, 40), np.random.default_rng(0).permutation(N_GENES)
    moved = {**params, **{k: {"W": params[k]["W"][order]} for k in ("genes", "values")}}
    moved["input"] = {k: v[order] for k, v in params["input"].items()}
    np.testing.assert_allclose(
        batch_logits(network, moved, x[:, order]), batch_logits(network, params, x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_many_cells_go_through_in_parts() -> None:
    network, params = made()
    n = 2 * (network.cells_at_once or 0) + 7
    x = cells(n, 40)
    found = predict_logits(params, x, x.sum(axis=1), architecture=network, normalization=NORMALIZATION)
    assert found.shape == (n, N_CLASSES)
    np.testing.assert_allclose(found, batch_logits(network, params, x), rtol=1e-4, atol=1e-5)
    noisy = predict_logits(
        params, x, x.sum(axis=1), jax.random.key(0), architecture=network, normalization=NORMALIZATION
    )
    assert noisy.shape == found.shape
    assert not np.allclose(noisy, found)


@pytest.mark.parametrize(
    "config", [pytest.param(form, marks=pytest.mark.slow) if form else form for form in FORMS], ids=str
)
def test_empty_cells_and_gradients_are_finite(config: dict[str, Any]) -> None:
    network, params = made(**config)
    x = cells(4, 40)
    x[0] = 0
    gradient = jax.grad(lambda p: (batch_logits(network, p, x, jax.random.key(0)) ** 2).sum())
    for leaf in (*jax.tree.leaves(gradient(params)), batch_logits(network, params, x)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("config", FORMS, ids=str)
def test_every_form_is_kept_in_a_file(config: dict[str, Any], tmp_path: Path) -> None:
    network, params = made(**config)
    state = GinsengClassifierState.of(
        network, params=params, genes=np.array([f"g{i}" for i in range(N_GENES)]), label_keys=np.array(list("abc")),
        label_values=np.arange(3), n_genes=N_GENES, n_classes=N_CLASSES,
    )  # fmt: skip
    save_model(state, tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    assert loaded.network == network
    jax.tree.map(np.testing.assert_array_equal, loaded.params, state.params)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"pooling": "max"}, "`pooling`.*'transformer'.*'mean'.*'cls'.*'max'"),
        ({"all_genes": 1}, "`all_genes`.*'transformer'.*True.*False.* 1"),
        ({"max_tokens": 0}, "`max_tokens`.*'transformer'"),
        ({"d_model": 30, "n_heads": 4}, "`d_model`.*`n_heads`.*30.*4"),
        ({"n_bins": 1}, "`n_bins`.*2.* 1"),
    ],
)
def test_settings_that_make_no_network_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        registry.get("transformer", config)
