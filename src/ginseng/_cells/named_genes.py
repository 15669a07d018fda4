"""The genes of the data: their names, wherever in `var` they are, and rows that are one gene."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ginseng._cells.entries import column
from ginseng._cells.features import measured_genes
from ginseng._cells.gene_map import species_with_table
from ginseng._cells.gene_names import are_row_numbers, cleaned, id_type, missing_names, species
from ginseng._cells.matrix import Block, take_columns

#: Columns of `var` that often hold gene names, the likeliest first; in lower case, without underscores.
_COLUMNS = (
    "genesymbols", "genesymbol", "symbols", "symbol", "genenames", "genename", "featurename", "featurenames",
    "geneshortname", "hgncsymbol", "mgisymbol", "genes", "gene", "names", "name", "geneids", "geneid", "ensemblids",
    "ensemblid", "ensembl", "ensemblgeneid", "featureid", "ids", "id", "index",
)  # fmt: skip


@dataclass(frozen=True)
class NamedGenes:
    """The genes of an AnnData; rows of `var` with the same name are one gene.

    Attributes
    ----------
    names
        Unique gene names, in order of first appearance.
    position
        (rows of `var`,) index of each row into `names`, or -1 for features that are not genes or have no name.
    n_unnamed
        Number of genes without a name.
    """

    names: np.ndarray
    position: np.ndarray
    n_unnamed: int = 0

    @property
    def one_each(self) -> bool:
        """Whether every row is a gene and no name is repeated."""
        return len(self.names) == len(self.position)

    def summed(self, block: Block) -> Block:
        """Return a block (cells, rows of `var`) as (cells, genes); rows with the same name are summed."""
        return block if self.one_each else take_columns(block, self.position, len(self.names))

    def spread(self, values: np.ndarray, fill: Any) -> np.ndarray:
        """Return per-gene values for each row of `var`, with `fill` where there is no gene."""
        return np.where(self.position >= 0, values[self.position], fill)

    def notes(self, chosen: np.ndarray | None = None) -> list[str]:
        """Say which rows are summed and how many are dropped.

        Parameters
        ----------
        chosen
            Indices into `names`; all if None.
        """
        notes = []
        n_rows = np.bincount(self.position[self.position >= 0], minlength=len(self.names))
        copied = np.flatnonzero(n_rows > 1)
        if chosen is not None:
            copied = np.intersect1d(copied, chosen)
        if len(copied):
            notes.append(
                f"{n_rows[copied].sum():,} rows share the names of {len(copied):,} genes and are summed by name: "
                f"{few(self.names[copied])}."
            )
        if self.n_unnamed and chosen is None:
            notes.append(f"{self.n_unnamed:,} genes without a name are left out.")
        return notes


def by_name(names: pd.Series, measured: np.ndarray) -> NamedGenes:
    """Group rows by name, where they are `measured`: (rows,) bool."""
    unnamed = missing_names(names) & measured
    rows = np.flatnonzero(measured & ~unnamed)
    codes, unique = pd.factorize(names.to_numpy(object)[rows])
    position = np.full(len(names), -1)
    position[rows] = codes
    return NamedGenes(np.array([str(name) for name in unique], object), position, int(unnamed.sum()))


def genes_to_select(var: pd.DataFrame, gene_key: str | None = None) -> NamedGenes:
    """Return the genes of the data; without names, which a selection does not need, every row is one gene."""
    measured = measured_genes(var)
    try:
        return named_genes(var, gene_key)[0]
    except ValueError:
        rows = np.where(measured, np.cumsum(measured) - 1, -1)
        return NamedGenes(var.index[measured].astype(str).to_numpy(object), rows)


def named_genes(var: pd.DataFrame, gene_key: str | None) -> tuple[NamedGenes, str | None, list[str]]:
    """Return the genes of the data, the column of their names, and notes for the user.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If there are only row numbers instead of names, or no gene has a name.
    """
    names, notes = names_in(var, gene_key), []
    if are_row_numbers(names):
        better = next((key for key in name_columns(var) if key != gene_key and not are_row_numbers(var[key])), None)
        what = f"{where(gene_key)} has row numbers ({few(names)}) instead of gene names"
        if gene_key is not None or better is None:
            advice = (
                f"pass `gene_key={better!r}`"
                if better
                else "set the gene names: `adata.var_names = [...]`, in the order of the rows"
            )
            raise ValueError(f"{what}: {advice}.")
        gene_key, names = better, names_in(var, better)
        notes.append(f"{what}; {where(better)} is used instead ({few(names)}).")
    found = by_name(names, measured_genes(var))
    if len(found.names) == 0:
        msg = (
            f"No gene has a name in {where(gene_key)}: pass `gene_key=` with the column of `adata.var` that has names."
        )
        raise ValueError(msg)
    return found, gene_key, notes


def names_in(var: pd.DataFrame, gene_key: str | None) -> pd.Series:
    """Return names as text; missing ones stay missing."""
    values = var.index.to_series() if gene_key is None else column(var, gene_key, what="adata.var")
    values = pd.Series(np.asarray(values, object))
    return values.where(values.isna(), values.map(_text))


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def species_of(var: pd.DataFrame, gene_key: str | None) -> str | None:
    """Guess the species of the data, by the names or what is left of them without what is around them.

    Without `gene_key`, other columns of `var` are looked at where the index says nothing. Names whose look says
    nothing, as Entrez ids, are of the species whose table has most of them.
    """
    for key in [gene_key, *(name_columns(var) if gene_key is None else [])]:
        names = names_in(var, key).dropna().tolist()
        for spelt in (names, *([clean(name) for name in names] for _, clean in cleaned(names))):
            if (found := species(spelt)) is not None:
                return found
    for key in [gene_key, *(name_columns(var, numbers=True) if gene_key is None else [])]:
        names = names_in(var, key).dropna().tolist()
        with suppress(ValueError):  # no species, or one without a table
            if not are_row_numbers(names):
                return species_with_table(names)
    return None


def name_columns(var: pd.DataFrame, numbers: bool = False) -> list[str]:
    """Return the columns of `var` that may hold gene names, the likeliest first: text with few repeats."""

    def may(key: Any) -> bool:
        values: Any = var[key]
        if isinstance(values, pd.DataFrame):
            return False
        values = values[values.notna()]
        if len(values) and pd.api.types.is_integer_dtype(values.dtype):
            return numbers and values.is_unique
        if not pd.api.types.is_string_dtype(values.astype(object)) or not len(values):
            return False
        return values.nunique() > len(values) / 2

    def rank(key: str) -> int:
        return _COLUMNS.index(_plain(key)) if _plain(key) in _COLUMNS else len(_COLUMNS)

    return sorted((key for key in var.columns if isinstance(key, str) and may(key)), key=rank)


def other_names(var: pd.DataFrame, genes: np.ndarray, position: np.ndarray) -> np.ndarray | None:
    """Return what the genes are also called: Ensembl ids if they are symbols, symbols if they are Ensembl ids.

    Parameters
    ----------
    genes
        Names of the genes.
    position
        (rows of `var`,) index of each row into `genes`, or -1.

    Returns
    -------
    (genes,) text, empty where unknown or where another gene has it; None if no column of `var` has such names.
    """
    kind = id_type(genes)
    if kind == "Entrez ids":
        return None
    rows = np.flatnonzero(position >= 0)
    candidates: list[str | None] = [None, *name_columns(var)]
    for key in candidates:
        names = names_in(var, key)
        names = names[rows].where(~missing_names(names[rows]), "")
        named = [name for name in names if name]
        is_ensembl = id_type(named).startswith("Ensembl")
        known = key is None or _plain(key) in _COLUMNS  # any text could be symbols
        if 2 * len(named) < len(rows) or are_row_numbers(named) or is_ensembl == kind.startswith("Ensembl"):
            continue
        if is_ensembl or (known and id_type(named) == "symbols"):
            first = pd.Series(names.to_numpy(object), index=position[rows]).groupby(level=0).first()
            found = first.reindex(range(len(genes)), fill_value="").to_numpy(object)
            return np.where(pd.Series(found).duplicated(), "", found).astype(str)
    return None


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace(" ", "").replace("-", "").replace(".", "")


def where(gene_key: str | None) -> str:
    return "`adata.var_names`" if gene_key is None else f"`adata.var[{gene_key!r}]`"


def few(names: Any) -> str:
    return ", ".join(str(n) for n in names[:3]) + (", ..." if len(names) > 3 else "")
