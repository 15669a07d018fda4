"""Tidy tables of what was measured, for the plots; independent of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import binomtest

from ginseng import _keys
from ginseng._cells.labels import paired_labels
from ginseng._errors import MissingKeyError, suggest
from ginseng.pl._tables import entry

Order = Literal["cluster", "alphabetical"] | Sequence[str]


def confusion(adata: AnnData, label_key: str | None, key: str) -> pd.DataFrame:
    """Return the number of cells by true (rows) and predicted (columns) label.

    The columns are the true labels in the same order as the rows, followed by labels that are only predicted.
    """
    if label_key is None:
        fix = "Run `gs.tl.evaluate(adata, label_key)` first, or give `label_key`."
        stored = entry(adata, key, "metrics", fix)["confusion"]
        labels = pd.Index([str(label) for label in stored["labels"]], dtype=object)
        counts = pd.DataFrame(np.asarray(stored["counts"]), index=labels, columns=labels)
        counts = counts.loc[counts.sum(axis=1) > 0]
    else:
        counts = pd.crosstab(*paired_labels(adata, label_key, _keys.cell_type(key)))
    only_predicted = counts.columns.difference(counts.index)
    only_predicted = only_predicted[counts[only_predicted].sum() > 0]
    return counts.reindex(columns=[*counts.index, *only_predicted], fill_value=0)


def comparison(
    adata: AnnData, models: Sequence[str] | None, key: str, order: Order
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the table of a comparison, one row per model, and the confusion matrix of each model.

    All confusion matrices have the same rows and columns, in the order of :func:`ordered`.
    """
    found = entry(adata, key, "comparison", "Run `gs.tl.compare(adata, label_key)` first.")
    table: pd.DataFrame = found["table"]
    names = list(table.index)
    wanted = names if models is None else [str(model) for model in models]
    if unknown := [name for name in wanted if name not in names]:
        msg = f"{unknown[0]!r} was not compared. {suggest(unknown[0], names)}"
        raise MissingKeyError(msg)
    labels = pd.Index([str(label) for label in found["confusion"]["labels"]], dtype=object)
    counts = np.asarray(found["confusion"]["counts"])
    pooled = pd.DataFrame(counts.sum(axis=0), index=labels, columns=labels)
    pooled = pooled.loc[pooled.sum(axis=1) > 0]
    pooled = ordered(pooled.loc[:, (pooled.sum() > 0) | pooled.columns.isin(pooled.index)], order)
    matrices = {
        name: pd.DataFrame(counts[names.index(name)], labels, labels).loc[pooled.index, pooled.columns]
        for name in wanted
    }
    return table.loc[wanted], matrices


def ordered(counts: pd.DataFrame, order: Order) -> pd.DataFrame:
    """Order the true labels of a confusion matrix, in both rows and columns."""
    labels = list(counts.index)
    if order == "cluster":
        labels = [labels[i] for i in _cluster(counts[labels].to_numpy())]
    elif order == "alphabetical":
        labels = sorted(labels)
    elif isinstance(order, str):
        msg = f"`order` must be 'cluster', 'alphabetical' or a list of labels, not {order!r}."
        raise ValueError(msg)
    else:
        first = [str(label) for label in order]
        if unknown := [label for label in first if label not in counts.columns]:
            msg = f"`order` names {unknown[0]!r}, which no cell has. {suggest(unknown[0], labels)}"
            raise ValueError(msg)
        labels = [*(f for f in dict.fromkeys(first) if f in labels), *(x for x in labels if x not in first)]
    return counts.loc[labels, [*labels, *counts.columns.difference(labels)]]


def _cluster(counts: np.ndarray) -> np.ndarray:
    """Return an order of the classes that puts those that are often confused side by side."""
    if len(counts) < 3:
        return np.arange(len(counts))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance), "average", optimal_ordering=True))


