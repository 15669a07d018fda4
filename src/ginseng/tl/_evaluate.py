from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.metrics import precision_recall_fscore_support

from ginseng import _keys
from ginseng._cells.colors import known_colors
from ginseng._cells.labels import compare_names, in_memory, paired_labels
from ginseng._cells.target import check_target
from ginseng._cells.write import Results, write
from ginseng._docs import document
from ginseng._errors import warn
from ginseng._logging import running
from ginseng.ontology.distance import measure_terms
from ginseng.ontology.labels import match_label
from ginseng.ontology.terms import cell_ontology


@document
def evaluate(
    adata: AnnData,
    label_key: str,
    *,
    key: str | None = None,
    key_added: str = _keys.DEFAULT,
    prediction_key: str | None = None,
    return_table: bool = False,
    overwrite: bool = False,
    copy: bool = False,
    unlabeled: str | Sequence[str] | None = None,
    ontology: bool = False,
) -> AnnData | pd.DataFrame | None:
    """Compare predicted with true labels.

    Labels are compared as strings. Cells without a true label (`None`, NaN, an empty string or a word such as
    "unknown") or without a predicted one are left out, with a warning. Predicted labels that are not among the true
    ones, such as "unassigned", count as wrong; a warning is shown if both have few names in common.

    Averages follow scikit-learn's defaults. Macro and weighted averages run over all true and predicted classes, so a
    class that is only predicted enters the macro F1 as zero. Balanced accuracy is the mean recall of the true classes.
    Undefined ratios are zero.

    Parameters
    ----------
    %(adata_labelled)s
    label_key
        Column of `adata.obs` with the true labels.
    %(key_read)s
    key_added
        Entry of `adata.uns` for the metrics.
    prediction_key
        Column of `adata.obs` with the predicted labels, if not `{key}_cell_type`.
    return_table
        Whether to return a table of the metrics per class, followed by their averages. All columns of its row
        `accuracy` have the overall accuracy.
    %(overwrite)s
    %(copy)s
    unlabeled
        True labels that stand for none, as in :func:`ginseng.tl.train`.
    ontology
        Whether to compare labels as terms of the Cell Ontology too, so that a model with other names, or with finer or
        broader types, can be scored. Terms are read from `adata.obs["<column>_ontology_term_id"]` if it exists, else
        found by :func:`ginseng.tl.map_labels`. Cells whose true label has no term are left out, with a warning.

    Returns
    -------
    `None`, the table if `return_table=True`, or the copy if `copy=True`. Sets
    `adata.uns['ginseng']['metrics']`, with:

    `accuracy`, `balanced_accuracy`, `macro_f1`, `weighted_f1`, `macro_precision`, `macro_recall` : :class:`float`
        In [0, 1].
    `n_cells` : :class:`int`
        Number of cells with both labels.
    `label_key`, `prediction_key` : :class:`str`
        The columns compared.
    `per_class` : :class:`pandas.DataFrame`
        `precision`, `recall`, `f1` and `support` (number of cells with that true label), one row per class.
    `confusion` : :class:`dict`
        `counts`, cells by true (row) and predicted (column) label, and `labels`, which name both.
    `ontology` : :class:`dict`
        With `ontology`. `accuracy`: the mean over cells of ``2 |A & B| / (|A| + |B|)``, where A and B are the true and
        the predicted term with all their ancestors except the root; 1 for the same term. `same`, `broader`, `finer`,
        `other`, `none`: fractions of cells by how the predicted term relates to the true one. `precision`, `recall`,
        `f1`: hierarchical, over terms and their ancestors (Kiritchenko et al. 2005). `n_cells`, and `n_without`, the
        number of cells left out.

    If the true labels have no colours in `adata.uns`, they get those of the predicted ones.

    Raises
    ------
    KeyError
        If a column does not exist.
    ValueError
        If no cell has both labels, or both `copy` and `return_table` are set.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", architecture="linear", epochs=2, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> gs.tl.evaluate(query, "cell_type")
    >>> list(query.uns["ginseng"]["metrics"]["per_class"].columns)
    ['precision', 'recall', 'f1', 'support']
    """
    if copy and return_table:
        msg = "`copy=True` and `return_table=True` cannot be combined: each sets the return value. Choose one."
        raise ValueError(msg)
    check_target(adata, "evaluate", key_added, overwrite=overwrite)
    key = key_added if key is None else key
    prediction_key = _keys.cell_type(key) if prediction_key is None else prediction_key
    with running(f"evaluation of {prediction_key!r} against {label_key!r}") as report:
        true, predicted = paired_labels(adata, label_key, prediction_key, unlabeled)
        by_ginseng = prediction_key == _keys.cell_type(key)
        known = np.asarray(adata.uns.get(key, {}).get("classes", []) if by_ginseng else [])
        if strange := compare_names(true, predicted, known, label_key):
            warn(strange)
        found = measure(true, predicted)
        if ontology:
            found["ontology"] = _by_terms(adata, true, predicted, label_key, prediction_key)
        metrics = {**found, "label_key": label_key, "prediction_key": prediction_key}
        colors = known_colors(in_memory(adata.obs[[prediction_key]]), adata.uns, prediction_key)
        results = Results(members={"metrics": metrics}, truth=label_key, classes=list(colors), colors=colors)
        adata = write(adata, "evaluate", key_added, results, copy=copy)
        report.done = (
            f"{len(true):,} cells compared: accuracy {found['accuracy']:.3f}, "
            f"balanced {found['balanced_accuracy']:.3f}, macro F1 {found['macro_f1']:.3f}"
        )
        if ontology:
            scores = found["ontology"]
            report(f"by the Cell Ontology {scores['accuracy']:.3f}, {scores['same']:.3f} the same term")
        report(f"added `.uns[{key_added!r}]['metrics']`")

    if return_table:
        per_class = found["per_class"]
        scores, support = per_class[["precision", "recall", "f1"]], per_class["support"]
        summary = pd.DataFrame(
            {
                "accuracy": dict.fromkeys(scores, found["accuracy"]),
                "balanced accuracy": {"recall": found["balanced_accuracy"]},
                "macro avg": scores.mean(),
                "weighted avg": scores.mul(support, axis=0).sum() / support.sum(),
            }
        ).T
        return pd.concat([per_class, summary.assign(support=len(true))[per_class.columns]])
    return adata if copy else None


