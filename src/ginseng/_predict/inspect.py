"""From rows of counts to what a model sees in them: arrays in, arrays out, a batch of fixed shape at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from ginseng._core.attribution import Contributions, predict_contributions, predict_embedding, predict_passes
from ginseng._core.correction import Correction
from ginseng._core.devices import local_mesh, put, replicated
from ginseng._core.members import together
from ginseng._core.steps import Normalization, predict_gene_weights, predict_logits
from ginseng._predict.forward import Rows, batches
from ginseng.model.state import GinsengClassifierState

# (start, stop, logits) of some cells -> (cells, classes), the contrast of logits to be explained
type Contrast = Callable[[int, int, np.ndarray], np.ndarray]


class Attributed(NamedTuple):
    """What the genes of consecutive cells contribute."""

    start: int
    stop: int
    logits: np.ndarray  # (cells, classes)
    contributions: Contributions  # of NumPy arrays
    gene_weights: np.ndarray | None  # (cells, genes)
    empty: np.ndarray  # (cells,) bool, cells without a count in the genes of the model


class Embedded(NamedTuple):
    """Where the model puts consecutive cells."""

    start: int
    stop: int
    values: np.ndarray  # (cells, width of the embedding) float32


class Passes(NamedTuple):
    """What the model says of consecutive cells with dropout."""

    start: int
    stop: int
    mean: np.ndarray  # (cells, classes) mean probability
    std: np.ndarray  # (cells, classes) standard deviation
    empty: np.ndarray  # (cells,) bool, cells without a count in the genes of the model


def attribute(
    state: GinsengClassifierState,
    rows: Iterable[Rows],
    contrast: Contrast,
    *,
    n_steps: int,
    batch_size: int,
    normalization: Normalization,
    correction: Correction | None = None,
) -> Iterator[Attributed]:
    """Yield what each gene contributes to a contrast of logits in each cell, and its weight where there are any.

    Parameters
    ----------
    state
        The model.
    rows
        Counts of the cells.
    contrast
        Chooses the contrast of each cell.
    n_steps
        Gradients a cell, where the model is not linear.
    batch_size
        Cells at a time.
    normalization
        How counts become input.
    correction
        What makes up for a query that is not measured as the reference was.
    """
    network, mesh = state.network, local_mesh()
    params = put(state.params, replicated(mesh))
    how: dict[str, Any] = {"architecture": network, "normalization": normalization, "correction": correction}
    for start, stop, x, total, empty, *_ in batches(state, rows, batch_size):
        n = stop - start
        logits = np.asarray(predict_logits(params, x, total, mesh=mesh, **how))
        wanted = np.zeros_like(logits)
        wanted[:n] = contrast(start, stop, logits[:n])
        found = predict_contributions(params, x, total, wanted, n_steps=n_steps, mesh=mesh, **how)
        weights = np.asarray(predict_gene_weights(params, x, total, **how))[:n] if network.has_gene_weights else None
        shares: list[Any] = [np.asarray(a)[:n] for a in found]
        yield Attributed(start, stop, logits[:n], Contributions(*shares), weights, empty)


def embed(
    state: GinsengClassifierState,
    rows: Iterable[Rows],
    *,
    batch_size: int,
    normalization: Normalization,
    correction: Correction | None = None,
) -> Iterator[Embedded]:
    """Yield what the last layer of the model reads of each cell."""
    mesh = local_mesh()
    params = put(state.params, replicated(mesh))
    how: dict[str, Any] = {"architecture": state.network, "normalization": normalization, "correction": correction}
    for start, stop, x, total, *_ in batches(state, rows, batch_size):
        yield Embedded(start, stop, np.asarray(predict_embedding(params, x, total, mesh=mesh, **how))[: stop - start])


def embedding_width(state: GinsengClassifierState) -> int:
    """Return the number of dimensions that :func:`embed` gives."""
    x = jax.ShapeDtypeStruct((state.n_genes,), np.float32)
    return jax.eval_shape(together(state.network).embed, state.params, x).shape[0]


def dropout_passes(
    state: GinsengClassifierState,
    rows: Iterable[Rows],
    *,
    n_passes: int,
    seed: int,
    batch_size: int,
    normalization: Normalization,
    correction: Correction | None = None,
) -> Iterator[Passes]:
    """Yield mean and spread of the probabilities of each cell over passes with dropout."""
    mesh = local_mesh()
    params, key = put(state.params, replicated(mesh)), jax.random.key(seed)
    how: dict[str, Any] = {"architecture": state.network, "normalization": normalization, "correction": correction}
    for start, stop, x, total, empty, *_ in batches(state, rows, batch_size):
        cells = np.arange(start, start + len(x), dtype=np.uint32)
        moments = predict_passes(params, x, total, cells, key, np.int32(n_passes), mesh=mesh, **how)
        mean, std = (np.asarray(a)[: stop - start] for a in moments)
        yield Passes(start, stop, mean, std, empty)
