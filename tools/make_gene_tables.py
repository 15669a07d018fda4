"""Make the tables of gene names in `src/ginseng/_cells/tables`, whose `SOURCES.md` says what they are made from.

    python tools/make_gene_tables.py FOLDER

`FOLDER` has HGNC's complete set, the gene lists of the CELLxGENE schema for GENCODE 48 and M37, MGI's report
`HOM_MouseHumanSequence.rpt` and the pairs of Ensembl 105 that CellTypist ships, all compressed with gzip.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pandas as pd

SOURCE = Path(sys.argv[1])
TARGET = Path(__file__).parents[1] / "src/ginseng/_cells/tables"
COLUMNS = ["ensembl", "symbol", "entrez", "other"]


def read(name: str, **options: object) -> pd.DataFrame:
    """Return a table as text; what is missing is empty."""
    return pd.read_csv(SOURCE / name, dtype=str, keep_default_na=False, **options)


def gencode(name: str) -> pd.DataFrame:
    """Return the genes of an annotation that have a symbol, not only an id."""
    table = read(name, header=None).iloc[:, :2].set_axis(["ensembl", "symbol"], axis=1)
    return table[~table["symbol"].str.startswith(("ENSG0", "ENSMUSG0"))]


def human() -> pd.DataFrame:
    """Return approved genes, then those that GENCODE alone has; `other` has previous symbols and aliases."""
    hgnc = read("hgnc_complete_set.txt.gz", sep="\t", low_memory=False)
    hgnc = hgnc.rename(columns={"ensembl_gene_id": "ensembl", "entrez_id": "entrez"})
    # an id that two records share is of neither alone
    hgnc.loc[hgnc["ensembl"].duplicated(keep=False), "ensembl"] = ""
    annotated = gencode("czi_genes_homo_sapiens_gencode48.csv.gz")
    latest = hgnc["ensembl"].map(annotated.set_index("ensembl")["symbol"]).fillna("")
    hgnc["other"] = [
        "|".join(dict.fromkeys(name for part in parts for name in part.split("|") if name and name != symbol))
        for symbol, *parts in zip(hgnc["symbol"], hgnc["prev_symbol"], hgnc["alias_symbol"], latest, strict=True)
    ]
    more = annotated[~annotated["ensembl"].isin(hgnc["ensembl"])].assign(entrez="", other="")
    return pd.concat([hgnc.assign(approved="1"), more.assign(approved="")])[["hgnc_id", *COLUMNS, "approved"]].fillna(
        ""
    )


def homologs() -> pd.DataFrame:
    """Return the genes of MGI's classes of homologs, of both species."""
    table = read("HOM_MouseHumanSequence.rpt.gz", sep="\t")
    return table.rename(columns={"DB Class Key": "key", "NCBI Taxon ID": "taxon", "EntrezGene ID": "entrez"})


def mouse() -> pd.DataFrame:
    """Return the genes of GENCODE, with Entrez ids where MGI has them."""
    table = gencode("czi_genes_mus_musculus_gencodeM37.csv.gz")
    known = homologs()
    known = known[(known["taxon"] == "10090") & ~known["Symbol"].duplicated(keep=False)].set_index("Symbol")["entrez"]
    unique = ~table["symbol"].duplicated(keep=False)
    return table.assign(entrez=table["symbol"].map(known).where(unique).fillna(""), other="")


def orthologs(human: pd.DataFrame, mouse: pd.DataFrame) -> pd.DataFrame:
    """Return pairs that one source has as one-to-one, and the other has as well or knows no others of."""
    of_hgnc = human[(human["ensembl"] != "") & (human["hgnc_id"] != "")].set_index("hgnc_id")["ensembl"]
    approved = human[(human["approved"] != "") & (human["ensembl"] != "")]
    of_human = approved.set_index("symbol")["ensembl"]
    others = approved.assign(other=approved["other"].str.split("|")).explode("other")
    others = others[~others["other"].duplicated(keep=False) & ~others["other"].isin(human["symbol"])]
    of_human = pd.concat([of_human, others.set_index("other")["ensembl"]])
    of_mouse = mouse[~mouse["symbol"].duplicated(keep=False)].set_index("symbol")["ensembl"]

    table = homologs()
    sides = {
        "human": table[table["taxon"] == "9606"].assign(gene=lambda t: t["HGNC ID"].map(of_hgnc)),
        "mouse": table[table["taxon"] == "10090"].assign(gene=lambda t: t["Symbol"].map(of_mouse)),
    }
    mgi = sides["human"][["key", "gene"]].merge(sides["mouse"][["key", "gene"]], on="key", suffixes=("_h", "_m"))
    mgi = mgi.rename(columns={"gene_h": "human", "gene_m": "mouse"})[["human", "mouse"]]
    pairs = read("Ensembl105_Human2Mouse_Genes.csv.gz", header=None).set_axis(["human", "mouse"], axis=1)
    pairs = pairs[pairs["mouse"] != ""].drop_duplicates()
    # counted before the names are looked up, so that a gene that is not found still makes a pair ambiguous
    single = [alone(pairs), alone(mgi)]
    looked_up = [t.assign(human=t["human"].map(of_human), mouse=t["mouse"].map(of_mouse)) for t in (pairs, single[0])]
    ensembl, single[0] = (t.dropna() for t in looked_up)
    mgi, single[1] = mgi.dropna(), single[1].dropna()
    found = pd.concat(single).drop_duplicates()
    either = pd.concat([ensembl, mgi]).drop_duplicates()
    return alone(pd.concat([alone(either).merge(found), found.merge(ensembl).merge(mgi)]).drop_duplicates())


def alone(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs whose genes are in no other pair."""
    return pairs[~(pairs["human"].duplicated(keep=False) | pairs["mouse"].duplicated(keep=False))]


def numbers(ids: pd.Series) -> pd.Series:
    """Return Ensembl ids without prefix and zeros, which the reader puts back."""
    return ids.str.extract(r"(\d+)", expand=False).fillna("").str.lstrip("0")


def write(name: str, table: pd.DataFrame) -> None:
    """Write a table, to the same bytes each time."""
    text = table.to_csv(sep="\t", index=False, lineterminator="\n")
    assert '"' not in text
    with (TARGET / name).open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.encode())
    print(f"{name}: {len(table):,} rows, {(TARGET / name).stat().st_size:,} bytes")


TARGET.mkdir(exist_ok=True)
of_human, of_mouse = human(), mouse()
pairs = orthologs(of_human, of_mouse)
columns = [*COLUMNS, "approved"]
for species, genes in {"human": of_human, "mouse": of_mouse.assign(approved="1")}.items():
    table = genes.assign(ensembl=numbers(genes["ensembl"])).sort_values(["symbol", "ensembl"])
    write(f"{species}_genes.tsv.gz", table[columns])
write("orthologs.tsv.gz", pairs.apply(numbers).sort_values("human"))
