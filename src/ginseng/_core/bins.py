"""Expression as one of a few levels, cell by cell."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# G genes


def bin_expression(x: Float[Array, " G"], n_bins: int) -> Int[Array, " G"]:
    """Cut what a cell expresses into `n_bins` bins of equal width; as :func:`ginseng.pp.bin_expression` does.

    Returns
    -------
    0 for a gene that is not expressed, 1 to `n_bins` from the lowest value to the highest, which is in `n_bins` + 1 by
    itself; 1 for all where a cell has a single value.
    """
    low, high = jnp.min(x, initial=jnp.inf, where=x > 0), jnp.max(x, initial=0.0)
    width = jnp.where(high > low, high - low, 1.0)
    inner = jnp.clip(jnp.floor((x - low) * n_bins / width), 0, n_bins - 1)
    inner = jnp.where((x >= high) & (high > low), n_bins, inner)
    return jnp.where(x > 0, inner + 1, 0).astype(jnp.int32)
