from typing import Any

import jax
import numpy as np
import optax
import pytest

from ginseng._core.optim import AdamW, warmup_cosine
from ginseng.train.opt import AdamState, opt_adam_update, opt_init_adam

rng = np.random.default_rng(0)
PARAMS = {"layer": {"W": rng.normal(size=(4, 3)).astype(np.float32), "b": rng.normal(size=3).astype(np.float32)}}
GRADS = [jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), PARAMS) for _ in range(6)]
BETAS, EPS, DECAY, LR = (0.8, 0.95), 1e-3, 0.1, 0.05


def adamw(p: np.ndarray, grads: list[np.ndarray], decay: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Algorithm 2 of Loshchilov and Hutter (2019), in float64."""
    p = p.astype(float)
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g.astype(float) ** 2
        m_hat, v_hat = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
        p = p - LR * (m_hat / (np.sqrt(v_hat) + EPS) + decay * p)
    return p, m, v


def steps(optimizer: AdamW) -> Any:
    params, state = PARAMS, optimizer.init(PARAMS)
    for grads in GRADS:
        params, state = optimizer.update(grads, state, params, LR)
    return params


def test_adamw_equals_the_paper() -> None:
    params = steps(AdamW(BETAS, EPS, DECAY))
    for name, decay in {"W": DECAY, "b": 0.0}.items():  # only matrices decay
        expected, _, _ = adamw(PARAMS["layer"][name], [g["layer"][name] for g in GRADS], decay)
        np.testing.assert_allclose(params["layer"][name], expected, rtol=1e-5, atol=1e-6)


def test_adamw_equals_optax() -> None:
    peer = optax.adamw(LR, *BETAS, eps=EPS, weight_decay=DECAY, mask=lambda p: jax.tree.map(lambda a: a.ndim > 1, p))
    params, state = PARAMS, peer.init(PARAMS)
    for grads in GRADS:
        updates, state = peer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), steps(AdamW(BETAS, EPS, DECAY)), params)


def test_documented_adam() -> None:
    params, state = PARAMS, opt_init_adam(PARAMS)
    assert isinstance(state, AdamState)
    assert int(state.step) == 0
    assert all(not np.any(a) for a in jax.tree.leaves((state.m, state.v)))
    assert jax.tree.map(np.shape, state.m) == jax.tree.map(np.shape, PARAMS)
    for grads in GRADS:
        params, state = opt_adam_update(grads, params, state, lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)
    assert int(state.step) == len(GRADS)
    for name in ("W", "b"):
        p, m, v = adamw(PARAMS["layer"][name], [g["layer"][name] for g in GRADS], DECAY)
        np.testing.assert_allclose(params["layer"][name], p, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state.m["layer"][name], m, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(state.v["layer"][name], v, rtol=1e-5)


@pytest.mark.parametrize(("n_steps", "n_up"), [(50, 5), (5000, 100), (1, 1), (9, 1)])
def test_warmup_cosine(n_steps: int, n_up: int) -> None:
    lr = warmup_cosine(n_steps, 0.1)
    assert lr.shape == (n_steps,)
    assert lr.dtype == np.float32
    np.testing.assert_allclose(lr[:n_up], 0.1 * np.arange(1, n_up + 1) / n_up, rtol=1e-6)
    assert lr.max() == pytest.approx(0.1)
    assert lr.min() > 0
    assert (np.diff(lr[n_up:]) < 0).all()
    if n_steps > n_up:
        schedule = optax.cosine_decay_schedule(0.1, n_steps - n_up)
        np.testing.assert_allclose(lr[n_up:], [schedule(i) for i in range(n_steps - n_up)], rtol=1e-4, atol=1e-8)
