"""What a query lacks, or has more of throughout, beside the cells that the model was trained on.

Let x be the normalised expression of a query, p_i the probability of the label of cell i, and m_c the mean of class c
in the reference. A first pass over the cells gathers, for each class c, n_c = sum p_i and q_c = sum p_i x_i / n_c over
the cells that get its label. The classes with n_c of at least five, K of them, say how the query differs:

    d = mean over c of (q_c - m_c),    e^2 = variance over c of (q_c - m_c) / K,    shift = d max(0, 1 - e^2 / d^2)

for each gene. Each class counts alike, so that the shift does not depend on how frequent they are, and a gene whose
differences do not agree between classes is not shifted (James and Stein 1961): that is biology, or wrong labels.

A shift that is long next to the expression of a cell is that of another study. There, members of an ensemble that read
genes on one scale count more than those that standardise each gene, which are best within a study, and so do classes as
they lie in the query (:mod:`ginseng.model.own_classes`), fitted to the labels of some cells (`docs/accuracy.md`).

The same pass tells how unlike the reference the query is throughout: by the median over classes of what the median cell
of the class is. That is taken off the novelty of each cell, where the classes differ from each other in the same genes
as those of the reference. Where they do not, the cells are likely of other types altogether, and nothing is taken off.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import softmax

from ginseng._cells.genes import Alignment
from ginseng._core.correction import Correction
from ginseng._core.devices import local_mesh
from ginseng._core.members import reads_on_one_scale
from ginseng._core.steps import Normalization
from ginseng._predict.forward import Rows, View, batches, place, predict
from ginseng.model.components import Components, components_of
from ginseng.model.like_cells import LikeCells, like_cells
from ginseng.model.own_classes import OwnClasses, own_classes
from ginseng.model.state import GinsengClassifierState

#: A class needs so many expected cells in the query, and so many cells in the reference, to count.
LEAST_CELLS = 5
#: Fewer classes do not say what is of the query and what is of the class.
LEAST_CLASSES = 3
#: Correlation of the differences between classes with those of the reference, from which on the query counts as other
#: cells of the same types, all the more up to the second.
AGREES = 0.5, 0.6
#: Length of the shift, in units of the mean expression of the classes, from which on a query is of another study, all
#: the more up to the second; and how much members that read genes on one scale count there, where others count 1.
ANOTHER_STUDY, ONE_SCALE = (0.07, 0.12), 4.0
#: The same for classes as they lie in the query, and how much these count, where all is 1.
FAR, OWN = (0.1, 0.2), 0.5
#: Steps in which a shift is measured, of log-normalised expression: what is finer is the order of a sum.
STEP = 2.0**-16


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """How a query was adapted to.

    Attributes
    ----------
    shift
        (genes of the model,) float32, normalised expression that the query has more of than the reference, as far as it
        is taken off: not at all for architectures that read expressed genes alone.
    n_classes
        Classes that it is the mean of; with too few there is no shift.
    first
        (cells,) label of each cell before; -1 for one without counts in the genes of the model, or not looked at.
    agreement
        How much the classes differ in the same genes as those of the reference: the median over classes of the
        correlation over genes. NaN with too few classes.
    far
        Length of the shift before anything was left out of it, in units of the mean expression of the classes.
    level
        How unlike the reference the query is throughout.
    members
        (members,) how much each member of the ensemble counts; None if all count alike.
    components
        Principal components of some cells, as they lie without the shift; None if they are few.
    together
        These cells, for models that tell novelty.
    own
        Classes as they lie in the query; None if they do not count.
    """

    shift: np.ndarray
    n_classes: int
    first: np.ndarray
    agreement: float
    far: float
    level: float = 0.0
    members: np.ndarray | None = None
    components: Components | None = None
    together: LikeCells | None = None
    own: OwnClasses | None = None

    @property
    def directions(self) -> np.ndarray | None:
        """Of the principal components."""
        return None if self.components is None else self.components.directions

    @property
    def agrees(self) -> float:
        """How surely the cells are other ones of the same types, between 0 and 1."""
        return float(np.nan_to_num(np.interp(self.agreement, AGREES, (0, 1))))


class Compared(NamedTuple):
    """What some cells say of how a query differs from the reference."""

    cells: np.ndarray  # (cells,) index of each
    sums: np.ndarray  # (C, G) normalised expression of genes measured, summed over the expected cells of each class
    expected: np.ndarray  # (C,) expected cells of each class
    label: np.ndarray  # (cells,) int32, -1 without counts
    some: Some


class Some(NamedTuple):
    """Some cells, one by one."""

    x: sparse.csr_matrix  # (cells, G) normalised expression of genes measured
    counts: sparse.csr_matrix  # (cells, G) that it is made of
    total: np.ndarray  # (cells,) counts by which the cells are scaled
    label: np.ndarray  # (cells,)
    unlike: np.ndarray | None  # (cells,) how unlike the reference, for models that tell novelty


def correction_for(
    state: GinsengClassifierState, genes: Alignment, shift: np.ndarray | None = None, *, always: bool = False
) -> Correction | None:
    """Return what makes up for genes that were not measured, and for a shift; None if there is nothing to make up for.

    Models that do not know their reference take genes that were not measured for not expressed. With `always`, others
    get a correction that changes nothing instead of None, which saves compiling a program without one.
    """
    if state.reference is None or not (always or len(genes.missing) or (shift is not None and shift.any())):
        return None
    skips = state.network.skips_zeros
    return Correction.of(state.reference, measured_genes_of(genes), skips_zeros=skips, shift=shift)


def measured_genes_of(genes: Alignment) -> np.ndarray:
    """Return which genes of the model the data have, (genes of the model,) bool."""
    return np.isin(np.arange(genes.n_model), genes.position)


def compare(
    state: GinsengClassifierState,
    rows: Iterable[Rows],
    *,
    genes: Alignment,
    batch_size: int,
    normalization: Normalization,
    every: int,
    allowed: np.ndarray | None = None,
) -> Iterator[Compared]:
    """Yield what some cells at a time say of how a query differs from the reference.

    Parameters
    ----------
    state
        A model that knows its reference.
    rows
        Counts of the cells, or of enough of them.
    genes
        Which genes of the model were measured.
    batch_size
        Cells a forward pass; changes memory, not the result.
    normalization
        How counts become input.
    every
        Of which cells expression is kept: of every cell if 1, of every second if 2.
    allowed
        (classes,) bool, those that a cell can be of. All if None.
    """
    mesh, correction = local_mesh(), correction_for(state, genes, always=True)
    assert correction is not None
    params, view = place(state, mesh), View(state, correction, mesh)
    how: dict[str, Any] = {"architecture": state.network, "normalization": normalization, "correction": correction}
    for _, _, x, totals, empty, cells, counts in batches(state, rows, batch_size):
        n, counts, total = len(cells), sparse.csr_matrix(counts), np.array(totals)[: len(cells)]
        seen = view(params, x, totals, n, **how)
        logits = seen.logits if allowed is None else np.where(allowed, seen.logits, -np.inf)
        probs = softmax(logits.astype(float), axis=1)
        label = state.network.probability.labels(logits, probs)
        p = np.where(empty, 0.0, probs[np.arange(n), label])
        of_class = sparse.csr_matrix((p, (label, np.arange(n))), shape=(state.n_classes, n))
        expression = normalization.scaled(counts, total, correction.share)  # nothing is shifted yet
        sums = (of_class @ expression.astype(float)).toarray()
        expected = np.bincount(label, p, minlength=state.n_classes)
        kept = ~empty & (cells % every == 0)
        unlike = None if state.calibration is None else view.unlike(seen, label)[kept]
        some = Some(expression[kept], counts[kept], total[kept], label[kept], unlike)
        yield Compared(cells, sums, expected, np.where(empty, -1, label).astype(np.int32), some)


def adapt(
    state: GinsengClassifierState, compared: Iterable[Compared], genes: Alignment, n_cells: int
) -> tuple[Adaptation, Rows | None]:
    """Return how cells differ from those of the reference whatever their class, and the sample that tells their places.

    Parameters
    ----------
    compared
        What :func:`compare` yields.
    n_cells
        How many cells there are.
    """
    assert state.reference is not None
    sums, expected = np.zeros((state.n_classes, state.n_genes)), np.zeros(state.n_classes)
    first = np.full(n_cells, -1, np.int32)
    some: list[Some] = []
    for part in compared:
        some.append(part.some)
        sums += part.sums
        expected += part.expected
        first[part.cells] = part.label
    shift, n_classes = shift_of(sums, expected, state.reference)
    measured = measured_genes_of(genes)
    shift = np.where(measured, shift, np.float32(0))
    agreement = agreement_of(sums[:, measured], expected, state.reference["classes"][:, measured], state.reference)
    usual = np.linalg.norm(state.reference["classes"].mean(axis=0)[measured])
    far = float(np.linalg.norm(shift) / max(usual, np.finfo(float).tiny))
    if state.network.skips_zeros:  # where a shift of the genes that a cell expresses would single out these cells
        shift = np.zeros_like(shift)
    found = Adaptation(shift, n_classes, first, agreement, far, members=_members(state, far))
    components = components_of(sparse.vstack([a.x for a in some], format="csr")) if some else None
    if components is None:
        return found, None
    components = components.moved(shift)
    found = dataclasses.replace(found, components=components)
    if state.calibration is not None:
        unlike, label = (np.concatenate([getattr(a, name) for a in some]) for name in ("unlike", "label"))
        level = level_of(unlike, label) * found.agrees
        found = dataclasses.replace(found, level=level, together=like_cells(components, unlike))
    counts = sparse.vstack([a.counts for a in some], format="csr")[components.kept]
    return found, Rows(0, counts.shape[0], counts, np.concatenate([a.total for a in some])[components.kept])


def own_classes_of(
    state: GinsengClassifierState, found: Adaptation, sample: Rows | None, **how: Any
) -> OwnClasses | None:
    """Return the classes as they lie in the query, if it is of another study.

    Parameters
    ----------
    sample
        Counts of the cells whose places `found` has.
    how
        How to label cells, see :func:`ginseng._predict.forward.predict`.
    """
    share = OWN * float(np.interp(found.far, FAR, (0, 1))) * found.agrees
    if sample is None or found.components is None or not share:
        return None
    parts = list(predict(state, [sample], **how))
    probs = np.concatenate([part.probs for part in parts])
    novelty = None if state.calibration is None else np.concatenate([part.novelty for part in parts])
    return own_classes(found.components.place, probs, share, novelty)


def _members(state: GinsengClassifierState, far: float) -> np.ndarray | None:
    """Return how much each member counts, (members,); None if all count alike."""
    if state.network.n_members == 1 or not state.network.standardizes:
        return None
    weights = np.where(reads_on_one_scale(state.params), np.interp(far, ANOTHER_STUDY, (1, ONE_SCALE)), 1)
    return None if (weights == weights[0]).all() else weights


def level_of(unlike: np.ndarray, label: np.ndarray) -> float:
    """Return how unlike the reference the median class of cells is, if at all.

    Parameters
    ----------
    unlike
        (cells,) of each cell.
    label
        (cells,) its class.
    """
    table = pd.Series(unlike).groupby(label).agg(["median", "size"])
    medians = table["median"][table["size"] >= LEAST_CELLS]
    return max(float(medians.median()), 0.0) if len(medians) >= LEAST_CLASSES else 0.0


def agreement_of(
    sums: np.ndarray, expected: np.ndarray, classes: np.ndarray, reference: Mapping[str, np.ndarray]
) -> float:
    """Return the median over classes of how they differ in the same genes as those of the reference; NaN with few.

    Parameters
    ----------
    sums, expected
        See :func:`shift_of`; of the genes that were measured, as `classes`.
    classes
        (C, G) mean expression in the reference.
    """
    counts = _counts(expected, reference)
    if counts.sum() < LEAST_CLASSES:
        return np.nan
    here, there = sums[counts] / expected[counts, None], classes[counts]
    here, there = (a - a.mean(axis=0) for a in (here, there))
    here, there = (a - a.mean(axis=1, keepdims=True) for a in (here, there))
    norms = np.linalg.norm(here, axis=1) * np.linalg.norm(there, axis=1)
    return float(np.median((here * there).sum(axis=1) / np.maximum(norms, np.finfo(float).tiny)))


def _counts(expected: np.ndarray, reference: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.asarray((expected >= LEAST_CELLS) & (reference["cells"] >= LEAST_CELLS))


def shift_of(sums: np.ndarray, expected: np.ndarray, reference: dict[str, np.ndarray]) -> tuple[np.ndarray, int]:
    """Return what all classes of a query have more of than in the reference, (G,) float32, and of how many it is.

    Parameters
    ----------
    sums
        (C, G) normalised expression, summed over the expected cells of each class.
    expected
        (C,) expected cells of each class.
    """
    counts = _counts(expected, reference)
    n = int(counts.sum())
    if n < LEAST_CLASSES:
        return np.zeros(sums.shape[1], np.float32), n
    more = sums[counts] / expected[counts, None] - reference["classes"][counts]
    mean = more.mean(axis=0)
    error = more.var(axis=0, ddof=1) / n
    kept = np.maximum(0.0, 1 - np.divide(error, mean**2, out=np.ones_like(mean), where=mean != 0))
    return (np.rint(mean * kept / STEP) * STEP).astype(np.float32), n
