"""Random keys for training that cost next to nothing to compile and to draw from."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl
from jaxtyping import Array, PRNGKeyArray, UInt32

#: Odd, and far from any simple fraction of 2**32, so that its multiples are spread evenly.
_STEP = 0x9E3779B9


def mix(x: Any) -> Any:
    """Return a hash of each 32-bit number (lowbias32, Wellons 2018)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * np.uint32(factor)
    return x ^ (x >> 16)


def counted(start: UInt32[Array, ""], n: int) -> UInt32[Array, " N"]:
    """Return the hashes of `n` numbers, spread evenly from `start` on."""
    return mix(jax.lax.iota(jnp.uint32, n) * jnp.uint32(_STEP) + start)


def _seed(seed: Any) -> UInt32[Array, "1"]:
    return mix(jnp.asarray(seed).astype(jnp.uint32) + jnp.uint32(_STEP))[None]


def _split(key: UInt32[Array, "1"], shape: tuple[int, ...]) -> UInt32[Array, "*S 1"]:
    return counted(mix(key[0] + jnp.uint32(1)), math.prod(shape)).reshape(*shape, 1)


def _fold_in(key: UInt32[Array, "1"], data: Any) -> UInt32[Array, "1"]:
    return mix(mix(key + jnp.uint32(2)) + data.astype(jnp.uint32) * jnp.uint32(_STEP))


def _bits(key: UInt32[Array, "1"], width: int, shape: tuple[int, ...]) -> Array:
    dtype = jnp.dtype(f"uint{width}")
    n = math.prod(shape)
    start = mix(key[0] + jnp.uint32(3))
    if width < 64:
        return counted(start, n).astype(dtype).reshape(shape)
    low, high = counted(start, 2 * n).astype(dtype).reshape(2, *shape)
    return low | (high << dtype.type(32))


_HASH = define_prng_impl(
    key_shape=(1,), seed=_seed, split=_split, random_bits=_bits, fold_in=_fold_in, name="ginseng_hash", tag="gsh"
)


def training_key(data: UInt32[Array, "1"] | np.ndarray) -> PRNGKeyArray:
    """Return the key with this state.

    Its numbers are hashes of a counter: good enough for initial weights and dropout masks, and without statistical
    guarantees beyond that. JAX's own generator would take half of the compile time of a training step.
    """
    return jax.random.wrap_key_data(jnp.asarray(data), impl=_HASH)


def state_of(seed: int) -> np.ndarray:
    """Return the state of the key of a seed, (1,) uint32, without compiling anything."""
    words = np.array([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF], np.uint32)
    with np.errstate(over="ignore"):
        return mix(mix(words[:1] + np.uint32(_STEP)) ^ words[1:])


def standard(key: PRNGKeyArray) -> PRNGKeyArray:
    """Return a key of JAX's default generator, drawn from this one: some distributions need it."""
    return jax.random.wrap_key_data(jax.random.bits(key, (2,), jnp.uint32), impl="threefry2x32")
