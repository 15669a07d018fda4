"""Documented names of ginseng 0.2 for its network; the package itself uses `ginseng._core`."""

from __future__ import annotations

from typing import Any

from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from ginseng._core.instance import Instance
from ginseng._core.losses import cross_entropy
from ginseng._core.normalize import log_normalize
from ginseng._core.steps import Normalization, batch_logits, predict_gene_weights
from ginseng._core.types import Params

__all__ = [
    "nn_annotate",
    "nn_annotate_evaluate",
    "nn_annotate_init",
    "nn_annotate_loss",
    "nn_normalize",
]

# B cells, G genes, C classes


def nn_normalize(x: Num[Array, "B G"], target_sum: float | None = 1e4) -> Float[Array, "B G"]:
    """Return log1p of counts per `target_sum`; the library size is the sum of the row."""
    return log_normalize(x, None, target_sum)


def nn_annotate_init(key: PRNGKeyArray, n_genes: int, n_classes: int, hidden_dim: int = 256) -> Params:
    """Return new parameters of the `instance` network."""
    return Instance(hidden_dim=hidden_dim).init(key, n_genes, n_classes)


def nn_annotate(
    params: Params,
    key: PRNGKeyArray,
    x: Num[Array, "B G"],
    dropout_rate: float = 0.5,
    normalize: bool = True,
    target_sum: float | None = 1e4,
    return_attn: bool = False,
    training: bool = True,
) -> Float[Array, "B C"] | tuple[Float[Array, "B C"], Float[Array, "B G"]]:
    """Return the logits of each cell and, with `return_attn`, the weight of each gene in each cell."""
    logits = _logits(params, key if training else None, x, dropout_rate, normalize, target_sum)
    if not return_attn:
        return logits
    how: Any = {"architecture": Instance(), "normalization": Normalization(normalize, target_sum)}
    return logits, predict_gene_weights(params, x, x.sum(axis=1), **how)


def _logits(
    params: Params,
    key: PRNGKeyArray | None,
    x: Num[Array, "B G"],
    dropout_rate: float,
    normalize: bool,
    target_sum: float | None,
) -> Float[Array, "B C"]:
    x = Normalization(normalize, target_sum)(x, None)
    return batch_logits(Instance(dropout_rate=dropout_rate), params, x, key)


def nn_annotate_loss(
    params: Params,
    key: PRNGKeyArray,
    x: Num[Array, "B G"],
    y: Int[Array, " B"],
    dropout_rate: float = 0.5,
    normalize: bool = True,
    target_sum: float | None = 1e4,
    training: bool = True,
) -> Float[Array, ""]:
    """Return the mean cross-entropy of a batch."""
    return cross_entropy(_logits(params, key if training else None, x, dropout_rate, normalize, target_sum), y)


def nn_annotate_evaluate(
    params: Params,
    key: PRNGKeyArray,
    x: Num[Array, "B G"],
    y: Int[Array, " B"],
    dropout_rate: float = 0.5,
    normalize: bool = True,
    target_sum: float | None = 1e4,
) -> tuple[Float[Array, ""], int, Int[Array, ""]]:
    """Return the loss, the number of cells and the number of correct predictions of a batch, without dropout."""
    logits = _logits(params, None, x, dropout_rate, normalize, target_sum)
    return cross_entropy(logits, y), x.shape[0], (logits.argmax(axis=1) == y).sum()
