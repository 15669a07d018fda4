"""From counts to what the architectures read: the same function in training and in inference."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

# B cells, G genes


def log_normalize(
    x: Num[Array, "B G"], total: Num[Array, " B"] | None = None, target_sum: float | None = 1e4
) -> Float[Array, "B G"]:
    """Scale the counts of each cell to `target_sum` in all, then take log(1 + x).

    Parameters
    ----------
    x
        Counts.
    total
        Counts of each cell over all genes that were measured; the sum of `x` if not given.
    target_sum
        Counts a cell after scaling; the number of genes if None.

    Returns
    -------
    log1p of counts per `target_sum`; a cell without counts stays zero.
    """
    x = x.astype(jnp.float32)
    total = x.sum(axis=1) if total is None else total.astype(jnp.float32)
    target = float(x.shape[1]) if target_sum is None else target_sum
    return jnp.log1p(x * (target / jnp.where(total > 0, total, 1.0))[:, None])
