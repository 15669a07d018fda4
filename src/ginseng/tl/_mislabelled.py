"""Which labels are probably wrong, by the probabilities of models that have not seen the cells."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

#: Cells that the calibration is fitted to, at most.
ENOUGH = 50_000
#: Types with fewer cells than `FEW` count as too small if less than half of them are recognised; those with fewer than
#: `FEWEST` always do.
FEWEST, FEW = 5, 50
#: Two types cannot be told apart if, asked which of the two it is, the models are wrong about this share of the cells
#: or more; guessing is wrong about half.
ALIKE = 0.2


class Judgement(NamedTuple):
    """What out-of-fold probabilities say of labels."""

    wrong: np.ndarray  # (cells,) probability that the label is wrong, NaN where that cannot be said
    probs: np.ndarray  # (cells, classes) calibrated
    share: float  # of the labels, estimated to be wrong


def judge(probs: np.ndarray, labels: np.ndarray, known: np.ndarray) -> Judgement:
    """Return how probable it is that each label is wrong.

    A label is either drawn from the probabilities of the models, or wrong, in one of two ways: any other class, all
    equally likely, or one that the models often take for the true one. How many are wrong in each way is fitted by
    maximum likelihood, together with a temperature and an offset for each class, as in calibration, so that wrong
    labels do not make the models look unsure, nor the other way round. A label that the models doubt is then wrong
    where classes are distinct, and where two are alike rather no surprise.

    Parameters
    ----------
    probs
        (cells, classes), of models that have not seen the cell.
    labels
        (cells,) integer labels.
    known
        (cells,) bool, cells that the models could label as they are.
    """
    log_probs = np.log(np.maximum(probs.astype(float), 1e-12))
    n_classes = probs.shape[1]
    anyone = np.ones((n_classes, n_classes)) - np.eye(n_classes)
    similar = np.zeros_like(anyone)  # mean probabilities of the other classes, by label
    np.add.at(similar, labels[known], probs[known])
    mistakes = [each / np.maximum(each.sum(axis=1, keepdims=True), 1e-12) for each in (anyone, similar * anyone)]
    rows = np.flatnonzero(known)
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), ENOUGH)).astype(int)]
    start = np.r_[0.0, -3.0, -3.0, np.zeros(n_classes)]
    fit = partial(_likelihood, mistakes=mistakes)
    given = log_probs[some], labels[some]
    found = minimize(lambda x: fit(x, *given)[:2], start, jac=True, method="L-BFGS-B").x
    *_, right, calibrated = fit(found, log_probs, labels)
    return Judgement(np.where(known, 1 - right, np.nan), calibrated, float(1 - _ways(found)[0]))


def _ways(x: np.ndarray) -> np.ndarray:
    """Return the shares of labels that are right, and that are wrong in either way."""
    return softmax(np.r_[0.0, x[1:3]])


def _likelihood(
    x: np.ndarray, log_probs: np.ndarray, labels: np.ndarray, *, mistakes: Sequence[np.ndarray]
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return the negative log-likelihood with a standard normal prior on the offsets, and its gradient.

    Also the probability that each label is right, and the calibrated probabilities.

    Parameters
    ----------
    x
        Log of the inverse temperature, log-odds of the two ways to be wrong, and offset of each class.
    mistakes
        For each way to be wrong, (classes, classes), the probability of each label given the true class.
    """
    scale, offset, ways = np.exp(x[0]), x[3:], _ways(x)
    rows = np.arange(len(labels))
    probs = np.exp(log_softmax(scale * log_probs + offset, axis=1))
    # by true class: the probability of the label that the cell has
    of_label = [mistake[:, labels].T for mistake in mistakes]
    given = ways[1] * of_label[0] + ways[2] * of_label[1]
    given[rows, labels] += ways[0]
    likelihood = np.maximum((probs * given).sum(axis=1), 1e-300)
    excess = probs * given / likelihood[:, None] - probs  # by logit
    own = probs[rows, labels]
    by_way = np.array([(each / likelihood).sum() for each in (own, *((probs * each).sum(axis=1) for each in of_label))])
    gradient = np.r_[
        scale * (excess * log_probs).sum(), ways[1:] * (by_way[1:] - ways @ by_way), excess.sum(axis=0) - offset
    ]
    loss = 0.5 * float(offset @ offset) - float(np.log(likelihood).sum())
    return loss, -gradient, ways[0] * own / likelihood, probs


def describe_types(judged: Judgement, labels: np.ndarray, names: np.ndarray, groups: np.ndarray | None) -> pd.DataFrame:
    """Return a row per type: its cells, their groups, the share recognised, and whether it is too small to learn."""
    n_cells = np.bincount(labels, minlength=len(names))
    known = np.isfinite(judged.wrong)
    right = np.bincount(labels[known], judged.probs[known].argmax(axis=1) == labels[known], len(names))
    n_known = np.bincount(labels[known], minlength=len(names))
    recognised = right / np.maximum(n_known, 1)
    types = pd.DataFrame({"n_cells": n_cells}, index=pd.Index(names.astype(object), name="label"))
    if groups is not None:
        types["n_groups"] = [len(np.unique(groups[labels == i])) for i in range(len(names))]
    types["recognised"] = recognised
    types["too_small"] = (n_known < FEWEST) | ((n_cells < FEW) & (recognised < 0.5))
    return types


def alike(probs: np.ndarray, labels: np.ndarray, cells: np.ndarray, types: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of types that cannot be told apart, the worst first.

    Parameters
    ----------
    cells
        (cells,) bool, those to judge by.
    """
    n_classes = len(types)
    mistaken = np.zeros((n_classes, n_classes))  # share of the cells of a type that look more like the other
    usable = ~types["too_small"].to_numpy()
    for i in np.flatnonzero(usable):
        mine = probs[cells & (labels == i)]
        if len(mine):
            mistaken[i] = (mine > mine[:, [i]]).mean(axis=0)
    error = (mistaken + mistaken.T) / 2
    first, second = np.nonzero(np.triu(error >= ALIKE, 1) & np.outer(usable, usable))
    order = np.argsort(-error[first, second], kind="stable")
    first, second = first[order], second[order]
    names = types.index.to_numpy(object)
    columns = {"first": names[first], "second": names[second], "error": error[first, second]}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(first)).astype(str))
