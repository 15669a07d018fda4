"""Make the tables in `src/ginseng/ontology/data`, whose `SOURCES.md` says what they are made from.

    python tools/make_ontology.py FOLDER cell_ontology_map.csv

`FOLDER` has the Cell Ontology as `cellxgene-ontology-guide` keeps it, Azimuth's `azimuth_all_labels.csv` and
CellTypist's `celltypist_v2_basic.xlsx`; the other file is in the wheel of `panhumanpy`. Needs `zstandard`, `openpyxl`.
"""

from __future__ import annotations

import gzip
import heapq
import json
import sys
from pathlib import Path

import pandas as pd
import zstandard

SOURCE = Path(sys.argv[1])
TARGET = Path(__file__).parents[1] / "src/ginseng/ontology/data"


def terms() -> pd.DataFrame:
    """Return a term per row: its names, and the terms above it with their distance if that is not 1."""
    packed = next(SOURCE.glob("CL-ontology-*.json.zst")).read_bytes()
    known = json.loads(zstandard.ZstdDecompressor().stream_reader(packed).read())
    above = {term: about["ancestors"] for term, about in known.items()}
    edges = {term: {other: n for other, n in ancestors.items() if n == 1} for term, ancestors in above.items()}
    for term in sorted(above, key=lambda term: len(above[term])):
        # where terms between are of other ontologies
        for other, n in sorted(above[term].items(), key=lambda pair: pair[1]):
            if distances(edges, term).get(other) != n:
                edges[term][other] = n
    assert all(distances(edges, term) == above[term] for term in above)
    rows = [
        {
            "id": term,
            "label": about["label"],
            "synonyms": "|".join(about.get("synonyms", [])),
            "parents": "|".join(other if n == 1 else f"{other}={n}" for other, n in edges[term].items()),
            "replaced_by": about.get("replaced_by") or "",
            "obsolete": "1" if about["deprecated"] else "",
        }
        for term, about in sorted(known.items())
    ]
    return pd.DataFrame(rows)


def distances(edges: dict[str, dict[str, int]], term: str) -> dict[str, int]:
    """Return all terms above one, with the length of the shortest way."""
    found: dict[str, int] = {}
    waiting = [(0, term)]
    while waiting:
        n, here = heapq.heappop(waiting)
        if here in found:
            continue
        found[here] = n
        for other, more in edges[here].items():
            heapq.heappush(waiting, (n + more, other))
    return {other: n for other, n in found.items() if other != term}


def crosswalk(terms: pd.DataFrame) -> pd.DataFrame:
    """Return a published label per row, with its term and what the source says of the match."""
    panhuman = pd.read_csv(sys.argv[2], dtype=str, keep_default_na=False)
    azimuth = pd.read_csv(SOURCE / "azimuth_all_labels.csv", dtype=str, keep_default_na=False)
    celltypist = pd.read_excel(SOURCE / "celltypist_v2_basic.xlsx", dtype=str).fillna("")
    own = pd.read_csv(Path(__file__).with_name("common_labels.tsv"), sep="\t", header=None, dtype=str)
    labels = terms.set_index("id")["label"]
    wrong = own[own[1].map(labels) != own[2]]
    assert wrong.empty, wrong.assign(found=wrong[1].map(labels))
    parts = {
        "ginseng": own.set_axis(["label", "id", "match"], axis=1).assign(match="exact"),
        "panhumanpy": panhuman.rename(columns={"Annotation_Label": "label", "CL_ID": "id", "CL_Match": "match"}),
        "azimuth": azimuth.rename(columns={"A_L": "label", "CL_ID": "id", "CL_Match": "match"}),
        "celltypist": celltypist.rename(columns={"Low-hierarchy cell types": "label", "Cell Ontology ID": "id"}),
    }
    table = pd.concat([part.assign(source=source) for source, part in parts.items()]).fillna("")
    table["match"] = table["match"].str.removeprefix("skos:").str.removesuffix("Match")
    table = table[table["id"].isin(terms["id"]) & (table["label"] != "")]
    return table[["label", "id", "match", "source"]].drop_duplicates(["label", "id", "source"])


def write(name: str, table: pd.DataFrame) -> None:
    """Write a table, to the same bytes each time."""
    text = table.to_csv(sep="\t", index=False, lineterminator="\n", quoting=3)
    with (TARGET / name).open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.encode())
    print(f"{name}: {len(table):,} rows, {(TARGET / name).stat().st_size:,} bytes")


table = terms()
write("terms.tsv.gz", table)
write("crosswalk.tsv.gz", crosswalk(table))
