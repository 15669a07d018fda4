from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ginseng import _keys
from ginseng._cells.accept import is_counts
from ginseng._cells.labels import UNASSIGNED, in_memory, predicted_labels
from ginseng._cells.matrix import row_sums
from ginseng._cells.open import OpenCells, open_cells
from ginseng._cells.target import check_target
from ginseng._cells.write import Results, write
from ginseng._core.normalize import log_normalize
from ginseng._docs import document
from ginseng._errors import MissingKeyError, suggest, warn
from ginseng._logging import running
from ginseng.tl._vote import clusters_of

#: A cell is novel above this; in the reference, 5% of the rightly labelled cells are.
NOVEL = 0.5
#: A cluster is new if this share of its cells is novel, and so much more than in the median of the other clusters,
LEAST_SHARE, ABOVE_OTHERS = 0.5, 0.4
#: and the model is less sure of its labels than this; nothing is said where that median itself is too high.
MOST_CONFIDENT, TOO_MANY = 0.8, 0.5
#: Nothing is said of cells whose types differ in other genes than those of the reference, as those of another species.
LEAST_AGREEMENT = 0.7
#: Other cells that markers are told from, at most.
MOST_OTHERS = 20_000
#: Name for these, which no cluster has.
OTHERS = "\0others"


@document
def novel(
    adata: AnnData,
    groupby: str = "leiden",
    *,
    min_cells: int = 10,
    n_genes: int = 10,
    layer: str | None = None,
    key: str | None = None,
    key_added: str = _keys.DEFAULT,
    overwrite: bool = False,
    copy: bool = False,
) -> AnnData | pd.DataFrame:
    """Find clusters that the reference cannot explain: types that it lacks, or states that it has not seen.

    A cluster is new if at least half of its cells have a novelty above 0.5, by .4 more than in the median of the other
    clusters, and their mean confidence is below .8. The comparison is with the other clusters, since all cells of
    another study may be somewhat unlike the reference; where more than half are in that median, nothing is called new,
    and neither is where the types differ in other genes than those of the reference, as between species.
    How often types that were left out of the reference are found, and how often there are false alarms, is among the
    figures on accuracy in the documentation.

    Parameters
    ----------
    adata
        Counts or log-normalised values with clusters, labelled by :func:`ginseng.tl.classify` with a model that was
        calibrated in training.
    groupby
        Column of `adata.obs` with the clusters, for example from :func:`scanpy.tl.leiden`.
    min_cells
        Fewer cells are not called new.
    n_genes
        Number of markers of each new cluster: genes by which it differs from all other cells, by
        :func:`scanpy.tl.rank_genes_groups` on log-normalised values.
    layer
        Layer to use instead of `X` for the markers; `adata.raw` if `'raw'`.
    %(key_read)s
    %(key_added)s
    %(overwrite)s
    %(copy)s

    Returns
    -------
    A table with one row per cluster, the most novel first; or the copy if `copy=True`. Sets:

    `adata.uns['ginseng']['novel']` : :class:`dict`
        `table`, a :class:`pandas.DataFrame` with one row per cluster: `n_cells`; the `nearest` label, which most cells
        have, and the `fraction` that do; `novel_fraction`, the share of the cells that have counts and a novelty above
        0.5; the mean `confidence`; `novel`, whether the cluster is new; and its `markers`, separated by commas, if so.
        Also `others`, the median share of the clusters, and the parameters of the call.

    Raises
    ------
    KeyError
        If there are no such clusters, no labels, or no novelty.
    ValueError
        If a parameter is below 1.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", epochs=5, silent=True)
    >>> gs.tl.classify(query, ref, silent=True)
    >>> query.obs["cluster"] = KMeans(8, random_state=0).fit_predict(query.obsm["X_umap"])
    >>> gs.tl.novel(query, "cluster").columns[:3].tolist()
    ['n_cells', 'nearest', 'fraction']
    """
    for name, value in (("min_cells", min_cells), ("n_genes", n_genes)):
        if isinstance(value, bool) or value < 1:
            msg = f"`{name}` must be at least 1, not {value!r}."
            raise ValueError(msg)
    check_target(adata, "novel", key_added, overwrite=overwrite)
    key = key_added if key is None else key
    obs = in_memory(adata.obs)
    cluster = clusters_of(adata, obs, groupby)
    label = predicted_labels(adata, _keys.cell_type(key))
    columns = _keys.novelty(key), _keys.confidence(key)
    for name in columns:
        if name not in obs:
            msg = (
                f"`adata.obs` has no {name!r}. Label the cells with a model that was calibrated, as those of today are "
                f"in training: `gs.tl.classify(adata, model)`. {suggest(name, obs.columns)}"
            )
            raise MissingKeyError(msg)
    novelty, confidence = (obs[name].to_numpy(dtype=float) for name in columns)
    entry: Any = adata.uns.get(key, {})
    unassigned = str(entry.get("unassigned", {}).get("label", UNASSIGNED))
    cells = open_cells(adata, layer=layer)
    with running(f"search for new clusters in {groupby!r}") as report:
        table = describe(cluster, label.to_numpy(object), novelty, confidence, unassigned)
        others = np.array([table["novel_fraction"].drop(name).median() for name in table.index])
        agreement = float(entry.get("adaptation", {}).get("agreement", 1.0))
        table["novel"] = is_new(table, np.nan_to_num(others), min_cells) & (not agreement < LEAST_AGREEMENT)
        if agreement < LEAST_AGREEMENT:
            warn(
                "The types of these cells differ from each other in other genes than those of the reference, which may "
                f"be of another species or tissue (correlation {agreement:.2f}). So no cluster is called new."
            )
        elif len(others) and np.nanmedian(table["novel_fraction"]) > TOO_MANY:
            warn(
                "In most clusters, most cells are unlike the reference, which may be of another tissue, species or "
                "technology. So no cluster stands out as new."
            )
        table["markers"] = markers_of(cells, cluster, table, n_genes)
        table = table.sort_values("novel_fraction", ascending=False, kind="stable")
        n = int(table["novel"].sum())
        report.done = f"{n} of {len(table)} clusters are new, {int(table['n_cells'][table['novel']].sum()):,} cells"
        found = {
            "table": table,
            "others": float(table["novel_fraction"].median()) if len(table) else 0.0,
            "groupby": groupby,
            "novelty_key": columns[0],
            "min_cells": int(min_cells),
        }
        written = write(adata, "novel", key_added, Results(members={"novel": found}), copy=copy)
        report(f"added `.uns[{key_added!r}]['novel']`")
    return written if copy else table.copy()


