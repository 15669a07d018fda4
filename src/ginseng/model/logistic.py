"""Convert logistic regressions of scikit-learn and CellTypist to states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ginseng._core.logistic import Logistic
from ginseng.model.pickle_values import PickleError, Record
from ginseng.model.pickles import MAX_BYTES, read_pickle
from ginseng.model.state import GinsengClassifierState

#: Counts per cell to which CellTypist scales before log1p.
TARGET_SUM = 1e4
CELLTYPIST = {
    "name": "CellTypist",
    "citation": "Dominguez Conde et al. 2022, Cross-tissue immune cell analysis reveals tissue-specific features in "
    "humans, Science 376, eabl5197, https://doi.org/10.1126/science.abl5197; and the study in `source`, if any",
    "licence": "that of the model's own study; CellTypist itself is under MIT",
}


def read_celltypist(path: Path, *, max_bytes: int = MAX_BYTES) -> GinsengClassifierState:
    """Return the model in a CellTypist pickle; nothing in the file is executed.

    The probabilities are CellTypist's: one sigmoid per class, with logits from log1p counts per 10,000 that are
    standardised and clipped at 10. Genes missing from the data have no effect.

    Raises
    ------
    PickleError
        If the file is damaged or is not a CellTypist model.
    """
    found = read_pickle(path, max_bytes=max_bytes)
    try:
        classifier, scaler, description = _parts(found)
        genes = classifier.get("features", classifier.get("feature_names_in_"))
        texts = {k: str(v) for k, v in description.items() if isinstance(v, str | int | float) and v not in ("", None)}
        reference = {**CELLTYPIST, "file": path.name, **texts}
        return _state(classifier, scaler, genes, link="sigmoid", info={"reference": reference})
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        msg = f"{path} is a pickle, but not of a CellTypist model: {reason}."
        raise PickleError(msg) from error


def from_sklearn(
    classifier: Any, genes: Any = None, *, scaler: Any = None, target_sum: float = TARGET_SUM
) -> GinsengClassifierState:
    """Return the state of a fitted logistic regression of scikit-learn, with the same probabilities.

    Parameters
    ----------
    classifier
        A fitted :class:`sklearn.linear_model.LogisticRegression`, or a :class:`sklearn.pipeline.Pipeline` of a
        :class:`sklearn.preprocessing.StandardScaler` and one. It must have been fitted to log1p counts, scaled to
        `target_sum` per cell over all measured genes.
    genes
        (genes,) names in the order of the features. If None, the column names of the table that it was fitted to.
    scaler
        The fitted :class:`sklearn.preprocessing.StandardScaler` that was applied to the features, if any.
    target_sum
        Counts per cell after scaling.

    Raises
    ------
    TypeError
        If it is not a logistic regression.
    ValueError
        If it has not been fitted, or the gene names are unknown or not as many as the features.
    """
    steps = [step for _, step in getattr(classifier, "steps", [])]
    if steps:
        genes = getattr(classifier, "feature_names_in_", None) if genes is None else genes
        *before, classifier = steps
        if len(before) > 1 or any(not hasattr(step, "with_mean") for step in before) or (before and scaler is not None):
            msg = f"A pipeline may only have a StandardScaler before its LogisticRegression, not {before}."
            raise TypeError(msg)
        scaler = before[0] if before else scaler
    if not is_logistic_regression(classifier):
        msg = f"The classifier is a {type(classifier).__name__}, not a scikit-learn LogisticRegression."
        raise TypeError(msg)
    if not hasattr(classifier, "coef_"):
        msg = "The LogisticRegression has not been fitted."
        raise ValueError(msg)
    several = len(classifier.classes_) > 2
    if several and (classifier.solver == "liblinear" or getattr(classifier, "multi_class", "auto") == "ovr"):
        msg = "The LogisticRegression was fitted one-vs-rest. Fit a multinomial one: omit `multi_class` and `solver`."
        raise ValueError(msg)
    genes = getattr(classifier, "feature_names_in_", None) if genes is None else genes
    if genes is None:
        msg = "The gene names are unknown: pass them in the order of the features, `genes=`."
        raise ValueError(msg)
    given = None if scaler is None else vars(scaler)
    info = {"reference": {"name": "LogisticRegression of scikit-learn"}}
    return _state(vars(classifier), given, genes, link="softmax", info=info, target_sum=target_sum)


def is_logistic_regression(model: Any) -> bool:
    """Whether this is a scikit-learn logistic regression, or a pipeline that ends in one."""
    steps = getattr(model, "steps", None)
    model = steps[-1][1] if isinstance(steps, list) and steps else model
    return type(model).__name__ == "LogisticRegression" and type(model).__module__.startswith("sklearn.")


def _parts(found: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the attributes of the classifier and of the scaler, and the description."""
    if isinstance(found, Record) and found.name.name == "Model":
        attributes = found.attributes
        parts = attributes["classifier"], attributes["scaler"], attributes.get("description", {})
    elif isinstance(found, dict):
        parts = found["Model"], found["Scaler_"], found.get("description", {})
    else:
        msg = "it is not a dict with a model and its scaler"
        raise ValueError(msg)
    classifier, scaler, description = parts
    for part, names in ((classifier, ("LogisticRegression", "SGDClassifier")), (scaler, ("StandardScaler",))):
        if not isinstance(part, Record) or part.name.name not in names:
            msg = f"a {' or '.join(names)} is missing"
            raise ValueError(msg)
    if not isinstance(description, dict):
        msg = "its description is not a dict"
        raise TypeError(msg)
    return classifier.attributes, scaler.attributes, description


