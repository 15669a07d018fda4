"""Tidy tables of what the plots draw. Nothing here knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from ginseng import _checks, _keys
from ginseng._labels import as_labels, in_memory, paired_labels, predicted_labels

Order = Literal["cluster", "alphabetical"] | Sequence[str]

_AXIS_NAMES = {"umap": "UMAP", "tsne": "tSNE", "pca": "PC", "diffmap": "DC", "draw_graph_fa": "FA"}


def _entry(adata: AnnData, key: str, name: str, fix: str) -> Any:
    entries = adata.uns.get(key, {})
    if name not in entries:
        msg = f"`adata.uns[{key!r}]` has no {name!r}. {fix} {_checks.suggest(name, entries)}"
        raise _checks.MissingKeyError(msg)
    return entries[name]


def confusion(adata: AnnData, label_key: str | None, key: str) -> pd.DataFrame:
    """Return cells by true (rows) and predicted (columns) label.

    The rows are the true labels; the columns are the same labels in the same order, then those that are
    only ever predicted.
    """
    if label_key is None:
        fix = "Run `gs.tl.evaluate(adata, label_key)` first, or give `label_key`."
        stored = _entry(adata, key, "metrics", fix)["confusion"]
        labels = pd.Index([str(label) for label in stored["labels"]], dtype=object)
        counts = pd.DataFrame(np.asarray(stored["counts"]), index=labels, columns=labels)
        counts = counts.loc[counts.sum(axis=1) > 0]
    else:
        counts = pd.crosstab(*paired_labels(adata, label_key, _keys.cell_type(key)))
    only_predicted = counts.columns.difference(counts.index)
    only_predicted = only_predicted[counts[only_predicted].sum() > 0]
    return counts.reindex(columns=[*counts.index, *only_predicted], fill_value=0)


def ordered(counts: pd.DataFrame, order: Order) -> pd.DataFrame:
    """Order the true labels of a confusion table, in rows and columns alike."""
    labels = list(counts.index)
    if order == "cluster":
        labels = [labels[i] for i in _cluster(counts[labels].to_numpy())]
    elif order == "alphabetical":
        labels = sorted(labels)
    elif isinstance(order, str):
        msg = f"`order` is {order!r}. Give 'cluster', 'alphabetical' or a list of labels."
        raise ValueError(msg)
    else:
        first = [str(label) for label in order]
        if unknown := [label for label in first if label not in counts.columns]:
            msg = f"`order` names {unknown[0]!r}, which no cell has. {_checks.suggest(unknown[0], labels)}"
            raise ValueError(msg)
        labels = [*(f for f in dict.fromkeys(first) if f in labels), *(x for x in labels if x not in first)]
    return counts.loc[labels, [*labels, *counts.columns.difference(labels)]]


def _cluster(counts: np.ndarray) -> np.ndarray:
    """Order classes so that those mistaken for each other stand side by side."""
    if len(counts) < 3:
        return np.arange(len(counts))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance), "average", optimal_ordering=True))


def history(source: Any, key: str) -> tuple[pd.DataFrame, int | None]:
    """Return `epoch`, `metric`, `split`, `value`, a value a row, and the best epoch where there is one.

    The best epoch is the one that training kept, or else the one with the lowest holdout loss.
    """
    params: Any = {}
    if isinstance(source, AnnData):
        curves = _entry(source, key, "history", "Run `gs.tl.train(adata, label_key)` first.")
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
        msg = "The history has no epoch with a loss: there is nothing to draw."
        raise ValueError(msg)
    best = params.get("best_epoch")
    holdout = frame.query("metric == 'loss' and split == 'holdout'")
    if best is None and not holdout.empty:
        best = holdout["epoch"].iloc[int(holdout["value"].argmin())]
    return frame, None if best is None else int(best)


def embedding(
    adata: AnnData, basis: str, label_key: str | None, key: str, components: tuple[int, int]
) -> tuple[pd.DataFrame, tuple[str, str]]:
    """Return `x`, `y`, `true`, `predicted` and `confidence` of each cell, and the names of the axes.

    `true` is there with `label_key` only, `confidence` where `adata.obs` has it. Labels are categories, in
    the order of the categories in `adata.obs`.
    """
    name = basis if basis in adata.obsm else f"X_{basis}"
    if name not in adata.obsm:
        msg = f"`adata.obsm` has no {basis!r} or {name!r}. {_checks.suggest(name, adata.obsm)}"
        raise _checks.MissingKeyError(msg)
    coordinates = np.asarray(adata.obsm[name])
    if min(components) < 1 or max(components) > coordinates.shape[1]:
        msg = f"`components` is {components}, but `adata.obsm[{name!r}]` has 1 to {coordinates.shape[1]}."
        raise ValueError(msg)
    x, y = (coordinates[:, c - 1] for c in components)
    frame = pd.DataFrame({"x": x, "y": y}, index=adata.obs_names)
    obs = in_memory(adata.obs)
    if label_key is not None:
        column = _checks.column(obs, label_key)
        frame["true"] = pd.Categorical(as_labels(column), categories=categories(column))
    predicted = predicted_labels(adata, _keys.cell_type(key))
    frame["predicted"] = pd.Categorical(predicted, categories=categories(obs[_keys.cell_type(key)]))
    if _keys.confidence(key) in obs:
        frame["confidence"] = obs[_keys.confidence(key)].to_numpy(dtype=float)
    axis = _AXIS_NAMES.get(name.removeprefix("X_"), name.removeprefix("X_"))
    return frame, (f"{axis}{components[0]}", f"{axis}{components[1]}")


def categories(column: pd.Series) -> list[str]:
    """Return the labels that a column can have, in the order in which scanpy gives them colours."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(dict.fromkeys(str(c) for c in column.cat.categories if str(c)))
    return sorted(as_labels(column).dropna().unique())


def known_colors(adata: AnnData, column: str) -> dict[str, Any]:
    """Return the colours that scanpy keeps for the labels of a column of `adata.obs`, if it does."""
    labels = categories(in_memory(adata.obs)[column])
    stored = adata.uns.get(f"{column}_colors", ())
    return dict(zip(labels, stored, strict=False)) if len(stored) >= len(labels) else {}
