"""Analyse gene names: whether they are names at all, the kind of id, the species, and prefixes and suffixes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

type IdType = Literal["Ensembl ids", "Ensembl ids with versions", "Entrez ids", "symbols"]
type Clean = Callable[[str], str]

#: An Ensembl gene id: species, number, version, and the suffix of copies on chromosome Y.
_ENSEMBL = re.compile(r"(ENS([A-Z]{3,4})?G\d{11})(\.\d+)?(_PAR_Y)?")
_SPECIES = {None: "human", "MUS": "mouse", "RNO": "rat", "DAR": "zebrafish", "MMU": "macaque", "SSC": "pig"}
#: Families of symbols found in one species only, regardless of case.
_MARKS = {
    "human": re.compile(r"HLA-[A-Z]+\d*|LINC\d{5}|RP(1|3|4|5|6|11|13)-.+|CT[ABCD]-.+|C(\d\d?|X)ORF\d+", re.IGNORECASE),
    "mouse": re.compile(r"H2-[A-Z]+\d*|GM\d{3,5}|\d{7}[A-Z]\d\dRIK|BC\d{6}", re.IGNORECASE),
    "zebrafish": re.compile(r"(si:|zgc:|im:|wu:).+", re.IGNORECASE),
}
#: Minimum number of such symbols to infer the species.
_ENOUGH_MARKS = 3
#: Number of names that are examined, evenly spaced over all.
_SAMPLE = 2000

#: What stands for "no name", including copies that were made unique.
_MISSING = re.compile(r"\s*(|nan|NaN|None|NA|N/A|<NA>|null|NULL|-|--|\.|\?)\s*([-._]\d+)?")
#: A row number, as it is or with the prefix that R adds.
_ROW_NUMBER = re.compile(r"[VX]?(\d{1,9})(\.0*)?")
#: At least `_MANY` increasing numbers below `_HIGHEST` are row numbers, some of which were dropped; a list of so many
#: Entrez ids almost always has a higher one.
_MANY, _HIGHEST = 50, 100_000

#: A genome prefix: GRCh38_CD3D, hg19-CD3D, mm10___Cd3d.
_GENOME = re.compile(
    r"(GRC[hmrz]\w*?\d+|hg\d\d|mm\d\d?|T2T\w*|CHM13\w*|rn\d|mRatBN\w*|danRer\d+|(homo|mus)[-_]\w+?)[^A-Za-z0-9]+",
    re.IGNORECASE,
)
#: Share of names that must have a prefix, suffix or separator for it to count.
_MOST = 0.8
_SEPARATORS = ("|", ";", ",", "\t", "__", "::", ":", "/", " ", "_")
_AROUND = " \t\r\n\"'`\ufeff\xa0"
_BRACKETS = _AROUND + "()[]{}|;,:_-./"


def without_version(name: str) -> str:
    """Drop the version of an Ensembl id: `ENSG00000167286.15` is `ENSG00000167286`. Other names stay as they are."""
    if not name.startswith("ENS"):
        return name
    return m[1] + (m[4] or "") if (m := _ENSEMBL.fullmatch(name)) and m[3] else name


def without_punctuation(name: str) -> str:
    """Replace punctuation as R does: `HLA-A` becomes `HLA.A`; R's `X7SK` becomes `7SK`."""
    if name.isalnum() and not name.startswith("X"):
        return name
    return re.sub(r"^X(?=\d)", "", re.sub(r"[^A-Za-z0-9]+", ".", name))


def missing_names(values: pd.Series) -> np.ndarray:
    """Return a bool per value: whether it is missing, blank, or a word such as "NA"."""
    unnamed = [_MISSING.fullmatch(str(value)) is not None for value in values]
    return values.isna().to_numpy() | np.array(unnamed, bool)


def are_row_numbers(names: Any) -> bool:
    """Whether names are row numbers: `0, 1, 2, ...`, from 0 or 1, in any order, also as text or floats."""
    numbers = _row_numbers(names)
    if len(numbers) < 2 or len(np.unique(numbers)) < len(numbers):
        return False
    complete = numbers.min() in (0, 1) and numbers.max() - numbers.min() == len(numbers) - 1
    rising = len(numbers) >= _MANY and bool((np.diff(numbers) > 0).all()) and numbers.max() < _HIGHEST
    return complete or rising


def count_the_rows(names: Any) -> bool:
    """Whether names are the numbers of their own rows, from 0 or 1, so that they say nothing but the order."""
    numbers = _row_numbers(names)
    return len(numbers) > 1 and numbers[0] in (0, 1) and bool((np.diff(numbers) == 1).all())


def _row_numbers(names: Any) -> np.ndarray:
    """Return the numbers that names are, or none if one of them is something else."""
    found = []
    for name in names:
        match = _ROW_NUMBER.fullmatch(str(name))
        if match is None:
            return np.empty(0, int)
        found.append(int(match[1]))
    return np.array(found, int)


def cleaned(names: list[str]) -> Iterator[tuple[str, Clean]]:
    """Yield descriptions of what could be stripped from most names, each with the function that strips it.

    Blanks and quotes; a genome prefix, or another prefix or suffix that most names share; a trailing number; one of
    several joined names, as in `CD3D_ENSG00000167286` or `ENSG00000167286 | CD3D`.
    """
    bare = [_bare(name) for name in names]
    yield "without blanks and quotes", _bare
    seen = [names, bare]
    waiting: list[tuple[tuple[str, ...], Clean, list[str]]] = [((), _bare, bare)]
    while waiting:
        done, first, before = waiting.pop(0)
        for what, then in _ways(before):
            after = [then(name) for name in before]
            if after in seen:
                continue
            seen.append(after)
            clean: Clean = lambda name, first=first, then=then: then(first(name))  # type: ignore[misc]  # noqa: E731
            yield " and ".join([*done, what]), clean
            if len(done) < 2:
                waiting.append(((*done, what), clean, after))