def _state(
    classifier: dict[str, Any],
    scaler: dict[str, Any] | None,
    genes: Any,
    *,
    link: Any,
    info: dict[str, Any],
    target_sum: float = TARGET_SUM,
) -> GinsengClassifierState:
    coef = np.atleast_2d(_numbers(classifier["coef_"], "coef_"))
    intercept = np.atleast_1d(_numbers(classifier["intercept_"], "intercept_"))
    labels = [str(label) for label in np.asarray(classifier["classes_"]).tolist()]
    names = [str(gene) for gene in np.asarray(genes).tolist()]
    if len(labels) == 2 and len(coef) == 1:  # scikit-learn stores the second class only; the first is its negative
        sign = np.array([-1.0, 1.0] if link == "sigmoid" else [0.0, 1.0])
        coef, intercept = sign[:, None] * coef, sign * intercept
    n = coef.shape[1]
    mean, scale = np.zeros(n), np.ones(n)
    if scaler is not None and scaler.get("with_mean", True) and scaler.get("mean_") is not None:
        mean = _numbers(scaler["mean_"], "mean_")
    if scaler is not None and scaler.get("scale_") is not None:
        scale = _numbers(scaler["scale_"], "scale_")
    expected = {"coef_": (len(labels), n), "intercept_": (len(labels),), "mean_": (n,), "scale_": (n,), "genes": (n,)}
    found = {"coef_": coef.shape, "intercept_": intercept.shape, "mean_": mean.shape, "scale_": scale.shape}
    for name, shape in (found | {"genes": (len(names),)}).items():
        if shape != expected[name]:
            msg = f"{name!r} has shape {shape}, where {expected[name]} is expected"
            raise ValueError(msg)
    if np.min(scale, initial=1.0) < np.finfo(np.float32).tiny:
        msg = "'scale_' has values that are not above 0"
        raise ValueError(msg)
    state = GinsengClassifierState.of(
        network := Logistic(link=link, clip=link == "sigmoid"),
        params=network.params_of(mean, scale, coef.T, intercept),
        genes=names, label_keys=labels, label_values=np.arange(len(labels)), n_genes=n, n_classes=len(labels),
        normalize=True, target_sum=target_sum, library_size="all_genes", info=info,
    )  # fmt: skip
    state.check()
    return state


def _numbers(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu" or array.size == 0:
        msg = f"{name!r} is {array.dtype}{array.shape}, where numbers are expected"
        raise ValueError(msg)
    if not np.isfinite(array).all() or np.abs(array).max() > np.finfo(np.float32).max:
        msg = f"{name!r} has values that are NaN, infinite, or beyond single precision"
        raise ValueError(msg)
    return array.astype(np.float64)
