"""Documented names of ginseng 0.2 for the parts of a network."""

from __future__ import annotations

from jaxtyping import Array, Float, PRNGKeyArray

from ginseng._core.layers import dropout, random_bits
from ginseng._core.layers import init_linear as nn_init_linear
from ginseng._core.layers import linear as nn_linear
from ginseng._core.layers import xavier_uniform as nn_xavier_uniform

__all__ = ["nn_dropout", "nn_init_linear", "nn_linear", "nn_xavier_uniform"]


def nn_dropout(key: PRNGKeyArray, x: Float[Array, "..."], rate: float, training: bool = True) -> Float[Array, "..."]:
    """Set values to zero with probability `rate` in training, and scale the others to preserve the mean."""
    bits = random_bits(key if training else None, x.size)[0]
    return dropout(None if bits is None else bits.reshape(x.shape), x, rate)
