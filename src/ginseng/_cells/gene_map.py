"""One name of a gene for another: symbols, previous symbols, aliases, Ensembl and Entrez ids; human and mouse."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from ginseng._cells.gene_names import cleaned, id_type, some_of, species, without_punctuation, without_version
from ginseng._errors import suggest

type NameKind = Literal["ensembl", "symbol", "entrez"]
type Species = Literal["human", "mouse"]

#: Ensembl's prefix of the genes of each species that there is a table of.
PREFIXES: dict[str, str] = {"human": "ENSG", "mouse": "ENSMUSG"}
KINDS: tuple[NameKind, ...] = ("ensembl", "symbol", "entrez")
#: Rows of a table for names that it does not have, and for those that stand for several genes.
UNKNOWN, AMBIGUOUS = -1, -2

#: What others call the columns of a table.
_COLUMNS = {
    "ensembl": ("ensembl", "ensembl_gene_id", "ensembl_id", "gene_id"),
    "symbol": ("symbol", "gene_symbol", "gene_name"),
    "entrez": ("entrez", "entrez_id", "entrez_gene_id", "ncbi_gene_id"),
    "other": ("other", "prev_symbol", "alias_symbol", "previous", "alias", "synonyms"),
}


@dataclass(frozen=True)
class GeneTable:
    """The genes of a species, one per row, and all of their names.

    Attributes
    ----------
    prefix
        What its Ensembl ids start with; any if empty.
    ensembl, symbol, entrez
        (genes,) text, empty where a gene has none.
    other
        (genes,) previous symbols and aliases, divided by `|`.
    approved
        (genes,) bool, whether the symbol is this gene's even if another gene has it as well.
    """

    prefix: str
    ensembl: np.ndarray
    symbol: np.ndarray
    entrez: np.ndarray
    other: np.ndarray
    approved: np.ndarray

    @classmethod
    def read(cls, table: pd.DataFrame | str | Path) -> Self:
        """Return a table of one's own: HGNC's complete set, or columns of these or similar names.

        Raises
        ------
        ValueError
            If it has not two columns of names.
        """
        if not isinstance(table, pd.DataFrame):
            table = pd.read_csv(table, sep=None, engine="python", dtype=str, keep_default_na=False)
        table = table.astype(object).where(table.notna(), "").astype(str)
        columns = {kind: [name for name in names if name in table.columns] for kind, names in _COLUMNS.items()}
        if sum(bool(found) for found in columns.values()) < 2 or not any(columns[kind] for kind in KINDS):
            known = ", ".join(name for names in _COLUMNS.values() for name in names)
            msg = f"`table` has the columns {', '.join(map(str, table.columns))}; it needs two or more of: {known}."
            raise ValueError(msg)
        empty = pd.Series("", index=table.index)
        first = {kind: table[columns[kind][0]] if columns[kind] else empty for kind in KINDS}
        values: dict[str, Any] = {kind: column.str.strip().to_numpy(object) for kind, column in first.items()}
        values["ensembl"] = np.array([without_version(gene) for gene in values["ensembl"]], object)
        other = np.array(["|".join(filter(None, names)) for names in table[columns["other"]].to_numpy()], object)
        other = other if columns["other"] else np.full(len(table), "", object)
        return cls("", **values, other=other, approved=np.zeros(len(table), bool))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each Ensembl id, symbol and other name; `AMBIGUOUS` for what several genes are called.

        A symbol is that of the gene that has it today, also where another gene had it once. An Ensembl id in several
        rows is that of the first.
        """
        known: dict[str, int] = {}
        for row, gene in enumerate(self.ensembl):
            if gene:
                known.setdefault(gene, row)
        approved = {symbol: row for row, symbol in enumerate(self.symbol) if symbol and self.approved[row]}
        others = [(symbol, row) for row, symbol in enumerate(self.symbol) if symbol and symbol not in approved]
        known |= approved | self._single(others)
        previous = ((name.strip(), row) for row, names in enumerate(self.other) if names for name in names.split("|"))
        return self._single((name, row) for name, row in previous if name and name not in known) | known

    def _single(self, names: Iterable[tuple[str, int]]) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, row in names:
            if (first := found.setdefault(name, row)) != row and not self._same(first, row):
                found[name] = AMBIGUOUS
        return found

    def _same(self, one: int, other: int) -> bool:
        """Whether two rows are of one gene, which a table with a row per name has."""
        if AMBIGUOUS in (one, other):
            return False
        if self.ensembl[one] or self.ensembl[other]:
            return bool(self.ensembl[one] == self.ensembl[other])
        return bool(self.symbol[one] == self.symbol[other] and self.entrez[one] == self.entrez[other])

    @cached_property
    def row_of_entrez(self) -> dict[str, int]:
        """Row of each Entrez id."""
        return self._single((gene, row) for row, gene in enumerate(self.entrez) if gene)

    @cached_property
    def row_of_spelling(self) -> dict[str, int]:
        """Row of each symbol without case and punctuation: `HLA.A` and `C1ORF112`."""
        return self._single((_spelling(symbol), row) for row, symbol in enumerate(self.symbol) if self.approved[row])

    def rows(self, names: Iterable[str], kind: NameKind | None = None) -> np.ndarray:
        """Return the row of each name, `UNKNOWN`, or `AMBIGUOUS`.

        Parameters
        ----------
        kind
            What the names are. If None, whatever they look like, but a number is no Entrez id.
        """
        names = list(names)
        rows = np.array([self._row(name, kind) for name in names], int)
        if kind is None or kind == "symbol":
            self._spell(names, rows)
        return rows

    def _row(self, name: str, kind: NameKind | None) -> int:
        if kind == "entrez":
            return self.row_of_entrez.get(re.sub(r"\.0*$", "", name), UNKNOWN)
        gene = ensembl_id(name)
        if gene is not None:
            return UNKNOWN if kind == "symbol" else self.row_of.get(gene, UNKNOWN)
        return UNKNOWN if kind == "ensembl" else self.row_of.get(name, UNKNOWN)

    def _spell(self, names: list[str], rows: np.ndarray) -> None:
        """Fill in the rows of symbols in another spelling, where one name alone could be the gene."""
        spelt: dict[int, set[str]] = {}
        for i in np.flatnonzero(rows == UNKNOWN):
            if names[i] == names[i].upper() and (row := self.row_of_spelling.get(_spelling(names[i]), UNKNOWN)) >= 0:
                rows[i] = row
                spelt.setdefault(row, set()).add(names[i])
        respelt = np.array([name in spelt.get(row, ()) for name, row in zip(names, rows, strict=True)], bool)
        others = set(rows[~respelt].tolist())
        several = [row for row, some in spelt.items() if len(some) > 1 or row in others]
        rows[respelt & np.isin(rows, several)] = AMBIGUOUS


