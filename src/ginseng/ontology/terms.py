"""The terms of the Cell Ontology, and what is above them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import pandas as pd

ROOT = "CL:0000000"
#: Terms that say nothing of a cell; the CELLxGENE schema takes none of them but the root.
SAY_NOTHING = frozenset({ROOT, "CL:0000255", "CL:0000257", "CL:0000548"})
#: What the CELLxGENE schema wants where there is no term.
UNKNOWN = "unknown"

_ID = re.compile(r"\s*(?:http://purl\.obolibrary\.org/obo/)?CL[:_](\d{7})\s*")


@dataclass(frozen=True)
class Term:
    """A term.

    Attributes
    ----------
    parents
        Terms above it, with their distance: 1, but where terms between are of other ontologies.
    replaced_by
        The term to use, where this one is obsolete; empty if there is none.
    """

    id: str
    label: str
    synonyms: tuple[str, ...]
    parents: tuple[tuple[str, int], ...]
    obsolete: bool
    replaced_by: str


class Ontology:
    """Terms by id."""

    def __init__(self, terms: Mapping[str, Term]) -> None:
        self.terms = terms
        self._above: dict[str, frozenset[str]] = {}
        self._depth: dict[str, int] = {}

    def current(self, text: str) -> str | None:
        """Return the id that a text is, `CL:0000084` or `CL_0000084`, or the one that took its place; None if none."""
        match = _ID.fullmatch(text)
        term = self.terms.get(f"CL:{match[1]}") if match else None
        if term is not None and term.obsolete:
            term = self.terms.get(term.replaced_by)
        return None if term is None or term.obsolete else term.id

    def label(self, term: str) -> str:
        """Return the label of a term."""
        return self.terms[term].label

    def with_ancestors(self, term: str) -> frozenset[str]:
        """Return a term and all that are above it."""
        if term not in self._above:
            above = [self.with_ancestors(parent) for parent, _ in self.terms[term].parents]
            self._above[term] = frozenset({term}.union(*above))
        return self._above[term]

    def depth(self, term: str) -> int:
        """Return the steps of the longest way to the root, so that a term is deeper than all that are above it."""
        if term not in self._depth:
            self._depth[term] = max((n + self.depth(parent) for parent, n in self.terms[term].parents), default=0)
        return self._depth[term]

    @cached_property
    def by_name(self) -> dict[str, str]:
        """Id of each label."""
        return {term.label: term.id for term in self.terms.values() if not term.obsolete}

    @cached_property
    def by_synonym(self) -> dict[str, str]:
        """Id of each synonym that one term alone has."""
        found: dict[str, set[str]] = {}
        for term in self.terms.values():
            for name in () if term.obsolete else term.synonyms:
                found.setdefault(name, set()).add(term.id)
        return {name: next(iter(ids)) for name, ids in found.items() if len(ids) == 1}


@cache
def cell_ontology() -> Ontology:
    """Return the packaged Cell Ontology."""
    terms = {}
    for row in read_table("terms.tsv.gz").itertuples():
        parents = (parent.partition("=") for parent in str(row.parents).split("|") if parent)
        terms[str(row.id)] = Term(
            str(row.id),
            str(row.label),
            tuple(name for name in str(row.synonyms).split("|") if name),
            tuple((parent, int(n or 1)) for parent, _, n in parents),
            bool(row.obsolete),
            str(row.replaced_by),
        )
    return Ontology(terms)


def read_table(name: str) -> pd.DataFrame:
    """Return a packaged table."""
    with files("ginseng.ontology").joinpath("data", name).open("rb") as packed, gzip.open(packed) as file:
        return pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False, quoting=3)
