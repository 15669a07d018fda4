"""What a model knows of its own errors: calibrated probabilities, and how unlike the reference a cell is.

All of it is measured on cells that were not trained on, and kept in `state.calibration`, a dict of float32 arrays:

========================= ======================= =====================================================================
`temperature`             ()                      logits are divided by it
`cells`                   (cells, 6)              of each such cell the columns of `RECORD`
`prototypes`              (prototypes, width)     directions of the reference in the embedding, a few of each class
`depth`                   (2, 3)                  expected value of each score, a polynomial of the depth of a cell
`range`                   (2,)                    depths between which it was fitted
`offset`, `scale`         (2, classes)            of what is left of each score, by predicted class
`overlap`                 (levels, 4)             the columns of `OVERLAP`: what missing genes cost
`recall`                  (levels, classes)       the same of each class; -1 for one without such cells
`lacking`                 (classes,)              how well cells of a class would be told if it were lacking: area under
                                                  the ROC curve of novelty; -1 where that was not measured
========================= ======================= =====================================================================

The two scores of a cell are the logarithm of the cosine distance between its embedding and the nearest prototype, and
the cosine distance between its expression and the mean of the class that it was given. They grow where cells have few
counts, and differ between classes, so both are standardised for that (z). Their sum

    s = z_1 + .7 z_2

is how unlike the reference a cell is by itself; in a query that is looked at as a whole, most of it is the mean of like
cells (:mod:`ginseng.model.like_cells`). Logits are divided by T (1 + .1 max(s, 0)): by a temperature for all cells (Guo
et al. 2017), and more where a cell is unlike all that the model has seen. `docs/accuracy.md` has what else was tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, log_softmax

# B cells, C classes

#: Columns of `cells`: places of the true and of the predicted class, probability of the predicted and of the true one,
#: and how unlike the reference the cell is, by itself and together with like cells.
RECORD = ("label", "predicted", "confidence", "probability", "alone", "unlike")
#: Columns of `overlap`: share of the model's weight on the genes left, accuracy, calibration error and temperature.
OVERLAP = ("weight", "accuracy", "ece", "temperature")
#: Weight of the second score.
OF_EXPRESSION = 0.7
#: How much less sure a cell is per unit of `s`, up to so many.
SOFTENING, MOST_UNLIKE = 0.1, 15.0
#: Share of rightly labelled cells that are given up by default.
GIVEN_UP = 0.05
#: Standard deviation of log T if there were no cells, in units of the evidence of one cell each.
PRIOR = 0.25
#: Least deviation of a score, where cells are all but equal.
LEAST_SCALE = 0.01
#: Added to cosine distances before the logarithm.
NEAREST = 0.01

type Calibration = Mapping[str, np.ndarray]


class Thresholds(NamedTuple):
    """Where labels are given up: below a confidence, or above a novelty."""

    share: float  # of rightly labelled cells of the reference's own kind that are given up
    min_confidence: float
    max_novelty: float


def shapes(width: int, n_classes: int) -> dict[str, tuple[int | None, ...]]:
    """Return the shape of each array; None for any number."""
    return {
        "temperature": (),
        "cells": (None, len(RECORD)),
        "prototypes": (None, width),
        "depth": (2, 3),
        "range": (2,),
        "offset": (2, n_classes),
        "scale": (2, n_classes),
        "overlap": (None, len(OVERLAP)),
        "recall": (None, n_classes),
        "lacking": (n_classes,),
    }


def check(found: Calibration, n_classes: int) -> None:
    """Refuse values that would give probabilities or labels which are none.

    Raises
    ------
    ValueError
        If a temperature or scale is not above 0, or a class is not one of the model.
    """
    least = {"temperature": found["temperature"].min(), "scale": found["scale"].min()}
    if len(found["overlap"]):
        least["overlap"] = found["overlap"][:, OVERLAP.index("temperature")].min()
    for name, value in least.items():
        if value < 1e-3:
            msg = f"'calibration/{name}' has values that are not above 0"
            raise ValueError(msg)
    if len(found["overlap"]) != len(found["recall"]):
        msg = "'calibration/overlap' and 'calibration/recall' have different numbers of levels"
        raise ValueError(msg)
    places = found["cells"][:, :2]
    if len(places) and (places.min() < 0 or places.max() >= n_classes or (places != np.rint(places)).any()):
        msg = "'calibration/cells' names classes that are none of the model"
        raise ValueError(msg)


def records(found: Calibration) -> dict[str, np.ndarray]:
    """Return the columns of `RECORD`, (cells,) each; those of classes as integers."""
    columns = dict(zip(RECORD, np.asarray(found["cells"], np.float32).T, strict=True))
    return columns | {name: columns[name].astype(int) for name in RECORD[:2]}


def scores(direction: np.ndarray, prototypes: np.ndarray, likeness: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the two scores of each cell, (B, 2) float32.

    Parameters
    ----------
    direction
        (B, width) embeddings with a norm of 1.
    prototypes
        (prototypes, width).
    likeness
        (B, C) cosine of the angle between expression and the mean of each class.
    label
        (B,) place of the predicted class.
    """
    nearest = (direction @ prototypes.T).max(axis=1)
    apart = 1 - np.take_along_axis(likeness, label[:, None], axis=1)[:, 0]
    return np.stack([np.log(np.maximum(1 - nearest, 0) + NEAREST), apart], axis=1)


