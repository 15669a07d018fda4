"""Multinomial logistic regression."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ginseng._core.architecture import Architecture
from ginseng._core.layers import dropout, init_standardize, linear, random_bits, standardize
from ginseng._core.registry import register
from ginseng._core.types import Params

# G genes, C classes


@register
@dataclasses.dataclass(frozen=True)
class Linear(Architecture):
    """Logits W x + b of the standardised genes. `hidden_dim` has no effect."""

    name: ClassVar[str] = "linear"
    standardizes: ClassVar[bool] = True
    weighs: ClassVar[bool] = True
    is_linear: ClassVar[bool] = True

    dropout_rate: float = 0.5

    def init(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        head = {"W": jnp.zeros((n_genes, n_classes)), "b": jnp.zeros(n_classes)}  # convex: no random start needed
        return {"input": init_standardize(n_genes), "head": head}

    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        x = standardize(params["input"], x)
        return linear(params["head"], dropout(random_bits(key, x.size)[0], x, self.dropout_rate))

    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        return standardize(params["input"], x)
