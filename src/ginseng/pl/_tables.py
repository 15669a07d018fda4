"""Tidy tables behind the plots, independent of matplotlib."""

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
from ginseng._cells import colors
from ginseng._cells.entries import column
from ginseng._cells.labels import UNASSIGNED, as_labels, in_memory, paired_labels, predicted_labels
from ginseng._cells.matrix import row_sums, take_columns
from ginseng._cells.open import open_cells
from ginseng._core.normalize import log_normalize
from ginseng._errors import MissingKeyError, suggest

Order = Literal["cluster", "alphabetical"] | Sequence[str]

_AXIS_NAMES = {"umap": "UMAP", "tsne": "tSNE", "pca": "PC", "diffmap": "DC", "draw_graph_fa": "FA"}


def _entry(adata: AnnData, key: str, name: str, fix: str) -> Any:
    entries = adata.uns.get(key, {})
    if name not in entries:
        msg = f"`adata.uns[{key!r}]` has no {name!r}. {fix} {suggest(name, entries)}"
        raise MissingKeyError(msg)
    return entries[name]


def confusion(adata: AnnData, label_key: str | None, key: str) -> pd.DataFrame:
    """Return the number of cells by true (rows) and predicted (columns) label.

    The columns are the true labels in the same order as the rows, followed by labels that are only predicted.
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


def comparison(
    adata: AnnData, models: Sequence[str] | None, key: str, order: Order
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the table of a comparison, one row per model, and the confusion matrix of each model.

    All confusion matrices have the same rows and columns, in the order of :func:`ordered`.
    """
    found = _entry(adata, key, "comparison", "Run `gs.tl.compare(adata, label_key)` first.")
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
        msg = "The history has no epoch with a loss: there is nothing to plot."
        raise ValueError(msg)
    best = params.get("best_epoch")
    holdout = frame.query("metric == 'loss' and split == 'holdout'")
    if best is None and not holdout.empty:
        best = holdout["epoch"].iloc[int(holdout["value"].argmin())]
    return frame, None if best is None else int(best)


def embedding(
    adata: AnnData, basis: str, label_key: str | None, key: str, components: tuple[int, int]
) -> tuple[pd.DataFrame, tuple[str, str]]:
    """Return the columns `x`, `y`, `true`, `predicted` and `confidence` by cell, and the names of the axes.

    `true` needs `label_key`, and `confidence` its column in `adata.obs`. Labels are categorical, with the order of
    the categories in `adata.obs`.
    """
    name = basis if basis in adata.obsm else f"X_{basis}"
    if name not in adata.obsm:
        msg = f"`adata.obsm` has no {basis!r} or {name!r}. {suggest(name, adata.obsm)}"
        raise MissingKeyError(msg)
    coordinates = np.asarray(adata.obsm[name])
    if min(components) < 1 or max(components) > coordinates.shape[1]:
        msg = f"`components` is {components}, but `adata.obsm[{name!r}]` has 1 to {coordinates.shape[1]}."
        raise ValueError(msg)
    x, y = (coordinates[:, c - 1] for c in components)
    frame = pd.DataFrame({"x": x, "y": y}, index=adata.obs_names)
    obs = in_memory(adata.obs)
    if label_key is not None:
        labels = column(obs, label_key)
        frame["true"] = pd.Categorical(as_labels(labels), categories=categories(labels))
    predicted = predicted_labels(adata, _keys.cell_type(key))
    frame["predicted"] = pd.Categorical(predicted, categories=categories(obs[_keys.cell_type(key)]))
    if _keys.confidence(key) in obs:
        frame["confidence"] = obs[_keys.confidence(key)].to_numpy(dtype=float)
    axis = _AXIS_NAMES.get(name.removeprefix("X_"), name.removeprefix("X_"))
    return frame, (f"{axis}{components[0]}", f"{axis}{components[1]}")


def categories(column: pd.Series) -> list[str]:
    """Return the possible labels of a column, in the order in which scanpy colours them."""
    return [label for label in dict.fromkeys(colors.categories(column)) if label]


def all_labels(adata: AnnData, columns: Sequence[str]) -> list[str]:
    """Return the possible labels of these columns of `adata.obs`."""
    obs = in_memory(adata.obs)
    return list(dict.fromkeys(label for column in columns for label in categories(obs[column])))


