"""What names of genes say: which kind of id they are, and of which species."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pandas as pd

type IdType = Literal["Ensembl ids", "Ensembl ids with versions", "Entrez ids", "symbols"]

#: An Ensembl gene id: species, number, version, and a suffix of the copies on chromosome Y.
_ENSEMBL = re.compile(r"(ENS([A-Z]{3,4})?G\d{11})(\.\d+)?(_PAR_Y)?")
_SPECIES = {None: "human", "MUS": "mouse", "RNO": "rat", "DAR": "zebrafish", "MMU": "macaque", "SSC": "pig"}
#: As many names as this are looked at, spread over all.
_SAMPLE = 5000


def without_version(names: pd.Index) -> pd.Index:
    """Drop the version of Ensembl ids: `ENSG00000167286.15` is `ENSG00000167286`. Other names stay as they are."""
    return names.map(lambda name: m[1] + (m[4] or "") if (m := _ENSEMBL.fullmatch(str(name))) and m[3] else name)


def id_type(names: Any) -> IdType:
    """Tell the kind of id that most names are."""
    sample = _sampled(names)
    ensembl = [m for name in sample if (m := _ENSEMBL.fullmatch(name))]
    if len(ensembl) > len(sample) / 2:
        versioned = sum(m[3] is not None for m in ensembl)
        return "Ensembl ids with versions" if versioned > len(ensembl) / 2 else "Ensembl ids"
    return "Entrez ids" if sum(name.isdecimal() for name in sample) > len(sample) / 2 else "symbols"


def species(names: Any) -> str | None:
    """Guess the species: from Ensembl's prefix, or from the case of symbols (CD3D is human, Cd3d mouse or rat)."""
    sample = _sampled(names)
    prefixes = [_SPECIES.get(m[2]) for name in sample if (m := _ENSEMBL.fullmatch(name))]
    if len(prefixes) > len(sample) / 2:
        most: str | None = pd.Series(prefixes, dtype=object).mode(dropna=False).iloc[0]
        return most
    # without numbers, so that "gene1", "gene2", ... are one
    stems = {re.sub(r"[\d.-].*", "", name) for name in sample}
    words = [stem for stem in stems if len(stem) >= 3 and stem.isascii() and stem.isalpha()]
    if len(words) < 10:
        return None
    if np.mean([word.isupper() for word in words]) > 0.8:
        return "human"
    return "mouse or rat" if np.mean([word.istitle() for word in words]) > 0.8 else None


def _sampled(names: Any) -> list[str]:
    index = np.linspace(0, len(names) - 1, min(len(names), _SAMPLE)).astype(int)
    return [str(names[i]) for i in index]
