"""Tidy tables of genes, for the plots; independent of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.entries import column
from ginseng._cells.labels import as_labels, in_memory
from ginseng._cells.matrix import row_sums, take_columns
from ginseng._cells.open import open_cells
from ginseng._core.normalize import log_normalize
from ginseng._errors import MissingKeyError, suggest
from ginseng.pl._tables import entry


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
    table = entry(adata, key, _keys.EXPLANATION, "Run `gs.tl.explain(adata, model, cells)` first.")
    by_cell = {str(name): rows for name, rows in table.groupby(table["cell"].astype(str), sort=False)}
    wanted = list(by_cell) if cells is None else [cells] if isinstance(cells, str) else [str(cell) for cell in cells]
    for cell in wanted:
        if cell not in by_cell:
            msg = f"Cell {cell!r} is not explained. {suggest(cell, by_cell)}"
            raise MissingKeyError(msg)
    return {cell: by_cell[cell] for cell in wanted}


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
