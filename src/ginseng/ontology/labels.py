"""Which term a label stands for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Literal, NamedTuple

from ginseng.ontology.terms import cell_ontology, read_table

type MatchKind = Literal["exact", "synonym", "normalised", "crosswalk", "none"]

_GREEK = {"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "φ": "phi", "ϕ": "phi"}


class Match(NamedTuple):
    """A term, and how a label led to it."""

    id: str | None
    kind: MatchKind


def match_label(label: str, crosswalk: Mapping[str, str] | None = None) -> Match:
    """Return the term that a label stands for.

    It is the term whose id or label it is; whose synonym it is, unless published labels say another; whose label or
    synonym it is in another spelling (`"CD14+ monocytes"`); or that published labels of other tools say. A spelling
    that several terms have is none.

    Parameters
    ----------
    crosswalk
        Ids by labels, which come before all else.
    """
    ontology = cell_ontology()
    text = " ".join(unicodedata.normalize("NFKC", label).split())
    if crosswalk is not None and label in crosswalk:
        return Match(ontology.current(crosswalk[label]), "crosswalk")
    if (term := ontology.current(text) or ontology.by_name.get(text)) is not None:
        return Match(term, "exact")
    published = _published().get(spelling(text)) or _published().get(without_cell(spelling(text)))
    if (term := ontology.by_synonym.get(text)) is not None and published in (None, term):
        return Match(term, "synonym")
    if (term := _spelt(text)) is not None and published in (None, term):
        return Match(term, "normalised")
    return Match(published, "crosswalk") if published else Match(None, "none")


def spelling(name: str) -> str:
    """Return a name as it is compared: without case, plurals, hyphens, the sign of a positive marker."""
    text = unicodedata.normalize("NFKC", name).casefold().replace("mφ", "macrophage")
    text = "".join(_GREEK.get(c, c) for c in text)
    text = re.sub(r"(?<=\w)(\+|[- ]positive\b|[- ]pos\b)", " ", text)
    text = re.sub(r"(?<=\w)(-(?=[\s,]|$)|[- ]negative\b|[- ]neg\b)", " negative ", text)
    text = re.sub(r"[-_.,;:'\"]+", " ", text)
    text = re.sub(r"\s*/\s*", " / ", text)
    return " ".join(_singular(word) for word in text.split())


def without_cell(spelt: str) -> str:
    """Return a spelling without the word that many labels leave out."""
    return spelt.removesuffix(" cell")


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and re.search(r"[^suia\d]s$", word) else word


def _spelt(text: str) -> str | None:
    for key in (spelling, _bare):
        for name in ("label", "synonym"):
            found = _spellings(name, key).get(key(text))
            if found is not None:
                return found or None
    return None


def _bare(text: str) -> str:
    return without_cell(spelling(text))


@cache
def _spellings(what: str, key: Callable[[str], str]) -> dict[str, str]:
    """Return ids by spelling; an empty one where several terms have it."""
    ontology = cell_ontology()
    names = ontology.by_name if what == "label" else ontology.by_synonym
    return _unique((key(name), term) for name, term in names.items())


@cache
def _published() -> dict[str, str]:
    """Return the ids of published labels by spelling; of a label that sources disagree on, the first."""
    ontology = cell_ontology()
    known: dict[str, str] = {}
    for _, table in read_table("crosswalk.tsv.gz").groupby("source", sort=False):
        ids = [(label, ontology.current(term)) for label, term in zip(table["label"], table["id"], strict=True)]
        for key in (spelling, _bare):
            known = _unique((key(label), term) for label, term in ids if term) | known
    return {spelt: term for spelt, term in known.items() if term}


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, term in pairs:
        if found.setdefault(name, term) != term:
            found[name] = ""
    return found
