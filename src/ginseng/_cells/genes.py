"""How the genes of the data map to those of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.features import look_like_others, measured_genes
from ginseng._cells.gene_map import PREFIXES, rows_of_both
from ginseng._cells.gene_names import are_row_numbers, cleaned, id_type, some_of, species
from ginseng._cells.labels import in_memory
from ginseng._cells.match_names import Match, match_names
from ginseng._cells.named_genes import few, name_columns, names_in, where

#: Minimum share of the genes of a model. Below it labels are guesses: with a random fifth of its genes, a blood model
#: of 2,000 genes labels half of the cells correctly instead of nine in ten; with a tenth, one in five.
MIN_OVERLAP = 0.2
#: Another column of `var` is used if it has at least this many times the matches of the index.
BETTER = 1.05
#: Data with at most `FEW_GENES` genes come from a panel or were cut to variable genes; users are told if more than
#: `FEW_MISSING` of the genes of the model are missing.
FEW_GENES, FEW_MISSING = 6000, 0.1


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
            f"The genes of the model are row numbers ({few(genes)}), which cannot be matched to other data: train it "
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
            f"matched genes by {where(key)}, which has {in_column.n_found:,} of the {len(genes):,} of the model; "
            f"{where(None)} has {'row numbers' if numbered else f'{found.n_found:,}'}"
        )
        gene_key, names, better = key, _spelt(var, key), None
        found = _by_other_names(in_column, names, wanted, measured)
    elif better is not None:
        notes.append(
            f"matched {found.n_found:,} genes by {where(gene_key)}, where {where(better[0])} has "
            f"{better[1].n_found:,}: {_pass(better[0])}"
        )
    elif numbered:
        msg = (
            f"{where(gene_key)} has row numbers ({few(names)}) instead of gene names, and no column of `adata.var` "
            f"has genes of the model ({few(genes)}). Set `adata.var_names` to gene names, in the order of the rows."
        )
        raise ValueError(msg)
    n_found = found.n_found
    if n_found == 0 or n_found < min_overlap * len(genes):
        said = "None" if n_found == 0 else f"Only {n_found:,} ({n_found / len(genes):.2%})"
        msg = (
            f"{said} of the {len(genes):,} genes of the model {'is' if n_found < 2 else 'are'} in {where(gene_key)}. "
            f"The model has {few(genes)}; the data have {few(names)}. "
        )
        if better is not None:
            msg += f"{where(better[0])} matches {better[1].n_found:,}: {_pass(better[0])}."
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
    columns = [key for key in [None, *name_columns(var, numbers=numbers)] if key != gene_key]
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
