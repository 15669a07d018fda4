"""The classes of a query as they lie in it: what a model trained on another study errs on, like cells make up for.

In principal components of the query (:mod:`ginseng.model.components`), each class is a normal distribution about a mean
of its own, with a covariance that all share: linear discriminant analysis, fitted to the most probable label of each
cell, weighted by its probability. Cells that are likely of none of the classes neither count nor change. Let x_i be the
place of cell i, c_i its label and p_i the probability of that:

    n_c = sum of p_i over the cells of c,    m_c = sum of p_i x_i / n_c,    S = sum_i p_i (x_i - m_c)(x_i - m_c)' / n

    q_ic ~ exp((log n_c - (x_i - m_c)' S^-1 (x_i - m_c) / 2) / 3),    p' = (1 - a) p + a q

where S is shrunk by a tenth towards the mean variance, and a is the share that they count. What p' says is fitted once
more: a classification EM (Celeux and Govaert 1992) that stays near the labels of the model. Classes of few cells keep
the probability that the model gives.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import linalg
from scipy.special import softmax

# B cells, C classes, D of them with enough cells, K components, N cells of the sample

#: How often the classes are fitted.
ROUNDS = 2
#: What the logits are divided by: cells are not quite normal about the mean of their class.
TEMPERATURE = 3.0
#: How far the covariance is drawn to one variance for all components.
SHRINKAGE = 0.1
#: Novelty above which a cell is likely of none of the classes.
NEW = 0.9
#: Fewest cells of a class.
LEAST_CELLS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class OwnClasses:
    """Classes of a query.

    Parameters
    ----------
    share
        How much they count, between 0 and 1.
    known
        (C,) bool, those with enough cells.
    coefficients, intercepts
        (K, D) and (D,), by which places become logits.
    """

    share: float
    known: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray

    def mix(self, probs: np.ndarray, place: np.ndarray, novelty: np.ndarray | None = None) -> np.ndarray:
        """Return probabilities by the model and by these classes together, (B, C).

        Parameters
        ----------
        probs
            (B, C) by the model.
        place
            (B, K) of the cells.
        novelty
            (B,) of the cells; those that are likely of none of the classes keep the probabilities by the model.
        """
        of_known = probs[:, self.known]
        own = softmax(place @ self.coefficients + self.intercepts, axis=1) * of_known.sum(axis=1, keepdims=True)
        mixed = probs.copy()
        share = self.share if novelty is None else np.where(novelty <= NEW, self.share, 0)[:, None]
        mixed[:, self.known] = (1 - share) * of_known + share * own
        return mixed


def own_classes(
    place: np.ndarray, probs: np.ndarray, share: float, novelty: np.ndarray | None = None
) -> OwnClasses | None:
    """Return the classes of a query; None if fewer than two have enough cells.

    Parameters
    ----------
    place
        (N, K) of the cells.
    probs
        (N, C) by the model.
    share
        How much the classes count, between 0 and 1.
    novelty
        (N,) of the cells, of which those that are likely of none of the classes do not count; all count if None.
    """
    place, mixed, found = place.astype(float), probs, None
    for _ in range(ROUNDS):
        found = _fit(place, mixed if novelty is None else mixed * (novelty <= NEW)[:, None], share)
        if found is None:
            return None
        mixed = found.mix(probs, place, novelty)
    return found


def _fit(place: np.ndarray, probs: np.ndarray, share: float) -> OwnClasses | None:
    label, p = probs.argmax(axis=1), probs.max(axis=1).astype(float)
    known = np.bincount(label[p > 0], minlength=probs.shape[1]) >= LEAST_CELLS
    if known.sum() < 2:
        return None
    weights = np.where(np.arange(probs.shape[1]) == label[:, None], p[:, None], 0)[:, known]
    n = weights.sum(axis=0)
    means = weights.T @ place / n[:, None]
    within = (place * weights.sum(axis=1)[:, None]).T @ place - (means * n[:, None]).T @ means
    within /= n.sum()
    spread = np.trace(within) / len(within)
    if spread <= np.finfo(np.float32).eps * np.square(place).mean():  # but for rounding, cells of a class are alike
        return None
    covariance = (1 - SHRINKAGE) * within + SHRINKAGE * spread * np.eye(len(within))
    coefficients = linalg.solve(covariance, means.T, assume_a="pos")
    intercepts = np.log(n / n.sum()) - (means.T * coefficients).sum(axis=0) / 2
    return OwnClasses(share, known, coefficients / TEMPERATURE, intercepts / TEMPERATURE)
