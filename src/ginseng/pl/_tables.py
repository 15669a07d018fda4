"""Tidy tables of cells and their labels, for the plots; independent of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.stats import binomtest, t

from ginseng import _keys
from ginseng._cells import colors
from ginseng._cells.entries import column
from ginseng._cells.labels import UNASSIGNED, as_labels, in_memory, predicted_labels
from ginseng._errors import MissingKeyError, suggest

_AXIS_NAMES = {"umap": "UMAP", "tsne": "tSNE", "pca": "PC", "diffmap": "DC", "draw_graph_fa": "FA"}


def entry(adata: AnnData, key: str, name: str, fix: str) -> Any:
    """Return a member of `adata.uns[key]`; `fix` says how to make it."""
    entries = adata.uns.get(key, {})
    if name not in entries:
        msg = f"`adata.uns[{key!r}]` has no {name!r}. {fix} {suggest(name, entries)}"
        raise MissingKeyError(msg)
    return entries[name]


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
        frame["right"] = _are_right(adata, frame["predicted"], frame["confidence"], label_key, key)
        frame["known"] = as_labels(obs[label_key]).notna().to_numpy()
    return frame.dropna(subset=["predicted", "confidence", "group"])


def _are_right(adata: AnnData, predicted: pd.Series, measured: pd.Series, label_key: str, key: str) -> pd.Series:
    """Return whether labels are right; missing where one of both is, for unassigned cells, and if not `measured`."""
    true = as_labels(column(in_memory(adata.obs), label_key)).reset_index(drop=True)
    both = predicted.notna() & (predicted != unassigned(adata, key)) & true.notna() & measured.notna()
    if not both.any():
        msg = f"No cell has both a predicted label and one in {label_key!r}. Check that this is the right column."
        raise ValueError(msg)
    return (predicted == true).astype("boolean").where(both)


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
        frame["right"] = _are_right(adata, predicted, frame["uncertainty"], label_key, key)
    return frame.dropna(subset=["group", "uncertainty"])
