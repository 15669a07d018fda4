"""From rows of counts to probabilities: arrays in, arrays out, a batch of fixed shape at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ginseng._cells.matrix import Block, row_sums
from ginseng._core.correction import Correction
from ginseng._core.devices import cells_sharding, local_mesh, put, replicated, rounded_up
from ginseng._core.members import weighted
from ginseng._core.process import prepare
from ginseng._core.steps import (
    Normalization,
    Seen,
    predict_double_logits,
    predict_gene_weights,
    predict_logits,
    predict_seen,
)
from ginseng._core.types import Params
from ginseng._settings import settings
from ginseng.model import calibration
from ginseng.model.like_cells import LikeCells
from ginseng.model.state import GinsengClassifierState

#: Cells up to which a batch is as large as is asked for, however few there are: small queries share a compiled shape.
FEWEST = 1024


class Rows(NamedTuple):
    """Consecutive cells, with the genes of the model."""

    start: int
    stop: int
    counts: Block  # (cells, genes of the model)
    total: np.ndarray  # (cells,) counts over all measured genes


class PaddedRows(NamedTuple):
    """Consecutive cells as the compiled steps take them; filled up with empty ones, so that one shape does for all.

    The devices of this process share the cells.
    """

    start: int
    stop: int
    x: jax.Array  # (batch_size, genes of the model) float32
    total: jax.Array  # (batch_size,) float32, counts by which the cells are scaled
    empty: np.ndarray  # (cells,) bool, cells without a count in the genes of the model


class Predicted(NamedTuple):
    """What the model says of consecutive cells."""

    start: int
    stop: int
    label: np.ndarray  # (cells,) place among the classes
    probs: np.ndarray  # (cells, classes) float32, whose rows sum to 1 unless each class has a probability of its own
    gene_weights: np.ndarray | None  # (cells, genes) float32
    empty: np.ndarray  # (cells,) bool, cells without a count in the genes of the model
    moved: np.ndarray  # (cells,) bool, cells whose label would be one that is not allowed
    novelty: np.ndarray | None = None  # (cells,) float32, how unlike the reference, for models that know


def predict(
    state: GinsengClassifierState,
    rows: Iterable[Rows],
    *,
    batch_size: int,
    normalization: Normalization | None = None,
    correction: Correction | None = None,
    seed: int | None = None,
    gene_weights: bool = False,
    allowed: np.ndarray | None = None,
    weight: float | None = None,
    odds: np.ndarray | None = None,
    together: LikeCells | None = None,
    level: float = 0.0,
    members: np.ndarray | None = None,
) -> Iterator[Predicted]:
    """Yield the probabilities of the cells, batch by batch; all devices of this process share each batch.

    Parameters
    ----------
    state
        The model.
    rows
        Counts of the cells.
    batch_size
        Cells a forward pass.
    normalization
        Instead of the model's own.
    correction
        What makes up for a query that is not measured as the reference was.
    seed
        If given, dropout acts, drawn from it.
    gene_weights
        Whether the weight of each gene in each cell is wanted.
    allowed
        (classes,) bool: the classes that may be given; see :class:`ginseng._core.probs.Probability`. All if None.
    weight
        Share of the model's weight that is on genes which were measured, for models that were calibrated; 1 if None.
    odds
        (classes,) by how much more frequent each class is than in the reference, see :mod:`ginseng._predict.priors`.
    together
        Cells of the query to take each cell together with. It is looked at by itself if None.
    level
        How unlike the reference the query is throughout, which is taken off.
    members
        (members,) how much each member of an ensemble counts; all alike if None.

    Raises
    ------
    ValueError
        If the logits of a cell are not finite.
    """
    prepare(settings.cache_dir)
    network, probability = state.network, state.network.probability
    how: Any = {"architecture": network, "normalization": normalization or state.normalization}
    if correction is not None:
        how["correction"] = correction
    mesh = local_mesh()
    params = put(state.params if members is None else weighted(state.params, members), replicated(mesh))
    key = None if seed is None else jax.random.key(seed)
    unlike = None if state.calibration is None else Unlike(state, correction, mesh, together)
    for start, stop, x, total, empty in batches(state, rows, batch_size):
        n = stop - start
        seen = None if unlike is None else unlike(params, x, total, n, **how)
        if network.is_double:  # which has no dropout
            logits = np.asarray(predict_double_logits(params, np.asarray(x), np.asarray(total), **how))[:n]
        elif seen is not None and key is None:
            logits = seen.logits
        else:
            batch_key = None if key is None else jax.random.fold_in(key, start)
            logits = np.asarray(predict_logits(params, x, total, batch_key, mesh=mesh, **how))[:n]
        if not np.isfinite(logits).all():  # finite weights, and finite counts
            msg = "The model gives values that are NaN or infinite: its weights are too large, or they are damaged."
            raise ValueError(msg)
        weights = np.asarray(predict_gene_weights(params, x, total, **how))[:n] if gene_weights else None
        first = label = probability.labels(logits, probability.probs(logits))
        if allowed is not None:
            label = probability.labels(logits, probability.probs(logits, allowed), allowed)
        novelty = temperature = None
        if unlike is not None and seen is not None and state.calibration is not None:
            s = unlike.of(seen, label) - level
            if key is None:  # draws of dropout are softer by themselves
                temperature = calibration.temperatures(state.calibration, s, 1.0 if weight is None else weight)
            novelty = calibration.novelty(state.calibration, s, alone=together is None)
        probs = probability.probs(logits, allowed, temperature)
        if odds is not None:
            probs = probs * odds.astype(np.float32)
            probs /= probs.sum(axis=1, keepdims=True)
            label = probs.argmax(axis=1)
        moved = np.zeros(n, bool) if allowed is None else ~allowed[first]
        yield Predicted(start, stop, label, probs, weights, empty, moved, novelty)


class Unlike:
    """Tells how unlike its reference a calibrated model finds cells.

    Parameters
    ----------
    correction
        What makes up for a query that is not measured as the reference was.
    mesh
        Devices that share the cells.
    together
        Of the query.
    """

    def __init__(
        self,
        state: GinsengClassifierState,
        correction: Correction | None,
        mesh: Mesh,
        together: LikeCells | None = None,
    ) -> None:
        assert state.calibration is not None
        assert state.reference is not None
        self.calibration = state.calibration
        measured = np.ones(state.n_genes, bool) if correction is None else np.asarray(correction.measured)
        self.together = together
        components = np.zeros((state.n_genes, 1), np.float32) if together is None else together.components
        self.shared = put((state.reference["classes"], measured.astype(np.float32), components), replicated(mesh))
        self.how = {"mesh": mesh}

    def __call__(self, params: Params, x: Any, total: Any, n: int, **how: Any) -> Seen:
        """Return what the model sees of the first `n` cells."""
        return Seen(*(np.asarray(a)[:n] for a in predict_seen(params, x, total, *self.shared, **how, **self.how)))

    def of(self, seen: Seen, label: np.ndarray) -> np.ndarray:
        """Return how unlike the reference cells are that get these labels, (cells,); see `model/calibration.py`."""
        scores = calibration.scores(seen.direction, self.calibration["prototypes"], seen.likeness, label)
        s = calibration.unlike(self.calibration, scores, np.asarray(seen.depth), label)
        return s if self.together is None else self.together.smooth(np.asarray(seen.place), s)


def batches(state: GinsengClassifierState, rows: Iterable[Rows], batch_size: int) -> Iterator[PaddedRows]:
    """Yield dense batches of one shape, in buffers that the next batch overwrites."""
    if batch_size < 1:
        msg = f"`batch_size` must be at least 1, not {batch_size}."
        raise ValueError(msg)
    buffer = totals = np.empty(0, np.float32)
    mesh = local_mesh()
    shared = cells_sharding(mesh)
    for block in rows:
        if not len(buffer):  # more than there are cells would be padding, which takes as much memory and time
            batch_size = rounded_up(mesh, min(batch_size, max(block.stop - block.start, FEWEST)))
            buffer, totals = np.zeros((batch_size, state.n_genes), np.float32), np.ones(batch_size, np.float32)
        for start in range(0, block.stop - block.start, batch_size):
            part = block.counts[start : start + batch_size].astype(np.float32, copy=False)
            n = part.shape[0]
            buffer[:] = 0
            if isinstance(part, np.ndarray):
                buffer[:n] = part
            else:
                part.toarray(out=buffer[:n])
            totals[:n] = block.total[start : start + n]
            x, total = put(buffer, shared), put(totals, shared)
            yield PaddedRows(block.start + start, block.start + start + n, x, total, row_sums(part) == 0)
