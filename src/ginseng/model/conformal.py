"""Sets of classes that have the true one with a chosen probability (split conformal prediction).

A class is in the set of a cell if its probability reaches a threshold. Of n cells that were not trained on, the
threshold is the k-th largest probability of the true class, k = ceil((n + 1) (1 - alpha)), so that the true class of a
new cell like them is in its set with a probability of at least 1 - alpha (Sadinle, Lei and Wasserman 2019, doi
10.1080/01621459.2017.1395341). Classes of enough such cells have a threshold of their own, which gives that
probability in each of them; the others share one.

A model that was trained on all cells is surer than those of the parts that it was calibrated with, and cells of another
study are surer or less sure throughout. So thresholds can be moved along: to where as many of the cells of a query are
less confident as of the calibration cells were below the threshold, of those that get the same label.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from ginseng.model.calibration import Calibration, records

#: Cells from which on a class has a threshold of its own.
OF_CLASS = 100
#: Share of the confidences below or above which a quantile is not looked for.
TAIL = 0.02


def thresholds(found: Calibration, alpha: float, n_classes: int) -> np.ndarray:
    """Return the probability from which on a class is in the set, (classes,) float32; 0 where too few cells tell.

    Classes of few cells share the threshold of all such cells, or, where these are few as well, that of all cells.
    """
    cells = records(found)
    label, probability = cells["label"], cells["probability"]
    alone = np.bincount(label, minlength=n_classes) >= OF_CLASS
    others = probability[~alone[label]]
    shared = threshold(others if len(others) >= OF_CLASS else probability, alpha)
    own = (threshold(probability[label == c], alpha) if alone[c] else shared for c in range(n_classes))
    return np.fromiter(own, np.float32, n_classes)


def threshold(probability: np.ndarray, alpha: float) -> float:
    """Return the k-th largest of the probabilities of the true classes, or 0 if there are fewer."""
    k = int(np.ceil((len(probability) + 1) * (1 - alpha)))
    return float(np.partition(probability, -k)[-k]) if k <= len(probability) else 0.0


def matched(thresholds: np.ndarray, found: Calibration, confidence: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return thresholds for a query, (classes,) float32; as they are for a query of fewer than 100 cells.

    Parameters
    ----------
    thresholds
        (classes,), of :func:`thresholds`.
    confidence, label
        (cells,) probability and place of the predicted class of the cells of the query.
    """
    if len(confidence) < OF_CLASS:
        return thresholds
    cells = records(found)
    moved = np.empty_like(thresholds)
    for c, at in enumerate(thresholds):
        before, now = cells["confidence"][cells["predicted"] == c], confidence[label == c]
        if min(len(before), len(now)) < OF_CLASS:
            before, now = cells["confidence"], confidence
        share = np.clip((before < at).mean(), TAIL, 1 - TAIL)
        moved[c] = expit(_logit(at) + _logit(np.quantile(now, share)) - _logit(np.quantile(before, share)))
    return np.where(thresholds > 0, moved, thresholds).astype(np.float32)


def _logit(p: float | np.floating) -> float:
    return float(logit(np.clip(float(p), 1e-6, 1 - 1e-6)))
