"""Noise on the counts of a batch, for models that are robust to shallow queries and missing genes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num, PRNGKeyArray

# B cells, G genes


def mask(key: PRNGKeyArray, x: Num[Array, "*B G"], rate: float = 0.1) -> Num[Array, "*B G"]:
    """Set each count to zero with probability `rate`."""
    return jnp.where(jax.random.bernoulli(key, 1.0 - rate, x.shape), x, 0)


def background(key: PRNGKeyArray, x: Num[Array, "B G"], lam_max: float = 0.1) -> Num[Array, "B G"]:
    """Add Poisson counts to each gene, with a mean per cell that is uniform between 0 and `lam_max`."""
    key_lam, key_noise = jax.random.split(key)
    lam = jax.random.uniform(key_lam, (x.shape[0], 1), maxval=lam_max)
    return x + jax.random.poisson(key_noise, lam, x.shape)  # a wider dtype than that of x: uint8 would overflow


def drop_genes(key: PRNGKeyArray, x: Num[Array, "B G"], lower: int = 0, upper: int = 2) -> Num[Array, "B G"]:
    """Set whole genes to zero in all cells of the batch: at least `lower` of them, fewer than `upper`."""
    key_n, key_order = jax.random.split(key)
    n_dropped = jax.random.randint(key_n, (), lower, max(upper, lower + 1))
    place = jax.random.permutation(key_order, x.shape[1])  # drop the first n of a permutation, since shapes are static
    return jnp.where(place < n_dropped, 0, x)


def other_study(key: PRNGKeyArray, x: Num[Array, "B G"], deviation: float) -> Num[Array, "B G"]:
    """Simulate another study in one cell in four: multiply each gene by a factor, the same in all of these cells.

    The logarithms of the factors are normal with mean 0 and this standard deviation.
    """
    factor = jnp.exp(deviation * jax.random.normal(key, (x.shape[1],)))
    return jnp.where((jnp.arange(x.shape[0]) % 4 == 0)[:, None], x * factor, x)


def augment(
    key: PRNGKeyArray,
    x: Num[Array, "B G"],
    rate: float | None = None,
    lam_max: float | None = None,
    lower: int | None = None,
    upper: int | None = None,
) -> Num[Array, "B G"]:
    """Apply each augmentation that has a strength: background, then masked counts, then dropped genes.

    Parameters
    ----------
    key
        Random key.
    x
        Counts.
    rate
        Probability of masking a count.
    lam_max
        Largest mean of the Poisson background.
    lower, upper
        At least `lower` (0 if None) and fewer than `upper` genes are dropped; none if `upper` is None.
    """
    key_background, key_mask, key_genes = jax.random.split(key, 3)
    if lam_max:
        x = background(key_background, x, lam_max)
    if rate:
        x = mask(key_mask, x, rate)
    if upper:
        x = drop_genes(key_genes, x, lower or 0, upper)
    return x
