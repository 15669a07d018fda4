"""What to train on: labels, groups and genes of an AnnData, checked before anything is read or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ginseng._cells.entries import column
from ginseng._cells.features import measured_genes, warn_of_other_features
from ginseng._cells.labels import UNKNOWN, coded, in_memory, look_alikes, obs_column
from ginseng._cells.matrix import row_sums, take_columns
from ginseng._cells.open import OpenCells
from ginseng._errors import MissingKeyError, check_names, suggest, warn


@dataclass(frozen=True)
class TrainingSet:
    """The cells, classes and genes that training reads.

    Attributes
    ----------
    rows
        Rows of the AnnData that have a label.
    labels
        (rows,) int32, index into `label_names`.
    label_names
        Names of the classes, sorted.
    groups, group_names
        (rows,) int32 and names of the donors, batches or the like, or None.
    gene_position
        (genes of the AnnData,) place of each gene among `gene_names`, or -1.
    gene_names
        Names of the genes, in the order in which the model sees them.
    measured
        (genes of the AnnData,) bool, False for antibodies and the like, which are not counted.
    """

    rows: np.ndarray
    labels: np.ndarray
    label_names: np.ndarray
    groups: np.ndarray | None
    group_names: np.ndarray | None
    gene_position: np.ndarray
    gene_names: np.ndarray
    label_key: str
    group_key: str | None
    measured: np.ndarray

    def blocks(self, cells: OpenCells, *, size: int) -> Iterator[tuple[np.ndarray, sparse.csr_matrix, np.ndarray]]:
        """Yield `(chosen, counts, total)`, block by block.

        Yields
        ------
        chosen
            Positions among `rows`, ascending.
        counts
            CSR, cells x `gene_names`.
        total
            Counts of each cell over all measured genes, float64.

        Raises
        ------
        ValueError
            If a value is negative, NaN or infinite.
        """
        place = np.full(cells.n_obs, -1)
        place[self.rows] = np.arange(len(self.rows))
        for start, stop, block in cells.blocks(size):
            chosen = place[start:stop]
            if (chosen < 0).any():
                block, chosen = block[chosen >= 0], chosen[chosen >= 0]
            yield (
                chosen,
                sparse.csr_matrix(take_columns(block, self.gene_position, len(self.gene_names))),
                row_sums(block, self.measured),
            )


def choose_cells(
    cells: OpenCells,
    label_key: str | Sequence[Any] | np.ndarray | pd.Series,
    *,
    genes: str | Sequence[Any] | np.ndarray | None = None,
    group_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
) -> TrainingSet:
    """Resolve and check labels, groups and genes.

    Parameters
    ----------
    cells
        What to choose from.
    label_key
        Column of `obs`, or a label for each cell.
    genes
        Boolean column of `var`, boolean mask, or gene names in the order in which they are wanted; all if None.
    group_key
        Column of `obs`, or a group for each cell.

    Raises
    ------
    KeyError
        If a column or gene is not there.
    ValueError
        If there is no matrix, no cells or no genes, fewer than two classes, or duplicated gene names.
    """
    adata = cells.adata
    if 0 in (cells.n_obs, cells.n_vars):
        msg = f"`adata` has {cells.n_obs:,} cells and {cells.n_vars:,} genes: there is nothing to train on."
        raise ValueError(msg)
    _ = cells.matrix
    values, label_name = _per_cell(adata, label_key, "label_key", "label")
    labels, label_names = coded(values)
    labelled = labels >= 0
    if not labelled.all() and labelled.any():
        warn(f"{(~labelled).sum():,} of {adata.n_obs:,} cells have no label in {label_name!r} and are left out.")
    labels = labels[labelled]
    check_names(label_names, f"{label_name!r}")
    if len(label_names) < 2:
        found = f"only {str(label_names[0])!r}" if len(label_names) else "no label at all"
        msg = f"Training needs cells of at least two classes; {label_name!r} has {found} in {adata.n_obs:,} cells."
        if isinstance(label_key, str):
            others = [str(key) for key in in_memory(adata.obs).columns if str(key) != label_key]
            msg += f" Pass another column as `label_key`. {suggest(label_key, others)}"
        raise ValueError(msg)
    _warn_of_labels(label_names, np.bincount(labels), label_name)

    groups = group_names = group_name = None
    if group_key is not None:
        values, group_name = _per_cell(adata, group_key, "group_key", "group")
        groups, group_names = coded(values)
        groups = groups[labelled]
        if (groups < 0).any():
            n = int((groups < 0).sum())
            msg = f"{n:,} labelled cells have no group in {group_name!r}: fill them in or leave them out."
            raise ValueError(msg)
        in_use = np.unique(groups)  # other groups may be of cells without a label
        groups, group_names = np.searchsorted(in_use, groups).astype(np.int32), group_names[in_use]

    warn_of_other_features(cells.var)
    position, gene_names = choose_genes(cells.holder, genes, cells.gene_key)
    return TrainingSet(
        rows=np.flatnonzero(labelled),
        labels=labels,
        label_names=label_names,
        groups=groups,
        group_names=group_names,
        gene_position=position,
        gene_names=gene_names,
        label_key=label_name,
        group_key=group_name,
        measured=cells.measured,
    )


def _warn_of_labels(names: np.ndarray, sizes: np.ndarray, key: str) -> None:
    messages = [
        f"{key!r} has {' and '.join(map(repr, alike))}, which differ by case, blanks or encoding alone and are classes "
        "of their own. Give them one name if they are one type."
        for alike in look_alikes(names)
    ]
    if len(single := names[sizes == 1]):
        listed = ", ".join(map(repr, single[:10].tolist())) + (", ..." if len(single) > 10 else "")
        messages.append(
            f"{len(single):,} of the {len(names):,} classes of {key!r} have a single cell: {listed}. A model "
            "can hardly learn them, and nothing measures whether it did. Merge them with others, or leave them out."
        )
    if unknown := [str(name) for name in names if str(name).casefold() in UNKNOWN]:
        messages.append(
            f"{unknown[0]!r} in {key!r} is trained as a class like any other. If it means that nobody knew, leave such "
            f"cells out: set their label to None."
        )
    for msg in messages:
        warn(msg)


def _per_cell(adata: AnnData, key: Any, parameter: str, default_name: str) -> tuple[pd.Series, str]:
    """Return one value a cell, from a column or as given, and a name for it."""
    if isinstance(key, str):
        return obs_column(adata, key), key
    if isinstance(key, pd.Series) and key.index.is_unique and adata.obs_names.isin(key.index).all():
        key = key[adata.obs_names]  # a table in another order
    elif (
        isinstance(key, pd.Series)
        and not isinstance(key.index, pd.RangeIndex)
        and not key.index.equals(adata.obs_names)
    ):
        known = int(adata.obs_names.isin(key.index).sum())
        msg = (
            f"The index of `{parameter}` is not that of the cells: {known:,} of {adata.n_obs:,} `adata.obs_names` are "
            f"in it{', some twice' if not key.index.is_unique else ''}. Give it these names, or pass "
            f"`{parameter}=values.to_numpy()` if the order is that of the cells."
        )
        raise ValueError(msg)
    if not hasattr(key, "__len__") or np.ndim(key) != 1:
        msg = f"`{parameter}` is {key!r:.60}; pass a column of `obs` by its name, or one value for each cell."
        raise TypeError(msg)
    if len(key) != adata.n_obs:
        msg = (
            f"`{parameter}` has {len(key):,} values for {adata.n_obs:,} cells: pass one for each, or a column of `obs`."
        )
        raise ValueError(msg)
    return pd.Series(np.asarray(key)), str(getattr(key, "name", None) or default_name)


def choose_genes(adata: AnnData, genes: Any, gene_key: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return where each gene of `adata` goes (-1: nowhere), and the names in their new order."""
    var = in_memory(adata.var)
    values = var.index if gene_key is None else column(var, gene_key, what="adata.var")
    names = np.asarray(values).astype(str)
    if isinstance(genes, str):
        mask = column(var, genes, what="adata.var")
        if not (mask.dtype == bool or str(mask.dtype) == "boolean"):
            msg = f"`adata.var[{genes!r}]` must be a mask of True and False without gaps; it is {mask.dtype}."
            raise ValueError(msg)
        genes = mask.to_numpy(bool, na_value=False) if str(mask.dtype) == "boolean" else mask.to_numpy(bool)
    if genes is None:
        wanted = np.flatnonzero(measured_genes(var))
    elif (given := np.asarray(genes)).dtype == bool:
        if len(given) != adata.n_vars:
            msg = f"The gene mask has {len(given):,} values for {adata.n_vars:,} genes."
            raise ValueError(msg)
        wanted = np.flatnonzero(given)
    else:
        wanted = pd.Index(names).get_indexer_for(given.astype(str))
        if (wanted < 0).any():
            there = set(names)
            lost = [str(g) for g in given if str(g) not in there]
            msg = f"{len(lost):,} of {len(given):,} genes are not in `adata`: {', '.join(lost[:10])}. "
            if len(lost) == len(given):
                msg += (
                    f"It has {', '.join(names[:3])}, ...: pass `gene_key=` if a column of `adata.var` has such names."
                )
            else:
                msg += "Leave them out of `genes`."
            raise MissingKeyError(msg)
    if len(wanted) == 0:
        msg = "No genes are selected. Run `gs.pp.select_hvgs(adata)` and pass `genes='ginseng_genes'`, or pass none."
        raise ValueError(msg)
    chosen = pd.Index(names[wanted])
    if not chosen.is_unique:
        copies = chosen[chosen.duplicated()].unique()
        msg = f"Gene names are duplicated: {', '.join(copies[:10])}. Run `adata.var_names_make_unique()` first."
        raise ValueError(msg)
    check_names(chosen, "The list of genes")
    position = np.full(len(names), -1)
    position[wanted] = np.arange(len(wanted))
    return position, chosen.to_numpy(str)
