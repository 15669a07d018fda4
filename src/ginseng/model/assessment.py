"""What a model says of its own errors, from the cells that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ginseng.model.calibration import OVERLAP, Calibration, calibration_error, check, records, shapes, thresholds


def assessment(found: Calibration, names: Sequence[str], n_trained: np.ndarray | None = None) -> dict[str, Any]:
    """Return the figures of a model: numbers, lists and dicts, ready for JSON.

    Parameters
    ----------
    found
        :attr:`ginseng.model.GinsengClassifierState.calibration`.
    names
        Names of the classes.
    n_trained
        (classes,) number of training cells, if known.

    Returns
    -------
    `n_cells`, out of fold, with `accuracy`, `macro_f1` and `ece`, the calibration error in 15 bins; the `temperature`;
    `min_confidence` and `max_novelty`, which give up 5% of the right labels; `overlap`, a row per share of the model's
    weight with what labels are worth there; and `classes`, a row per class, None for what is not known. Of these,
    `novelty_auroc` is how well novelty would tell cells of the class if the reference lacked it, which
    `calibrate="types"` measures.
    """
    cells = records(found)
    label, predicted = cells["label"], cells["predicted"]
    right = label == predicted
    f1 = f1_scores(label, predicted, len(names))
    n = np.bincount(label, minlength=len(names))
    limits = thresholds(found)
    classes = [
        {
            "label": str(name),
            "n_trained": None if n_trained is None else int(n_trained[i]),
            "n_cells": int(n[i]),
            "f1": None if np.isnan(f1[i]) else float(f1[i]),
            "novelty_auroc": None if found["lacking"][i] < 0 else float(found["lacking"][i]),
        }
        for i, name in enumerate(names)
    ]
    some = len(label) > 0
    return {
        "n_cells": len(label),
        "accuracy": float(right.mean()) if some else None,
        "macro_f1": float(np.nanmean(f1)) if some else None,
        "ece": calibration_error(cells["confidence"], right) if some else None,
        "temperature": float(found["temperature"]),
        "min_confidence": limits.min_confidence,
        "max_novelty": limits.max_novelty,
        "overlap": [dict(zip(OVERLAP, map(float, row), strict=True)) for row in np.asarray(found["overlap"])],
        "classes": classes,
    }


def fits(found: Calibration, n_classes: int) -> bool:
    """Whether there are cells, and arrays are as they should be: a file may be described before it is checked."""
    arrays = {name: np.asarray(values) for name, values in found.items()}
    expected = shapes(0, n_classes)
    if arrays.keys() != expected.keys() or not len(np.atleast_1d(arrays["cells"])):
        return False
    for name, shape in expected.items():
        there = arrays[name].shape
        sizes = all(n in (None, m) for n, m in zip(shape, there, strict=False))
        if len(there) != len(shape) or not (sizes or name == "prototypes") or not np.isfinite(arrays[name]).all():
            return False
    try:
        check(arrays, n_classes)
    except ValueError:
        return False
    return True


def f1_scores(label: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the F1 score of each class, (classes,); NaN for those that no cell has and none is taken for.

    As of scikit-learn, whose import would take longer than all else of `ginseng info`.
    """
    right = np.bincount(label[label == predicted], minlength=n_classes)
    either = np.bincount(label, minlength=n_classes) + np.bincount(predicted, minlength=n_classes)
    return np.divide(2 * right, either, out=np.full(n_classes, np.nan), where=either > 0)
