from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ginseng import _keys
from ginseng._cells.entries import column
from ginseng._cells.labels import as_labels, predicted_labels
from ginseng._cells.open import AnnDataOrPath
from ginseng._cells.target import check_target
from ginseng._cells.write import Results, write
from ginseng._docs import document
from ginseng._errors import warn
from ginseng._logging import progress, running
from ginseng._predict.inspect import Attributed, attribute
from ginseng._predict.query import Query, open_query
from ginseng.model.file import ModelLike

#: Fraction of the logits that may stay unexplained without a warning.
TOLERANCE = 0.05


@document
def rank_genes(
    adata: AnnDataOrPath,
    model: ModelLike,
    groupby: str | None = None,
    *,
    n_genes: int | None = None,
    gene_key: str | None = None,
    layer: str | None = None,
    normalize: bool | None = None,
    n_steps: int = 32,
    batch_size: int = 256,
    key: str | None = None,
    key_added: str = _keys.DEFAULT,
    return_table: bool = False,
    overwrite: bool = False,
    copy: bool = False,
    silent: bool = False,
) -> AnnData | pd.DataFrame | None:
    """Rank the genes that drive the label of each type.

    The contribution of a gene in a cell is its part of the change of the logit of the label on a straight path from a
    baseline to the cell (integrated gradients, Sundararajan et al. 2017; exact for `linear`). The baseline is the mean
    of the training data or, for architectures without a mean or with tokens, an empty cell. Logits are relative to
    their mean over the classes, so that effects common to all classes cancel. For architectures with a gate,
    contributions are multiplied by the weight of the gene in the cell. The score of a gene is the mean over the cells
    of the group.

    A group named like a class is ranked for that class; other groups, such as clusters, for the most probable class of
    each cell. A gene with a high score and a negative log fold change supports the label by its absence. The scores are
    not from a statistical test, so there are no p-values.

    Parameters
    ----------
    %(adata_or_path)s
    %(model)s
    groupby
        Column of `adata.obs` with the groups; the labels by :func:`ginseng.tl.classify` if None. Cells without a group
        or without counts in the genes of the model are left out.
    n_genes
        Genes per group; all genes that model and data share if None.
    %(query_gene_key)s
    %(layer)s
    %(query_normalize)s
    n_steps
        Number of gradients per cell on the path from the baseline. Linear models need, and use, only one.
    %(batch_size)s
    %(key_read)s
    %(key_added)s
    %(return_table)s
    %(overwrite)s
    %(copy)s
    %(query_silent)s

    Returns
    -------
    `None`; the copy if `copy=True`; a table with `group`, `names`, `scores` and `logfoldchanges` if
    `return_table=True`. For a path, the table, or the AnnData with `copy=True`. Sets `adata.uns['ginseng_rank_genes']`,
    in the format of :func:`scanpy.tl.rank_genes_groups`, so that :func:`scanpy.get.rank_genes_groups_df` and scanpy's
    plots of ranked genes can read it with `key="ginseng_rank_genes"`:

    `names` : structured array
        Genes by decreasing score, as in `adata.var_names`. This and the following arrays have one field per group.
    `scores` : structured array
        Mean contribution to the logit, times the gene weight if there is a gate.
    `logfoldchanges` : structured array
        log2 ratio of the mean expression in the group and in all other cells, as in scanpy.
    `pvals`, `pvals_adj` : structured array
        NaN; required by scanpy.
    `params` : :class:`dict`
        `groupby`, the normalisation, whether scores include `gene_weights`, and in `unexplained` the fraction of the
        logits that the contributions of all genes do not explain (0 for `linear`, up to rounding).

    Raises
    ------
    KeyError
        If a layer or column does not exist.
    ValueError
        If no cell has a group, no gene matches, or the values cannot be counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> import scanpy as sc
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", layer="counts", architecture="linear", silent=True)
    >>> gs.tl.rank_genes(adata, adata, "cell_type", layer="counts", silent=True)
    >>> sc.get.rank_genes_groups_df(adata, "CD19+ B", key="ginseng_rank_genes")["names"][:2].sort_values().tolist()
    ['CD79A', 'MS4A1']
    """
    query = open_query(adata, model, gene_key, layer, normalize=normalize, silent=silent)
    check_target(query.adata, "rank_genes", key_added, overwrite=overwrite)
    if n_genes is not None and n_genes < 1:
        msg = f"`n_genes` must be at least 1, or None for all, not {n_genes}."
        raise ValueError(msg)
    groupby, groups, code = _groups(query, groupby, key_added if key is None else key)
    classes = query.state.label_keys.tolist()
    named = np.array([classes.index(group) if group in classes else -1 for group in groups] + [-1])[code]

    def label_against_all(start: int, stop: int, logits: np.ndarray) -> np.ndarray:
        label = np.where(named[start:stop] < 0, query.state.network.probability.labels_of(logits), named[start:stop])
        return np.eye(logits.shape[1], dtype=logits.dtype)[label] - logits.dtype.type(1 / logits.shape[1])

    with running(f"ranking of genes for {len(groups)} groups of {groupby!r}", silent=silent) as report:
        sums = _Sums(len(groups), query.state.n_genes)
        parts = attribute(
            query.state,
            query.rows(),
            label_against_all,
            n_steps=n_steps,
            batch_size=batch_size,
            normalization=query.normalization,
            correction=query.correction,
        )
        with progress(desc="Ranking genes", total=query.adata.n_obs, unit="cells", silent=silent) as bar:
            for part in parts:
                sums.add(part, np.where(part.empty, -1, code[part.start : part.stop]))
                bar.update(part.stop - part.start)
        if sums.unexplained > TOLERANCE:
            warn(
                f"The contributions do not explain {sums.unexplained:.0%} of the logits: the model is not smooth "
                "between the baseline and the cells. A larger `n_steps` may help; otherwise, the ranks are approximate."
            )
        ranks = _ranks(query, sums, groups, n_genes)
        report.done = f"genes ranked for {ranks['group'].nunique()} groups of {groupby!r}"
        if return_table or not (isinstance(adata, AnnData) or copy):
            return ranks
        name = _keys.rank_genes(key_added)
        entry = {"params": _params(query, groupby, n_steps, sums), **_fields(ranks)}
        target = write(query.adata, "rank_genes", key_added, Results(entries={name: entry}), copy=copy)
        report(f"added `.uns[{name!r}]`")
    return target if copy else None


