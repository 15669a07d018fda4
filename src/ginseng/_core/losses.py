from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

# B cells, C classes


def cross_entropy(
    logits: Float[Array, "B C"],
    y: Int[Array, " B"],
    weight: Float[Array, " B"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Return the weighted mean cross-entropy over cells; cells with weight 0 are padding."""
    target = optax.smooth_labels(jax.nn.one_hot(y, logits.shape[-1]), label_smoothing)
    losses = optax.softmax_cross_entropy(logits, target)
    if weight is None:
        return losses.mean()
    return (losses * weight).sum() / jnp.maximum(weight.sum(), 1e-9)
