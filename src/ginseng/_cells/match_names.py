"""Match gene names to those of a model, as they are or in another spelling that matches more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ginseng._cells.features import look_like_others
from ginseng._cells.gene_names import Clean, cleaned, same_species, some_of, without_punctuation, without_version


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
