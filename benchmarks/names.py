"""How many names of genes are mapped of those that HGNC resolves, and what back-off does to labels.

    python benchmarks/names.py hgnc_complete_set.txt.gz FILE.h5ad ...

A name is resolved if it is the symbol of a gene with an Ensembl id, or the previous symbol or alias of one gene alone
and the symbol of none: counted here by pandas, not by ginseng. The files have labels in `obs["cell_type"]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import ginseng as gs


def resolved(hgnc: pd.DataFrame) -> pd.Series:
    """Return the Ensembl id of each name that stands for one gene."""
    columns = ["prev_symbol", "alias_symbol"]
    parts = [hgnc[["symbol", "ensembl_gene_id", c]].rename(columns={c: "name"}).dropna(subset="name") for c in columns]
    others = pd.concat(parts).assign(name=lambda t: t["name"].str.split("|")).explode("name")
    others = others[~others["name"].isin(hgnc["symbol"])]
    others = others[others.groupby("name")["symbol"].transform("nunique") == 1].drop_duplicates("name")
    symbols = hgnc.assign(name=hgnc["symbol"])
    return pd.concat([symbols, others]).dropna(subset="ensembl_gene_id").set_index("name")["ensembl_gene_id"]


known = resolved(pd.read_csv(sys.argv[1], sep="\t", dtype=str, low_memory=False))
for path in sys.argv[2:]:
    adata = gs.read_adata(path)
    wanted = known.reindex(adata.var_names).dropna()
    gs.classify(adata, "human", silent=True)
    gs.tl.evaluate(adata, "cell_type", ontology=True)
    plain = adata.uns["ginseng"]["metrics"]["ontology"]
    gs.classify(adata, "human", backoff=True, silent=True)
    gs.tl.evaluate(adata, "cell_type", ontology=True)
    broad = adata.uns["ginseng"]["metrics"]["ontology"]
    gs.pp.map_genes(adata, "ensembl")
    found = adata.var["ginseng_ensembl"].loc[wanted.index]
    print(f"{Path(path).stem}: {(found == wanted).sum():,} of {len(wanted):,} names that HGNC resolves")
    for name in ("accuracy", "same", "broader", "finer", "other", "none"):
        print(f"  {name:<9} {plain[name]:.3f}, with back-off {broad[name]:.3f}")