def describe(
    cluster: pd.Categorical, label: np.ndarray, novelty: np.ndarray, confidence: np.ndarray, unassigned: str
) -> pd.DataFrame:
    """Return a row per cluster; cells without counts are not novel, and unlabelled ones have no nearest label."""
    rows = []
    novel = (novelty > NOVEL) & (confidence > 0)  # which is 0 for cells without counts
    for i in range(len(cluster.categories)):
        here = cluster.codes == i
        named = pd.Series(label[here]).dropna()
        counts = named[named != unassigned].value_counts()
        rows.append(
            {
                "n_cells": int(here.sum()),
                "nearest": str(counts.index[0]) if len(counts) else unassigned,
                "fraction": float(counts.iloc[0] / here.sum()) if len(counts) else 0.0,
                "novel_fraction": float(novel[here].mean()),
                "confidence": float(np.nanmean(confidence[here])),
            }
        )
    columns = ["n_cells", "nearest", "fraction", "novel_fraction", "confidence"]
    return pd.DataFrame(rows, index=pd.Index(cluster.categories.astype(str), dtype=object), columns=columns)


def is_new(table: pd.DataFrame, others: np.ndarray, min_cells: int) -> np.ndarray:
    """Return whether each cluster is new, given the share of novel cells in the median of the other clusters."""
    share = table["novel_fraction"].to_numpy()
    stands_out = (share >= LEAST_SHARE) & (share - others >= ABOVE_OTHERS) & (others <= TOO_MANY)
    unsure = table["confidence"].to_numpy() < MOST_CONFIDENT
    return np.asarray(stands_out & unsure & (table["n_cells"].to_numpy() >= min_cells))


def markers_of(cells: OpenCells, cluster: pd.Categorical, table: pd.DataFrame, n_genes: int) -> list[str]:
    """Return the markers of each new cluster, separated by commas; empty for the others."""
    new = table.index[table["novel"]].tolist()
    if not new:
        return [""] * len(table)
    import scanpy as sc

    group = np.array([*table.index, ""], object)[cluster.codes]
    of_new = np.isin(group, new)
    others = np.random.default_rng(0).permutation(np.flatnonzero(~of_new))[:MOST_OTHERS]
    kept = of_new | np.isin(np.arange(len(group)), others)
    counts, parts = is_counts(cells.values), []
    for start, stop, block, _ in cells.blocks():
        values = log_normalize(block, row_sums(block, cells.measured)) if counts else block
        parts.append(sparse.csr_matrix(values)[kept[start:stop]])
    cluster_of = pd.Series(
        np.where(of_new, group, OTHERS)[kept], pd.RangeIndex(int(kept.sum())).astype(str), "category"
    )
    genes = pd.DataFrame(index=pd.RangeIndex(cells.n_vars).astype(str))
    here = AnnData(sparse.vstack(parts, format="csr"), cluster_of.to_frame("cluster"), genes)[:, cells.measured].copy()
    here.uns["log1p"] = {"base": None}
    sizes = cluster_of.value_counts()
    groups = [name for name in new if sizes[name] > 1]  # of which a variance is known
    found = dict.fromkeys(table.index, "")
    if groups and len(sizes) > 1:
        sc.tl.rank_genes_groups(here, "cluster", groups=groups, n_genes=min(n_genes, here.n_vars), use_raw=False)
        names: Any = here.uns["rank_genes_groups"]["names"]
        found |= {name: ", ".join(str(cells.var.index[int(gene)]) for gene in names[name]) for name in groups}
    return [found[name] for name in table.index]
