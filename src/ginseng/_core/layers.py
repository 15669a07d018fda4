"""The parts that architectures are made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt16

from .architecture import Params

# G genes; I, O inputs and outputs of a layer


def xavier_uniform(key: PRNGKeyArray, shape: tuple[int, int]) -> Float[Array, "I O"]:
    """Draw weights uniformly between +-sqrt(6 / (I + O)) (Glorot and Bengio 2010)."""
    return jax.nn.initializers.glorot_uniform()(key, shape, jnp.float32)


def init_linear(key: PRNGKeyArray, in_dim: int, out_dim: int) -> Params:
    """Weights `W` (Xavier uniform) and bias `b` (zero) of a linear layer."""
    return {"W": xavier_uniform(key, (in_dim, out_dim)), "b": jnp.zeros(out_dim, jnp.float32)}


def linear(params: Params, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
    """Return `x W + b`."""
    return x @ params["W"] + params["b"]


def random_bits(key: PRNGKeyArray | None, *sizes: int) -> list[UInt16[Array, " N"] | None]:
    """Return 16 random bits for each unit of some layers, for :func:`dropout`; None for each without a key.

    One draw for all layers of a cell takes two thirds of the time of a draw for each, to run and to compile.
    """
    if key is None:
        return [None] * len(sizes)
    bits = jax.random.bits(key, (sum(sizes),), jnp.uint16)
    return list(jnp.split(bits, np.cumsum(sizes)[:-1]))


def dropout(bits: UInt16[Array, "..."] | None, x: Float[Array, "..."], rate: float) -> Float[Array, "..."]:
    """Set each value to zero with probability `rate` and scale the others by `1 / (1 - rate)`; nothing without bits.

    The probability is held in steps of 1 / 65536.
    """
    if bits is None or rate == 0.0:
        return x
    return jnp.where(bits >= jnp.uint16(round(rate * 65536)), x / (1.0 - rate), 0.0)


def init_standardize(n_genes: int) -> Params:
    """Mean and scale of each gene that leave the input as it is; training puts the fitted ones in their place."""
    return {"mean": jnp.zeros(n_genes, jnp.float32), "scale": jnp.ones(n_genes, jnp.float32)}


def standardize(params: Params, x: Float[Array, "*B G"], clip: float = 10.0) -> Float[Array, "*B G"]:
    """Centre and scale each gene, then clip: a gene seen once in training must not outweigh all others."""
    fitted = jax.lax.stop_gradient(params)  # the data's, not learned
    return jnp.clip((x - fitted["mean"]) / fitted["scale"], -clip, clip)
