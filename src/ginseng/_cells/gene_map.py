"""One name of a gene for another."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import Literal

import pandas as pd


def map_names(names: pd.Index, to: Literal["ensembl"] = "ensembl", species: str = "human") -> pd.Index:
    """Return names of the other kind in the place of those that have one; others stay as they are.

    Symbols, previous symbols and aliases that stand for one gene alone become Ensembl ids.
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
