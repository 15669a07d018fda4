"""How far a trained model can be trusted, measured on cells that were not trained on.

Where the holdout is small, the model is trained again on parts of the cells, to be measured on the others: as many
passes as the model itself took, without looking at the others. Where cells have groups, as donors, parts are of groups.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from scipy import sparse
from threadpoolctl import threadpool_limits

from ginseng._core import registry
from ginseng._core.architecture import Architecture
from ginseng._core.correction import Correction
from ginseng._core.devices import cells_sharding, local_mesh, put, replicated, rounded_up
from ginseng._core.members import weighted
from ginseng._core.probs import Probability
from ginseng._core.steps import Normalization, Seen, predict_seen
from ginseng._core.types import Params
from ginseng.data._batches import MemorySource, Source, in_memory, stream
from ginseng.model import calibration
from ginseng.model.components import N_COMPONENTS, components_of
from ginseng.model.like_cells import like_cells

#: Fewer cells to train on say too little of errors.
FEWEST = 200
#: Cells that are enough to measure on, as more give no better thresholds; parts into which cells are divided otherwise.
ENOUGH, N_PARTS = 750, 3
#: Cells that are looked at, at most: held out, and of those trained on; and those of which the model keeps a record.
MOST_CELLS, MOST_KEPT = 20_000, 4096
#: Cells that a model reads at a time: as many as labelling does by default, which then finds the program compiled.
AT_ONCE = 1024
#: Prototypes per class, the least number of cells that one stands for, and the cells that they are found among.
PER_CLASS, LEAST, OF_CLASS = 10, 5, 300
#: Shares of the model's weight at which the cost of missing genes is measured, on so many cells at most.
WEIGHTS, MOST_MISSING = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0), 1000


class Trained(NamedTuple):
    """Weights, what they were trained on, and the cells to measure them on."""

    params: Params
    reference: dict[str, np.ndarray]
    trained: np.ndarray  # (cells,) bool
    others: np.ndarray  # (cells,) bool
    lacks: np.ndarray | None = None  # (classes,) bool, those that were left out; none if None


class Judged(NamedTuple):
    """What a model says of cells that it was not trained on."""

    logits: np.ndarray  # (cells, C)
    depth: np.ndarray  # (cells,)
    scores: np.ndarray  # (cells, 2)
    x: sparse.csr_matrix  # (cells, G) normalised expression
    y: np.ndarray  # (cells,) place of the true class


class Reader:
    """Shows cells of the training data to a model."""

    def __init__(self, source: Source, network: Architecture, normalization: Normalization) -> None:
        self.source = source
        self.mesh = local_mesh()
        self.batch_size = rounded_up(self.mesh, AT_ONCE)
        self.how: dict[str, Any] = {"architecture": network, "normalization": normalization, "mesh": self.mesh}

    def __call__(
        self, model: Trained, cells: MemorySource, measured: np.ndarray | None = None
    ) -> tuple[Seen, np.ndarray]:
        """Return what the model sees of these cells, and their classes, without empty cells.

        With `measured`, (genes,) bool, as if only these genes had been measured.
        """
        measured = np.ones(self.source.n_genes, bool) if measured is None else measured
        shared, how = _shared(model.reference, measured, self.how["architecture"], self.mesh)
        params = put(weighted(self.how["architecture"], model.params), replicated(self.mesh))
        parts, y = [], []
        keep = np.ones(len(cells.labels), bool)
        for window in stream(cells, keep, batch_size=self.batch_size, n_per_window=1, shuffle=False):
            real = (window.weight[0] > 0) & window.x[0].any(axis=1)
            x, total = put((window.x[0].astype(np.float32), window.total[0]), cells_sharding(self.mesh))
            n_cells = int((window.weight[0] > 0).sum())  # padding is last
            seen = predict_seen(params, x, total, *shared, n_cells=n_cells, **how, **self.how)
            parts.append([np.asarray(a)[real] for a in seen])
            y.append(window.y[0, real])
        return Seen(*(np.concatenate(a) for a in zip(*parts, strict=True))), np.concatenate(y)

    def expression(self, cells: MemorySource) -> sparse.csr_matrix:
        """Return the normalised expression of these cells, without empty cells."""
        real = (cells.counts != 0).getnnz(axis=1) > 0
        found: sparse.csr_matrix = self.how["normalization"](cells.counts[real], cells.totals[real])
        return found


def _shared(
    reference: dict[str, np.ndarray], measured: np.ndarray, network: Architecture, mesh: Mesh
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what :func:`predict_seen` takes besides weights and cells, in the same form as in labelling."""
    # also where all were measured and it changes nothing, so that there is one program to compile
    correction = Correction.of(reference, measured, skips_zeros=network.skips_zeros)
    components = np.zeros((len(measured), N_COMPONENTS), np.float32)
    shared = put((reference["classes"], measured.astype(np.float32), components), replicated(mesh))
    return shared, {"correction": correction}