def history(source: Any, key: str) -> tuple[pd.DataFrame, int | None]:
    """Return the columns `epoch`, `metric`, `split` and `value` (one per row), and the best epoch if known.

    The best epoch is the one that training kept, else the one with the lowest holdout loss.
    """
    params: Any = {}
    if isinstance(source, AnnData):
        curves = entry(source, key, "history", "Run `gs.tl.train(adata, label_key)` first.")
        params = source.uns[key].get("params", {})
    else:
        curves = getattr(source, "history", source)
    if not isinstance(curves, Mapping) or not {"epoch", "train_loss"} <= set(curves):
        msg = f"`history` needs an AnnData, a trained state or its history, not {type(source).__name__}."
        raise TypeError(msg)

    names = {
        "train_loss": ("loss", "training"),
        "holdout_loss": ("loss", "holdout"),
        "holdout_accuracy": ("accuracy", "holdout"),
        "holdout_f1": ("macro F1", "holdout"),
    }
    epoch = np.asarray(curves["epoch"], dtype=int)
    parts = [
        pd.DataFrame({"epoch": epoch, "metric": metric, "split": split, "value": np.asarray(curves[name], dtype=float)})
        for name, (metric, split) in names.items()
        if name in curves
    ]
    frame = pd.concat(parts, ignore_index=True).dropna(subset="value").reset_index(drop=True)
    if frame.empty:
        msg = "The history has no epoch with a loss: there is nothing to plot."
        raise ValueError(msg)
    best = params.get("best_epoch")
    holdout = frame.query("metric == 'loss' and split == 'holdout'")
    if best is None and not holdout.empty:
        best = holdout["epoch"].iloc[int(holdout["value"].argmin())]
    return frame, None if best is None else int(best)


def coverage(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, for each `threshold` of the confidence, the `coverage` and the `accuracy`.

    The coverage is the fraction of the cells with a true label that have a predicted one of at least this confidence,
    and the accuracy is the fraction of these that are right. One row per confidence that occurs, the highest first.
    """
    known = frame.dropna(subset="right").sort_values("confidence", ascending=False, kind="stable")
    kept = np.arange(1, len(known) + 1)
    curve = pd.DataFrame(
        {
            "threshold": known["confidence"].to_numpy(),
            "coverage": kept / int(frame["known"].sum()),
            "accuracy": known["right"].astype(float).to_numpy().cumsum() / kept,
        }
    )
    return curve.drop_duplicates("threshold", keep="last", ignore_index=True)


def reliability(frame: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    """Return the accuracy per equal-width bin of confidence.

    The columns are the edges `left` and `right`, the mean `confidence`, the `accuracy` with its 95% Wilson interval
    from `low` to `high`, and the number of cells `n`. Empty bins are omitted.
    """
    known = frame.dropna(subset="right")
    edges = np.linspace(0, 1, n_bins + 1)
    place = np.clip(np.searchsorted(edges, known["confidence"], side="left") - 1, 0, n_bins - 1)
    bins = known.assign(right=known["right"].astype(float)).groupby(place)
    table = bins.agg(
        confidence=("confidence", "mean"), accuracy=("right", "mean"), hits=("right", "sum"), n=("right", "size")
    )
    ranges = [
        binomtest(int(hits), int(n)).proportion_ci(method="wilson")
        for hits, n in zip(table["hits"], table["n"], strict=True)
    ]
    return table.assign(
        left=edges[table.index],
        right=edges[table.index + 1],
        low=[r.low for r in ranges],
        high=[r.high for r in ranges],
    )


def calibration_error(bins: pd.DataFrame) -> float:
    """Return the expected calibration error: the mean distance of accuracy and confidence, weighted by cells."""
    return float(np.average(np.abs(bins["accuracy"] - bins["confidence"]), weights=bins["n"]))


def vote(adata: AnnData, key: str) -> tuple[pd.DataFrame, pd.DataFrame, Mapping[str, Any]]:
    """Return the table of the vote, the cells by cluster (rows) and occurring label (columns), and the stored entry."""
    stored = entry(adata, key, "vote", "Run `gs.tl.vote(adata, groupby)` first.")
    table = pd.DataFrame(stored["table"])
    labels = pd.Index([str(label) for label in stored["labels"]], dtype=object)
    counts = pd.DataFrame(np.asarray(stored["counts"]), index=table.index.astype(str), columns=labels)
    return table.set_axis(counts.index), counts.loc[:, counts.sum() > 0], stored


def per_class(counts: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall, F1 and support of each true label of a confusion matrix; undefined ratios are zero."""
    right = np.array([counts.loc[label, label] for label in counts.index], dtype=float)
    support = counts.sum(axis=1).to_numpy(float)
    said = counts[list(counts.index)].sum().to_numpy(float)
    recall, precision = (right / np.maximum(total, 1) for total in (support, said))
    f1 = 2 * right / np.maximum(support + said, 1)
    found = {"precision": precision, "recall": recall, "f1": f1, "support": support.astype(int)}
    return pd.DataFrame(found, index=counts.index)


def folds(adata: AnnData, key: str) -> tuple[pd.DataFrame, Mapping[str, Any], str]:
    """Return the metrics of each fold, those over all cells, and what the folds are."""
    fix = "Run `gs.tl.cross_validate(adata, label_key)` first."
    table = pd.DataFrame(entry(adata, key, "folds", fix))
    by = str(adata.uns[key].get("params", {}).get("by", "cell"))
    return table.set_axis(table.index.astype(str)), entry(adata, key, "metrics", fix), by
