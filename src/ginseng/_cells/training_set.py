"""Choose labels, groups and genes to train on; all are checked before any values are read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ginseng._cells.entries import column
from ginseng._cells.features import warn_of_other_features
from ginseng._cells.gene_names import missing_names
from ginseng._cells.labels import (
    Unlabeled,
    coded,
    labels_of,
    look_alikes,
    obs_column,
    without_label,
)
from ginseng._cells.levels import finest_level, labels_by_level
from ginseng._cells.match_names import match_names
from ginseng._cells.matrix import Part, index_dtype, row_sums, take_columns
from ginseng._cells.named_genes import NamedGenes, named_genes, other_names
from ginseng._cells.open import OpenCells
from ginseng._errors import MissingKeyError, check_names, suggest, warn


@dataclass(frozen=True)
class TrainingSet:
    """The cells, classes and genes used for training.

    Attributes
    ----------
    rows
        Rows of the AnnData with a label.
    labels
        (rows,) int32, indices into `label_names`.
    label_names
        Names of the classes, sorted.
    groups, group_names
        (rows,) int32 codes and names of donors, batches or the like, or None.
    gene_position
        (genes of the AnnData,) index of each gene into `gene_names`, or -1.
    gene_names
        Gene names, in the order in which the model sees them.
    measured
        (genes of the AnnData,) bool, False for antibodies and other features, which do not count towards the library
        size.
    other_names
        What the genes are also called, empty where unknown; None without other names.
    levels
        Label of each class in each level, by name of the level, the broadest first; None without levels.
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
    other_names: np.ndarray | None = None
    levels: dict[str, list[str]] | None = None

    @property
    def genes(self) -> NamedGenes:
        """The genes, with the rows of `var` that are summed for each."""
        return NamedGenes(self.gene_names, self.gene_position)

    def only(self, rows: np.ndarray) -> TrainingSet:
        """Return the same cells with a subset of genes, given by a mask over the rows of `var`."""
        chosen = np.unique(self.gene_position[rows & (self.gene_position >= 0)])
        place = np.full(len(self.gene_names) + 1, -1)
        place[chosen] = np.arange(len(chosen))
        others = None if self.other_names is None else self.other_names[chosen]
        position, names = place[self.gene_position], self.gene_names[chosen]
        return replace(self, gene_position=position, gene_names=names, other_names=others)

    def blocks(self, cells: OpenCells, *, size: int) -> Iterator[tuple[np.ndarray, sparse.csr_matrix, np.ndarray]]:
        """Yield `(chosen, counts, total)`, block by block.

        Yields
        ------
        chosen
            Indices into `rows`, ascending.
        counts
            CSR, cells x `gene_names`.
        total
            Library size per cell over all measured genes, float64.

        Raises
        ------
        ValueError
            If a value is negative, NaN or infinite.
        """
        place = np.full(cells.n_obs, -1, index_dtype(cells.n_obs))
        place[self.rows] = np.arange(len(self.rows))
        chosen = partial(
            _chosen, position=self.gene_position, n_genes=len(self.gene_names), measured=self.measured
        )  # fmt: skip
        return cells.map(chosen, size, of_cell=place)


def _chosen(
    parts: Iterator[Part], *, position: np.ndarray, n_genes: int, measured: np.ndarray
) -> Iterator[tuple[np.ndarray, sparse.csr_matrix, np.ndarray]]:
    for _, _, block, chosen in parts:
        if (chosen < 0).any():
            block, chosen = block[chosen >= 0], chosen[chosen >= 0]
        yield chosen, sparse.csr_matrix(take_columns(block, position, n_genes)), row_sums(block, measured)


#: A list of at least `MANY_GENES` genes is taken to come from a panel or another file: genes that the data lack are
#: ignored, if at least a share of `LEAST_FOUND` is found.
MANY_GENES, LEAST_FOUND = 20, 0.1


def choose_cells(
    cells: OpenCells,
    label_key: str | Sequence[Any] | np.ndarray | pd.Series | None,
    *,
    genes: str | Sequence[Any] | np.ndarray | None = None,
    group_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
    unlabeled: Unlabeled = None,
    levels: Sequence[str] | None = None,
) -> TrainingSet:
    """Resolve and check labels, groups and genes.

    Parameters
    ----------
    cells
        The cells to choose from.
    label_key
        Column of `obs`, or one label per cell.
    genes
        Boolean column of `var`, boolean mask, or gene names in the desired order; all genes if None. See
        :func:`choose_genes`.
    group_key
        Column of `obs`, or one group per cell.
    unlabeled
        Labels that mean "no label", see :func:`ginseng._cells.labels.stand_for_none`.
    levels
        Columns of `obs`, the broadest first; the last one has the labels.

    Raises
    ------
    KeyError
        If a column or gene does not exist.
    ValueError
        If there are no matrix, cells, genes or gene names, if the labels are not labels, or if there are fewer than two
        classes.
    """
    adata = cells.adata
    if 0 in (cells.n_obs, cells.n_vars):
        msg = f"`adata` has {cells.n_obs:,} cells and {cells.n_vars:,} genes; there is nothing to train on."
        raise ValueError(msg)
    _ = cells.matrix
    if levels is not None:
        label_key = finest_level(levels, label_key)
    values, label_name = _per_cell(adata, label_key, "label_key", "label")
    obs = cells.obs if isinstance(label_key, str) else None
    found = labels_of(values, label_name, unlabeled, obs=obs)
    labelled = found.codes >= 0
    if len(found.names) < 2:
        had = f"only {str(found.names[0])!r}" if len(found.names) else "no labels"
        msg = f"Training needs cells of at least two classes; {label_name!r} has {had} in {adata.n_obs:,} cells."
        if found.without and not len(found.names):
            msg += f" {without_label(found, adata.n_obs, label_name)}"
        if obs is not None:
            others = [str(key) for key in obs.columns if str(key) != label_key]
            msg += f" Pass another column as `label_key`. {suggest(label_name, others)}"
        raise ValueError(msg)
    labels, label_names = found.codes[labelled], found.names
    by_level = None if levels is None else labels_by_level(adata, levels, found.codes, label_names, unlabeled)
    _warn_of_labels(label_names, np.bincount(labels), label_name)

    groups = group_names = group_name = None
    if group_key is not None:
        values, group_name = _per_cell(adata, group_key, "group_key", "group")
        of_cell = coded(values, group_name, unlabeled=[])
        groups, group_names = of_cell.codes[labelled], of_cell.names
        if (groups < 0).any():
            n = int((groups < 0).sum())
            msg = f"{n:,} labelled cells have no group in {group_name!r}. Fill in the groups or drop these cells."
            raise ValueError(msg)
        in_use = np.unique(groups)  # some groups may have only cells without a label
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
        other_names=other_names(cells.var, gene_names, position),
        levels=by_level,
    )