def compile_seen(network: Architecture, normalization: Normalization, n_genes: int, n_classes: int) -> None:
    """Compile what :class:`Reader` calls, ahead of the first call."""
    mesh = local_mesh()
    shapes = {"classes": (n_classes, n_genes), "mean": (n_genes,), "share": (n_genes,)}
    reference = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    shared, how = _shared(reference, np.ones(n_genes, bool), network, mesh)
    params = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=replicated(mesh)),
        weighted(network, registry.shapes(network, n_genes, n_classes)),
    )
    n_cells = rounded_up(mesh, AT_ONCE)
    x, total = np.zeros((n_cells, n_genes), np.float32), np.zeros(n_cells, np.float32)
    cells = put((x, total), cells_sharding(mesh))
    how |= {"architecture": network, "normalization": normalization, "mesh": mesh}
    predict_seen.lower(params, *cells, *shared, n_cells=n_cells, **how).compile()


@threadpool_limits.wrap(limits=1)  # several threads of BLAS take longer for small products, in an order of their own
def assess(
    models: Iterator[Trained],
    final: Trained,
    read: Reader,
    *,
    lacking: Iterable[Trained] = (),
    weight: np.ndarray,
    seed: int,
) -> dict[str, np.ndarray] | None:
    """Return what :mod:`ginseng.model.calibration` describes, float32; None if there are no cells to measure on.

    Parameters
    ----------
    models
        Models as the final one, and the cells to measure each on.
    final
        The model itself.
    lacking
        Models that lack some classes each, to see whether these would be told.
    weight
        (genes,) weight of each gene in telling the classes apart.
    """
    rng = np.random.default_rng([seed, 2**31 + 1])
    n_classes = len(final.reference["classes"])
    some, judged, models_seen = [], [], []
    for model in models:
        cells = _some(model.others, MOST_CELLS, rng)
        if not cells.any():
            continue
        prototypes = prototypes_of(read, model, rng)
        judged.append(judge(read, model, prototypes, cells))
        some.append(cells)
        models_seen.append(model)
    if not sum(len(part.y) for part in judged):
        return None
    logits, depth, raw, truth = (
        np.concatenate([getattr(part, name) for part in judged]) for name in ("logits", "depth", "scores", "y")
    )
    label = logits.argmax(axis=1)
    right = label == truth  # what is labelled wrongly may be unlike its class
    some_right = right if right.any() else np.ones_like(right)
    out = calibration.fit_scores(raw[some_right], depth[some_right], label[some_right], n_classes)
    parts = [unlike(out, part) for part in judged]
    alone, s = (np.concatenate(a) for a in zip(*parts, strict=True))
    softened = calibration.softening(s)
    temperature = calibration.fit_temperature(logits, truth, softened)
    probs = final_probs(logits, temperature * softened)
    rows = np.arange(len(truth))
    record = np.stack([truth, label, probs[rows, label], probs[rows, truth], alone, s], axis=1)
    kept = np.sort(rng.permutation(len(record))[:MOST_KEPT])
    if len(models_seen) > 1 or models_seen[0].params is not final.params:
        prototypes = prototypes_of(read, final, rng)
    missing = _missing(models_seen, some, read, weight, temperature=temperature, n_classes=n_classes, rng=rng)
    out |= {"temperature": np.array(temperature), "cells": record[kept], "prototypes": prototypes, **missing}
    out["lacking"] = np.full(n_classes, -1.0)
    for model in lacking:
        out["lacking"] = np.maximum(out["lacking"], _told(read, model, out, rng))
    return {name: np.asarray(values, np.float32) for name, values in out.items()}


