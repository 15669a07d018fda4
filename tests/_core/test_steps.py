from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ginseng._core import registry
from ginseng._core.devices import local_mesh
from ginseng._core.gated import Gated
from ginseng._core.layers import BFLOAT16
from ginseng._core.optim import AdamW
from ginseng._core.steps import Batch, Noise, Normalization, predict_logits, train_window
from ginseng.data._memory import MemoryDataset
from ginseng.train import GinsengClassifierTrainer, GinsengClassifierTrainerSettings

NAMES = registry.names()
K, B, G, C = 4, 8, 24, 3
NOISE = Noise(rate=0.1, lam_max=0.1, lower=0, upper=3)


@pytest.fixture(scope="module")
def window(test_set: Any) -> Batch:
    x, y, total = (a[: K * B].reshape(K, B, *a.shape[1:]) for a in test_set)
    return Batch(x, total, y, np.ones((K, B), np.float32))


def run(name: str, windows: list[tuple[Batch, int]], **kwargs: Any) -> tuple[Any, np.ndarray]:
    """Train through the windows, each with its number of batches; return the weights and the losses."""
    network = registry.get(name, {"hidden_dim": 8})
    optimizer = AdamW()
    params = network.init_members(jax.random.key(0), G, C)
    state = jax.jit(optimizer.init)(params)
    step, losses = 0, []
    for window, n in windows:
        lr = np.resize(np.linspace(0.02, 0.01, K, dtype=np.float32)[step : step + n], window.y.shape[0])
        how: dict[str, Any] = {"normalization": Normalization(), "noise": NOISE, "label_smoothing": 0.05} | kwargs
        params, state, loss = train_window(
            params, state, Batch(*map(jnp.asarray, window)), n, lr, step, jax.random.key(7),
            architecture=network, optimizer=optimizer, **how,
        )  # fmt: skip
        losses.append(np.asarray(loss)[:n])
        step += n
    return jax.tree.map(np.asarray, params), np.concatenate(losses)


def assert_same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("name", NAMES)
def test_where_windows_end_does_not_matter(name: str, window: Batch) -> None:
    whole = run(name, [(window, 4)])
    assert np.isfinite(whole[1]).all()
    rest = Batch(*(np.concatenate([a[1:], a[:1]]) for a in window))
    assert_same(run(name, [(window, 1), (rest, 3)]), whole)


def test_the_size_of_windows_does_not_matter(window: Batch) -> None:
    halves = [(Batch(*(a[i : i + 2] for a in window)), 2) for i in (0, 2)]
    assert_same(run(NAMES[0], halves), run(NAMES[0], [(window, 4)]))


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name: str, window: Batch) -> None:
    weight = window.weight.copy()
    weight[:, 6:] = 0
    empty = Batch(*(a.copy() for a in window))._replace(weight=weight)
    empty.x[:, 6:], empty.total[:, 6:], empty.y[:, 6:] = 0, 0, 0
    garbage = Batch(*(a.copy() for a in empty))
    garbage.x[:, 6:], garbage.total[:, 6:], garbage.y[:, 6:] = 5, 9, 2  # cells of weight 0
    for a in garbage:
        a[3] = 1  # a batch behind the last
    noise = {"noise": Noise(rate=0.1)}  # drawn for each count on its own, so that the others get the same
    params, losses = run(name, [(empty, 3)], **noise)
    assert_same(run(name, [(garbage, 3)], **noise), (params, losses))
    real = run(name, [(window, 3)], **noise)
    assert not np.array_equal(losses, real[1])