def _spelling(name: str) -> str:
    return without_punctuation(name).upper()


def ensembl_id(name: str) -> str | None:
    """Return an Ensembl gene id without its version and its mark of the Y chromosome; None if it is none."""
    if not name.startswith("ENS"):
        return None
    bare = without_version(name).removesuffix("_PAR_Y")
    return bare if re.fullmatch(r"ENS([A-Z]{3,4})?G\d{11}", bare) else None


@cache
def gene_table(species: Species) -> GeneTable:
    """Return the packaged table of a species."""
    table = _read(f"{species}_genes.tsv.gz")
    prefix = PREFIXES[species]
    ensembl = np.array([f"{prefix}{gene:0>11}" if gene else "" for gene in table["ensembl"]], object)
    symbol, entrez, other = (table[name].to_numpy(object) for name in ("symbol", "entrez", "other"))
    return GeneTable(prefix, ensembl, symbol, entrez, other, (table["approved"] != "").to_numpy())


@cache
def _orthologs(species: Species) -> dict[str, str]:
    """Return the Ensembl ids of the other species, by those of this one; one-to-one orthologs alone."""
    table = _read("orthologs.tsv.gz")
    names = {animal: [f"{prefix}{gene:0>11}" for gene in table[animal]] for animal, prefix in PREFIXES.items()}
    other = next(animal for animal in PREFIXES if animal != species)
    return dict(zip(names[species], names[other], strict=True))


def _read(name: str) -> pd.DataFrame:
    with files("ginseng._cells").joinpath("tables", name).open("rb") as packed, gzip.open(packed) as file:
        return pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)


# -- mapping ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mapped:
    """Names that took the place of others.

    Attributes
    ----------
    names
        (names,) the new ones, empty where there is none.
    ambiguous
        (names,) bool, whether it stands for several genes.
    species
        What the names were taken for; None with a table of one's own.
    """

    names: np.ndarray
    ambiguous: np.ndarray
    species: str | None


