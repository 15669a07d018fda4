"""Tidy tables behind the plots, independent of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import binomtest, t

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


def coordinates(
    adata: AnnData, basis: str, components: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """Return the coordinates of the cells in two dimensions of an embedding, and the names of the axes."""
    name = basis if basis in adata.obsm else f"X_{basis}"
    if name not in adata.obsm:
        msg = f"`adata.obsm` has no {basis!r} or {name!r}. {suggest(name, adata.obsm)}"
        if name == "X_umap":
            code = "sc.tl.umap(adata)" if "neighbors" in adata.uns else "sc.pp.neighbors(adata); sc.tl.umap(adata)"
            other = "Name another as `basis`, or compute" if len(adata.obsm) else "Compute"
            msg += f" {other} a UMAP with scanpy first: `{code}`."
        raise MissingKeyError(msg)
    found = np.asarray(adata.obsm[name])
    if len(components) != 2 or min(components) < 1 or max(components) > found.shape[1]:
        msg = f"`components` is {components}, but `adata.obsm[{name!r}]` has 1 to {found.shape[1]}."
        raise ValueError(msg)
    x, y = (found[:, c - 1].astype(float) for c in components)
    axis = _AXIS_NAMES.get(name.removeprefix("X_"), name.removeprefix("X_"))
    return x, y, (f"{axis}{components[0]}", f"{axis}{components[1]}")


def panels(adata: AnnData, label_key: str | None, color: str | Sequence[str] | None, key: str) -> dict[str, str]:
    """Return the `obs` column and the title of each panel of an embedding."""
    obs = in_memory(adata.obs)
    written = {
        "predicted": (_keys.cell_type(key), "Predicted label"),
        "vote": (_keys.vote(key), "Label of the cluster"),
        "confidence": (_keys.confidence(key), "Confidence"),
        "novelty": (_keys.novelty(key), "Novelty"),
        "uncertainty": (_keys.uncertainty(key), "Uncertainty"),
    }
    if color is None:
        predicted_labels(adata, _keys.cell_type(key))
        if label_key is not None:
            column(obs, label_key)
        names = ("predicted", "vote", "confidence", "novelty")
        found = {written[name][0]: written[name][1] for name in names if written[name][0] in obs}
        return {label_key: "True label", **found} if label_key is not None else found
    wanted = [color] if isinstance(color, str) else [str(name) for name in color]
    wanted = [*([label_key] if label_key is not None and label_key not in wanted else []), *wanted]
    if not wanted:
        msg = "`color` is empty. Name one or more columns of `adata.obs`."
        raise ValueError(msg)
    titles = {
        **dict(written.values()),
        **({label_key: "True label"} if label_key else {}),
    }
    chosen = {}
    for name in wanted:
        place = written[name][0] if name not in obs and name in written else name
        if place not in obs and place in adata.var_names:
            msg = f"{name!r} is a gene, and `color` takes columns of `adata.obs`: `sc.pl.embedding` plots genes."
            raise MissingKeyError(msg)
        if place == _keys.cell_type(key):
            predicted_labels(adata, place)
        column(obs, place)
        chosen[place] = titles.get(place, place)
    return chosen


def is_label(values: pd.Series) -> bool:
    """Return whether a column has labels rather than numbers."""
    return isinstance(values.dtype, pd.CategoricalDtype) or values.dtype.kind not in "iuf"


def embedding(adata: AnnData, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of `adata.obs` by cell: labels as a categorical in the order of their colours, else numbers."""
    obs, frame = in_memory(adata.obs), pd.DataFrame(index=range(adata.n_obs))
    for name in columns:
        values = column(obs, name)
        if is_label(values):
            frame[name] = pd.Categorical(as_labels(values), categories=categories(values))
        else:
            frame[name] = values.to_numpy(dtype=float)
    return frame


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
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the scores of the top genes of each group: groups x genes, missing where not stored.

    A gene that is among the top genes of several groups is placed with the first of them. Also returns the number of
    genes that are placed with each group.
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
    best: dict[str, str] = {}
    for group in chosen:
        genes = ranks["names"][group]
        if min_logfoldchange is not None:
            genes = genes[ranks["logfoldchanges"][group] > min_logfoldchange]
        for gene in genes[:n_genes]:
            best.setdefault(str(gene), group)
    if not best:
        msg = f"No gene has a log fold change above {min_logfoldchange}. Lower `min_logfoldchange`, or pass None."
        raise ValueError(msg)
    scores = {
        group: pd.Series(ranks["scores"][group], index=[str(gene) for gene in ranks["names"][group]])
        for group in chosen
    }
    genes = list(best)
    frame = pd.DataFrame({group: values.reindex(genes) for group, values in scores.items()}, index=genes).T
    return frame, {group: list(best.values()).count(group) for group in chosen}


