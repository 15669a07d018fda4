"""From rows of counts to probabilities: arrays in, arrays out, a batch of fixed shape at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from scipy.special import softmax

from ginseng._core.steps import Normalization, predict_gene_weights, predict_logits
from ginseng._matrix import Block, row_sums
from ginseng.model.state import GinsengClassifierState


class Rows(NamedTuple):
    """Consecutive cells, with the genes of the model."""

    start: int
    stop: int
    counts: Block  # (cells, genes of the model)
    total: np.ndarray  # (cells,) counts over all measured genes


class Predicted(NamedTuple):
    """What the model says of consecutive cells."""

    start: int
    stop: int
    probs: np.ndarray  # (cells, classes) float32, rows sum to 1
    gene_weights: np.ndarray | None  # (cells, genes) float32
    empty: np.ndarray  # (cells,) bool, cells without a count in the genes of the model


def predict(
    state: GinsengClassifierState,
    rows: Iterable[Rows],
    *,
    batch_size: int,
    normalization: Normalization | None = None,
    seed: int | None = None,
    gene_weights: bool = False,
) -> Iterator[Predicted]:
    """Yield the probabilities of the cells, block by block.

    Parameters
    ----------
    state
        The model.
    rows
        Counts of the cells.
    batch_size
        Cells a forward pass; the last is filled up with empty ones, so that one compiled shape does for all.
    normalization
        Instead of the model's own.
    seed
        If given, dropout acts, drawn from it.
    gene_weights
        Whether the weight of each gene in each cell is wanted.
    """
    if batch_size < 1:
        msg = f"`batch_size` must be at least 1, not {batch_size}."
        raise ValueError(msg)
    how = {"architecture": state.network, "normalization": normalization or state.normalization}
    params = jax.device_put(state.params)
    key = None if seed is None else jax.random.key(seed)
    buffer = np.zeros((batch_size, state.n_genes), np.float32)
    totals = np.ones(batch_size, np.float32)
    for block in rows:
        logits, weights = [], []
        for start in range(0, block.stop - block.start, batch_size):
            part = block.counts[start : start + batch_size].astype(np.float32, copy=False)
            n = part.shape[0]
            buffer[:] = 0
            if isinstance(part, np.ndarray):
                buffer[:n] = part
            else:
                part.toarray(out=buffer[:n])
            totals[:n] = row_sums(part) if state.library_size == "model_genes" else block.total[start : start + n]
            batch_key = None if key is None else jax.random.fold_in(key, block.start + start)
            # the result is waited for, and so the buffer is free again
            logits.append(np.asarray(predict_logits(params, buffer, totals, batch_key, **how))[:n])
            if gene_weights:
                weights.append(np.asarray(predict_gene_weights(params, buffer, totals, **how))[:n])
        if logits:
            yield Predicted(
                block.start,
                block.stop,
                softmax(np.concatenate(logits), axis=1),
                np.concatenate(weights) if gene_weights else None,
                row_sums(block.counts) == 0,
            )