def judge(read: Reader, model: Trained, prototypes: np.ndarray, cells: np.ndarray) -> Judged:
    """Return what a model says of cells, (cells,) bool, that it was not trained on."""
    held_out = in_memory(read.source, cells)
    found, y = read(model, held_out)
    logits = found.logits if model.lacks is None else np.where(model.lacks, -np.inf, found.logits)
    scores = calibration.scores(found.direction, prototypes, found.likeness, logits.argmax(axis=1))
    return Judged(logits, found.depth, scores, read.expression(held_out), y)


def unlike(found: dict[str, np.ndarray], judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Return how unlike the reference cells are, each by itself, and together as those of a query."""
    alone = calibration.unlike(found, judged.scores, judged.depth, judged.logits.argmax(axis=1))
    sample = components_of(judged.x)
    if sample is None:
        return alone, alone
    return alone, like_cells(sample, alone).smooth(judged.x @ sample.directions, alone)


def _told(read: Reader, model: Trained, found: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Return how well novelty tells the cells of each class that a model lacks from rightly labelled ones, (C,).

    As the area under the ROC curve; -1 for classes that it knows, and for those of too few cells.
    """
    from sklearn.metrics import roc_auc_score

    assert model.lacks is not None
    judged = judge(read, model, prototypes_of(read, model, rng), _some(model.others, MOST_CELLS, rng))
    _, s = unlike(found, judged)
    right, told = judged.logits.argmax(axis=1) == judged.y, np.full(len(model.lacks), -1.0)
    for place in np.flatnonzero(model.lacks):
        new = judged.y == place
        if right.any() and new.sum() >= LEAST:
            told[place] = roc_auc_score(new[new | right], s[new | right])
    return told


def final_probs(logits: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Return softmax probabilities of logits divided by a temperature of each cell."""
    return Probability().probs(logits, None, temperature)


def prototypes_of(read: Reader, model: Trained, rng: np.random.Generator) -> np.ndarray:
    """Return directions of the cells that a model was trained on, a few of each class: the centres of k-means."""
    seen, y = read(model, in_memory(read.source, _some(model.trained, MOST_CELLS, rng)))
    found = []
    for label in np.unique(y):
        own = rng.permutation(seen.direction[y == label])[:OF_CLASS]
        k = int(np.clip(len(own) // LEAST, 1, PER_CLASS))
        seed = int(rng.integers(2**31))
        found.append(own.mean(axis=0, keepdims=True) if k == 1 else _k_means(own, k, seed))
    centres = np.concatenate(found)
    return centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)


def _k_means(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return centres, (k, width); the same for the same points. Where points are the same, some centres may be too."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        centres: np.ndarray = KMeans(k, n_init=1, max_iter=20, random_state=seed).fit(points).cluster_centers_
    return centres


def _missing(
    models: list[Trained],
    cells: list[np.ndarray],
    read: Reader,
    weight: np.ndarray,
    *,
    temperature: float,
    n_classes: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Measure models where only some genes are left, drawn at random, as columns of `OVERLAP` and recall by class."""
    if not weight.any():  # no gene tells the classes apart
        weight = np.ones_like(weight)
    order = rng.permutation(len(weight))
    summed = np.cumsum(weight[order]) / weight.sum()
    some = [in_memory(read.source, _some(c, -(-MOST_MISSING // len(cells)), rng)) for c in cells]
    levels, recall = [], []
    for share in WEIGHTS:
        measured = np.zeros(len(weight), bool)
        measured[order[: int(np.searchsorted(summed, share - 1e-9)) + 1]] = True
        found = [read(m, c, measured) for m, c in zip(models, some, strict=True)]
        logits = np.concatenate([seen.logits for seen, _ in found])
        y = np.concatenate([classes for _, classes in found])
        ones = np.ones(len(y))
        fitted = temperature if share == 1 else calibration.fit_temperature(logits, y, ones)
        label = logits.argmax(axis=1)
        confidence = np.take_along_axis(final_probs(logits, fitted * ones), label[:, None], axis=1)[:, 0]
        right, n = label == y, np.bincount(y, minlength=n_classes)
        error = calibration.calibration_error(confidence, right)
        levels.append([weight[measured].sum() / weight.sum(), right.mean(), error, fitted])
        recall.append(np.where(n > 0, np.bincount(y, right, n_classes) / np.maximum(n, 1), -1))
    return {"overlap": np.array(levels), "recall": np.array(recall)}


def _some(cells: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return a mask of at most so many of the cells, drawn at random."""
    places = np.flatnonzero(cells)
    return np.isin(np.arange(len(cells)), rng.permutation(places)[:most])
