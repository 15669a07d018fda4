"""Tables of counts as text, as GEO and R and pandas write them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import ginseng as gs
from ginseng._disk import packed, text_table
from ginseng._disk.readers import read_adata

N_CELLS, N_GENES = 25, 40


@pytest.fixture(scope="module")
def counts() -> pd.DataFrame:
    """Return cells x genes, with names as they are."""
    rng = np.random.default_rng(0)
    genes = ["ACTB", "MT-CO1", "RPL13A", "NA", "nan", "HLA-DRA", "RP11-206L10.2", "C1orf112", "TP53", "1-Mar"]
    genes += [f"SLC{i}A1" for i in range(N_GENES - len(genes))]
    cells = ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(N_CELLS)]
    return pd.DataFrame(rng.poisson(0.7, (N_CELLS, N_GENES)), index=cells, columns=genes)


def assert_same(got: AnnData, counts: pd.DataFrame) -> None:
    assert isinstance(got.X, sparse.csr_matrix)
    assert got.X.dtype == np.float32
    assert list(got.obs_names) == list(counts.index)
    assert list(got.var_names) == list(counts.columns)
    np.testing.assert_allclose(got.X.toarray(), counts.to_numpy(), rtol=1e-6)


def no_corner(text: str, sep: str) -> str:
    """Leave out the name of the column with the names, as R does."""
    header, rest = text.split("\n", 1)
    return sep.join(header.split(sep)[1:]) + "\n" + rest


def with_columns(counts: pd.DataFrame, **columns: object) -> pd.DataFrame:
    genes = counts.T
    for i, (name, values) in enumerate(columns.items()):
        genes.insert(i, name, values)
    return genes


#: By name: what makes the text of a table, cells x genes in `d`.
TABLES: dict[str, Callable[[pd.DataFrame], str]] = {
    "cells in rows": lambda d: d.to_csv(),
    "genes in rows": lambda d: d.T.to_csv(),
    "tabs": lambda d: d.T.to_csv(sep="\t", index_label="GENE"),
    "semicolons": lambda d: d.T.to_csv(sep=";"),
    "blanks": lambda d: d.T.to_csv(sep=" ", quoting=2, index_label="x"),
    "several blanks": lambda d: d.T.to_csv(sep=" ", index_label="x").replace(" ", "   "),
    "write.table of R": lambda d: no_corner(d.T.to_csv(sep="\t", quoting=2), "\t"),
    "write.table of R, cells in rows": lambda d: no_corner(d.to_csv(sep=" "), " "),
    "write.csv of R": lambda d: d.T.to_csv(quoting=2),
    "comments": lambda d: "# made by a program, version 1, of 2020\n#\n\n" + d.T.to_csv(sep="\t", index_label="GENE"),
    "a header that is a comment": lambda d: d.T.to_csv(sep="\t", index_label="#gene"),
    "gct": lambda d: (
        f"#1.2\n{N_GENES}\t{N_CELLS}\n" + with_columns(d, Description="na").to_csv(sep="\t", index_label="NAME")
    ),
    "row numbers": lambda d: d.T.rename_axis("gene").reset_index().to_csv(),
    "byte order mark": lambda d: "\ufeff" + d.T.to_csv(),
    "lines of Windows": lambda d: d.T.to_csv(lineterminator="\r\n"),
    "lines of an old Mac": lambda d: d.T.to_csv(lineterminator="\r"),
    "a comma at the end": lambda d: d.T.to_csv().replace("\n", ",\n"),
    "no line break at the end": lambda d: d.T.to_csv().rstrip("\n"),
    "whole numbers as floats": lambda d: d.T.astype(float).to_csv(),
    "exponents": lambda d: d.T.to_csv(float_format="%.1e"),
    "decimal commas": lambda d: d.T.astype(float).to_csv(sep=";", decimal=","),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("part", [2**25, 300])
def test_kinds(counts: pd.DataFrame, tmp_path: Path, kind: str, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_table, "PART", part)
    (tmp_path / "a.txt").write_text(TABLES[kind](counts), newline="")
    assert_same(read_adata(tmp_path / "a.txt"), counts)


@pytest.mark.parametrize("ending", ["csv", "txt", "tsv.gz", "csv.bz2", "csv.xz", "csv.zip", "without"])
def test_compression(counts: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    path, data = tmp_path / f"a.{ending}", counts.T.to_csv(sep="\t").encode()
    if ending.endswith("zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("counts.csv", data)
            archive.writestr("__MACOSX/._counts.csv", "x")
    else:
        packer = {"gz": gzip, "bz2": bz2, "xz": lzma}.get(ending.split(".")[-1])
        path.write_bytes(data if packer is None else packer.compress(data))
    assert_same(read_adata(path), counts)


def test_utf16_and_latin1(counts: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(counts.T.to_csv(sep="\t"), encoding="utf-16")
    assert_same(read_adata(tmp_path / "a.txt"), counts)
    names = counts.rename(columns={"TP53": "Größe"})
    (tmp_path / "b.csv").write_text(names.T.to_csv(), encoding="latin-1")
    assert_same(read_adata(tmp_path / "b.csv"), names)


def test_what_stands_beside_the_counts(counts: pd.DataFrame, tmp_path: Path) -> None:
    ids = [f"ENSG{i:011d}" for i in range(N_GENES)]
    labels = [f"type {i % 3}" for i in range(N_CELLS)]
    path = tmp_path / "a.csv"
    with_columns(counts, id=ids, chr="1", length=np.arange(N_GENES)).to_csv(path, index_label="symbol")
    got = read_adata(path)
    assert_same(got, counts)
    assert list(got.var["id"]) == ids
    assert list(got.var["length"]) == [str(i) for i in range(N_GENES)]

    fc = "# Program:featureCounts v2.0.1; Command: featureCounts\n" + with_columns(
        counts, Chr="1", Start=5, End=9, Strand="+", Length=4
    ).to_csv(sep="\t", index_label="Geneid")
    path.write_text(fc)
    assert_same(read_adata(path), counts)

    cells = counts.copy()
    cells.insert(0, "n_counts", counts.sum(axis=1))
    cells.insert(1, "cell_type", labels)
    for table in (cells, counts.assign(cell_type=labels)):
        table.to_csv(path, index_label="barcode")
        got = read_adata(path)
        assert_same(got, counts)
        assert list(got.obs["cell_type"]) == labels

    header, rest = counts.T.to_csv(index_label="gene").split("\n", 1)
    path.write_text("\n".join([header, ",".join(["cell_type", *labels]), rest]))
    got = read_adata(path)
    assert_same(got, counts)
    assert list(got.obs["cell_type"]) == labels


def test_a_table_trains_and_is_labelled(counts: pd.DataFrame, tmp_path: Path) -> None:
    counts.assign(cell_type=["a", "b", "b", "a", "b"] * 5).to_csv(tmp_path / "a.csv.gz")
    with pytest.warns(UserWarning, match="2 genes without a name"):  # NA and nan
        state = gs.tl.train(tmp_path / "a.csv.gz", "cell_type", epochs=1, silent=True)
    assert state.n_genes == N_GENES - 2
    table = gs.tl.classify(tmp_path / "a.csv.gz", state, silent=True)
    assert list(table.index) == list(counts.index)
    gs.tl.classify(tmp_path / "a.csv.gz", state, silent=True, output=tmp_path / "out.h5ad")
    assert list(read_adata(tmp_path / "out.h5ad").obs["ginseng_cell_type"]) == list(table["cell_type"])


def test_which_way_up_is_said(counts: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts.T.to_csv(tmp_path / "a.csv")
    read_adata(tmp_path / "a.csv")
    assert "25 cells x 40 genes: judging by the names, its rows are genes (`transpose=False`" in capsys.readouterr().err
    counts.to_csv(tmp_path / "a.csv")
    read_adata(tmp_path / "a.csv")
    assert (
        "25 cells x 40 genes: judging by the names, its columns are genes (`transpose=True`" in capsys.readouterr().err
    )
    assert read_adata(tmp_path / "a.csv", transpose=True).shape == (40, 25)
    assert read_adata(tmp_path / "a.csv", transpose=False).shape == (25, 40)


@pytest.mark.parametrize(
    ("cell", "gene"),
    [
        ("{bases}", "ENSMUSG{i:011d}.1"), ("S{i}_{bases}-1", "Gm{i}"), ("cell_{i}", "gene_{i}"), ("c{i}", "g{i}"),
        ("GSM{i:07d}", "Slc{i}a2"), ("plate1_A{i}", "FBgn{i:07d}"), ("human1_lib1.final_cell_{i:04d}", "ZNF{i}"),
        ("{bases}", "{i}"), ("SRR{i:07d}", "WBGene{i:08d}"), ("{bases}", "odd{i}x"), ("what {i}", "LINC{i:05d}"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("genes_in_rows", [True, False])
def test_names_that_tell_genes_from_cells(tmp_path: Path, cell: str, gene: str, genes_in_rows: bool) -> None:
    rng = np.random.default_rng(0)
    n = 30
    cells = [cell.format(i=i + 1000, bases="".join(rng.choice(list("ACGT"), 12))) for i in range(n)]
    table = pd.DataFrame(rng.poisson(1, (n, n)), index=cells, columns=[gene.format(i=i + 3000) for i in range(n)])
    (table.T if genes_in_rows else table).to_csv(tmp_path / "a.csv")
    got = read_adata(tmp_path / "a.csv")
    assert list(got.obs_names) == cells


def test_names_that_do_not_tell(tmp_path: Path) -> None:
    table = pd.DataFrame(np.eye(5, dtype=int), index=[f"x{i}q" for i in range(5)], columns=[f"w{i}q" for i in range(5)])
    table.to_csv(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"rows \(x0q, x1q.*columns \(w0q.*transpose=True.*transpose=False"):
        read_adata(tmp_path / "a.csv")
    assert list(read_adata(tmp_path / "a.csv", transpose=True).var_names) == list(table.index)
    table.to_csv(tmp_path / "a.csv", index_label="gene_symbol")
    assert list(read_adata(tmp_path / "a.csv").var_names) == list(table.index)


def test_repeated_names_and_values_that_are_missing(counts: pd.DataFrame, tmp_path: Path) -> None:
    table = counts.astype(object).rename(columns={"TP53": "ACTB"})
    table.iloc[3, 0], table.iloc[4, 1] = "NA", ""
    table.T.to_csv(tmp_path / "a.csv")
    got = read_adata(tmp_path / "a.csv")
    assert "ACTB-1" in got.var_names
    assert np.isnan(got.X[3, 0])
    assert np.isnan(got.X[4, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n4,5,6\n7,8,9\n", "no header"),
        ("ENSG00000000003\t7\nENSG00000000005\t0\nENSG00000000419\t9\n", "no header"),
        ("ACTB 0 1 5 0\nTP53 1 2 0 0\n", "no header"),
        ("chr1\t10\t90\tACGTACGTACGTAAAA-1\t2\n" * 9, "no header"),
        ("g,c1,c2\nACTB,1,2\n" + "MT-CO1,1,2\n" * 200 + "TP53,1,oops\n", "other than numbers in rows .*oops"),
        ("hello world\nthis is text\nand more\n", "which matches no"),
        ("gene,cell\n", "which matches no"),
        ('{"a": [1, 2]}\n', "which matches no"),
    ],
)
def test_what_is_no_table_of_counts(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=f"a.csv' .*{message}"):
        read_adata(tmp_path / "a.csv")


@pytest.mark.parametrize("sep", [",", "\t"])
def test_a_line_for_each_count_is_no_table_of_cells_and_genes(counts: pd.DataFrame, tmp_path: Path, sep: str) -> None:
    lines = counts.rename_axis(index="barcode", columns="gene").stack().rename("umi").reset_index()
    lines[lines["umi"] > 0].to_csv(path := tmp_path / "long.csv", sep=sep, index=False)
    with pytest.raises(ValueError, match="a line for each count, of 'barcode' and 'gene'") as said:
        read_adata(path)
    names: dict[str, Any] = {}
    exec("\n".join(line.strip() for line in str(said.value).split("\n")[1:]), names)
    found = names["adata"].to_df()
    expected = counts.loc[found.index, found.columns]
    np.testing.assert_array_equal(found, expected)
    assert expected.to_numpy().sum() == counts.to_numpy().sum()


def test_truncated(counts: pd.DataFrame, tmp_path: Path) -> None:
    large = pd.concat([counts] * 200)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(large.to_csv().encode())[:-100])
    with pytest.raises(ValueError, match="truncated or damaged"):
        read_adata(tmp_path / "a.csv.gz")


def test_bombs(counts: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "ALLOWANCE", 2**20)
    monkeypatch.setattr(packed, "RATIO", 100)
    (tmp_path / "a.csv.bz2").write_bytes(bz2.compress(counts.T.to_csv().encode() + b"ACTB" + b"," * 2**23))
    with pytest.raises(ValueError, match=r"expands to|more than .* characters"):
        read_adata(tmp_path / "a.csv.bz2")
    monkeypatch.setattr(text_table, "LINE", 2**16)
    (tmp_path / "b.csv").write_text(counts.T.to_csv() + "ACTB" + ",1" * 2**17)
    with pytest.raises(ValueError, match="line of more than 65,536 characters"):
        read_adata(tmp_path / "b.csv")


def test_an_archive_is_never_unpacked_to_where_its_names_lead(counts: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "a.zip", "w") as archive:
        archive.writestr("../../evil.csv", counts.T.to_csv())
    assert_same(read_adata(tmp_path / "in" / "a.zip"), counts)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "in"]