def _warn_of_labels(names: np.ndarray, sizes: np.ndarray, key: str) -> None:
    messages = [
        f"{key!r} has {' and '.join(map(repr, alike))}, which differ only by case, blanks or encoding and are separate "
        "classes. Give them the same name if they are one type."
        for alike in look_alikes(names)
    ]
    if len(single := names[sizes == 1]):
        listed = ", ".join(map(repr, single[:10].tolist())) + (", ..." if len(single) > 10 else "")
        messages.append(
            f"{len(single):,} of the {len(names):,} classes of {key!r} have a single cell: {listed}. A model can "
            "hardly learn them, and the holdout cannot measure them. Merge them with others, or leave them out."
        )
    for msg in messages:
        warn(msg)


def _per_cell(adata: AnnData, key: Any, parameter: str, default_name: str) -> tuple[pd.Series, str]:
    """Return one value per cell, from a column or as given, and a name for messages."""
    if isinstance(key, str):
        return obs_column(adata, key), key
    if isinstance(key, pd.Series) and key.index.is_unique and adata.obs_names.isin(key.index).all():
        key = key[adata.obs_names]  # same cells in another order
    elif (
        isinstance(key, pd.Series)
        and not isinstance(key.index, pd.RangeIndex)
        and not key.index.equals(adata.obs_names)
    ):
        known = int(adata.obs_names.isin(key.index).sum())
        msg = (
            f"The index of `{parameter}` does not match the cells: it has {known:,} of {adata.n_obs:,} "
            f"`adata.obs_names`{', some of them twice' if not key.index.is_unique else ''}. Use these names as its "
            f"index, or pass `{parameter}=values.to_numpy()` if the values are in the order of the cells."
        )
        raise ValueError(msg)
    if not hasattr(key, "__len__") or np.ndim(key) != 1:
        msg = f"`{parameter}` is {key!r:.60}; pass the name of a column of `obs`, or one value per cell."
        raise TypeError(msg)
    if len(key) != adata.n_obs:
        msg = (
            f"`{parameter}` has {len(key):,} values for {adata.n_obs:,} cells: pass one per cell, or a column of `obs`."
        )
        raise ValueError(msg)
    return pd.Series(np.asarray(key)), str(getattr(key, "name", None) or default_name)


def choose_genes(var: pd.DataFrame, genes: Any, gene_key: str | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Choose the genes to train on. Rows with the same name are one gene, even if only some of them are selected.

    In a list of 20 or more genes, such as a panel, genes that the data lack are ignored. In a shorter list they are
    mistakes and raise.

    Returns
    -------
    position
        (rows of `var`,) index of each row into the chosen genes, or -1.
    names
        Names of the chosen genes.
    notes
        Notes for the user.

    Raises
    ------
    KeyError
        If the column does not exist, or genes of a short list, or nearly all of a long one, are missing.
    ValueError
        If no genes are selected, the mask does not fit, or the genes have no names.
    """
    found, gene_key, notes = named_genes(var, gene_key)
    if isinstance(genes, str):
        mask = column(var, genes, what="adata.var")
        if not (mask.dtype == bool or str(mask.dtype) == "boolean"):
            msg = f"`adata.var[{genes!r}]` must be a boolean mask without missing values; it is {mask.dtype}."
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
        msg = "No genes are selected. Run `gs.pp.select_hvgs(adata)` and pass `genes='ginseng_genes'`, or leave it out."
        raise ValueError(msg)
    notes += found.notes(None if genes is None else chosen)
    names = found.names[chosen].astype(str)
    check_names(names, "The list of genes")
    place = np.full(len(found.names) + 1, -1)  # the last entry is for rows that are not genes
    place[chosen] = np.arange(len(chosen))
    return place[found.position], names, notes


def _listed_genes(names: np.ndarray, given: np.ndarray, gene_key: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the indices into `names` of the listed genes, in the order of the list, and notes for the user."""
    texts = pd.Series(given.astype(object))
    given = pd.unique(texts[~missing_names(texts)].astype(str).to_numpy(object))
    if len(given) == 0:
        return np.empty(0, int), []
    match = match_names([str(name) for name in names], [str(gene) for gene in given])
    rows = np.full(len(given), -1)
    hits = np.flatnonzero(match.position >= 0)[::-1]  # reversed, so that the first of two spellings wins
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