def map_names(
    names: list[str],
    to: NameKind = "ensembl",
    *,
    species: str | None = None,
    from_: NameKind | None = None,
    to_species: str | None = None,
    table: GeneTable | Mapping[str, str] | None = None,
) -> Mapped:
    """Return names of another kind, or of the orthologs of another species.

    Parameters
    ----------
    species, from_
        What the names are; told by their look if None.
    to_species
        Species of the one-to-one orthologs that are wanted.
    table
        Instead of the packaged ones: new names by old ones, or a table of genes.

    Raises
    ------
    ValueError
        If a kind or species is not known, or that of the names cannot be told.
    """
    _check("to", to, KINDS)
    _check("from_", from_, (None, *KINDS))
    _check("species", species, (None, *PREFIXES))
    _check("to_species", to_species, (None, *PREFIXES))
    if isinstance(table, Mapping):
        found = [str(table.get(name, "")) for name in names]
        return Mapped(np.array(found, object), np.zeros(len(names), bool), None)
    from_ = from_ or _entrez(names)
    if table is None:
        species = species or species_with_table(names, from_)
        source = gene_table(species)
    else:
        source = table
        if to_species is not None:
            msg = "`to_species` needs the packaged tables. Let your own `table` map to the orthologs, and leave it out."
            raise ValueError(msg)
    names = _as_table(names, source, from_)
    rows = source.rows(names, from_)
    target = source
    if to_species is not None and to_species != species:
        target = gene_table(to_species)
        partner = _orthologs(species)
        genes = [partner.get(source.ensembl[row], "") if row >= 0 else "" for row in rows]
        new = [target.row_of.get(gene, UNKNOWN) if gene else UNKNOWN for gene in genes]
    else:
        new = rows.tolist()
    values = getattr(target, to)
    found = [str(values[row]) if row >= 0 else "" for row in new]
    if to == "ensembl" and from_ in (None, "ensembl") and to_species in (None, species):
        # an id that the table lacks, of a retired gene or one without a symbol, is what it is
        ids = [ensembl_id(name) or "" for name in names]
        found = [
            name or (gene if gene.startswith(source.prefix) else "") for name, gene in zip(found, ids, strict=True)
        ]
    return Mapped(np.array(found, object), rows == AMBIGUOUS, species)


def species_with_table(names: list[str], from_: NameKind | None = None) -> Species:
    """Return the species of names: by their look, else the one whose table has most of them.

    Raises
    ------
    ValueError
        If there is no table of it, or it cannot be told.
    """
    guess = species(names)
    for animal in (guess or "").split(" or "):
        if animal in PREFIXES:
            return animal  # type: ignore[return-value]
    if guess is None:
        some = [names[i] for i in some_of(len(names))]
        kind = from_ or _entrez(some)
        tables = {animal: gene_table(animal) for animal in ("human", "mouse")}
        n_found = {
            animal: int((table.rows(_as_table(some, table, kind), kind) >= 0).sum()) for animal, table in tables.items()
        }
        best, other = sorted(n_found, key=lambda animal: -n_found[animal])
        if n_found[best] > n_found[other]:
            return best  # type: ignore[return-value]
    what = f"look {guess}" if guess else "are of no species that can be told"
    msg = f"The genes {what} ({', '.join(names[:3])}). There are tables of {' and '.join(PREFIXES)}: pass `species=`, "
    msg += "or a `table` of your own."
    raise ValueError(msg)


def _entrez(names: list[str]) -> NameKind | None:
    """Return what most names are, if that is Entrez ids; these are floats to pandas where some are missing."""
    return "entrez" if id_type([name.removesuffix(".0") for name in names]) == "Entrez ids" else None


def _check(what: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        msg = f"`{what}` is {value!r}. {suggest(value, [name for name in allowed if name])}"
        raise ValueError(msg)


def _as_table(names: list[str], table: GeneTable, kind: NameKind | None) -> list[str]:
    """Take off what is around names where the table then has more of them: blanks, a genome, a second name."""
    places = some_of(len(names))
    some = [names[i] for i in places]
    best, n_best = None, int((table.rows(some, kind) >= 0).sum())
    if n_best == len(some):
        return names
    for _, clean in cleaned(some):
        n_found = int((table.rows([clean(name) for name in some], kind) >= 0).sum())
        if n_found > n_best:
            best, n_best = clean, n_found
    return names if best is None else [best(name) for name in names]


# -- two lists of names -----------------------------------------------------------------------------------------------


def rows_of_both(names: list[str], genes: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the rows that names of data and of a model have in the table of the model's species.

    None if there is no table of it, or the data are of another species.
    """
    kinds = [_entrez(genes), _entrez(names)]
    try:
        animal = species_with_table(genes, kinds[0])
    except ValueError:
        return None
    of_data = species(names)
    if of_data is not None and animal not in of_data.split(" or "):
        return None
    table = gene_table(animal)
    rows = table.rows(genes, kinds[0])
    if (rows >= 0).mean() < 0.5:  # names of something else, of which a few look like genes
        return None
    return table.rows(_as_table(names, table, kinds[1]), kinds[1]), rows
