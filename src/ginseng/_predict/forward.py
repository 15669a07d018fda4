"""From rows of counts to probabilities: arrays in, arrays out, a batch of fixed shape at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from scipy import sparse
from threadpoolctl import ThreadpoolController

from ginseng._cells.matrix import Block, row_sums
from ginseng._core.correction import Correction
from ginseng._core.devices import aligned, cells_sharding, local_mesh, put, replicated, rounded_up
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
from ginseng.data._batches import prefetch
from ginseng.model import calibration
from ginseng.model.components import N_COMPONENTS
from ginseng.model.like_cells import LikeCells
from ginseng.model.own_classes import OwnClasses
from ginseng.model.state import GinsengClassifierState

#: Cells of a batch at least, doubled until it is enough for all: queries of few cells share programs.
FEWEST = 1024


class Rows(NamedTuple):
    """Consecutive cells, with the genes of the model."""

    start: int
    stop: int
    counts: Block  # (cells, genes of the model)
    total: np.ndarray  # (cells,) counts over all measured genes


class PaddedRows(NamedTuple):
    """Cells as the compiled steps take them; filled up with empty ones, so that one shape does for all.

    The devices of this process share the cells.
    """

    start: int  # the first
    stop: int  # the one after the last
    x: jax.Array  # (batch_size, genes of the model) float32
    total: jax.Array  # (batch_size,) float32, counts by which the cells are scaled
    empty: np.ndarray  # (cells,) bool, cells without a count in the genes of the model
    cells: np.ndarray  # (cells,) index of each, which follow each other if the blocks do
    counts: Block  # (cells, genes of the model)


class Passed(NamedTuple):
    """What a forward pass gives of consecutive cells."""

    start: int
    stop: int
    logits: np.ndarray  # (cells, classes)
    seen: Seen | None  # for models that were calibrated, and where classes of the query count
    gene_weights: np.ndarray | None  # (cells, genes) float32
    empty: np.ndarray  # (cells,) bool


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
    directions: np.ndarray | None = None,
    together: LikeCells | None = None,
    own: OwnClasses | None = None,
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
    directions
        (genes, K) of the principal components of the query, for `together` and `own`.
    together
        Cells of the query to take each cell together with. It is looked at by itself if None.
    own
        Classes as they lie in the query, which count beside those of the model.
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
    params = place(state, mesh, members)
    key = None if seed is None else jax.random.key(seed)
    looks = state.calibration is not None or own is not None
    view = View(state, correction, mesh, directions, together) if looks else None

    def passes() -> Iterator[Passed]:
        for start, stop, x, total, empty, *_ in batches(state, rows, batch_size):
            n = stop - start
            seen = None if view is None else view(params, x, total, n, **how)
            if network.is_double:  # which has no dropout
                logits = np.asarray(predict_double_logits(params, np.asarray(x), np.asarray(total), **how))[:n]
            elif seen is not None and key is None:
                logits = seen.logits
            else:
                batch_key = None if key is None else jax.random.fold_in(key, start)
                logits = np.asarray(predict_logits(params, x, total, batch_key, n_cells=n, mesh=mesh, **how))[:n]
            weights = np.asarray(predict_gene_weights(params, x, total, **how))[:n] if gene_weights else None
            yield Passed(start, stop, logits, seen, weights, empty)

    # the next batch is under way while this one is made probabilities
    for start, stop, logits, seen, weights, empty in prefetch(passes(), depth=1):
        if not np.isfinite(logits).all():  # finite weights, and finite counts
            msg = "The model gives values that are NaN or infinite: its weights are too large, or they are damaged."
            raise ValueError(msg)
        first = label = probability.labels(logits, probability.probs(logits))
        if allowed is not None:
            label = probability.labels(logits, probability.probs(logits, allowed), allowed)
        novelty = temperature = None
        if view is not None and seen is not None and state.calibration is not None:
            s = view.unlike(seen, label) - level
            if key is None:  # draws of dropout are softer by themselves
                temperature = calibration.temperatures(state.calibration, s, 1.0 if weight is None else weight)
            novelty = calibration.novelty(state.calibration, s, alone=together is None)
        probs = probability.probs(logits, allowed, temperature)
        if own is not None and seen is not None:
            probs = own.mix(probs, np.asarray(seen.place), novelty)
            label = probability.labels(logits, probs)
        if odds is not None:
            probs = probs * odds.astype(np.float32)
            probs /= probs.sum(axis=1, keepdims=True)
            label = probs.argmax(axis=1)
        moved = np.zeros(stop - start, bool) if allowed is None else ~allowed[first]
        yield Predicted(start, stop, label, probs, weights, empty, moved, novelty)


def place(state: GinsengClassifierState, mesh: Mesh, members: np.ndarray | None = None) -> Params:
    """Return the weights of a model on each device, and how much each member of an ensemble counts.

    If that is None, all count alike; it is said even so, so that there is one program to compile.
    """
    n = state.network.n_members
    params = state.params if n == 1 else weighted(state.params, np.ones(n) if members is None else members)
    return put(params, replicated(mesh))


class View:
    """What a model that knows its reference sees of cells, and how unlike the reference it finds them.

    Parameters
    ----------
    correction
        What makes up for a query that is not measured as the reference was.
    mesh
        Devices that share the cells.
    directions, together
        Of the query, see :func:`predict`.
    """

    def __init__(
        self,
        state: GinsengClassifierState,
        correction: Correction | None,
        mesh: Mesh,
        directions: np.ndarray | None = None,
        together: LikeCells | None = None,
    ) -> None:
        assert state.reference is not None
        self.calibration = state.calibration
        measured = np.ones(state.n_genes, bool) if correction is None else np.asarray(correction.measured)
        self.together = together
        # of one shape also where there are none, so that there is one program to compile
        padded = np.zeros((state.n_genes, N_COMPONENTS), np.float32)
        self.n_components = 0 if directions is None else directions.shape[1]
        if directions is not None:
            padded[:, : self.n_components] = directions
        self.shared = put((state.reference["classes"], measured.astype(np.float32), padded), replicated(mesh))
        self.how, self.blas = {"mesh": mesh}, ThreadpoolController()

    def __call__(self, params: Params, x: Any, total: Any, n: int, **how: Any) -> Seen:
        """Return what the model sees of the first `n` cells."""
        found = predict_seen(params, x, total, *self.shared, n_cells=n, **how, **self.how)
        seen = Seen(*(np.asarray(a)[:n] for a in found))
        return seen._replace(place=seen.place[:, : self.n_components])

    def unlike(self, seen: Seen, label: np.ndarray) -> np.ndarray:
        """Return how unlike the reference cells are that get these labels, (cells,); see `model/calibration.py`."""
        assert self.calibration is not None
        with self.blas.limit(limits=1):  # several threads wait for each other for longer than these products take
            scores = calibration.scores(seen.direction, self.calibration["prototypes"], seen.likeness, label)
            s = calibration.unlike(self.calibration, scores, np.asarray(seen.depth), label)
            return s if self.together is None else self.together.smooth(np.asarray(seen.place), s)


def batches(state: GinsengClassifierState, rows: Iterable[Rows], batch_size: int) -> Iterator[PaddedRows]:
    """Yield dense batches of one shape, in a buffer that the next batch overwrites."""
    if batch_size < 1:
        msg = f"`batch_size` must be at least 1, not {batch_size}."
        raise ValueError(msg)
    buffer = totals = np.empty(0, np.float32)
    mesh, filled = local_mesh(), 0
    shared = cells_sharding(mesh)
    for cells, counts, total in _filled(rows, batch_size):
        n = len(cells)
        if not len(buffer):
            size = rounded_up(mesh, min(batch_size, FEWEST << ((n - 1) // FEWEST).bit_length()))
            buffer, totals = aligned((size, state.n_genes)), np.ones(size, np.float32)
        buffer[:filled] = 0
        filled = n
        if isinstance(counts, np.ndarray):
            buffer[:n] = counts
        else:
            counts.toarray(out=buffer[:n])
        totals[:n] = total
        x, total = put(buffer, shared), put(totals, shared)
        yield PaddedRows(int(cells[0]), int(cells[-1]) + 1, x, total, row_sums(counts) == 0, cells, counts)


def _filled(rows: Iterable[Rows], size: int) -> Iterator[tuple[np.ndarray, Block, np.ndarray]]:
    """Yield blocks cut or put together to `size` cells, but for the last: index of each cell, counts and total."""
    parts: list[tuple[np.ndarray, Block, np.ndarray]] = []
    n = 0
    for block in rows:
        cells, counts = np.arange(block.start, block.stop), block.counts.astype(np.float32, copy=False)
        start = 0
        while start < len(cells):
            part = slice(start, start + size - n)
            whole = part == slice(0, len(cells))
            parts.append((cells[part], counts if whole else counts[part], block.total[part]))
            n += len(parts[-1][0])
            start = part.stop
            if n == size:
                yield _joined(parts)
                parts, n = [], 0
    if parts:
        yield _joined(parts)


def _joined(parts: list[tuple[np.ndarray, Block, np.ndarray]]) -> tuple[np.ndarray, Block, np.ndarray]:
    if len(parts) == 1:
        return parts[0]
    cells, counts, totals = zip(*parts, strict=True)
    is_dense = isinstance(counts[0], np.ndarray)
    joined = np.concatenate(counts) if is_dense else sparse.vstack(counts, format="csr")
    return np.concatenate(cells), joined, np.concatenate(totals)