def unassigned(adata: AnnData, key: str) -> str:
    """Return the label that :func:`ginseng.tl.classify` used for unassigned cells."""
    return str(adata.uns.get(key, {}).get("unassigned", {}).get("label", UNASSIGNED))


def known_colors(adata: AnnData, column: str) -> dict[str, Any]:
    """Return the colours in `adata.uns` of the labels of a column of `adata.obs`, if any."""
    return colors.known_colors(in_memory(adata.obs), adata.uns, column)


def ranked_genes(
    adata: AnnData, key: str, groups: Sequence[str] | None, n_genes: int | None, min_logfoldchange: float | None
) -> pd.DataFrame:
    """Return the scores of the top genes of each group: groups x genes, missing where not stored.

    A gene that is among the top genes of several groups is placed with the first of them.
    """
    name = _keys.rank_genes(key)
    if name not in adata.uns:
        msg = f"`adata.uns` has no {name!r}. Run `gs.tl.rank_genes` first. {suggest(name, adata.uns)}"
        raise MissingKeyError(msg)
    ranks = adata.uns[name]
    known = list(ranks["names"].dtype.names)
    chosen = known if groups is None else [str(group) for group in groups]
    if unknown := [group for group in chosen if group not in known]:
        msg = f"No genes are ranked for {unknown[0]!r}. {suggest(unknown[0], known)}"
        raise MissingKeyError(msg)
    n_genes = int(np.clip(120 // max(len(chosen), 1), 1, 5)) if n_genes is None else n_genes
    best: list[str] = []
    for group in chosen:
        genes = ranks["names"][group]
        if min_logfoldchange is not None:
            genes = genes[ranks["logfoldchanges"][group] > min_logfoldchange]
        best += [str(gene) for gene in genes[:n_genes]]
    if not best:
        msg = f"No gene has a log fold change above {min_logfoldchange}. Lower `min_logfoldchange`."
        raise ValueError(msg)
    scores = {
        group: pd.Series(ranks["scores"][group], index=[str(gene) for gene in ranks["names"][group]])
        for group in chosen
    }
    genes = list(dict.fromkeys(best))
    return pd.DataFrame({group: values.reindex(genes) for group, values in scores.items()}, index=genes).T


def expression(
    adata: AnnData, genes: Sequence[str], groups: Sequence[str], key: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mean expression (log1p, as in the model) and fraction of expressing cells: groups x genes."""
    params = adata.uns[_keys.rank_genes(key)]["params"]
    groupby = str(params["groupby"])
    labels = as_labels(column(in_memory(adata.obs), groupby))
    group = pd.Categorical(labels, categories=list(groups)).codes
    layer = params.get("layer")
    cells = open_cells(adata, layer=None if layer is None else str(layer), in_place=True)
    names = cells.var.index.astype(str)
    place = pd.Index(genes).get_indexer(names)
    if missing := sorted(set(range(len(genes))) - set(place)):
        msg = f"`adata` has no gene {genes[missing[0]]!r}: rank the genes of these data."
        raise MissingKeyError(msg)
    by = params.get("library_genes")  # the genes of the model's library size
    summed = cells.measured if by is None else names.isin([str(name) for name in by])
    total, shown = np.zeros((2, len(groups), len(genes)))
    for start, stop, block, _ in cells.blocks():
        if params.get("logged"):  # as the model does
            block = np.expm1(block) if isinstance(block, np.ndarray) else block.expm1()
        taken = take_columns(block, place, len(genes))
        x = np.asarray(taken if isinstance(taken, np.ndarray) else taken.toarray(), dtype=float)
        if params["normalize"]:
            x = log_normalize(x, row_sums(block, summed), float(params["target_sum"]))
        here = group[start:stop]
        member = (here == np.arange(len(groups))[:, None]).astype(float)
        total += member @ x
        shown += member @ (x > 0)
    n_cells = np.maximum(np.bincount(group[group >= 0], minlength=len(groups)), 1)[:, None]
    frames = (pd.DataFrame(values / n_cells, index=list(groups), columns=list(genes)) for values in (total, shown))
    mean, share = frames
    return mean, share


def explanation(adata: AnnData, cells: str | Sequence[str] | None, key: str) -> dict[str, pd.DataFrame]:
    """Return the genes for and against the label of each cell, by cell."""
    table = _entry(adata, key, _keys.EXPLANATION, "Run `gs.tl.explain(adata, model, cells)` first.")
    by_cell = {str(name): rows for name, rows in table.groupby(table["cell"].astype(str), sort=False)}
    wanted = list(by_cell) if cells is None else [cells] if isinstance(cells, str) else [str(cell) for cell in cells]
    for cell in wanted:
        if cell not in by_cell:
            msg = f"Cell {cell!r} is not explained. {suggest(cell, by_cell)}"
            raise MissingKeyError(msg)
    return {cell: by_cell[cell] for cell in wanted}


def confidence(adata: AnnData, label_key: str | None, key: str) -> pd.DataFrame:
    """Return `predicted` and `confidence` of cells with both and, given `label_key`, whether the label is `right`.

    `right` is missing for cells without a true label, and for unassigned ones.
    """
    predicted = predicted_labels(adata, _keys.cell_type(key))
    obs = in_memory(adata.obs)
    frame = pd.DataFrame({"predicted": predicted, "confidence": column(obs, _keys.confidence(key))})
    frame = frame.astype({"confidence": float}).reset_index(drop=True)  # cell names may not be unique
    if label_key is not None:
        true = as_labels(column(obs, label_key)).reset_index(drop=True)
        given = frame["predicted"].notna() & (frame["predicted"] != unassigned(adata, key))
        both = given & true.notna() & frame["confidence"].notna()
        if not both.any():
            msg = f"No cell has both a predicted label and one in {label_key!r}. Check that this is the right column."
            raise ValueError(msg)
        frame["right"] = (frame["predicted"] == true).astype("boolean").where(both)
    return frame.dropna(subset=["predicted", "confidence"])


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
    stored = _entry(adata, key, "vote", "Run `gs.tl.vote(adata, groupby)` first.")
    table = pd.DataFrame(stored["table"])
    labels = pd.Index([str(label) for label in stored["labels"]], dtype=object)
    counts = pd.DataFrame(np.asarray(stored["counts"]), index=table.index.astype(str), columns=labels)
    return table.set_axis(counts.index), counts.loc[:, counts.sum() > 0], stored


def composition(adata: AnnData, groupby: str, label_key: str) -> pd.DataFrame:
    """Return the number of cells by group (rows) and label (columns), in the order of their categories."""
    obs = in_memory(adata.obs)
    group, label = column(obs, groupby), column(obs, label_key)
    groups = pd.Categorical(as_labels(group), categories=categories(group))
    names = list(dict.fromkeys([*categories(label), "missing"]))
    labels = pd.Categorical(as_labels(label).fillna("missing"), categories=names)
    counts = pd.crosstab(groups, labels)
    if counts.empty:
        msg = f"No cell has a value in `adata.obs[{groupby!r}]`."
        raise ValueError(msg)
    counts = counts.rename_axis(index=None, columns=None)
    return counts.set_axis(counts.index.astype(object)).set_axis(counts.columns.astype(object), axis=1)


def genes(adata: AnnData) -> tuple[pd.DataFrame, bool]:
    """Return `selected`, `mean`, `spread` and `spread_norm` by gene, and whether the spread is that of counts.

    The spread is the variance of the counts for the flavor `"seurat_v3"`, otherwise the dispersion.
    """
    var = in_memory(adata.var)
    of_counts = _keys.VARIANCES_NORM in var
    spread = (_keys.VARIANCES, _keys.VARIANCES_NORM) if of_counts else (_keys.DISPERSIONS, _keys.DISPERSIONS_NORM)
    columns = {"selected": _keys.GENES, "mean": _keys.MEANS, "spread": spread[0], "spread_norm": spread[1]}
    if missing := [name for name in columns.values() if name not in var]:
        msg = f"`adata.var` has no {missing[0]!r}. Run `gs.pp.select_hvgs(adata)` first. "
        msg += suggest(missing[0], var.columns)
        raise MissingKeyError(msg)
    return pd.DataFrame({name: var[column] for name, column in columns.items()}), of_counts