@pytest.mark.parametrize("name", NAMES)
def test_loss_of_a_padded_batch_is_that_of_its_cells(name: str, window: Batch) -> None:
    plain: dict[str, Any] = {"noise": Noise(), "label_smoothing": 0.0}
    network = registry.get(name, {"hidden_dim": 8, "dropout_rate": 0.0, "n_members": 1})
    params = network.init(jax.random.key(0), G, C)
    how: dict[str, Any] = {"architecture": network, "normalization": Normalization()}
    logits = predict_logits(params, window.x[0], window.total[0], **how)
    np.testing.assert_allclose(predict_logits(params, window.x[0, :5], window.total[0, :5], **how), logits[:5],
                               rtol=1e-5, atol=1e-6)  # fmt: skip
    weight = window.weight.copy()
    weight[0, 5:] = 0
    copy = jax.tree.map(jnp.copy, params)
    optimizer = AdamW()
    _, _, losses = train_window(
        copy, jax.jit(optimizer.init)(copy), window._replace(weight=weight), 1, np.full(K, 0.1, np.float32), 0,
        jax.random.key(0), optimizer=optimizer, **how, **plain,
    )  # fmt: skip
    log_probs = jax.nn.log_softmax(logits[:5])[np.arange(5), window.y[0, :5]]
    assert float(losses[0]) == pytest.approx(float(-log_probs.mean()), rel=1e-5)


def test_parts_that_are_padding_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gated, "cells_at_once", 4)
    network = registry.get("gated", {"hidden_dim": 8, "n_members": 2})
    params = network.init_members(jax.random.key(0), G, C)
    x = np.random.default_rng(0).poisson(1, (18, G)).astype(np.float32)
    how: dict[str, Any] = {"architecture": network, "normalization": Normalization(), "mesh": local_mesh()}
    whole = np.asarray(predict_logits(params, x, x.sum(axis=1), **how))
    for n in (1, 4, 10, 18):
        found = np.asarray(predict_logits(params, x, x.sum(axis=1), n_cells=n, **how))
        worked_on = -(-n // 4) * 4
        np.testing.assert_array_equal(found[:worked_on], whole[:worked_on])
        assert not found[worked_on:].any()


def test_training_in_bfloat16_is_close(window: Batch) -> None:
    exact, found = (run("gated", [(window, 4)], precision=precision) for precision in (None, BFLOAT16))
    np.testing.assert_allclose(found[1], exact[1], rtol=0.02)
    assert (found[1] != exact[1]).all()
    assert {a.dtype.name for a in jax.tree.leaves(found[0])} == {"float32"}


def test_learning_rate_zero_changes_nothing_and_the_key_and_step_do(window: Batch) -> None:
    network = registry.get("gated", {"hidden_dim": 8})
    optimizer = AdamW()

    def step(lr: float, step: int, seed: int) -> Any:
        params = network.init_members(jax.random.key(0), G, C)
        return train_window(
            params, jax.jit(optimizer.init)(params), window, 2, np.full(K, lr, np.float32), step, jax.random.key(seed),
            architecture=network, optimizer=optimizer, normalization=Normalization(), noise=NOISE, label_smoothing=0.05,
        )  # fmt: skip

    assert_same(step(0.0, 0, 0)[0], network.init_members(jax.random.key(0), G, C))
    assert not np.array_equal(step(0.1, 0, 0)[2], step(0.1, 0, 1)[2])
    assert not np.array_equal(step(0.1, 0, 0)[2], step(0.1, 5, 0)[2])


def test_compiles_once(train_set: MemoryDataset) -> None:
    """Neither later epochs nor another learning rate, length or seed make a new program, nor is one made twice."""
    programs: list[str] = []

    def listen(event: str, _: float, **about: Any) -> None:
        if "backend_compile" in event and "train_window" in str(about.get("fun_name")):
            programs.append(event)

    common: dict[str, Any] = {"batch_size": 50, "config": {"hidden_dim": 11}}
    before = train_window._cache_size()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for changed in ({"epochs": 1}, {"epochs": 3}, {"epochs": 2, "lr": 1e-3}, {"epochs": 1, "seed": 5}):
            settings = GinsengClassifierTrainerSettings(**changed, **common)
            GinsengClassifierTrainer(train_set, settings).fit(silent=True)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert train_window._cache_size() == before + 1
    assert len(programs) == 1


def test_the_optimizer_starts_as_that_of_optax() -> None:
    params = registry.get("gated").init_members(jax.random.key(0), G, C)
    optimizer = AdamW()
    assert_same(optimizer.init(params), jax.jit(optimizer._transform().init)(params))
