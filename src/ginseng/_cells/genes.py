"""Identify the genes of the data and match them to the genes of a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.entries import column
from ginseng._cells.features import look_like_others, measured_genes
from ginseng._cells.gene_map import PREFIXES, rows_of_both, species_with_table
from ginseng._cells.gene_names import (
    Clean,
    are_row_numbers,
    cleaned,
    id_type,
    missing_names,
    same_species,
    some_of,
    species,
    without_punctuation,
    without_version,
)
from ginseng._cells.labels import in_memory
from ginseng._cells.matrix import Block, take_columns

#: Minimum share of the genes of a model. Below it labels are guesses: with a random fifth of its genes, a blood model
#: of 2,000 genes labels half of the cells correctly instead of nine in ten; with a tenth, one in five.
MIN_OVERLAP = 0.2
#: Another column of `var` is used if it has at least this many times the matches of the index.
BETTER = 1.05
#: Data with at most `FEW_GENES` genes come from a panel or were cut to variable genes; users are told if more than
#: `FEW_MISSING` of the genes of the model are missing.
FEW_GENES, FEW_MISSING = 6000, 0.1

#: Columns of `var` that often hold gene names, the likeliest first; in lower case, without underscores.
_COLUMNS = (
    "genesymbols", "genesymbol", "symbols", "symbol", "genenames", "genename", "featurename", "featurenames",
    "geneshortname", "hgncsymbol", "mgisymbol", "genes", "gene", "names", "name", "geneids", "geneid", "ensemblids",
    "ensemblid", "ensembl", "ensemblgeneid", "featureid", "ids", "id", "index",
)  # fmt: skip


# -- the genes of the data --------------------------------------------------------------------------------------------


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
                f"{_some(self.names[copied])}."
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
        better = next((key for key in _columns(var) if key != gene_key and not are_row_numbers(var[key])), None)
        what = f"{_where(gene_key)} has row numbers ({_some(names)}) instead of gene names"
        if gene_key is not None or better is None:
            advice = (
                f"pass `gene_key={better!r}`"
                if better
                else "set the gene names: `adata.var_names = [...]`, in the order of the rows"
            )
            raise ValueError(f"{what}: {advice}.")
        gene_key, names = better, names_in(var, better)
        notes.append(f"{what}; {_where(better)} is used instead ({_some(names)}).")
    found = by_name(names, measured_genes(var))
    if len(found.names) == 0:
        msg = (
            f"No gene has a name in {_where(gene_key)}: pass `gene_key=` with the column of `adata.var` that has names."
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
    for key in [gene_key, *(_columns(var) if gene_key is None else [])]:
        names = names_in(var, key).dropna().tolist()
        for spelt in (names, *([clean(name) for name in names] for _, clean in cleaned(names))):
            if (found := species(spelt)) is not None:
                return found
    for key in [gene_key, *(_columns(var, numbers=True) if gene_key is None else [])]:
        names = names_in(var, key).dropna().tolist()
        with suppress(ValueError):  # no species, or one without a table
            if not are_row_numbers(names):
                return species_with_table(names)
    return None


def _columns(var: pd.DataFrame, numbers: bool = False) -> list[str]:
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
    candidates: list[str | None] = [None, *_columns(var)]
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


def _where(gene_key: str | None) -> str:
    return "`adata.var_names`" if gene_key is None else f"`adata.var[{gene_key!r}]`"


def _some(names: Any) -> str:
    return ", ".join(str(n) for n in names[:3]) + (", ..." if len(names) > 3 else "")


# -- matching to the genes of a model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Match:
    """The result of looking up names in a list of genes.

    Attributes
    ----------
    position
        (names,) index of each name into the genes, or -1.
    n_found
        Number of genes that were found.
    notes
        How the names had to be changed to match.
    n_mapped
        How many of them were found by another name of the gene.
    """

    position: np.ndarray
    n_found: int
    notes: tuple[str, ...] = ()
    n_mapped: int = 0


def match_names(names: list[str], genes: list[str], usable: np.ndarray | None = None) -> Match:
    """Match names to those of a model, as they are or in another spelling that matches more.

    Parameters
    ----------
    names
        Gene names of the data; may be repeated.
    genes
        Gene names of the model, unique.
    usable
        (names,) bool; False for features that are not genes.
    """
    usable = np.ones(len(names), bool) if usable is None else usable
    best = _found(names, genes, usable)
    spelling, wanted = names, genes

    if best.n_found < len(genes) and (may := usable & ~look_like_others(names)).any():  # `ADT_CD4` is not the gene
        for what, clean in _likely(names, genes, may):
            bare = [clean(name) for name in names]
            found = _found(bare, genes, may)
            if found.n_found > best.n_found:
                note = f"matched {what}{_example(names, bare, found.position)}"
                best, spelling = replace(found, notes=(note, *found.notes)), bare
        if best.n_found < len(genes):  # perhaps the names of the model need cleaning
            for what, clean in cleaned(genes):
                bare = [clean(gene) for gene in genes]
                if bare == genes or len(set(bare)) < len(bare):
                    continue
                found = _found(spelling, bare, may)
                if found.n_found > best.n_found:
                    note = f"matched the genes of the model {what}{_example(genes, bare, np.arange(len(genes)))}"
                    best, wanted = replace(found, notes=(note, *found.notes)), bare
    if best.n_found < len(genes):
        best = _filled(best, spelling, wanted, usable, without_punctuation, "punctuation")
    if best.n_found < len(genes) and same_species(wanted, [spelling[i] for i in np.flatnonzero(usable)]):
        best = _filled(best, spelling, wanted, usable, str.casefold, "case")
    return best


def _likely(names: list[str], genes: list[str], usable: np.ndarray) -> list[tuple[str, Clean]]:
    """Return the ways to clean names that may match more, judged on a sample; blanks are always tried."""
    rows = some_of(len(names))
    some, usable = [names[i] for i in rows], usable[rows]
    blanks, *ways = cleaned(some)
    n_found = [_found([clean(name) for name in some], genes, usable).n_found for _, clean in ways]
    if not ways or max(n_found) <= _found(some, genes, usable).n_found:
        return [blanks]
    return [blanks, ways[int(np.argmax(n_found))]]


def _example(before: list[str], after: list[str], position: np.ndarray) -> str:
    i = next((i for i in np.flatnonzero(position >= 0) if before[i] != after[i]), None)
    return "" if i is None else f" ({before[i]} is {after[i]})"


def _found(names: list[str], genes: list[str], usable: np.ndarray) -> Match:
    """Match equal names; or Ensembl ids without versions, where that matches more."""
    match = _equal(names, genes, usable)
    model = [without_version(gene) for gene in genes]
    if match.n_found < len(genes) and len(set(model)) == len(model):
        loose = _equal([without_version(name) for name in names], model, usable)
        if (more := loose.n_found - match.n_found) > 0:
            return replace(loose, notes=(f"matched {more:,} Ensembl ids without their versions",))
    return match


def _equal(names: list[str], genes: list[str], usable: np.ndarray) -> Match:
    place = {gene: i for i, gene in enumerate(genes)}
    position = np.where(usable, np.array([place.get(name, -1) for name in names], int), -1)
    return Match(position, len(np.unique(position[position >= 0])))


def _filled(
    match: Match, names: list[str], genes: list[str], usable: np.ndarray, key: Callable[[str], str], differ_by: str
) -> Match:
    """Match the remaining names by `key(name)`, where it is unambiguous on both sides."""
    left: dict[str, list[int]] = {}
    for i in np.setdiff1d(np.arange(len(genes)), match.position):
        left.setdefault(key(genes[i]), []).append(int(i))
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(usable & (match.position < 0)):
        if (spelt := key(names[row])) in left:
            rows.setdefault(spelt, []).append(int(row))
    position = match.position.copy()
    examples = []
    for spelt, same in rows.items():
        if len(left[spelt]) == 1 and len({names[row] for row in same}) == 1:
            position[same] = left[spelt][0]
            examples.append(f"{names[same[0]]} is {genes[left[spelt][0]]}")
    if not examples:
        return match
    note = f"matched {len(examples):,} genes whose names differ only by {differ_by} ({examples[0]})"
    return Match(position, match.n_found + len(examples), (*match.notes, note))


@dataclass(frozen=True)
class Alignment:
    """How the genes of the data map to those of a model.

    Attributes
    ----------
    position
        (genes of the data,) index into the genes of the model, or -1.
    n_model
        Number of genes of the model.
    missing
        Genes of the model that the data lack; they count as zero.
    measured
        (genes of the data,) bool, False for antibodies and other features, which do not count towards the library size.
    gene_key
        Column of `var` that the names come from; the index if None.
    notes
        How names had to be changed to match.
    n_mapped
        Genes of the model that were found by another name of theirs.
    """

    position: np.ndarray
    n_model: int
    missing: np.ndarray
    measured: np.ndarray
    gene_key: str | None = None
    notes: tuple[str, ...] = ()
    n_mapped: int = 0

    @property
    def overlap(self) -> float:
        """Share of the genes of the model that are in the data."""
        return 1 - len(self.missing) / self.n_model

    @property
    def advice(self) -> str:
        """What to do about missing genes; empty if there is nothing to do."""
        return _advice(int(self.measured.sum()), self.overlap, self.gene_key)


def _advice(n_genes: int, overlap: float, gene_key: str | None) -> str:
    """Say how to work with data that have few genes."""
    if n_genes > FEW_GENES or overlap > 1 - FEW_MISSING:
        return ""
    names = "adata.var_names" if gene_key is None else f"adata.var[{gene_key!r}]"
    return (
        f" The data have few genes ({n_genes:,}), as from a panel or cut to variable genes. Use the full data, or "
        f"train a model on the shared genes: `gs.tl.train(reference, label_key, genes={names})`, which ignores names "
        "that the reference lacks."
    )


def align_genes(
    adata: AnnData,
    genes: np.ndarray,
    gene_key: str | None = None,
    *,
    other_names: np.ndarray | None = None,
    min_overlap: float = MIN_OVERLAP,
) -> Alignment:
    """Match genes by name.

    If `gene_key` is not given and a column of `var` matches more genes of the model than the index, that column is
    used. Names also match in the spellings that :func:`match_names` tries. Genes that are not found
    so are looked up by their other names: those that the model has, then aliases, previous symbols, Ensembl and Entrez
    ids of the tables. Rows that match the same gene are summed.

    Parameters
    ----------
    adata
        The data.
    genes
        Names of the genes of the model, unique.
    gene_key
        Column of `var` with the gene names; if None, the index, or a column that matches more genes.
    other_names
        (genes,) what the model knows of how its genes are also called, empty where nothing.
    min_overlap
        Minimum share of the genes of the model that must be found.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If fewer genes of the model are found, or none; the message says what would match. Also if the names of the
        data or of the model are row numbers.
    """
    if not 0 <= min_overlap <= 1:
        msg = f"`min_overlap` is a share of the genes of the model, in [0, 1], not {min_overlap!r}."
        raise ValueError(msg)
    var = in_memory(adata.var)
    measured = measured_genes(var)
    if are_row_numbers(genes):
        msg = (
            f"The genes of the model are row numbers ({_some(genes)}), which cannot be matched to other data: train it "
            "again on data with gene names in `adata.var_names`."
        )
        raise ValueError(msg)
    wanted = [str(gene) for gene in genes]
    names = _spelt(var, gene_key)
    numbered = are_row_numbers(names)
    others = None if other_names is None else [str(name) for name in other_names]
    found = Match(np.full(len(var), -1), 0) if numbered else _by_either(names, wanted, others, measured)
    notes: list[str] = []
    better = None
    if found.n_found < len(genes):
        better = _better_column(var, wanted, measured, gene_key, found.n_found, others=others)
    if better is None and not numbered:
        found = _by_other_names(found, names, wanted, measured)
    if better is None and gene_key is None and found.n_found < max(min_overlap, MIN_OVERLAP) * len(genes):
        better = _better_column(var, wanted, measured, gene_key, found.n_found, others=others, by_other_names=True)
    if better is not None and gene_key is None:
        key, in_column = better
        notes.append(
            f"matched genes by {_where(key)}, which has {in_column.n_found:,} of the {len(genes):,} of the model; "
            f"{_where(None)} has {'row numbers' if numbered else f'{found.n_found:,}'}"
        )
        gene_key, names, better = key, _spelt(var, key), None
        found = _by_other_names(in_column, names, wanted, measured)
    elif better is not None:
        notes.append(
            f"matched {found.n_found:,} genes by {_where(gene_key)}, where {_where(better[0])} has "
            f"{better[1].n_found:,}: {_pass(better[0])}"
        )
    elif numbered:
        msg = (
            f"{_where(gene_key)} has row numbers ({_some(names)}) instead of gene names, and no column of `adata.var` "
            f"has genes of the model ({_some(genes)}). Set `adata.var_names` to gene names, in the order of the rows."
        )
        raise ValueError(msg)
    n_found = found.n_found
    if n_found == 0 or n_found < min_overlap * len(genes):
        said = "None" if n_found == 0 else f"Only {n_found:,} ({n_found / len(genes):.2%})"
        msg = (
            f"{said} of the {len(genes):,} genes of the model {'is' if n_found < 2 else 'are'} in {_where(gene_key)}. "
            f"The model has {_some(genes)}; the data have {_some(names)}. "
        )
        if better is not None:
            msg += f"{_where(better[0])} matches {better[1].n_found:,}: {_pass(better[0])}."
        else:
            msg += _what_would_match([names[i] for i in np.flatnonzero(measured)], wanted, n_found)
        if n_found:
            msg += f" To label the cells anyway, lower `min_overlap` from {min_overlap:g}."
            msg += _advice(int(measured.sum()), n_found / len(genes), gene_key)
        raise ValueError(msg)
    missing = genes[np.setdiff1d(np.arange(len(genes)), found.position)]
    notes += [*found.notes, *_summed(found.position)]
    return Alignment(found.position, len(genes), missing, measured, gene_key, tuple(notes), found.n_mapped)


def _spelt(var: pd.DataFrame, gene_key: str | None) -> list[str]:
    return [str(name) for name in names_in(var, gene_key).fillna("nan")]


def _by_either(names: list[str], genes: list[str], others: list[str] | None, measured: np.ndarray) -> Match:
    """Match names to those of a model, and those that are left to the other names that it has of its genes."""
    found = match_names(names, genes, measured)
    if others is None or found.n_found == len(genes):
        return found
    left = np.setdiff1d(np.flatnonzero([bool(name) for name in others]), found.position)
    more = match_names(names, [others[i] for i in left], measured & (found.position < 0)) if len(left) else None
    if more is None or not more.n_found:
        return found
    position = np.where(more.position >= 0, left[more.position], found.position)
    row = int(np.flatnonzero(more.position >= 0)[0])
    example = f"{names[row]} is {genes[position[row]]}"
    note = f"found {more.n_found:,} genes by other names that the model stores ({example})"
    notes = (*found.notes, *more.notes, note)
    return Match(position, found.n_found + more.n_found, notes, found.n_mapped + more.n_found)


def _by_other_names(found: Match, names: list[str], genes: list[str], measured: np.ndarray) -> Match:
    """Find the genes that are left by their other names: ids for symbols, aliases, and symbols of former days.

    Names of a gene that are all in the data are summed; a gene that was found already stays as it was found.
    """
    rows = rows_of_both(names, genes) if found.n_found < len(genes) else None
    if rows is None:
        return found
    of_names, of_genes = rows
    left = np.setdiff1d(np.flatnonzero(of_genes >= 0), found.position)
    taken = set(of_genes[np.setdiff1d(np.arange(len(genes)), left)])
    unique, n_genes = np.unique(of_genes[left], return_counts=True)
    place = {row: i for i, row in zip(left, of_genes[left], strict=True)}
    wanted = {row: place[row] for row in unique[n_genes == 1] if row not in taken}
    free = measured & (found.position < 0) & ~look_like_others(names)
    position = np.where(free, [wanted.get(row, -1) for row in of_names], found.position)
    n_found = len(np.unique(position[position >= 0]))
    if n_found == found.n_found:
        return found
    row = int(np.flatnonzero(position != found.position)[0])
    note = f"found {n_found - found.n_found:,} genes under other names ({names[row]} is {genes[position[row]]})"
    return Match(position, n_found, (*found.notes, note), found.n_mapped + n_found - found.n_found)


def _summed(position: np.ndarray) -> list[str]:
    n_rows = np.bincount(position[position >= 0])
    copied = n_rows > 1
    return [f"summed {n_rows[copied].sum():,} rows of {copied.sum():,} repeated genes"] if copied.any() else []


def _better_column(
    var: pd.DataFrame,
    genes: list[str],
    measured: np.ndarray,
    gene_key: str | None,
    n_found: int,
    *,
    others: list[str] | None = None,
    by_other_names: bool = False,
) -> tuple[str | None, Match] | None:
    """Return the column of `var` (None: the index) that matches clearly more genes of the model, if there is one."""

    def match(names: list[str], measured: np.ndarray) -> Match:
        found = _by_either(names, genes, others, measured)
        return _by_other_names(found, names, genes, measured) if by_other_names else found

    numbers = by_other_names or id_type(genes) == "Entrez ids"
    columns = [key for key in [None, *_columns(var, numbers=numbers)] if key != gene_key]
    # pick the column on a sample of the rows
    rows = some_of(len(var))
    best: tuple[str | None, int] = (None, 0)
    for key in columns:
        names = _spelt(var.iloc[rows], key)
        if (n := match(names, measured[rows]).n_found) > best[1] and not are_row_numbers(names):
            best = (key, n)
    if not best[1]:
        return None
    found = match(_spelt(var, best[0]), measured)
    return (best[0], found) if found.n_found >= max(BETTER * n_found, n_found + 1) else None


def _pass(gene_key: str | None) -> str:
    return "leave out `gene_key`" if gene_key is None else f"pass `gene_key={gene_key!r}`"


def _what_would_match(names: list[str], genes: list[str], n_found: int) -> str:
    upper = {gene.upper() for gene in genes}

    def n_upper(spelt: list[str]) -> int:
        return sum(name.upper() in upper for name in spelt)

    names = max(
        [names, *([clean(name) for name in names] for _, clean in cleaned(names))], key=n_upper
    )  # the first of those that are equal
    if n_upper(names) > n_found:
        of_model, of_data = species(genes), species(names)
        which = f" (the model looks {of_model}, the data {of_data})" if of_model and of_data else ""
        return (
            f"They match only if case is ignored: are the data from another species than the model{which}? "
            "Then map the genes by orthology, and pass the column with the mapped names as `gene_key=`"
            f"{_orthologs(of_model, of_data, genes)}."
        )
    kinds = id_type(genes), id_type(names)
    if (to := _orthologs(species(genes), species(names), genes)) and kinds[0] != "Entrez ids":
        return f"The genes of the model look {species(genes)}, those of the data {species(names)}{to}."
    if kinds[0] != kinds[1]:
        return f"The model has {kinds[0]}, the data {kinds[1]}: pass `gene_key=` with a column of {kinds[0]}."
    return "Pass `gene_key=` with the column of `adata.var` that has names like those of the model."


def _orthologs(of_model: str | None, of_data: str | None, genes: list[str]) -> str:
    """Say which call maps the genes of the data to those of the species of a model."""
    animals = [next((a for a in (name or "").split(" or ") if a in PREFIXES), None) for name in (of_model, of_data)]
    if None in animals or animals[0] == animals[1]:
        return ""
    to = "ensembl" if id_type(genes).startswith("Ensembl") else "symbol"
    return f": `gs.pp.map_genes(adata, {to!r}, to_species={animals[0]!r})` writes `gene_key={_keys.mapped_genes(to)!r}`"
