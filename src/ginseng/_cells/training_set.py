"""What to train on: labels, groups and genes of an AnnData, checked before anything is read or written."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ginseng._cells.entries import column
from ginseng._cells.features import warn_of_other_features
from ginseng._cells.gene_names import missing_names
from ginseng._cells.genes import NamedGenes, match_names, named_genes
from ginseng._cells.labels import (
    Unlabeled,
    coded,
    labels_of,
    look_alikes,
    obs_column,
    without_label,
)
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

    @property
    def genes(self) -> NamedGenes:
        """The genes, by the rows of `var` that are summed for each."""
        return NamedGenes(self.gene_names, self.gene_position)

    def only(self, rows: np.ndarray) -> TrainingSet:
        """Return the same cells with some of the genes: those of the chosen `rows` of `var`, (rows of `var`,) bool."""
        chosen = np.unique(self.gene_position[rows & (self.gene_position >= 0)])
        place = np.full(len(self.gene_names) + 1, -1)
        place[chosen] = np.arange(len(chosen))
        return replace(self, gene_position=place[self.gene_position], gene_names=self.gene_names[chosen])

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


#: A list of so many genes is that of a panel or another file, and is cut to those that are there, if so many are.
MANY_GENES, LEAST_FOUND = 20, 0.1


def choose_cells(
    cells: OpenCells,
    label_key: str | Sequence[Any] | np.ndarray | pd.Series,
    *,
    genes: str | Sequence[Any] | np.ndarray | None = None,
    group_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
    unlabeled: Unlabeled = None,
) -> TrainingSet:
    """Resolve and check labels, groups and genes.

    Parameters
    ----------
    cells
        What to choose from.
    label_key
        Column of `obs`, or a label for each cell.
    genes
        Boolean column of `var`, boolean mask, or gene names in the order in which they are wanted; all if None. See
        :func:`choose_genes`.
    group_key
        Column of `obs`, or a group for each cell.
    unlabeled
        Labels that stand for none, see :func:`ginseng._cells.labels.stand_for_none`.

    Raises
    ------
    KeyError
        If a column or gene is not there.
    ValueError
        If there is no matrix, no cells or no genes, labels that are none, fewer than two classes, or genes without
        names.
    """
    adata = cells.adata
    if 0 in (cells.n_obs, cells.n_vars):
        msg = f"`adata` has {cells.n_obs:,} cells and {cells.n_vars:,} genes: there is nothing to train on."
        raise ValueError(msg)
    _ = cells.matrix
    values, label_name = _per_cell(adata, label_key, "label_key", "label")
    obs = cells.obs if isinstance(label_key, str) else None
    found = labels_of(values, label_name, unlabeled, obs=obs)
    labelled = found.codes >= 0
    if len(found.names) < 2:
        had = f"only {str(found.names[0])!r}" if len(found.names) else "no label at all"
        msg = f"Training needs cells of at least two classes; {label_name!r} has {had} in {adata.n_obs:,} cells."
        if found.without and not len(found.names):
            msg += f" {without_label(found, adata.n_obs, label_name)}"
        if obs is not None:
            others = [str(key) for key in obs.columns if str(key) != label_key]
            msg += f" Pass another column as `label_key`. {suggest(label_name, others)}"
        raise ValueError(msg)
    labels, label_names = found.codes[labelled], found.names
    _warn_of_labels(label_names, np.bincount(labels), label_name)

    groups = group_names = group_name = None
    if group_key is not None:
        values, group_name = _per_cell(adata, group_key, "group_key", "group")
        of_cell = coded(values, group_name, unlabeled=[])
        groups, group_names = of_cell.codes[labelled], of_cell.names
        if (groups < 0).any():
            n = int((groups < 0).sum())
            msg = f"{n:,} labelled cells have no group in {group_name!r}: fill them in or leave them out."
            raise ValueError(msg)
        in_use = np.unique(groups)  # other groups may be of cells without a label
        groups, group_names = np.searchsorted(in_use, groups).astype(np.int32), group_names[in_use]

    warn_of_other_features(cells.var)
    position, gene_names, notes = choose_genes(cells.var, genes, cells.gene_key)
    for note in notes:
        warn(note)
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


def choose_genes(var: pd.DataFrame, genes: Any, gene_key: str | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Choose the genes to train on. Rows that have one name are one gene, however many of them were chosen.

    Of a list of many genes (20 or more), as of a panel, those that the data lack are left out; a short one is taken for
    a choice by hand, in which a name that is not there is a mistake.

    Returns
    -------
    position
        (rows of `var`,) place of each row among the chosen genes, or -1.
    names
        Names of the chosen genes.
    notes
        What a user should know.

    Raises
    ------
    KeyError
        If there is no such column, or names of a short list, or nearly all of a long one, are not there.
    ValueError
        If no genes are selected, or a mask does not fit, or the genes have no names.
    """
    found, gene_key, notes = named_genes(var, gene_key)
    if isinstance(genes, str):
        mask = column(var, genes, what="adata.var")
        if not (mask.dtype == bool or str(mask.dtype) == "boolean"):
            msg = f"`adata.var[{genes!r}]` must be a mask of True and False without gaps; it is {mask.dtype}."
            raise ValueError(msg)
        genes = mask.to_numpy(bool, na_value=False) if str(mask.dtype) == "boolean" else mask.to_numpy(bool)
    if genes is None:
        chosen = np.arange(len(found.names))
    elif (given := np.asarray(genes)).dtype == bool:
        if len(given) != len(var):
            msg = f"The gene mask has {len(given):,} values for {len(var):,} genes."
            raise ValueError(msg)
        chosen = np.unique(found.position[given & (found.position >= 0)])
    else:
        chosen, more = _listed_genes(found.names, given, gene_key)
        notes += more
    if len(chosen) == 0:
        msg = "No genes are selected. Run `gs.pp.select_hvgs(adata)` and pass `genes='ginseng_genes'`, or pass none."
        raise ValueError(msg)
    notes += found.notes(None if genes is None else chosen)
    names = found.names[chosen].astype(str)
    check_names(names, "The list of genes")
    place = np.full(len(found.names) + 1, -1)  # the last is for rows that are no gene
    place[chosen] = np.arange(len(chosen))
    return place[found.position], names, notes


