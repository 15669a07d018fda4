"""Sets of classes that have the true one with a chosen probability (split conformal prediction).

A class is in the set of a cell if its probability reaches a threshold. Of n cells that were not trained on, the
threshold is the k-th largest probability of the true class, k = ceil((n + 1) (1 - alpha)), so that the true class of a
new cell like them is in its set with a probability of at least 1 - alpha (Sadinle, Lei and Wasserman 2019, doi
10.1080/01621459.2017.1395341). Classes of enough such cells have a threshold of their own, which gives that
probability in each of them; the others share one.
"""

from __future__ import annotations

import numpy as np

from ginseng.model.calibration import Calibration, records

#: Cells from which on a class has a threshold of its own.
OF_CLASS = 100


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
