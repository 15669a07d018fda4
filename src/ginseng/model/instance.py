"""Documented names of ginseng 0.2 for its network; the package itself uses `ginseng._core`."""

from __future__ import annotations

from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from ginseng._core.architecture import Params
from ginseng._core.instance import Instance
from ginseng._core.losses import cross_entropy
from ginseng._core.normalize import log_normalize
from ginseng._core.steps import Normalization, batch_logits, predict_gene_weights

from .classifier import GinsengClassifier

__all__ = [
    "GinsengClassifier",
    "nn_annotate",
    "nn_annotate_evaluate",
    "nn_annotate_init",
    "nn_annotate_loss",
    "nn_normalize",
]

# B cells, G genes, C classes


def nn_normalize(x: Num[Array, "B G"], target_sum: float | None = 1e4) -> Float[Array, "B G"]:
    """Return log1p of counts per `target_sum`; a cell is scaled by the sum of its row."""
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
    """Return the logits of each cell, and with `return_attn` the weight of each gene in each cell."""
    network, normalization = Instance(dropout_rate=dropout_rate), Normalization(normalize, target_sum)
    logits = batch_logits(network, params, normalization(x, None), key if training else None)
    if not return_attn:
        return logits
    return logits, predict_gene_weights(params, x, x.sum(axis=1), architecture=network, normalization=normalization)


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
    logits = nn_annotate(params, key, x, dropout_rate, normalize, target_sum, training=training)
    return cross_entropy(logits, y)


def nn_annotate_evaluate(
    params: Params,
    key: PRNGKeyArray,
    x: Num[Array, "B G"],
    y: Int[Array, " B"],
    dropout_rate: float = 0.5,
    normalize: bool = True,
    target_sum: float | None = 1e4,
) -> tuple[Float[Array, ""], int, Int[Array, ""]]:
    """Return loss, number of cells and number of right ones of a batch, without dropout."""
    logits = nn_annotate(params, key, x, dropout_rate, normalize, target_sum, training=False)
    return cross_entropy(logits, y), x.shape[0], (logits.argmax(axis=1) == y).sum()