def _groups(query: Query, groupby: str | None, key: str) -> tuple[str, list[str], np.ndarray]:
    """Return the column, the groups, and the group index of each cell (-1 for none)."""
    obs = query.cells.obs
    if groupby is None:
        groupby = _keys.cell_type(key)
        predicted_labels(query.adata, groupby)  # raises with advice if there are none
    labels = as_labels(column(obs, groupby))
    names = labels.dropna().unique()
    if len(names) == 0:
        msg = f"No cell has a group in {groupby!r}."
        raise ValueError(msg)
    given = obs[groupby].cat.categories.astype(str) if isinstance(obs[groupby].dtype, pd.CategoricalDtype) else ()
    groups = [name for name in given if name in set(names)]
    groups += sorted(set(names) - set(groups))
    return groupby, groups, pd.Categorical(labels, categories=groups).codes.astype(np.int64)


@dataclass
class _Sums:
    """Sums over the cells of each group: (groups, genes)."""

    n_groups: int
    n_genes: int

    def __post_init__(self) -> None:
        self.n_cells = np.zeros(self.n_groups)
        self.score, self.expression = np.zeros((2, self.n_groups, self.n_genes))
        self.missed = self.explained = 0.0
        self.weighted = False

    def add(self, part: Attributed, group: np.ndarray) -> None:
        cells = np.flatnonzero(group >= 0)
        x, _, genes, difference, at_baseline = part.contributions
        missed = difference - at_baseline - genes.sum(axis=1)
        self.missed += float(np.abs(missed[cells]).sum())
        self.explained += float(np.abs(difference - at_baseline)[cells].sum())
        if part.gene_weights is not None:
            genes = genes * part.gene_weights
            self.weighted = True
        one_of_each = np.ones(len(cells)), (group[cells], cells)
        pool = sparse.csr_matrix(one_of_each, shape=(self.n_groups, len(group)))
        self.n_cells += np.bincount(group[cells], minlength=self.n_groups)
        self.score += pool @ genes
        self.expression += pool @ x

    @property
    def unexplained(self) -> float:
        """Fraction of the logits that the contributions do not explain."""
        return self.missed / self.explained if self.explained else 0.0


