"""Map gene symbols to Ensembl ids."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import Literal

import pandas as pd


def map_names(names: pd.Index, to: Literal["ensembl"] = "ensembl", species: str = "human") -> pd.Index:
    """Return `names` with symbols replaced by Ensembl ids where they are known; other names are unchanged.

    Includes previous symbols and aliases, if they stand for one gene only.
    """
    known = _known(species) if to == "ensembl" else {}
    return names.map(lambda name: known.get(str(name), str(name)))


@cache
def _known(species: str) -> dict[str, str]:
    if species != "human":
        return {}
    packed = files("ginseng._cells").joinpath("human_genes.tsv.gz").read_bytes()
    rows = gzip.decompress(packed).decode().splitlines()
    return dict(row.split("\t") for row in rows)
