"""Building blocks of the architectures."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from ginseng._core.keys import counted
from ginseng._core.types import Params

# G genes; I, O inputs and outputs of a layer

#: Precision of matrix products with factors that are rounded to bfloat16, and sums in float32.
BFLOAT16 = "BF16_BF16_F32"


def xavier_uniform(key: PRNGKeyArray, shape: tuple[int, int]) -> Float[Array, "I O"]:
    """Draw weights uniformly between +-sqrt(6 / (I + O)) (Glorot and Bengio 2010)."""
    return jax.nn.initializers.glorot_uniform()(key, shape, jnp.float32)


def init_linear(key: PRNGKeyArray, in_dim: int, out_dim: int) -> Params:
    """Return weights `W` (Xavier uniform) and bias `b` (zero) of a linear layer."""
    return {"W": xavier_uniform(key, (in_dim, out_dim)), "b": jnp.zeros(out_dim, jnp.float32)}


def products_in(precision: str | None) -> AbstractContextManager[Any]:
    """Multiply matrices in this precision of `jax.default_matmul_precision`; as usual if None."""
    return nullcontext() if precision is None else jax.default_matmul_precision(precision)


def linear(params: Params, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
    """Return `x W + b`."""
    if jax.config.jax_default_matmul_precision != BFLOAT16:
        return x @ params["W"] + params["b"]
    # explicit, as devices that do not have these products ignore the precision, and would give something else
    return _round_gradient(_round(x) @ _round(params["W"])) + params["b"]


def _to_bfloat16(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


_round = jax.custom_jvp(_to_bfloat16)  # but not its gradient, which is a sum in float32
_round.defjvps(lambda tangent, _, x: tangent)
_round_gradient = jax.custom_jvp(lambda x: x)  # a factor in the products of the backward pass
_round_gradient.defjvps(lambda tangent, _, x: _to_bfloat16(tangent))


def random_bits(key: PRNGKeyArray | None, *sizes: int) -> list[UInt32[Array, " N"] | None]:
    """Return 32 random bits per unit for layers of these sizes, for :func:`dropout`; None per layer without a key.

    The bits are a hash of the unit's index and of one draw from the key, of whatever kind: good enough for masks.
    """
    if key is None:
        return [None] * len(sizes)
    hashes = counted(jax.random.bits(key, (), jnp.uint32), sum(sizes))
    return list(jnp.split(hashes, np.cumsum(sizes)[:-1]))


def dropout(bits: UInt32[Array, "..."] | None, x: Float[Array, "..."], rate: float) -> Float[Array, "..."]:
    """Zero each value with probability `rate` and scale the others by `1 / (1 - rate)`; the identity without bits."""
    if bits is None or rate == 0.0:
        return x
    return jnp.where(bits >= jnp.uint32(round(rate * 2**32)), x / (1.0 - rate), 0.0)


def init_standardize(n_genes: int) -> Params:
    """Return mean 0 and scale 1 for each gene; training replaces them with fitted values."""
    return {"mean": jnp.zeros(n_genes, jnp.float32), "scale": jnp.ones(n_genes, jnp.float32)}


def standardize(params: Params, x: Float[Array, "*B G"], clip: float = 10.0) -> Float[Array, "*B G"]:
    """Centre, scale and clip each gene: a gene that was seen once in training must not outweigh all others."""
    fitted = jax.lax.stop_gradient(params)  # fitted to the data, not learned
    return jnp.clip((x - fitted["mean"]) / fitted["scale"], -clip, clip)