def expression(
    adata: AnnData, genes: Sequence[str], groups: Sequence[str], key: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mean expression (log1p, as in the model) and fraction of expressing cells: groups x genes."""
    params = adata.uns[_keys.rank_genes(key)]["params"]
    groupby = str(params["groupby"])
    labels = as_labels(column(in_memory(adata.obs), groupby))
    group = pd.Index(list(groups), dtype=object).get_indexer(pd.Index(labels, dtype=object))  # -1: not plotted
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


def confidence(adata: AnnData, label_key: str | None, key: str, groupby: str | None = None) -> pd.DataFrame:
    """Return `predicted` and `confidence` of cells with both, and the `group` of each, which is its label by default.

    `novelty` is there if the cells have one. Given `label_key`, `right` says whether the label is right; it is missing
    for cells without a true label, and for unassigned ones, which `known` includes: whether the cell has a true label.
    """
    predicted = predicted_labels(adata, _keys.cell_type(key))
    obs = in_memory(adata.obs)
    values = {"confidence": column(obs, _keys.confidence(key))}
    if _keys.novelty(key) in obs:
        values["novelty"] = obs[_keys.novelty(key)]
    frame = pd.DataFrame({"predicted": predicted, **values})
    frame = frame.astype(dict.fromkeys(values, float)).reset_index(drop=True)  # cell names may not be unique
    frame["group"] = frame["predicted"]
    if groupby is not None:
        frame["group"] = groups_of(adata, groupby)
    if label_key is not None:
        true = as_labels(column(obs, label_key)).reset_index(drop=True)
        given = frame["predicted"].notna() & (frame["predicted"] != unassigned(adata, key))
        both = given & true.notna() & frame["confidence"].notna()
        if not both.any():
            msg = f"No cell has both a predicted label and one in {label_key!r}. Check that this is the right column."
            raise ValueError(msg)
        frame["right"] = (frame["predicted"] == true).astype("boolean").where(both)
        frame["known"] = true.notna()
    return frame.dropna(subset=["predicted", "confidence", "group"])


def groups_of(adata: AnnData, groupby: str) -> np.ndarray:
    """Return the group of each cell as text, missing where there is none."""
    found = as_labels(column(in_memory(adata.obs), groupby)).to_numpy(object)
    if pd.isna(found).all():
        msg = f"No cell has a value in `adata.obs[{groupby!r}]`."
        raise ValueError(msg)
    return found


def thresholds(adata: AnnData, key: str) -> dict[str, float]:
    """Return the thresholds of confidence and novelty with which the labels were given, if any."""
    stored = adata.uns.get(key, {}).get("unassigned", {})
    names = {"confidence": "min_confidence", "novelty": "max_novelty"}
    found = {name: stored.get(of) for name, of in names.items()}
    return {name: float(value) for name, value in found.items() if value is not None and 0 < float(value) < 1}


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


def composition_intervals(
    adata: AnnData, groupby: str, label_key: str, sample_key: str | None, level: float
) -> pd.DataFrame:
    """Return the fraction of each label in each group, with its confidence interval.

    The columns are `label`, `group`, `fraction`, the interval from `low` to `high`, `samples` (the fraction in each
    sample) and `n`, the number of samples. Intervals are Student's for the mean over samples, clipped to 0 and 1;
    without `sample_key` they are Wilson's, and `n` is the number of cells.
    """
    counts = composition(adata, groupby, label_key)
    rows: list[dict[str, Any]] = []
    if sample_key is None:
        for name, cells in counts.iterrows():
            total = int(cells.sum())
            for one, hits in cells.items():
                wilson = binomtest(int(hits), total).proportion_ci(level, method="wilson")
                interval = {"low": wilson.low, "high": wilson.high}
                rows.append({"label": one, "group": name, "fraction": hits / total, **interval, "n": total})
        return pd.DataFrame(rows).assign(samples=None)
    group, sample = groups_of(adata, groupby), groups_of(adata, sample_key)
    label = as_labels(column(in_memory(adata.obs), label_key)).fillna("missing").to_numpy(object)
    by_sample = pd.crosstab([pd.Series(group), pd.Series(sample)], pd.Series(label), normalize="index")
    for name in [name for name in counts.index if name in by_sample.index.get_level_values(0)]:
        shares = by_sample.loc[name].reindex(columns=counts.columns, fill_value=0.0)
        n = len(shares)
        for one, values in shares.items():
            mean, half = values.mean(), np.nan
            if n > 1:
                half = values.std(ddof=1) / np.sqrt(n) * t.ppf((1 + level) / 2, n - 1)
            low, high = np.clip([mean - half, mean + half], 0, 1)
            each = {"label": one, "group": name, "fraction": mean, "low": low, "high": high, "n": n}
            rows.append({**each, "samples": values.to_numpy()})
    if not rows:
        msg = f"No cell has both a value in `adata.obs[{groupby!r}]` and one in `adata.obs[{sample_key!r}]`."
        raise ValueError(msg)
    return pd.DataFrame(rows)


def per_class(counts: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall, F1 and support of each true label of a confusion matrix; undefined ratios are zero."""
    right = np.array([counts.loc[label, label] for label in counts.index], dtype=float)
    support = counts.sum(axis=1).to_numpy(float)
    said = counts[list(counts.index)].sum().to_numpy(float)
    recall, precision = (right / np.maximum(total, 1) for total in (support, said))
    f1 = 2 * right / np.maximum(support + said, 1)
    found = {"precision": precision, "recall": recall, "f1": f1, "support": support.astype(int)}
    return pd.DataFrame(found, index=counts.index)


def clusters(adata: AnnData, groupby: str, label_key: str, key: str) -> pd.DataFrame:
    """Return `group`, `label`, `fraction` of the group's cells with that label, their mean `confidence` and number `n`.

    Cells without a label count as cells of their group. The confidence is missing if the labels have none.
    """
    obs = in_memory(adata.obs)
    frame = pd.DataFrame(
        {"group": groups_of(adata, groupby), "label": as_labels(column(obs, label_key)).to_numpy(object)}
    )
    there = _keys.confidence(key) in obs
    frame["confidence"] = obs[_keys.confidence(key)].to_numpy(dtype=float) if there else np.nan
    frame = frame.dropna(subset=["group"])
    total = frame["group"].value_counts()
    table = frame.groupby(["group", "label"])["confidence"].agg(["size", "mean"]).reset_index()
    table = table.rename(columns={"size": "n", "mean": "confidence"})
    if table.empty:
        msg = f"No cell has both a value in `adata.obs[{groupby!r}]` and a label."
        raise ValueError(msg)
    return table.assign(fraction=table["n"] / table["group"].map(total), total=table["group"].map(total))


def diagonal(shares: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Order the rows and columns of a table so that the largest values lie near the diagonal.

    Columns stand by their total, and rows by their largest column; then columns by the mean place of their rows.
    """
    columns = shares.sum().sort_values(ascending=False, kind="stable").index
    shares = shares[columns]
    order = np.lexsort((-shares.to_numpy().max(axis=1), shares.to_numpy().argmax(axis=1)))
    shares = shares.iloc[order]
    values = shares.to_numpy()
    centre = (values * np.arange(len(values))[:, None]).sum(axis=0) / values.sum(axis=0)
    return [str(name) for name in shares.index], [str(columns[i]) for i in np.argsort(centre, kind="stable")]


def uncertainty(adata: AnnData, label_key: str | None, key: str, groupby: str | None) -> pd.DataFrame:
    """Return `group`, `uncertainty`, `spread` by cell and, given `label_key`, whether the label is `right`."""
    obs = in_memory(adata.obs)
    if _keys.uncertainty(key) not in obs:
        msg = f"`adata.obs` has no {_keys.uncertainty(key)!r}. Run `gs.tl.uncertainty(adata, model)` first. "
        raise MissingKeyError(msg + suggest(_keys.uncertainty(key), obs.columns))
    names = {"uncertainty": _keys.uncertainty(key), "spread": _keys.spread(key)}
    frame = pd.DataFrame({name: obs[place].to_numpy(dtype=float) for name, place in names.items() if place in obs})
    predicted = predicted_labels(adata, _keys.cell_type(key)).reset_index(drop=True)
    frame["group"] = predicted if groupby is None else groups_of(adata, groupby)
    if label_key is not None:
        true = as_labels(column(obs, label_key)).reset_index(drop=True)
        both = predicted.notna() & true.notna() & frame["uncertainty"].notna() & (predicted != unassigned(adata, key))
        if not both.any():
            msg = f"No cell has both a predicted label and one in {label_key!r}. Check that this is the right column."
            raise ValueError(msg)
        frame["right"] = (predicted == true).astype("boolean").where(both)
    return frame.dropna(subset=["group", "uncertainty"])


def folds(adata: AnnData, key: str) -> tuple[pd.DataFrame, Mapping[str, Any], str]:
    """Return the metrics of each fold, those over all cells, and what the folds are."""
    fix = "Run `gs.tl.cross_validate(adata, label_key)` first."
    table = pd.DataFrame(_entry(adata, key, "folds", fix))
    by = str(adata.uns[key].get("params", {}).get("by", "cell"))
    return table.set_axis(table.index.astype(str)), _entry(adata, key, "metrics", fix), by


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
