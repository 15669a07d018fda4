from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.stats import entropy

from ginseng import _keys
from ginseng._cells.colors import categories, known_colors
from ginseng._cells.labels import UNASSIGNED, as_labels, in_memory, predicted_labels
from ginseng._cells.target import check_target
from ginseng._cells.write import Results, label_column, write
from ginseng._docs import document
from ginseng._errors import MissingKeyError, check_names, suggest, warn
from ginseng._logging import running


@document
def vote(
    adata: AnnData,
    groupby: str = "leiden",
    *,
    min_fraction: float = 0.5,
    unassigned: str | None = None,
    prediction_key: str | None = None,
    key: str | None = None,
    key_added: str = _keys.DEFAULT,
    overwrite: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Assign to each cluster the most frequent label of its cells.

    A cluster in which the winning label has less than `min_fraction` of the cells gets no label: it may be a mixture, a
    transition or a type that the model does not know. Cells without a label have no vote, but count as cells of their
    cluster. Ties are broken by the sum of the confidences.

    The clusters must exist already, for example from :func:`scanpy.tl.leiden`. CellTypist (Dominguez Conde et al. 2022)
    overclusters the cells, with leiden resolutions of 5 to 30. The finer the clusters, the smaller the types that
    survive the vote.

    Parameters
    ----------
    %(adata_labelled)s
    groupby
        Column of `adata.obs` with the clusters.
    min_fraction
        Minimum fraction of the winning label, between 0 and 1; clusters below it get no label.
    unassigned
        Label of the cells of such clusters. If None, the one used by :func:`ginseng.tl.classify`.
    prediction_key
        Column of `adata.obs` with the labels to count, if not `{key}_cell_type`.
    %(key_read)s
    %(key_added)s
    %(overwrite)s
    %(copy)s

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.obs['ginseng_vote']` : :class:`pandas.Series` (dtype ``category``)
        Label of the cell's cluster, or `unassigned`. The categories are the labels that occur, in the order of the
        predicted ones. `adata.uns['ginseng_vote_colors']` has their colours.
    `adata.obs['ginseng_vote_fraction']` : :class:`pandas.Series` (dtype ``float32``)
        Fraction of the cluster's cells with the winning label, in [0, 1], even if it is below `min_fraction`.
    `adata.uns['ginseng']['vote']` : :class:`dict`
        `table`, a :class:`pandas.DataFrame` with one row per cluster: the winning `label`, whatever its fraction; its
        `fraction`; `runner_up` and `runner_up_fraction`; `entropy` of the labels in bits (0 if all cells agree);
        `n_cells`; and `decided`, whether the fraction reaches `min_fraction`. `counts`, clusters x labels, and
        `labels`, the names of its columns, including `unassigned`. Also the parameters of the call.

    Raises
    ------
    KeyError
        If there are no such clusters (the message has the scanpy call that makes them) or no predicted labels.
    ValueError
        If `groupby` has fractional numbers, or `min_fraction` is not between 0 and 1.

    References
    ----------
    Dominguez Conde et al. 2022, Science 376, eabl5197, https://doi.org/10.1126/science.abl5197

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", epochs=1, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> query.obs["cluster"] = KMeans(12, random_state=0).fit_predict(query.obsm["X_umap"])
    >>> gs.tl.vote(query, "cluster")
    >>> list(query.uns["ginseng"]["vote"]["table"].columns[:3])
    ['label', 'fraction', 'runner_up']
    """
    if not 0 <= min_fraction <= 1:
        msg = f"`min_fraction` must be between 0 and 1, not {min_fraction}."
        raise ValueError(msg)
    check_target(adata, "vote", key_added, overwrite=overwrite)
    key = key_added if key is None else key
    prediction_key = _keys.cell_type(key) if prediction_key is None else prediction_key
    obs = in_memory(adata.obs)
    cluster = clusters_of(adata, obs, groupby)
    predicted = predicted_labels(adata, prediction_key)
    before = adata.uns.get(key, {})
    without = str(before.get("unassigned", {}).get("label", UNASSIGNED))
    unassigned = without if unassigned is None else unassigned
    check_names([unassigned], "`unassigned`")

    with running(f"vote of {prediction_key!r} in {groupby!r}") as report:
        labels = [name for name in _labels(obs[prediction_key]) if name not in (unassigned, without)]
        label = pd.Index(labels, dtype=object).get_indexer(pd.Index(predicted))  # -1: no label
        counts = _counts(cluster, label, [*labels, unassigned])
        table = _table(counts, _confidence(obs, key, cluster, label, len(labels)), min_fraction)
        winner = np.where(table["decided"], pd.Index(labels, dtype=object).get_indexer(pd.Index(table["label"])), -1)
        if (outside := int((cluster.codes < 0).sum())) and len(cluster):
            msg = f"{outside:,} of {len(cluster):,} cells have no cluster in {groupby!r}: {unassigned!r}."
            warn(msg)
        columns = _keys.vote(key_added), _keys.vote_fraction(key_added)
        # cells without a cluster have code -1, the appended last entry
        voted = label_column(np.append(winner, -1)[cluster.codes], labels, unassigned)
        fraction = np.append(table["fraction"], 0).astype(np.float32)[cluster.codes]
        results = Results(
            obs=dict(zip(columns, (voted, fraction), strict=True)),
            classes=labels,
            colors=known_colors(obs, adata.uns, prediction_key),
            unassigned=unassigned,
        )
        results.members = {
            "vote": {
                "table": table,
                "counts": counts.to_numpy(),
                "labels": counts.columns.to_numpy(dtype=object),
                "groupby": groupby,
                "prediction_key": prediction_key,
                "min_fraction": float(min_fraction),
                "unassigned": unassigned,
            },
        }
        adata = write(adata, "vote", key_added, results, copy=copy)
        report.done = f"{int(table['decided'].sum())} of {len(table)} clusters have a label"
        report(f"added `.obs[{columns[0]!r}]`, `.obs[{columns[1]!r}]` and `.uns[{key_added!r}]['vote']`")
    return adata if copy else None


def clusters_of(adata: AnnData, obs: pd.DataFrame, groupby: str) -> pd.Categorical:
    """Return the cluster of each cell.

    Raises
    ------
    KeyError
        If there are none; the message has the scanpy call that makes them.
    ValueError
        If they are fractional numbers.
    """
    if groupby not in obs:
        key = "" if groupby == "leiden" else f", key_added={groupby!r}"
        code = f"sc.tl.leiden(adata, flavor='igraph', n_iterations=2{key})"
        code = code if "neighbors" in adata.uns else f"sc.pp.neighbors(adata); {code}"
        msg = (
            f"`adata.obs` has no clusters {groupby!r}. Name others as `groupby`, or cluster the cells with scanpy "
            f"first: `{code}` (needs `pip install igraph`). " + suggest(groupby, obs.columns)
        )
        raise MissingKeyError(msg)
    values = obs[groupby]
    if values.dtype.kind == "f" and (values.dropna() % 1 != 0).any():
        msg = f"`adata.obs[{groupby!r}]` has fractional numbers, which are not clusters."
        raise ValueError(msg)
    return pd.Categorical(as_labels(values), categories=_labels(values)).remove_unused_categories()


def _labels(values: pd.Series) -> list[str]:
    """Return the possible labels of a column, in order."""
    return list(dict.fromkeys(as_labels(pd.Series(categories(values), dtype=object)).dropna()))


def _counts(cluster: pd.Categorical, label: np.ndarray, labels: list[str]) -> pd.DataFrame:
    """Return the number of cells by cluster and label; the last label is for cells without one."""
    label = np.where(label < 0, len(labels) - 1, label)
    inside = cluster.codes >= 0
    flat = cluster.codes[inside].astype(np.int64) * len(labels) + label[inside]
    counts = np.bincount(flat, minlength=len(cluster.categories) * len(labels)).reshape(-1, len(labels))
    names: Any = {"index": pd.Index(cluster.categories, dtype=object), "columns": pd.Index(labels, dtype=object)}
    return pd.DataFrame(counts, **names)


def _confidence(obs: pd.DataFrame, key: str, cluster: pd.Categorical, label: np.ndarray, n_labels: int) -> np.ndarray:
    """Return the sum of the confidences by cluster and label, to break ties."""
    sums = np.zeros((len(cluster.categories), n_labels))
    if _keys.confidence(key) in obs:
        there = (cluster.codes >= 0) & (label >= 0)
        values = obs[_keys.confidence(key)].to_numpy(dtype=float)
        np.add.at(sums, (cluster.codes[there], label[there]), np.nan_to_num(values[there]))
    return sums


def _table(counts: pd.DataFrame, confidence: np.ndarray, min_fraction: float) -> pd.DataFrame:
    n_cells = counts.sum(axis=1).to_numpy()
    names = counts.columns.to_numpy(dtype=object)
    # by number of cells, then confidence, then order of the labels; "unassigned" has no vote
    votes = counts.to_numpy()[:, :-1]
    places = np.argsort(-confidence, axis=1, kind="stable")
    places = np.take_along_axis(
        places, np.argsort(-np.take_along_axis(votes, places, axis=1), axis=1, kind="stable"), axis=1
    )

    def place(i: int) -> tuple[np.ndarray, np.ndarray]:
        if i >= votes.shape[1]:
            return np.full(len(votes), "", dtype=object), np.zeros(len(votes))
        cells = np.take_along_axis(votes, places[:, i : i + 1], axis=1)[:, 0]
        return np.where(cells > 0, names[places[:, i]], ""), cells / n_cells

    (label, fraction), (runner_up, second) = place(0), place(1)
    return pd.DataFrame(
        {
            "label": np.where(label == "", names[-1], label),
            "fraction": fraction,
            "runner_up": runner_up,
            "runner_up_fraction": second,
            "entropy": entropy(counts.to_numpy(), base=2, axis=1),
            "n_cells": n_cells,
            "decided": (label != "") & (fraction >= min_fraction),
        },
        index=counts.index,
    )
