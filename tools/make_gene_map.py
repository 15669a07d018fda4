"""Make the table of human gene names from HGNC's complete set (https://www.genenames.org/download, CC0).

    python tools/make_gene_map.py hgnc_complete_set.txt.gz

Names that stand for one gene alone, current symbols before previous ones before aliases. Of all genes, those are kept
that a packaged model reads.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pandas as pd

import ginseng as gs

TARGET = Path(__file__).parents[1] / "src/ginseng/_cells/human_genes.tsv.gz"

table = pd.read_csv(sys.argv[1], sep="\t", dtype=str).dropna(subset="ensembl_gene_id")
known: dict[str, str] = dict(zip(table["symbol"], table["ensembl_gene_id"], strict=True))
for column in ("prev_symbol", "alias_symbol"):
    pairs = table[["ensembl_gene_id", column]].dropna()
    pairs = pairs.assign(name=pairs[column].str.split("|")).explode("name").drop_duplicates(["name", "ensembl_gene_id"])
    alone = pairs[~pairs["name"].duplicated(keep=False)]
    known = dict(zip(alone["name"], alone["ensembl_gene_id"], strict=True)) | known
wanted = set(gs.models.load("human").genes.tolist())
rows = sorted(f"{name}\t{gene}\n" for name, gene in known.items() if gene in wanted)
with TARGET.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
    packed.write("".join(rows).encode())
print(f"{len(rows):,} names of {len(wanted):,} genes")
