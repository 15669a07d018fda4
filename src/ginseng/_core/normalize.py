"""From counts to what the architectures read: the same function in training and in inference."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

# B cells, G genes


class Correction(NamedTuple):
    """What makes up for a query that is not measured as the cells that the model was trained on.

    A gene that was not measured takes its mean in the reference, so that it says nothing, and what the query has more
    of than the reference, whatever the class, is taken off the others.
    """

    measured: Bool[Array, " G"]
    neutral: Float[Array, " G"]  # normalised expression of a gene that was not measured
    shift: Float[Array, " G"]  # normalised expression that is taken off one that was
    share: Float[Array, ""]  # of the counts of a cell of the reference that are of the genes measured
    expressed_only: Bool[Array, ""]  # whether genes without a count stay at zero

    def __call__(self, x: Float[Array, "B G"]) -> Float[Array, "B G"]:
        """Return normalised expression as it would have been measured in the reference."""
        kept = jnp.where(x > 0, jnp.maximum(x - self.shift, 0.0), 0.0)
        return jnp.where(self.measured, jnp.where(self.expressed_only, kept, x - self.shift), self.neutral)


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