def _ranks(query: Query, sums: _Sums, groups: list[str], n_genes: int | None) -> pd.DataFrame:
    """Return one row per group and gene, by score."""
    position = query.genes.position
    found, columns = np.unique(position, return_index=True)  # the first column of each gene
    found, columns = found[found >= 0], columns[found >= 0]
    names = query.cells.var.index.astype(str).to_numpy(object)[columns]
    total, n_total = sums.expression.sum(axis=0), sums.n_cells.sum()
    tables = []
    for i, group in enumerate(groups):
        if not (n_cells := sums.n_cells[i]):
            continue
        score = (sums.score[i] / n_cells)[found]
        order = np.argsort(-score, kind="stable")[:n_genes]
        if n_rest := n_total - n_cells:
            inside = np.expm1(sums.expression[i] / n_cells)[found[order]]
            outside = np.expm1((total - sums.expression[i]) / n_rest)[found[order]]
            change = np.log2((np.maximum(inside, 0) + 1e-9) / (np.maximum(outside, 0) + 1e-9))
        else:
            change = np.full(len(order), np.nan)
        tables.append(
            pd.DataFrame(
                {
                    "group": group,
                    "names": names[order],
                    "scores": score[order].astype(np.float32),
                    "logfoldchanges": change.astype(np.float32),
                }
            )
        )
    if not tables:
        msg = "No cell of any group has counts in the genes of the model."
        raise ValueError(msg)
    ranks = pd.concat(tables, ignore_index=True)
    ranks["group"] = pd.Categorical(ranks["group"], categories=ranks["group"].unique())
    return ranks


def _fields(ranks: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return structured arrays with one field per group."""
    ranks = ranks.assign(pvals=np.nan, pvals_adj=np.nan)
    by_group = dict(list(ranks.groupby("group", observed=True, sort=False)))
    return {
        name: pd.DataFrame({group: rows[name].to_numpy() for group, rows in by_group.items()}).to_records(
            index=False, column_dtypes=dict.fromkeys(by_group, dtype)
        )
        for name, dtype in {
            "names": "O",
            "scores": "float32",
            "logfoldchanges": "float32",
            "pvals": "float64",
            "pvals_adj": "float64",
        }.items()
    }


def _params(query: Query, groupby: str, n_steps: int, sums: _Sums) -> dict[str, Any]:
    how = query.normalization
    params: dict[str, Any] = {
        "groupby": groupby,
        "reference": "rest",
        "method": _keys.RANKED_BY,
        "use_raw": False,
        "gene_weights": sums.weighted,
        "n_steps": n_steps,
        "unexplained": sums.unexplained,
        "normalize": how.normalize,
        "logged": how.logged,
        "target_sum": how.target_sum or float(query.state.n_genes),
    }
    if how.library_size == "model_genes":  # so that figures normalise as the model does
        params["library_genes"] = query.cells.var.index[query.genes.position >= 0].to_numpy(object)
    return params if query.cells.layer is None else {**params, "layer": query.cells.layer}