def unlike(found: Calibration, scores: np.ndarray, depth: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return how unlike the reference cells are, (B,) float32.

    Parameters
    ----------
    scores
        (B, 2), see above.
    depth
        (B,) logarithm of 1 + the number of genes of the model that are expressed.
    label
        (B,) place of the predicted class.
    """
    depth = np.clip(depth, *found["range"])
    expected = np.stack([np.polyval(p, depth) for p in found["depth"]], axis=1)
    z = (scores - expected - found["offset"].T[label]) / found["scale"].T[label]
    return (z[:, 0] + OF_EXPRESSION * z[:, 1]).astype(np.float32)


def novelty(found: Calibration, s: np.ndarray, *, alone: bool = False) -> np.ndarray:
    """Return `s` on a scale from 0 to 1: 0.5 where 5% of the rightly labelled cells of the reference are above.

    With `alone`, `s` is of cells by themselves.
    """
    return expit(s - _quantile_of_right(found, "alone" if alone else "unlike", 1 - GIVEN_UP)).astype(np.float32)


def temperatures(found: Calibration, s: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """Return what the logits of each cell are divided by, (B,) float32.

    Parameters
    ----------
    s
        (B,) how unlike the reference the cells are.
    weight
        Share of the model's weight that is on genes which were measured.
    """
    return (_temperature(found, weight) * softening(s)).astype(np.float32)


def softening(s: np.ndarray) -> np.ndarray:
    """Return the part of the temperatures that comes from how unlike the reference the cells are, (B,)."""
    softened: np.ndarray = 1 + SOFTENING * np.clip(s, 0, MOST_UNLIKE)
    return softened


def expected_at(found: Calibration, weight: float) -> dict[str, float]:
    """Return the accuracy and calibration error to expect with this share of the model's weight on measured genes."""
    columns = dict(zip(OVERLAP, found["overlap"].T.astype(float), strict=True))
    if not len(found["overlap"]):
        return {}
    return {name: float(np.interp(weight, columns["weight"], columns[name])) for name in ("accuracy", "ece")}


def _temperature(found: Calibration, weight: float) -> float:
    levels = found["overlap"]
    if not len(levels):
        return float(found["temperature"])
    return float(np.interp(weight, levels[:, 0], levels[:, OVERLAP.index("temperature")]))


def thresholds(found: Calibration, share: float = GIVEN_UP, *, alone: bool = False) -> Thresholds:
    """Return the thresholds by which this share of rightly labelled cells would be given up, half of them by each.

    With `alone`, of cells that are looked at by themselves.
    """
    column = "alone" if alone else "unlike"
    cells = records(found)
    right = cells["label"] == cells["predicted"]
    if not right.any():
        return Thresholds(share, 0.0, 1.0)
    confidence, s = cells["confidence"][right], cells[column][right]
    low, high = 0.0, share
    for _ in range(30):  # of each threshold alone, so that both together give up the share
        middle = (low + high) / 2
        given_up = (confidence < np.quantile(confidence, middle)) | (s > np.quantile(s, 1 - middle))
        low, high = (middle, high) if given_up.mean() < share else (low, middle)
    at = float(np.quantile(s, 1 - low))
    return Thresholds(share, float(np.quantile(confidence, low)), float(novelty(found, np.array([at]), alone=alone)[0]))


def _quantile_of_right(found: Calibration, name: str, q: float) -> float:
    cells = records(found)
    right = cells["label"] == cells["predicted"]
    return float(np.quantile(cells[name][right], q)) if right.any() else 0.0


def fit_temperature(logits: np.ndarray, y: np.ndarray, softened: np.ndarray) -> float:
    """Return T: the maximum of the likelihood of the true classes, times a prior by which log T is near 0.

    Parameters
    ----------
    logits
        (B, C).
    y
        (B,) place of the true class.
    softened
        (B,) what the logits are divided by besides.
    """
    from scipy.optimize import minimize_scalar  # takes long to import

    if not len(y):
        return 1.0
    rows, divided = np.arange(len(y)), logits / softened[:, None]

    def cost(log_t: Any) -> float:
        return float(-log_softmax(divided / np.exp(log_t), axis=1)[rows, y].sum() + (log_t / PRIOR) ** 2 / 2)

    return float(np.exp(minimize_scalar(cost, bounds=(-1.5, 1.5), method="bounded").x))


def fit_scores(scores: np.ndarray, depth: np.ndarray, label: np.ndarray, n_classes: int) -> dict[str, np.ndarray]:
    """Return `depth`, `range`, `offset` and `scale` from the scores of cells; for the arguments see :func:`unlike`.

    Offsets and scales of classes of few cells are drawn to those of all.
    """
    found: dict[str, np.ndarray] = {"range": np.array([depth.min(), depth.max()])}
    powers = np.vander(depth.astype(float), 3)
    found["depth"] = np.linalg.lstsq(powers, scores)[0].T
    rest = scores - powers @ found["depth"].T
    of_class = np.eye(n_classes)[label].T
    n = of_class.sum(axis=1)[:, None]
    everywhere = rest.var(axis=0)
    offset = of_class @ rest / (n + 20)
    squares = of_class @ rest**2 - 2 * offset * (of_class @ rest) + n * offset**2
    return found | {
        "offset": offset.T,
        "scale": np.maximum(np.sqrt((np.maximum(squares, 0) + 20 * everywhere) / (n + 20)), LEAST_SCALE).T,
    }


def calibration_error(confidence: np.ndarray, right: np.ndarray, n_bins: int = 15) -> float:
    """Return the expected calibration error in bins of equal width (Naeini et al. 2015)."""
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    n = np.bincount(bins, minlength=n_bins)
    apart = np.abs(np.bincount(bins, right, n_bins) - np.bincount(bins, confidence, n_bins))
    return float(apart.sum() / max(n.sum(), 1))
