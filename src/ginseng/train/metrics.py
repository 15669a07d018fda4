"""Measures on the held-out cells. To add one, add a row here and a column to `GinsengLogger`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

type Measures = dict[str, float]


def _f1(y: np.ndarray, predicted: np.ndarray) -> float:
    from sklearn.metrics import f1_score  # takes longest to import: see `Holdout.compile`

    return f1_score(y, predicted, average="macro", zero_division=0)


#: Functions of the cross-entropy, the true class and the predicted class of each cell.
MEASURES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "loss": lambda losses, y, predicted: losses.mean(),
    "error": lambda losses, y, predicted: losses.std() / math.sqrt(len(losses)),  # standard error of the loss
    "accuracy": lambda losses, y, predicted: (y == predicted).mean(),
    "f1": lambda losses, y, predicted: _f1(y, predicted),
}


def measure(losses: np.ndarray, y: np.ndarray, predicted: np.ndarray) -> Measures:
    """Return all measures; NaN without cells."""
    return {name: float(f(losses, y, predicted)) if len(y) else math.nan for name, f in MEASURES.items()}
