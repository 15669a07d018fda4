"""The network of ginseng 0.2: dense feature layers, gene gate, linear head."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from ginseng._core.architecture import Architecture
from ginseng._core.layers import dropout, init_linear, linear, random_bits
from ginseng._core.registry import register
from ginseng._core.types import Params

# G genes, C classes, H width of the gate


@register
@dataclasses.dataclass(frozen=True)
class Instance(Architecture):
    """Features f = W2 relu(W1 x) from genes x genes layers, gated by a = sigmoid(tanh(f)), and a linear head on a f.

    The gate maps genes -> H (tanh) -> genes (sigmoid). Parameters grow as genes squared: 8 million for 2,000 genes.
    """

    name: ClassVar[str] = "instance"
    has_gene_weights: ClassVar[bool] = True
    knows_reference: ClassVar[bool] = False

    hidden_dim: int = 64
    dropout_rate: float = 0.2

    def init(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        keys = jax.random.split(key, 5)
        return {
            "features1": init_linear(keys[0], n_genes, n_genes),
            "features2": init_linear(keys[1], n_genes, n_genes),
            "attn1": init_linear(keys[2], n_genes, self.hidden_dim),
            "attn2": init_linear(keys[3], self.hidden_dim, n_genes),
            "head": init_linear(keys[4], n_genes, n_classes),
        }

    def _features(
        self, params: Params, x: Float[Array, " G"], bits: UInt32[Array, " G"] | None = None
    ) -> Float[Array, " G"]:
        hidden = dropout(bits, jax.nn.relu(linear(params["features1"], x)), self.dropout_rate)
        return linear(params["features2"], hidden)

    def _gate(self, params: Params, f: Float[Array, " G"]) -> Float[Array, " G"]:
        return jax.nn.sigmoid(linear(params["attn2"], jnp.tanh(linear(params["attn1"], f))))

    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        bits = random_bits(key, x.size, x.size)
        f = self._features(params, x, bits[0])
        return linear(params["head"], dropout(bits[1], f * self._gate(params, f), self.dropout_rate))

    def gene_weights(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        return self._gate(params, self._features(params, x))

    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        f = self._features(params, x)
        return f * self._gate(params, f)
