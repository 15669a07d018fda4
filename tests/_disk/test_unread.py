"""What is not read is named, with what makes an AnnData of it."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from ginseng._disk import unread
from ginseng._disk.readers import read_adata


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("GSM1_counts.csv"), io.BytesIO())
    return buffer.getvalue()


def hdf5(*members: str) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as f:
        for member in members:
            f.create_group(member)
    return buffer.getvalue()


FASTQ = b"@r1\nACGTACGT\n+\nIIIIIIII\n" * 3
FILES = {
    "a.rds": (gzip.compress(b"X\n\0\0\0\3" + bytes(20)), "R object", "readRDS"),
    "b.rds": (bz2.compress(b"X\n\0\0\0\3" + bytes(20)), "R object", "readRDS"),
    "c.rds": (gzip.compress(b"A\n3\n262657\n197888\n"), "R object", "readRDS"),
    "a.RData": (gzip.compress(b"RDX3\nX\n" + bytes(20)), "R data file", "load"),
    "a.h5seurat": (hdf5("assays", "cell.names", "meta.data"), "Seurat object", "Convert"),
    "a.loom": (hdf5("matrix", "row_attrs", "col_attrs"), "loom", "anndata.io.read_loom"),
    "a.parquet": (b"PAR1\x15\x04" + bytes(50), "parquet", "pandas.read_parquet"),
    "a.feather": (b"ARROW1\0\0" + bytes(50), "feather", "pandas.read_feather"),
    "a.xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "Excel", "pandas.read_excel"),
    "a.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(50), "Excel", "pandas.read_excel"),
    "a.npz": (zipped("data.npy", "indices.npy"), "NumPy archive", "scipy.sparse.load_npz"),
    "a.npy": (b"\x93NUMPY\1\0" + bytes(50), "NumPy array", "numpy.load"),
    "a.pkl": (pickle.dumps({"a": 1}), "pickle, which can run any code", "pandas.read_pickle"),
    "a.bam": (gzip.compress(b"BAM\1" + bytes(50)), "aligned reads", "read_adata"),
    "a.fastq.gz": (gzip.compress(FASTQ), "FASTQ", "kb count"),
    "a.fasta": (b">chr1\nACGT\n", "FASTA", "counts"),
    "a.tar": (tarred(), "tar archive", "tar -xf"),
    "a.tar.gz": (gzip.compress(tarred()), "tar archive", "tar -xf"),
    "a.zip": (zipped("a.csv", "b.csv"), "zip archive", "unpack"),
}


@pytest.mark.parametrize("name", FILES)
def test_it_is_named(tmp_path: Path, name: str) -> None:
    content, what, remedy = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=what) as error:
        read_adata(tmp_path / name)
    assert remedy in str(error.value)
    assert repr(str(tmp_path / name)) in str(error.value)


def test_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "soma").mkdir()
    (tmp_path / "soma" / "__tiledb_group.tdb").touch()
    with pytest.raises(ValueError, match=r"TileDB-SOMA.*\n.*\n.*to_anndata"):
        read_adata(tmp_path / "soma")


def test_the_lines_of_python_make_an_anndata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.eye(3, dtype=np.float32))
    pd.to_pickle(AnnData(np.eye(3, dtype=np.float32)), "a.pkl")
    made = 0
    for name in ("a.npy", "a.pkl"):
        with pytest.raises(ValueError, match="in Python") as error:
            read_adata(name)
        code = str(error.value).split("\n", 1)[1]
        scope: dict[str, AnnData] = {}
        exec("\n".join(line.strip() for line in code.splitlines()), scope)
        made += scope["adata"].n_obs if "adata" in scope else read_adata("cells.h5ad").n_obs
    assert made == 6


def test_every_kind_has_two_lines_or_says_what_to_do() -> None:
    for kind in unread.UNREAD:
        lines = kind.remedy.split("\n")
        assert len(lines) in (1, 3), kind.what
        if lines[0].startswith("make an"):
            assert len(lines) == 3, kind.what
            assert "{path!r}" in kind.remedy, kind.what
