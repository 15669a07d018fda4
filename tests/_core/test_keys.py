"""Random keys of training."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ginseng._core.keys import standard, state_of, training_key


def key_of(seed: int) -> jax.Array:
    return training_key(jnp.asarray(state_of(seed)))


def test_numbers_are_uniform_and_independent() -> None:
    """Of one key, of the keys that it is split into, and of those that steps fold in."""
    key = key_of(0)
    each = [
        jax.random.uniform(key, (20_000,)),
        jax.vmap(jax.random.uniform)(jax.random.split(key, 20_000)),
        jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(jnp.arange(20_000)),
        jax.vmap(lambda i: jax.random.uniform(key_of_array(i)))(jnp.arange(20_000)),
    ]
    for x in map(np.asarray, each):
        assert stats.kstest(x, "uniform").pvalue > 1e-3
        for lag in (1, 2, 16):
            assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 0.03
    assert np.abs(np.corrcoef(np.stack(each)) - np.eye(len(each))).max() < 0.03


def key_of_array(state: jax.Array) -> jax.Array:
    return training_key(state.astype(jnp.uint32)[None])


@pytest.mark.parametrize("width", [8, 16, 32])
def test_all_bits_are_drawn(width: int) -> None:
    bits = np.asarray(jax.random.bits(key_of(1), (4000,), f"uint{width}"))
    ones = (bits[:, None] >> np.arange(width, dtype=bits.dtype) & 1).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 0.04


def test_seeds_differ() -> None:
    seeds = [0, 1, 2, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    assert len({int(state_of(seed)[0]) for seed in seeds}) == len(seeds)
    np.testing.assert_array_equal(state_of(7), state_of(7))


def test_normal_and_poisson() -> None:
    """Distributions that are made of bits work, and those that need the default generator, with a key drawn for it."""
    key = key_of(3)
    assert stats.kstest(np.asarray(jax.random.normal(key, (10_000,))), "norm").pvalue > 1e-3
    drawn = np.asarray(jax.random.poisson(standard(key), 3.0, (10_000,)))
    assert drawn.mean() == pytest.approx(3, abs=0.1)
    assert drawn.var() == pytest.approx(3, abs=0.2)
