"""Matrix Market files as counting programs and GEO lay them out, and several samples as one."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse
from scipy.io import mmwrite

from ginseng._disk.readers import open_adata, read_10x_mtx, read_adata

N_CELLS, N_GENES = 12, 20


@pytest.fixture(scope="module")
def adata() -> AnnData:
    rng = np.random.default_rng(0)
    adata = AnnData(sparse.csr_matrix(rng.poisson(1, (N_CELLS, N_GENES)).astype(np.float32)))
    adata.obs_names = ["".join(rng.choice(list("ACGT"), 16)) + "-1" for _ in range(N_CELLS)]
    adata.var_names = [f"SLC{i}A1" for i in range(N_GENES)]
    return adata


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())


def put_matrix(path: Path, x: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("plain.mtx")
    mmwrite(plain, sparse.coo_matrix(x).astype(int))
    put(path, plain.read_text())
    plain.unlink()


def lines(*columns: Any, sep: str = "\t", header: str = "") -> str:
    return header + "".join(sep.join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


def ids() -> list[str]:
    return [f"ENSG{i:011d}" for i in range(N_GENES)]


def tenx(folder: Path, a: AnnData, prefix: str = "", *, gz: str = ".gz", cells: bool = False) -> None:
    put_matrix(folder / f"{prefix}matrix.mtx{gz}", a.X if cells else a.X.T)
    put(folder / f"{prefix}features.tsv{gz}", lines(ids(), a.var_names, ["Gene Expression"] * N_GENES))
    put(folder / f"{prefix}barcodes.tsv{gz}", lines(a.obs_names))


def headers(folder: Path, a: AnnData) -> None:
    tenx(folder, a)
    kinds = ["Gene Expression"] * N_GENES
    put(folder / "features.tsv.gz", lines(a.var_names, kinds, ids(), header="gene_name\tfeature_type\tgene_id\n"))
    put(folder / "barcodes.tsv.gz", lines(a.obs_names, header="barcode\n"))


def parse(folder: Path, a: AnnData, matrix: str = "DGE_filtered/DGE.mtx") -> None:
    path = folder / matrix
    put_matrix(path, a.X)
    genes = lines(ids(), a.var_names, ["hg38"] * N_GENES, sep=",", header="gene_id,gene_name,genome\n")
    put(path.with_name("all_genes.csv"), genes)
    cells = lines(a.obs_names, ["s1"] * N_CELLS, range(N_CELLS), sep=",", header="bc_wells,sample,gene_count\n")
    put(path.with_name("cell_metadata.csv"), cells)


def kb(folder: Path, a: AnnData, *, names: bool = True, total: str = "") -> None:
    put_matrix(folder / f"cells_x_genes{total}.mtx", a.X)
    if total:
        put_matrix(folder / "cells_x_genes.nascent.mtx", a.X * 2)
    put(folder / "cells_x_genes.barcodes.txt", lines(a.obs_names))
    put(folder / "cells_x_genes.genes.txt", lines(ids() if names else a.var_names))
    if names:
        put(folder / "cells_x_genes.genes.names.txt", lines(a.var_names))


def alevin(folder: Path, a: AnnData) -> None:
    put_matrix(folder / "alevin" / "quants_mat.mtx", a.X)
    put(folder / "alevin" / "quants_mat_rows.txt", lines(a.obs_names))
    put(folder / "alevin" / "quants_mat_cols.txt", lines(a.var_names))


def geo_csv(folder: Path, a: AnnData) -> None:
    """Write what `write.csv` of R makes of names, row numbers included."""
    put_matrix(folder / "GSE9_counts.mtx.gz", a.X.T)
    put(folder / "GSE9_genes.csv.gz", lines(range(1, N_GENES + 1), a.var_names, sep=",", header='"","x"\n'))
    cells = lines(range(1, N_CELLS + 1), a.obs_names, ["T"] * N_CELLS, sep=",", header='"","cell","type"\n')
    put(folder / "GSE9_cell_metadata.csv.gz", cells)


def plain_names(folder: Path, a: AnnData) -> None:
    put_matrix(folder / "counts.mtx", a.X.T)
    put(folder / "gene_names.txt", lines(a.var_names))
    put(folder / "cell_names.txt", lines(a.obs_names))


LAYOUTS = {
    "header lines": headers,
    "transposed": lambda f, a: tenx(f, a, cells=True),
    "GEO prefix": lambda f, a: tenx(f, a, "GSM1_s1_"),
    "GEO with csv": geo_csv,
    "plain names": plain_names,
    "Parse": lambda f, a: parse(f / "DGE_filtered", a, "DGE.mtx"),
    "Parse, folder of a sample": parse,
    "Parse, later": lambda f, a: parse(f, a, "count_matrix.mtx"),
    "kb": lambda f, a: kb(f / "counts_unfiltered", a),
    "kb, without names": lambda f, a: kb(f, a, names=False),
    "kb, nascent and mature": lambda f, a: kb(f, a, total=".total"),
    "Cell Ranger": lambda f, a: [tenx(f / f"outs/{kind}_feature_bc_matrix", a) for kind in ("filtered", "raw")],
    "Cell Ranger 2": lambda f, a: tenx(f / "outs/filtered_gene_bc_matrices/hg19", a, gz=""),
    "STARsolo": lambda f, a: (tenx(f / "Solo.out/Gene/filtered", a, gz=""), tenx(f / "Solo.out/Gene/raw", a, gz="")),
    "STARsolo with prefix": lambda f, a: tenx(f / "s1_Solo.out/Gene/filtered", a, gz=""),
    "alevin-fry": alevin,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(adata: AnnData, tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "run"
    if layout == "Parse":
        folder = folder / "DGE_filtered"
        parse(tmp_path / "run", adata)
    else:
        LAYOUTS[layout](folder, adata)
    for read in (read_adata, open_adata):
        got = read(folder)
        assert isinstance(got.X, sparse.csr_matrix)
        assert got.X.dtype == np.float32
        np.testing.assert_array_equal(got.X.toarray(), adata.X.toarray())
        assert list(got.obs_names) == list(adata.obs_names)
        assert list(got.var_names) == list(adata.var_names)
    if layout.startswith("Parse"):
        assert list(got.obs["sample"]) == ["s1"] * N_CELLS
    if layout in ("header lines", "kb", "Parse", "STARsolo"):
        assert list(got.var["gene_ids"]) == ids()


def test_all_samples_of_parse_are_read_once(adata: AnnData, tmp_path: Path) -> None:
    for name in ("all-sample", "s1"):
        parse(tmp_path / name, adata)
    assert read_adata(tmp_path).n_obs == N_CELLS


def test_one_features_file_for_many_samples(adata: AnnData, tmp_path: Path) -> None:
    for name in ("GSE1_features.tsv.gz", "features.tsv", "genes.tsv.gz"):
        folder = tmp_path / name
        for prefix, part in {"GSM1_a_": adata, "GSM2_b_": adata[:, ::-1]}.items():
            put_matrix(folder / f"{prefix}matrix.mtx.gz", part.X.T)
            put(folder / f"{prefix}barcodes.tsv.gz", lines(adata.obs_names))
        put(folder / name, lines(ids(), adata.var_names))
        np.testing.assert_array_equal(read_10x_mtx(folder, prefix="GSM1_a_").X.toarray(), adata.X.toarray())
        np.testing.assert_array_equal(
            read_adata(folder / "GSM2_b_matrix.mtx.gz").X.toarray(), adata.X[:, ::-1].toarray()
        )
        with pytest.raises(ValueError, match=r"several samples.*'GSM1_a_', 'GSM2_b_'.*read_adata\(\["):
            read_adata(folder)
        both = read_adata(sorted(folder.glob("*matrix*")))
        assert list(both.obs["sample"].cat.categories) == ["GSM1_a", "GSM2_b"]


def test_features_of_another_sample_are_never_taken(adata: AnnData, tmp_path: Path) -> None:
    tenx(tmp_path, adata, "GSM1_a_")
    tenx(tmp_path, adata, "GSM2_b_")
    (tmp_path / "GSM2_b_features.tsv.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"GSM2_b_matrix.mtx.gz' needs a missing file.*GSM2_b_features.tsv"):
        read_adata(tmp_path / "GSM2_b_matrix.mtx.gz")


def test_a_square_matrix_is_as_its_program_writes_it(adata: AnnData, tmp_path: Path) -> None:
    square = adata[:, :N_CELLS]
    put_matrix(tmp_path / "a" / "matrix.mtx", square.X.T)
    put_matrix(tmp_path / "b" / "cells_x_genes.mtx", square.X)
    for folder, stem in (("a", ""), ("b", "cells_x_genes.")):
        put(tmp_path / folder / f"{stem}genes.tsv", lines(square.var_names))
        put(tmp_path / folder / f"{stem}barcodes.tsv", lines(square.obs_names))
        np.testing.assert_array_equal(read_adata(tmp_path / folder).X.toarray(), square.X.toarray())
    np.testing.assert_array_equal(read_adata(tmp_path / "a", transpose=False).X.toarray(), square.X.toarray().T)


def test_a_matrix_that_declares_more_than_it_has(adata: AnnData, tmp_path: Path) -> None:
    tenx(tmp_path, adata, gz="")
    text = (tmp_path / "matrix.mtx").read_text()
    (tmp_path / "matrix.mtx").write_text(text.replace(f"\n{N_GENES} {N_CELLS} ", f"\n{N_GENES} {N_CELLS} 9999999"))
    with pytest.raises(ValueError, match=r"truncated or damaged.*declares"):
        read_adata(tmp_path)


# -- several samples


def test_a_run_of_several_samples(adata: AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("A", "B"):
        tenx(tmp_path / f"outs/per_sample_outs/{name}/count/sample_filtered_feature_bc_matrix", adata)
    for folder in (tmp_path, tmp_path / "outs"):
        got = read_adata(folder)
        assert list(got.obs["sample"]) == ["A"] * N_CELLS + ["B"] * N_CELLS
        assert got.obs_names.is_unique
        np.testing.assert_array_equal(got.X.toarray(), np.vstack([adata.X.toarray()] * 2))
    assert f"2 samples with {2 * N_CELLS} cells are joined" in capsys.readouterr().err


@pytest.mark.parametrize("join", ["inner", "outer"])
def test_samples_of_any_format(adata: AnnData, tmp_path: Path, join: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = adata[:7, :15].copy(), adata[7:, 5:].copy()
    one.write_h5ad(tmp_path / "one.h5ad")
    two.to_df().to_csv(tmp_path / "two.csv.gz")
    want = anndata.concat({"x": one, "y": two}, join=join, label="sample", fill_value=0)
    got = read_adata({"x": tmp_path / "one.h5ad", "y": tmp_path / "two.csv.gz"}, join=join)
    np.testing.assert_array_equal(got.X.toarray(), want.X.toarray())
    assert list(got.var_names) == list(want.var_names)
    assert list(got.obs_names) == list(adata.obs_names)  # as they were: none is there twice
    assert list(got.obs["sample"]) == ["x"] * 7 + ["y"] * 5
    said = "the 10 genes that all have, of 20 (`join='outer'`" if join == "inner" else "the 20 genes that any"
    assert said in capsys.readouterr().err
    assert list(read_adata([tmp_path / "one.h5ad", tmp_path / "two.csv.gz"]).obs["sample"].unique()) == ["one", "two"]


def test_samples_that_already_say_their_sample(adata: AnnData, tmp_path: Path) -> None:
    adata = adata.copy()
    adata.obs["sample"] = "own"
    adata.write_h5ad(tmp_path / "a.h5ad")
    got = read_adata({"x": tmp_path / "a.h5ad", "y": tmp_path / "a.h5ad"})
    assert list(got.obs["sample_in_file"].unique()) == ["own"]
    assert list(got.obs["sample"].unique()) == ["x", "y"]
    assert list(got.obs_names[[0, -1]]) == [f"{adata.obs_names[0]}_x", f"{adata.obs_names[-1]}_y"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["d/GSM1_a_matrix.mtx.gz", "d/GSM2_b_matrix.mtx.gz"], ["GSM1_a", "GSM2_b"]),
        (["a/outs/filtered_feature_bc_matrix", "b/outs/filtered_feature_bc_matrix"], ["a", "b"]),
        (["a/outs/filtered_feature_bc_matrix.h5", "b/outs/filtered_feature_bc_matrix.h5"], ["a", "b"]),
        (["x/p1/counts.csv.gz", "x/p2/counts.csv.gz"], ["p1", "p2"]),
        (["s1_Solo.out/Gene/filtered", "s2_Solo.out/Gene/filtered"], ["s1", "s2"]),
        (["same.h5ad", "same.h5ad"], ["1", "2"]),
    ],
)
def test_names_of_samples(adata: AnnData, paths: list[str], names: list[str]) -> None:
    from ginseng._disk.samples import names_of

    assert names_of(paths) == names


def test_samples_that_cannot_be_joined(adata: AnnData, tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    other = adata.copy()
    other.var_names = [f"other{i}" for i in range(N_GENES)]
    other.write_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(ValueError, match="'a', 'b' share no genes"):
        read_adata([tmp_path / "a.h5ad", tmp_path / "b.h5ad"])
    with pytest.raises(ValueError, match="no samples"):
        read_adata([])
    with pytest.raises(ValueError, match="`join` is 'left'"):
        read_adata([tmp_path / "a.h5ad"], join="left")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Several samples cannot be read with `backed`"):
        read_adata([tmp_path / "a.h5ad"], backed=True)
