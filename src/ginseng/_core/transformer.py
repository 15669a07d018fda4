"""A transformer over the expressed genes of a cell."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ginseng._core.architecture import Architecture, Recipe
from ginseng._core.bins import bin_expression
from ginseng._core.devices import has_bfloat16
from ginseng._core.layers import dropout, init_linear, init_standardize, linear, random_bits
from ginseng._core.registry import register
from ginseng._core.types import Params

# B cells in a batch, G genes, C classes, T tokens, D width of a token, N heads

#: Token counts to which batches are padded (the smallest that fits); multiples of the block size of the fused kernel.
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)


@register
@dataclasses.dataclass(frozen=True)
class Transformer(Architecture):
    """Tokens are the expressed genes of a cell; a linear head reads their mean after the last block, or a CLS token.

    A token is the sum of an embedding of the gene, an embedding of the bin of its expression within the cell (Cui et
    al. 2024), and a second vector of the gene times its scaled expression. The last term makes linear models a special
    case; with bins alone, the network would have to learn that expression is continuous. The blocks are pre-norm (Xiong
    et al. 2020), with attention and a feed-forward layer of `hidden_dim` units.

    Dropout in training removes genes from the cell, which also makes steps cheaper. If a cell expresses more than
    `max_tokens` genes, the most expressed ones are used. `all_genes` adds the others as tokens of bin 0; the cost then
    grows with the square of the number of genes.
    """

    name: ClassVar[str] = "transformer"
    standardizes: ClassVar[bool] = True
    skips_zeros: ClassVar[bool] = True
    cells_at_once: ClassVar[int | None] = 128
    recipe: ClassVar[Recipe] = Recipe(lr=3e-3, batch_size=64, least_seen=60_000, monitor="macro_f1")

    hidden_dim: int = 128
    dropout_rate: float = 0.5
    d_model: int = 64
    n_layers: int = 1
    n_heads: int = 2
    n_bins: int = 14
    pooling: Literal["mean", "cls"] = "mean"
    all_genes: bool = False
    max_tokens: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_model % self.n_heads:
            msg = f"`d_model` must be a multiple of `n_heads`, but {self.d_model} is not a multiple of {self.n_heads}."
            raise ValueError(msg)
        if self.n_bins < 2:
            msg = f"`n_bins` must be at least 2, not {self.n_bins}."
            raise ValueError(msg)

    def init(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        k_genes, k_values, k_bins, k_cls, k_head, *k_blocks = jax.random.split(key, 5 + self.n_layers)

        def embedding(key: PRNGKeyArray, n: int) -> Params:
            return {"W": 0.1 * jax.random.normal(key, (n, self.d_model), jnp.float32)}

        return {
            "input": init_standardize(n_genes),
            "genes": embedding(k_genes, n_genes),
            "values": embedding(k_values, n_genes),
            "bins": embedding(k_bins, self.n_bins + 2),
            **({"cls": embedding(k_cls, 1)} if self.pooling == "cls" else {}),
            **{f"block{i + 1}": self._init_block(k) for i, k in enumerate(k_blocks)},
            "norm": _init_norm(self.d_model),
            "head": init_linear(k_head, self.d_model, n_classes),
        }

    def _init_block(self, key: PRNGKeyArray) -> Params:
        k_in, k_out, k_up, k_down = jax.random.split(key, 4)
        return {
            "norm1": _init_norm(self.d_model),
            "qkv": init_linear(k_in, self.d_model, 3 * self.d_model),
            "out": init_linear(k_out, self.d_model, self.d_model),
            "norm2": _init_norm(self.d_model),
            "up": init_linear(k_up, self.d_model, self.hidden_dim),
            "down": init_linear(k_down, self.hidden_dim, self.d_model),
        }

    def forms(self, x: Float[Array, "B G"], *, training: bool) -> tuple[tuple[Self, ...], Int[Array, ""] | int]:
        """Return one variant per number of tokens, and the index of the one with room for the genes of these cells.

        In training, the size is that of the average cell after dropout; cells with more genes lose some more.
        """
        longest = min(self.max_tokens, x.shape[1])
        lengths = [n for n in LENGTHS if n < longest] + [longest]
        if self.all_genes or len(lengths) == 1:
            return (self,), 0
        n = jnp.sum(x > 0, axis=1)
        n = jnp.mean(n) * (1 - self.dropout_rate) if training else jnp.max(n)
        return (
            tuple(dataclasses.replace(self, max_tokens=length) for length in lengths),
            jnp.sum(n > jnp.array(lengths[:-1])),
        )

    def _tokens(
        self, params: Params, x: Float[Array, " G"], bits: Array | None, share: Float[Array, " G"] | None
    ) -> tuple[Float[Array, "T D"], Int[Array, ""]]:
        """Return the tokens of a cell, and the number of real ones, which come first."""
        bins = bin_expression(x, self.n_bins)
        value = jnp.clip(x / jax.lax.stop_gradient(params["input"]["scale"]), 0.0, 10.0)
        kept = x > 0 if bits is None else (x > 0) & (bits >= jnp.uint32(round(self.dropout_rate * 2**32)))
        if self.all_genes:
            genes, n = jnp.arange(x.size), jnp.int32(x.size)
            bins, value = jnp.where(kept, bins, 0), jnp.where(kept, value, 0.0)
        else:
            rank = x if bits is None else (bits >> 8).astype(jnp.float32) + 1.0  # random, to train all genes
            rank, genes = jax.lax.top_k(jnp.where(kept, rank, 0.0), min(self.max_tokens, x.size))
            n = jnp.sum(rank > 0, dtype=jnp.int32)
        by_value = value[genes, None] * params["values"]["W"][genes]
        tokens = params["genes"]["W"][genes] + params["bins"]["W"][bins[genes]] + by_value
        return tokens if share is None else tokens * share[genes, None], n

    def _pooled(
        self,
        params: Params,
        x: Float[Array, " G"],
        key: PRNGKeyArray | None = None,
        share: Float[Array, " G"] | None = None,
    ) -> Float[Array, " D"]:
        bits = random_bits(key, x.size, self.d_model)
        h, n = self._tokens(params, x, bits[0], share)
        if self.pooling == "cls":
            h, n = jnp.concatenate([params["cls"]["W"], h]), n + 1
        for i in range(self.n_layers):
            h = self._block(params[f"block{i + 1}"], h, n)
        if self.pooling == "cls":
            pooled = h[0]
        else:
            real = jnp.arange(h.shape[0]) < n
            pooled = jnp.where(real[:, None], h, 0.0).sum(axis=0) / jnp.maximum(n, 1)
        return dropout(bits[1], _norm(params["norm"], pooled), self.dropout_rate)

    def _block(self, params: Params, h: Float[Array, "T D"], n: Int[Array, ""]) -> Float[Array, "T D"]:
        h = h + linear(params["out"], self._attention(linear(params["qkv"], _norm(params["norm1"], h)), n))
        return h + linear(params["down"], jax.nn.gelu(linear(params["up"], _norm(params["norm2"], h))))

    def _attention(self, qkv: Float[Array, "T 3*D"], n: Int[Array, ""]) -> Float[Array, "T D"]:
        heads = qkv.astype(jnp.bfloat16 if has_bfloat16() else qkv.dtype).reshape(len(qkv), 3, self.n_heads, -1)
        n = jnp.maximum(n, 1)[None]  # in an empty cell, attend to anything
        fused = has_bfloat16() and len(qkv) % 64 == 0 and heads.shape[-1] % 8 == 0 and heads.shape[-1] <= 128
        out = jax.nn.dot_product_attention(
            heads[:, 0], heads[:, 1], heads[:, 2],
            query_seq_lengths=n, key_value_seq_lengths=n, implementation="cudnn" if fused else "xla",
        )  # fmt: skip
        return out.reshape(len(qkv), self.d_model).astype(jnp.float32)

    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        return linear(params["head"], self._pooled(params, x, key))

    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " D"]:
        return self._pooled(params, x)

    def baseline(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        return jnp.zeros_like(x)

    def between(
        self, params: Params, x: Float[Array, " G"], share: Float[Array, " G"], start: Float[Array, " G"] | None = None
    ) -> Float[Array, " C"]:
        """Return the logits with scaled tokens, since genes and bins are discrete and expression has no smooth path.

        Layer normalisation cancels all but the smallest scales, so the scale is the cube of the fraction.
        """
        return linear(params["head"], self._pooled(params, x, share=share**3))


def _init_norm(width: int) -> Params:
    return {"scale": jnp.ones(width, jnp.float32), "b": jnp.zeros(width, jnp.float32)}


def _norm(params: Params, x: Float[Array, "*T D"]) -> Float[Array, "*T D"]:
    """Layer normalisation (Ba et al. 2016)."""
    return jax.nn.standardize(x, axis=-1, epsilon=1e-6) * params["scale"] + params["b"]
