"""Which gene of the data is which gene of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng._cells.entries import column
from ginseng._cells.features import measured_genes
from ginseng._cells.gene_names import id_type, species, without_version
from ginseng._cells.labels import in_memory

#: With a smaller share of the genes of a model than this, labels would be guesses: by a random fifth of its genes, a
#: model of 2,000 genes of blood labels half of the cells rightly instead of nine in ten; by a tenth, one in five.
MIN_OVERLAP = 0.2


@dataclass(frozen=True)
class Alignment:
    """Where the genes of the data go.

    Attributes
    ----------
    position
        (genes of the data,) place among the genes of the model, or -1.
    n_model
        Genes of the model.
    missing
        Genes of the model that the data lack, which count as zero.
    measured
        (genes of the data,) bool, False for antibodies and the like, which are not counted.
    notes
        What else was done to match them.
    """

    position: np.ndarray
    n_model: int
    missing: np.ndarray
    measured: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def overlap(self) -> float:
        """Share of the genes of the model that the data have."""
        return 1 - len(self.missing) / self.n_model


def align_genes(
    adata: AnnData, genes: np.ndarray, gene_key: str | None = None, *, min_overlap: float = MIN_OVERLAP
) -> Alignment:
    """Match genes by name.

    Ensembl ids also match if only their versions differ. A gene that the data have several times is the sum of all.

    Parameters
    ----------
    adata
        The data.
    genes
        Names of the genes of the model, unique.
    gene_key
        Column of `var` with the names; the index if None.
    min_overlap
        Share of the genes of the model that must be found.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If fewer genes of the model are found, or none; the message says what would match.
    """
    if not 0 <= min_overlap <= 1:
        msg = f"`min_overlap` is a share of the genes of the model, in [0, 1], not {min_overlap!r}."
        raise ValueError(msg)
    var = in_memory(adata.var)
    measured = measured_genes(var)
    names = _names_in(var, gene_key)
    position, notes = _positions(names, genes, measured)
    missing = genes[np.setdiff1d(np.arange(len(genes)), position)]
    n_found = len(genes) - len(missing)
    if n_found == 0 or n_found < min_overlap * len(genes):
        where = "`adata.var_names`" if gene_key is None else f"`adata.var[{gene_key!r}]`"
        found = "None" if n_found == 0 else f"Only {n_found:,} ({n_found / len(genes):.2%})"
        msg = (
            f"{found} of the {len(genes):,} genes of the model {'is' if n_found < 2 else 'are'} in {where}. "
            f"The model has {_some(genes)}; the data have {_some(names)}. "
            f"{_what_would_match(var, names, genes, gene_key, n_found)}"
        )
        if n_found:
            msg += f" To label cells by these all the same, lower `min_overlap` from {min_overlap:g}."
        raise ValueError(msg)
    return Alignment(position, len(genes), missing, measured, notes)


def _names_in(var: pd.DataFrame, gene_key: str | None) -> pd.Index:
    return pd.Index(np.asarray(var.index if gene_key is None else column(var, gene_key, what="adata.var"))).astype(str)


def _positions(names: pd.Index, genes: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the place of each name among `genes` (-1: none), and what was done to find it."""
    notes = []
    position = np.where(measured, pd.Index(genes).get_indexer(names), -1)
    model = without_version(pd.Index(genes))
    if model.is_unique:
        loose = np.where(measured, model.get_indexer(without_version(names)), -1)
        more = len(np.unique(loose)) - len(np.unique(position))
        if more > 0:
            notes.append(f"matched {more:,} Ensembl ids without their versions")
            position = loose
    found = position[position >= 0]
    if (copies := len(found) - len(np.unique(found))) > 0:
        notes.append(f"summed {copies + len(np.unique(found[pd.Series(found).duplicated()])):,} rows of repeated genes")
    return position, tuple(notes)


def _some(names: Any) -> str:
    return ", ".join(str(n) for n in names[:3]) + (", ..." if len(names) > 3 else "")


def better_column(var: pd.DataFrame, genes: np.ndarray, n_found: int) -> tuple[str | None, int] | None:
    """Return the column of `var` (None: the index) that has most genes of the model, if more than `n_found`."""
    columns = [None, *(str(key) for key in var.columns if pd.api.types.is_string_dtype(var[key].astype(object)))]
    everything = np.ones(len(var), bool)
    found = {
        c: len(np.unique(p[p >= 0])) for c in columns for p in [_positions(_names_in(var, c), genes, everything)[0]]
    }
    best = max(columns, key=lambda c: found[c])
    return (best, found[best]) if found[best] > n_found else None


def _what_would_match(var: pd.DataFrame, names: pd.Index, genes: np.ndarray, gene_key: str | None, n_found: int) -> str:
    if better := better_column(var, genes, n_found):
        if better[0] is None:
            return f"The names in `adata.var_names` match {better[1]:,}: leave out `gene_key`."
        return f"Column {better[0]!r} of `adata.var` matches {better[1]:,}: pass `gene_key={better[0]!r}`."
    known = set(genes)
    if names.str.replace(r"\.\d+$", "", regex=True).isin(known).sum() > n_found:
        return (
            "They match without the version: "
            "`adata.var_names = adata.var_names.str.replace(r'\\.\\d+$', '', regex=True)`."
        )
    if names.str.upper().isin({g.upper() for g in genes}).sum() > n_found:
        of_model, of_data = species(genes), species(names)
        which = f" (the model looks {of_model}, the data {of_data})" if of_model and of_data else ""
        return (
            f"They match but for the case of letters: are the data of another species than the model{which}? "
            "Then map them to its genes by orthology, and pass the column with their names as `gene_key=`."
        )
    kinds = id_type(genes), id_type(names)
    if kinds[0] != kinds[1]:
        return f"The model has {kinds[0]}, the data {kinds[1]}: pass `gene_key=` with a column of {kinds[0]}."
    return "Pass `gene_key=` with the column of `adata.var` that has names like the model's."