def _by_terms(
    adata: AnnData, true: pd.Series, predicted: pd.Series, label_key: str, prediction_key: str
) -> dict[str, Any]:
    """Compare labels as terms of the Cell Ontology."""
    of_true, of_predicted = _terms(adata, true, label_key), _terms(adata, predicted, prediction_key)
    known = of_true.notna().to_numpy()
    if not known.any():
        msg = (
            f"No label in {label_key!r} is known to the Cell Ontology. Put the ids of its terms into "
            f"`adata.obs[{_keys.term_of(label_key)!r}]`: `gs.tl.map_labels(adata, {label_key!r}, crosswalk={{...}})`."
        )
        raise ValueError(msg)
    if not known.all():
        names = ", ".join(repr(str(name)) for name in true[~known].unique()[:5])
        warn(
            f"{(~known).sum():,} of {len(true):,} cells have a label in {label_key!r} without a term of the Cell "
            f"Ontology, and are left out of its scores: {names}."
        )
    terms = of_predicted[known]
    scores = measure_terms(of_true[known].tolist(), terms.where(terms.notna(), None).tolist())
    return {**scores, "n_cells": int(known.sum()), "n_without": int((~known).sum())}


def _terms(adata: AnnData, labels: pd.Series, column: str) -> pd.Series:
    """Return the term of each label, missing where there is none."""
    key = _keys.term_of(column)
    if key in adata.obs.columns:
        rows = adata.obs_names.get_indexer_for(labels.index) if adata.obs_names.is_unique else None
        if rows is not None and len(rows) == len(labels):
            ids = in_memory(adata.obs[[key]])[key].astype(object).iloc[rows]
            known = {term: cell_ontology().current(str(term)) for term in ids.unique()}
            return pd.Series(ids.map(known).to_numpy(object), index=labels.index, dtype=object)
    known = {label: match_label(str(label)).id for label in labels.unique()}
    return pd.Series([known[label] for label in labels], index=labels.index, dtype=object)


def measure(true: pd.Series | np.ndarray, predicted: pd.Series | np.ndarray | pd.Categorical) -> dict[str, Any]:
    """Return the metrics as stored in `uns`; averages are defined as in :func:`evaluate`."""
    counts, per_class = _per_class(pd.Series(true), pd.Series(predicted))
    support = per_class["support"].to_numpy()
    scores = per_class[["precision", "recall", "f1"]]
    macro = scores.mean()
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "balanced_accuracy": float(per_class.loc[support > 0, "recall"].mean()),
        "macro_f1": float(macro["f1"]),
        "weighted_f1": float(scores["f1"].to_numpy() @ support / support.sum()),
        "macro_precision": float(macro["precision"]),
        "macro_recall": float(macro["recall"]),
        "n_cells": len(true),
        "per_class": per_class,
        # not a DataFrame: neither file format supports a column named "T/NK"
        "confusion": {"counts": counts, "labels": per_class.index.to_numpy(dtype=object)},
    }


def _per_class(true: pd.Series, predicted: pd.Series) -> tuple[np.ndarray, pd.DataFrame]:
    labels = sorted({*true.unique(), *predicted.unique()})
    n = len(labels)
    # integers, since scikit-learn is slow on strings
    y_true, y_pred = (pd.Categorical(y, categories=labels).codes.astype(np.int64) for y in (true, predicted))
    counts = np.bincount(n * y_true + y_pred, minlength=n * n).reshape(n, n)
    precision, recall, f1, support = precision_recall_fscore_support(
        y_true, y_pred, labels=np.arange(n), zero_division=0
    )
    per_class = pd.DataFrame(
        {"precision": precision, "recall": recall, "f1": f1, "support": support},
        index=pd.Index(labels, dtype=object),
    )
    return counts, per_class