def _listed_genes(names: np.ndarray, given: np.ndarray, gene_key: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the places among `names` of the genes of a list, in its order, and what a user should know."""
    texts = pd.Series(given.astype(object))
    given = pd.unique(texts[~missing_names(texts)].astype(str).to_numpy(object))
    if len(given) == 0:
        return np.empty(0, int), []
    match = match_names([str(name) for name in names], [str(gene) for gene in given])
    rows = np.full(len(given), -1)
    hits = np.flatnonzero(match.position >= 0)[::-1]  # of two spellings, the first
    rows[match.position[hits]] = hits
    lost = given[rows < 0]
    listed = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
    if len(lost) == len(given) or (len(lost) and len(given) < MANY_GENES) or len(lost) > (1 - LEAST_FOUND) * len(given):
        msg = f"{len(lost):,} of {len(given):,} genes are not in `adata`: {listed}. "
        if len(lost) == len(given):
            msg += f"It has {', '.join(names[:3])}, ...: pass `gene_key=` if a column of `adata.var` has such names."
        else:
            close = difflib.get_close_matches(str(lost[0]), names, n=1) if len(given) < MANY_GENES else []
            msg += (f"Did you mean {close[0]!r}? " if close else "") + "Leave them out of `genes`."
        raise MissingKeyError(msg)
    notes = list(match.notes)
    if len(lost):
        notes.append(
            f"Of the {len(given):,} genes given, the {len(given) - len(lost):,} that the data have are used, without "
            f"{listed}."
        )
    return rows[rows >= 0], notes