def _bare(name: str) -> str:
    return name.strip(_AROUND)


def _ways(names: list[str]) -> Iterator[tuple[str, Clean]]:
    """Yield the ways to clean names like these."""
    sample = _sampled(names)
    most = _MOST * len(sample)
    if not sample:
        return
    genomes = Counter(m[0] for name in sample if (m := _GENOME.match(name)))
    prefixes = [prefix for prefix, n in genomes.most_common(3) if n > 0.01 * len(sample)]
    if (common := _common_start(sample)) and common not in prefixes:
        prefixes.append(common)
    for prefix in prefixes:
        yield f"without the prefix {prefix!r}", lambda name, p=prefix: name.removeprefix(p) or name  # type: ignore[misc]
    if suffix := _common_start([name[::-1] for name in sample])[::-1]:
        yield f"without the suffix {suffix!r}", lambda name: name.removesuffix(suffix) or name
    if sum(_ENSEMBL.search(name) is not None for name in sample) >= most:
        if any(not _ENSEMBL.fullmatch(name) for name in sample):
            yield "by the Ensembl id in them", lambda name: next((m[0] for m in _ENSEMBL.finditer(name)), name)
            yield "without the Ensembl id in them", lambda name: _ENSEMBL.sub("", name).strip(_BRACKETS) or name
        return
    if sum(re.search(r"[-._]\d+$", name) is not None for name in sample) >= most:
        yield "without the trailing number", lambda name: re.sub(r"[-._]\d+$", "", name) or name
    for separator in _SEPARATORS:
        parts = [len(name.split(separator)) for name in sample if separator in name]
        if len(parts) >= most:
            for i in range(min(Counter(parts).most_common(1)[0][0], 4)):
                yield (
                    f"by part {i + 1} of them, split at {separator!r}",
                    lambda name, s=separator, i=i: (  # type: ignore[misc]
                        _part(name, s, i)
                    ),
                )
            return


def _part(name: str, separator: str, i: int) -> str:
    parts = name.split(separator)
    return (parts[i].strip(_BRACKETS) if i < len(parts) else "") or name


def _common_start(names: list[str]) -> str:
    """Return the common prefix of most names, up to its last character that is neither a letter nor a digit."""
    start, among = "", names
    while among:
        following = Counter(name[len(start)] for name in among if len(name) > len(start) + 1)
        letter, n = max(following.items(), key=lambda item: item[1], default=("", 0))
        if n < _MOST * len(names):
            break
        among = [name for name in among if len(name) > len(start) + 1 and name[len(start)] == letter]
        start += letter
    return re.sub(r"[A-Za-z0-9]+$", "", start)


def id_type(names: Any) -> IdType:
    """Return the kind of id of most names."""
    sample = _sampled(names)
    ensembl = [m for name in sample if (m := _ENSEMBL.fullmatch(name))]
    if len(ensembl) > len(sample) / 2:
        versioned = sum(m[3] is not None for m in ensembl)
        return "Ensembl ids with versions" if versioned > len(ensembl) / 2 else "Ensembl ids"
    return "Entrez ids" if sum(name.isdecimal() for name in sample) > len(sample) / 2 else "symbols"


def species(names: Any) -> str | None:
    """Guess the species from Ensembl's prefix, from species-specific families (HLA-A, H2-K1), or from the case.

    CD3D is human, Cd3d mouse or rat.
    """
    sample = _sampled(names)
    prefixes = [_SPECIES.get(m[2]) for name in sample if (m := _ENSEMBL.fullmatch(name))]
    if len(prefixes) > len(sample) / 2:
        most: str | None = pd.Series(prefixes, dtype=object).mode(dropna=False).iloc[0]
        return most
    marks = {animal: sum(mark.fullmatch(name) is not None for name in sample) for animal, mark in _MARKS.items()}
    likeliest = max(marks, key=lambda animal: marks[animal])
    if marks[likeliest] >= _ENOUGH_MARKS and marks[likeliest] > 0.8 * sum(marks.values()):
        return likeliest
    # strip numbers, so that "gene1", "gene2", ... count once
    stems = {re.sub(r"[\d.-].*", "", name) for name in sample}
    words = [stem for stem in stems if len(stem) >= 3 and stem.isascii() and stem.isalpha()]
    if len(words) < 10:
        return None
    if np.mean([word.isupper() for word in words]) > 0.8:
        return "human"
    return "mouse or rat" if np.mean([word.istitle() for word in words]) > 0.8 else None


def same_species(one: Any, other: Any) -> bool:
    """Whether both lists of names are from the same species; False if either is unknown."""
    first, second = species(one), species(other)
    return first is not None and second is not None and bool({*first.split(" or ")} & {*second.split(" or ")})


def some_of(n: int) -> np.ndarray:
    """Return evenly spaced indices into `n` names."""
    return np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(int))


def _sampled(names: Any) -> list[str]:
    return [str(names[i]) for i in some_of(len(names))] if len(names) > _SAMPLE else [str(name) for name in names]
