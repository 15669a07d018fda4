from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import zarr
from anndata import AnnData
from anndata.io import write_elem
from scipy import sparse
from scipy.io import mmwrite

from ginseng import _logging
from ginseng._cells.matrix import row_blocks
from ginseng._disk import download, packed
from ginseng._disk.readers import open_adata, read_10x_h5, read_10x_mtx, read_adata
from ginseng._settings import settings

sc_io = getattr(sc, "io", sc)  # from scanpy 1.13 on

N_CELLS, N_GENES = 40, 30


@pytest.fixture(scope="module")
def adata() -> AnnData:
    rng = np.random.default_rng(0)
    x = sparse.csr_matrix(rng.poisson(0.5, (N_CELLS, N_GENES)).astype(np.float32))
    symbols = [f"G{i}" for i in range(N_GENES)]
    symbols[3], symbols[7], symbols[8] = (
        "G2",
        "NA",
        "nan",
    )  # a repeated name, and two that look like missing values
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(rng.choice(["T/NK", "γδ T"], N_CELLS))},
        index=[f"C{i}-1" for i in range(N_CELLS)],
    )
    adata = AnnData(x, obs=obs, var=pd.DataFrame({"symbol": symbols}, index=[f"ENSG{i}" for i in range(N_GENES)]))
    adata.layers["counts"] = x.copy()
    adata.layers["columns"] = x.tocsc()
    adata.layers["dense"] = x.toarray()
    adata.obsm["X_pca"] = rng.normal(size=(N_CELLS, 2))
    adata.uns["note"] = {"a": 1}
    adata.strings_to_categoricals()  # as anndata does on writing
    adata.raw = adata.copy()
    return adata


@pytest.fixture(scope="module")
def h5ad(adata: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("h5ad") / "a.h5ad"
    adata.write_h5ad(path)
    return path


def assert_equal(got: AnnData, want: AnnData) -> None:
    pd.testing.assert_frame_equal(got.obs, want.obs, check_names=False)
    pd.testing.assert_frame_equal(got.var, want.var, check_names=False)
    assert (got.raw is None) == (want.raw is None)
    if want.raw is not None:
        pd.testing.assert_frame_equal(got.raw.var, want.raw.var)
        assert_matrix(got.raw.X, want.raw.X)
    assert_matrix(got.X, want.X)
    for place in ("layers", "obsm", "varm", "obsp"):
        assert set(getattr(got, place)) == set(getattr(want, place))
        for name, matrix in getattr(want, place).items():
            assert_matrix(getattr(got, place)[name], matrix)
    assert got.uns == want.uns


def assert_matrix(got: Any, want: Any) -> None:
    assert getattr(got, "format", None) == getattr(want, "format", None)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(*(m.toarray() if sparse.issparse(m) else m for m in (got, want)))


def columns(adata: AnnData, antibodies: int) -> pd.DataFrame:
    """Build the features of a 10x run whose last rows are antibodies."""
    kinds = ["Gene Expression"] * (adata.n_vars - antibodies) + ["Antibody Capture"] * antibodies
    more = {"chrom": "chr1", "start": "1"}
    return pd.DataFrame(
        {"id": adata.var_names, "name": adata.var["symbol"].astype(str).array, "feature_type": kinds} | more
    )


def write_mtx(
    folder: Path,
    adata: AnnData,
    *,
    n_columns: int = 3,
    features: str = "features",
    gz: str = "",
    prefix: str = "",
    antibodies: int = 0,
) -> Path:
    """Write a 10x folder, with `.gz` on those of matrix, features, barcodes whose initial is in `gz`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = columns(adata, antibodies)
    if n_columns == 1:
        table = table[["name"]]

    def save(text: bytes, name: str, initial: str) -> None:
        zipped = initial in gz
        (folder / f"{prefix}{name}{'.gz' * zipped}").write_bytes(gzip.compress(text, mtime=0) if zipped else text)

    mmwrite(folder / "tmp.mtx", sparse.coo_matrix(adata.X.T.astype(int)))
    save((folder / "tmp.mtx").read_bytes(), "matrix.mtx", "m")
    (folder / "tmp.mtx").unlink()
    save(table.iloc[:, :n_columns].to_csv(sep="\t", header=False, index=False).encode(), f"{features}.tsv", "f")
    save("".join(f"{name}\n" for name in adata.obs_names).encode(), "barcodes.tsv", "b")
    return folder


def write_h5_v3(path: Path, adata: AnnData, *, antibodies: int = 0, genome: bool = True) -> Path:
    table = columns(adata, antibodies)
    with h5py.File(path, "w") as f:
        f["matrix/barcodes"] = adata.obs_names.to_numpy().astype("S")
        for name in ("data", "indices", "indptr"):
            f[f"matrix/{name}"] = getattr(adata.X, name).astype(np.int32)
        f["matrix/shape"] = np.array(adata.shape[::-1], dtype=np.int32)
        for name in ("id", "name", "feature_type"):
            f[f"matrix/features/{name}"] = table[name].to_numpy().astype("S")
        if genome:
            f["matrix/features/genome"] = np.array([b"GRCh38", b"mm10"])[np.arange(adata.n_vars) % 2]
        f["matrix/features/_all_tag_keys"] = np.array([b"genome"])
    return path


def write_h5_v2(path: Path, adata: AnnData, genomes: tuple[str, ...] = ("GRCh38",)) -> Path:
    with h5py.File(path, "w") as f:
        for i, genome in enumerate(genomes):
            x = adata.X * (i + 1)
            for name in ("data", "indices", "indptr"):
                f[f"{genome}/{name}"] = getattr(x, name).astype(np.int32)
            f[f"{genome}/shape"] = np.array(adata.shape[::-1], dtype=np.int32)
            f[f"{genome}/barcodes"] = adata.obs_names.to_numpy().astype("S")
            f[f"{genome}/genes"] = adata.var_names.to_numpy().astype("S")
            f[f"{genome}/gene_names"] = adata.var["symbol"].to_numpy().astype("S")
    return path


def assert_10x(got: AnnData, adata: AnnData, *, n_genes: int = N_GENES) -> None:
    """Compare with what was written, names made unique."""
    assert isinstance(got.X, sparse.csr_matrix)
    np.testing.assert_array_equal(got.X.toarray(), adata.X[:, :n_genes].toarray())
    assert list(got.obs_names) == list(adata.obs_names)
    unique = anndata.utils.make_index_unique(pd.Index(adata.var["symbol"].astype(str)))
    assert list(got.var_names) == list(unique[:n_genes])
    assert {"NA", "nan"} <= set(got.var_names)


@contextmanager
def of_repeated_names() -> Iterator[None]:
    """Let scanpy warn of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*names are not unique", UserWarning)
        yield


# h5ad and zarr


def test_h5ad(adata: AnnData, h5ad: Path) -> None:
    got = read_adata(str(h5ad))
    assert not got.isbacked
    assert_equal(got, anndata.read_h5ad(h5ad))


@pytest.mark.parametrize("backed", [True, "r"])
def test_backed_keeps_matrices_on_disk(backed: Any, adata: AnnData, h5ad: Path) -> None:
    got = read_adata(h5ad, backed)
    assert got.isbacked
    assert got.file._filemode == "r"
    matrices = [got.X, got.raw.X, *(got.layers[name] for name in ("counts", "columns", "dense"))]
    assert not any(isinstance(m, np.ndarray) or sparse.issparse(m) for m in matrices)
    assert_equal(got.to_memory(), adata)
    assert_equal(got[3:9, [5, 1]].to_memory(), adata[3:9, [5, 1]].to_memory())
    for name in (None, "counts", "columns", "dense"):
        for part in (got, got[[7, 2, 30]]):
            blocks = [b.toarray() if sparse.issparse(b) else b for *_, b in row_blocks(part, name, size=16)]
            np.testing.assert_array_equal(np.vstack(blocks), adata[part.obs_names].X.toarray())
    got.file.close()


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_compressed_hdf5(adata: AnnData, h5ad: Path, tmp_path: Path, ending: str) -> None:
    packer = {"gz": gzip, "bz2": bz2, "xz": lzma}[ending]
    for source in (h5ad, write_h5_v3(tmp_path / "tenx.h5", adata)):
        path = tmp_path / f"{source.name}.{ending}"
        path.write_bytes(packer.compress(source.read_bytes()))
        for read in (read_adata, open_adata):
            got = read(path)
            np.testing.assert_array_equal(got.X.toarray(), adata.X.toarray())
    with pytest.warns(UserWarning, match=r"is compressed HDF5, .* cannot be backed"):
        read_adata(path, backed=True)
    content = (tmp_path / f"{h5ad.name}.{ending}").read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut' is .*truncated or damaged"):
        read_adata(tmp_path / "cut")
    assert not list(tmp_path.glob("tmp*"))


def test_a_compressed_file_that_unfolds_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "ALLOWANCE", 2**20)
    monkeypatch.setattr(packed, "RATIO", 100)
    (tmp_path / "a.h5ad.gz").write_bytes(gzip.compress(b"\x89HDF\r\n\x1a\n" + bytes(2**24)))
    with pytest.raises(ValueError, match="expands to"):
        read_adata(tmp_path / "a.h5ad.gz")


def test_backed_reads_no_matrix(adata: AnnData, tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    AnnData(adata.X, layers={"counts": adata.X}).write_h5ad(path)
    with h5py.File(path, "r+") as f:
        for group in (f["X"], f["layers/counts"]):
            shape = group["data"].shape
            del group["data"]
            group.create_dataset("data", shape, "f4", chunks=shape, compression="gzip")
            group["data"].id.write_direct_chunk((0,), b"what nobody can unpack")
    with pytest.raises(OSError, match="filter"):
        read_adata(path)
    got = read_adata(path, backed=True)
    assert got.shape == adata.shape
    got.file.close()


@pytest.mark.parametrize("layers", [True, False])
@pytest.mark.parametrize("raw", [True, False])
def test_backed_can_be_written(adata: AnnData, tmp_path: Path, layers: bool, raw: bool) -> None:
    source = adata.copy()
    if not layers:
        source.layers.clear(keep_x=True)
    if not raw:
        del source.raw
    source.write_h5ad(tmp_path / "a.h5ad")
    got = read_adata(tmp_path / "a.h5ad", backed=True)
    assert (got.raw is not None) == raw
    got.obs["new"] = 1
    got.copy(tmp_path / "copy.h5ad").file.close()
    got.write_h5ad(tmp_path / "b.h5ad")
    got.file.close()
    source.obs["new"] = 1
    assert_equal(anndata.read_h5ad(tmp_path / "b.h5ad"), source)
    assert_equal(anndata.read_h5ad(tmp_path / "copy.h5ad"), source)


def test_backed_must_be_known(h5ad: Path) -> None:
    with pytest.raises(ValueError, match=r"'r\+'.*read only"):
        read_adata(h5ad, backed="r+")  # type: ignore[arg-type]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr(adata: AnnData, tmp_path: Path, zarr_format: Any) -> None:
    write_elem(zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format), "/", adata)
    assert_equal(read_adata(tmp_path / "a.zarr"), adata)
    backed = read_adata(tmp_path / "a.zarr", backed=True)
    assert not isinstance(backed.X, np.ndarray)
    assert not sparse.issparse(backed.X)
    assert all(not sparse.issparse(backed.layers[name]) for name in adata.layers if name is not None)
    assert_equal(backed.to_memory(), adata)


# 10x


@pytest.mark.parametrize("gz", ["", "mfb", "m", "fb"])
@pytest.mark.parametrize("features", ["features", "genes"])
@pytest.mark.parametrize("prefix", ["", "GSM123_"])
@pytest.mark.parametrize("n_columns", [1, 2, 3, 4, 5])
def test_mtx(adata: AnnData, tmp_path: Path, gz: str, features: str, prefix: str, n_columns: int) -> None:
    write_mtx(tmp_path, adata, n_columns=n_columns, features=features, gz=gz, prefix=prefix)
    assert_10x(read_adata(tmp_path), adata)


@pytest.mark.parametrize("gz", ["", "mfb"])
@pytest.mark.parametrize("var_names", ["gene_symbols", "gene_ids"])
@pytest.mark.parametrize("make_unique", [True, False])
def test_mtx_as_scanpy(adata: AnnData, tmp_path: Path, gz: str, var_names: Any, make_unique: bool) -> None:
    adata = adata.copy()
    adata.var["symbol"] = (
        adata.var["symbol"].astype(str).replace({"NA": "x", "nan": "y"})
    )  # scanpy takes them for missing
    write_mtx(tmp_path, adata, gz=gz, antibodies=5)
    with pytest.warns(UserWarning, match="genes: 5 'Antibody Capture'"):
        got = read_10x_mtx(tmp_path, var_names, make_unique)
    with of_repeated_names():
        want = sc_io.read_10x_mtx(tmp_path, var_names=var_names, make_unique=make_unique, compressed=bool(gz))
    want.X = sparse.csr_matrix(want.X)
    assert_equal(got, want)


def test_mtx_file_itself(adata: AnnData, tmp_path: Path) -> None:
    write_mtx(tmp_path, adata, gz="mfb", prefix="a_")
    write_mtx(tmp_path, adata[:, ::-1], prefix="b_")
    assert_10x(read_adata(tmp_path / "a_matrix.mtx.gz"), adata)
    assert_10x(read_10x_mtx(tmp_path, prefix="a_"), adata)
    with pytest.raises(ValueError, match=r"several samples.*'a_', 'b_'"):
        read_adata(tmp_path)
    with pytest.raises(ValueError, match=r"no sample with prefix 'c_'.*'a_', 'b_'"):
        read_10x_mtx(tmp_path, prefix="c_")


def test_mtx_of_starsolo(adata: AnnData, tmp_path: Path) -> None:
    write_mtx(tmp_path, adata)
    (tmp_path / "matrix.mtx").rename(tmp_path / "UniqueAndMult-EM.mtx")
    assert_10x(read_adata(tmp_path / "UniqueAndMult-EM.mtx"), adata)


@pytest.mark.parametrize("genome", [None, "GRCh38"])
@pytest.mark.parametrize("gex_only", [True, False])
def test_h5_v3_as_scanpy(adata: AnnData, tmp_path: Path, genome: str | None, gex_only: bool) -> None:
    path = write_h5_v3(tmp_path / "a.h5", adata, antibodies=6)
    with pytest.warns(UserWarning, match="'Antibody Capture'") if gex_only else nullcontext():
        got = read_10x_h5(path, genome, make_unique=False, gex_only=gex_only)
    with of_repeated_names():
        want = sc_io.read_10x_h5(path, genome=genome, gex_only=gex_only)
    assert_equal(got, want)


@pytest.mark.parametrize("name", ["a.h5", "a.h5ad", "a"])
def test_h5(adata: AnnData, tmp_path: Path, name: str) -> None:
    assert_10x(read_adata(write_h5_v3(tmp_path / name, adata)), adata)
    assert_10x(read_adata(write_h5_v3(tmp_path / name, adata, genome=False)), adata)
    assert_10x(read_adata(write_h5_v2(tmp_path / name, adata)), adata)
    with pytest.warns(UserWarning, match=r"is 10x h5, .* cannot be backed"):
        read_adata(tmp_path / name, backed=True)


def test_antibodies_are_dropped(adata: AnnData, tmp_path: Path) -> None:
    for path in (
        write_h5_v3(tmp_path / "a.h5", adata, antibodies=6),
        write_mtx(tmp_path / "a", adata, antibodies=6),
    ):
        with pytest.warns(UserWarning, match=r"genes: 6 'Antibody Capture'.*gex_only=False"):
            assert_10x(read_adata(path), adata, n_genes=N_GENES - 6)
    assert_10x(read_10x_mtx(tmp_path / "a", gex_only=False), adata)
    write_mtx(tmp_path / "b", adata, antibodies=N_GENES)
    with pytest.raises(ValueError, match=r"no 'Gene Expression' features, only 30 'Antibody Capture'"):
        read_adata(tmp_path / "b")


@pytest.mark.parametrize("genome", ["GRCh38", "mm10"])
def test_h5_v2_genomes(adata: AnnData, tmp_path: Path, genome: str) -> None:
    path = write_h5_v2(tmp_path / "a.h5", adata, ("GRCh38", "mm10"))
    with of_repeated_names():
        want = sc_io.read_10x_h5(path, genome=genome)
    assert_equal(read_10x_h5(path, genome, make_unique=False), want)
    for read in (read_adata, read_10x_h5):
        with pytest.raises(ValueError, match=r"2 genomes: GRCh38, mm10. .*genome='GRCh38'"):
            read(path)
    with pytest.raises(ValueError, match=r"'hg19'.*GRCh38"):
        read_10x_h5(path, "hg19")


def test_h5_without_genomes(adata: AnnData, tmp_path: Path) -> None:
    path = write_h5_v3(tmp_path / "a.h5", adata, genome=False)
    with pytest.raises(ValueError, match="`genome='GRCh38'`"):
        read_10x_h5(path, "GRCh38")


def test_var_names(adata: AnnData, tmp_path: Path) -> None:
    for got in (
        read_10x_h5(write_h5_v3(tmp_path / "a.h5", adata), var_names="gene_ids"),
        read_10x_h5(write_h5_v2(tmp_path / "b.h5", adata), var_names="gene_ids"),
        read_10x_mtx(write_mtx(tmp_path / "c", adata), var_names="gene_ids"),
    ):
        assert list(got.var_names) == list(adata.var_names)
        assert list(got.var["gene_symbols"]) == list(adata.var["symbol"])
        assert "gene_ids" not in got.var
    with pytest.raises(ValueError, match="'symbols'; it can be 'gene_symbols' or 'gene_ids'"):
        read_10x_h5(tmp_path / "a.h5", var_names="symbols")  # type: ignore[arg-type]


# bad input


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.h5ad", b"<!DOCTYPE html><html>Log in</html>", "is a web page.*login"),
        ("a.h5", b"\n <html>", "is a web page"),
        (
            "a.h5ad",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "Git LFS pointer.*git lfs pull",
        ),
        ("a.h5ad.gz", gzip.compress(b"\x89HDF\r\n\x1a\n", mtime=0), "cannot be opened.*truncated or damaged"),
        ("a.h5ad.gz", gzip.compress(b"\x89HDF\r\n\x1a\n", mtime=0)[:12], "gzip-compressed, and truncated or damaged"),
        ("a.zip", b"PK\x03\x04", "zip archive"),
        ("a.rds", gzip.compress(b"X\n\0\0", mtime=0), "R object"),
        ("a.h5ad", b"", "is empty"),
        (
            "a.csv",
            b"gene,cell\n",
            "starts with b'gene,cell.* h5ad, h5mu, AnnData zarr, 10x h5, 10x mtx and tables",
        ),
        ("a.h5ad", b"\x89HDF\r\n\x1a\n", "cannot be opened.*truncated or damaged"),
    ],
)
def test_wrong_content(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}' .*{message}|{name}' {message}"):
        read_adata(tmp_path / name)


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_truncated_h5ad(h5ad: Path, tmp_path: Path, share: float) -> None:
    content = h5ad.read_bytes()
    (tmp_path / "a.h5ad").write_bytes(content[: int(len(content) * share)])
    for backed in (False, True):
        with pytest.raises(ValueError, match=r"a.h5ad' cannot be opened: .*truncated file.* again"):
            read_adata(tmp_path / "a.h5ad", backed=backed)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["barcode_idx", "umi", "gem_group", "count"], "molecule_info.*filtered_feature_bc_matrix.h5"),
        (["mod", "obs_"], "MuData file with the modalities none|h5mu, not 10x h5"),
        (["matrix", "row_attrs", "col_attrs"], "loom"),
        (["params"], "ginseng.load_model"),
        (["something"], "neither h5ad nor 10x h5.*'something'"),
        ([], "neither h5ad nor 10x h5.*none"),
    ],
)
def test_wrong_hdf5(tmp_path: Path, members: list[str], message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        for member in members:
            f.create_group(member)
    for read in (read_adata, read_10x_h5):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "a.h5")


def _external(f: h5py.File, name: str) -> None:
    del f[name]
    f[name] = h5py.ExternalLink("secret.h5", name)


def _elsewhere(f: h5py.File, name: str) -> None:
    shape, dtype = f[name].shape, f[name].dtype
    del f[name]
    f.create_dataset(name, shape, dtype, external=[("secret.bin", 0, h5py.h5f.UNLIMITED)])


def _virtual(f: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout(f[name].shape, f[name].dtype)
    layout[:] = h5py.VirtualSource("secret.h5", name, f[name].shape)
    del f[name]
    f.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    ("put", "name"),
    [
        *((_external, name) for name in ("X", "obs", "X/data", "uns/a/b", "obs/_index")),
        *((put, name) for put in (_elsewhere, _virtual) for name in ("X/data", "obsm/X_pca", "uns/a/b")),
    ],
)
def test_data_in_other_files_are_refused(
    adata: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Any, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    adata = adata.copy()
    adata.uns["a"] = {"b": np.arange(3)}
    adata.obsm["X_pca"] = np.ones((adata.n_obs, 2))
    adata.write_h5ad("secret.h5")
    shutil.copyfile("secret.h5", "a.h5ad")
    with h5py.File("a.h5ad", "r+") as f:
        put(f, name)
    message = rf"a.h5ad' is not opened: '{name}' .*another file.*anndata.read_h5ad\('a.h5ad'\).write_h5ad"
    for read in (read_adata, open_adata):
        with pytest.raises(ValueError, match=message):
            read("a.h5ad")


def test_10x_data_in_other_files_are_refused(adata: AnnData, tmp_path: Path) -> None:
    write_h5_v3(tmp_path / "a.h5", adata)
    with h5py.File(tmp_path / "a.h5", "r+") as f:
        _external(f, "matrix/data")
    with pytest.raises(ValueError, match=r"'matrix/data' is a link.*scanpy.read_10x_h5\("):
        read_10x_h5(tmp_path / "a.h5")


def test_links_within_a_file_are_followed(h5ad: Path, tmp_path: Path) -> None:
    shutil.copyfile(h5ad, tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as f:
        f["layers/again"] = h5py.SoftLink("/X")
    got = read_adata(tmp_path / "a.h5ad")
    assert (got.layers["again"] != got.X).nnz == 0


def test_missing(h5ad: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no '.*A.h5ad'. .*Did you mean 'a.h5ad'\?"):
        read_adata(h5ad.with_name("A.h5ad"))
    with pytest.raises(FileNotFoundError, match=r"Nor is there .*nowhere'"):
        read_adata(tmp_path / "nowhere" / "a.h5ad")
    with pytest.raises(ValueError, match=r"'s3://a/b.h5ad' is not an http or https URL"):
        read_adata("s3://a/b.h5ad")
    with pytest.raises(ValueError, match="`known_hash` is for URLs"):
        read_adata(h5ad, known_hash="0" * 64)


def test_wrong_folder(adata: AnnData, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither a zarr store nor a 10x folder.*'matrix.mtx'.*none"):
        read_adata(tmp_path)
    write_mtx(tmp_path / "outs" / "hg19", adata)
    with pytest.raises(FileNotFoundError, match=r"Did you mean '.*outs.hg19'\?"):
        read_adata(tmp_path)
    for name, wanted in {
        "features.tsv": "features.tsv or features.tsv.gz or genes.tsv",
        "barcodes.tsv": "barcodes",
    }.items():
        (tmp_path / "outs" / "hg19" / name).rename(tmp_path / name)
        with pytest.raises(FileNotFoundError, match=f"matrix.mtx' needs .*{wanted}"):
            read_adata(tmp_path / "outs" / "hg19")
        (tmp_path / name).rename(tmp_path / "outs" / "hg19" / name)
    (tmp_path / "outs" / "hg19" / "matrix.mtx").unlink()
    with pytest.raises(FileNotFoundError, match=r"no 'matrix.mtx'.*There are: 'barcodes.tsv', 'features.tsv'"):
        read_adata(tmp_path / "outs" / "hg19")


def test_zarr_of_something_else(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr").create_group("tables")
    with pytest.raises(ValueError, match=r"zarr store, but not of an AnnData.*'tables'"):
        read_adata(tmp_path / "a.zarr")


@pytest.mark.parametrize("gz", ["", "m"])
def test_truncated_mtx(adata: AnnData, tmp_path: Path, gz: str) -> None:
    write_mtx(tmp_path, adata, gz=gz)
    path = tmp_path / ("matrix.mtx.gz" if gz else "matrix.mtx")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated or damaged"):
        read_adata(tmp_path)


def test_mtx_that_does_not_fit(adata: AnnData, tmp_path: Path) -> None:
    write_mtx(tmp_path, adata)
    write_mtx(tmp_path / "other", adata[:, :20])
    shutil.copy(tmp_path / "other" / "features.tsv", tmp_path)
    with pytest.raises(ValueError, match=r"30 rows and 40 columns, but 'features.tsv' has 20 lines and .* 40\."):
        read_adata(tmp_path)


def test_wrong_reader(h5ad: Path, adata: AnnData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is h5ad, not 10x h5. Use `read_adata`"):
        read_10x_h5(h5ad)
    with pytest.raises(ValueError, match=r"is 10x mtx, not 10x h5. Use `read_adata`"):
        read_10x_h5(write_mtx(tmp_path, adata))
    with pytest.raises(ValueError, match=r"is h5ad, not 10x mtx. Use `read_adata`"):
        read_10x_mtx(h5ad)


# URLs


def cached() -> list[Path]:
    return list(settings.cache_dir.iterdir()) if settings.cache_dir.exists() else []


@pytest.mark.parametrize("how", ["ok", "redirect"])
@pytest.mark.parametrize("query", ["", "?download=1"])
@pytest.mark.parametrize("name", ["a.h5ad", "a.h5", "files/273ba93d"])
def test_url(h5ad: Path, adata: AnnData, server: Any, how: str, query: str, name: str) -> None:
    server.files[name] = h5ad.read_bytes()
    assert_equal(read_adata(server.url(name, how) + query), adata)
    n_requests = len(server.requests)
    assert_equal(read_adata(server.url(name, how) + query), adata)
    assert len(server.requests) == n_requests
    assert len(cached()) == 1


def test_url_of_10x(adata: AnnData, server: Any, tmp_path: Path) -> None:
    server.files["a.h5"] = write_h5_v3(tmp_path / "a.h5", adata).read_bytes()
    assert_10x(read_adata(server.url("a.h5")), adata)
    assert_10x(read_10x_h5(server.url("a.h5")), adata)
    assert len(server.requests) == 1


def test_url_of_other_files(adata: AnnData, h5ad: Path, server: Any) -> None:
    table = pd.DataFrame(adata.X.toarray(), index=adata.obs_names, columns=adata.var_names)
    server.files = {"a.csv.gz": gzip.compress(table.to_csv().encode()), "a.h5ad.gz": gzip.compress(h5ad.read_bytes())}
    np.testing.assert_array_equal(read_adata(server.url("a.csv.gz"), transpose=False).X.toarray(), adata.X.toarray())
    assert_equal(read_adata(server.url("a.h5ad.gz")), adata)


def test_url_backed(h5ad: Path, server: Any) -> None:
    server.files["a.h5ad"] = h5ad.read_bytes()
    got = read_adata(server.url("a.h5ad"), backed=True)
    assert got.isbacked
    got.file.close()


def test_urls_with_one_name(h5ad: Path, adata: AnnData, server: Any, tmp_path: Path) -> None:
    adata[:5].write_h5ad(tmp_path / "b.h5ad")
    server.files = {"1/a.h5ad": h5ad.read_bytes(), "2/a.h5ad": (tmp_path / "b.h5ad").read_bytes()}
    assert [read_adata(server.url(f"{i}/a.h5ad")).n_obs for i in (1, 2, 1)] == [N_CELLS, 5, N_CELLS]


def test_url_hash(h5ad: Path, server: Any) -> None:
    content = h5ad.read_bytes()
    server.files["a.h5ad"] = content
    good = hashlib.sha256(content).hexdigest()
    with pytest.raises(ValueError, match="does not match"):
        read_adata(server.url("a.h5ad"), known_hash="0" * 64)
    assert cached() == []
    for known_hash in (good, f"sha256:{good}", f"md5:{hashlib.md5(content).hexdigest()}"):
        read_adata(server.url("a.h5ad"), known_hash=known_hash)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("how", "name", "error", "message"),
    [
        ("ok", "b.h5ad", FileNotFoundError, "404 Not Found. Check the address"),
        ("login", "a.h5ad", PermissionError, "401 Unauthorized"),
        ("truncated", "a.h5ad", ConnectionError, "broke off.*pass its path"),
        ("truncated-no-length", "a.h5ad", ValueError, "cannot be opened.*truncated"),
        ("hang", "a.h5ad", TimeoutError, r"sent nothing for 0\.2 s"),
        ("stall", "a.h5ad", TimeoutError, r"sent nothing for 0\.2 s"),
        ("ok", "login.h5ad", ValueError, "is a web page"),
        ("ok", "matrix.mtx.gz", ValueError, "is 10x mtx, not h5ad or 10x h5 .*Download all of its files"),
    ],
)
def test_bad_url(
    h5ad: Path, server: Any, monkeypatch: pytest.MonkeyPatch, how: str, name: str, error: type, message: str
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.2))
    server.files = {"a.h5ad": h5ad.read_bytes(), "login.h5ad": b"<html>Log in</html>"}
    server.files["matrix.mtx.gz"] = gzip.compress(b"%%MatrixMarket matrix coordinate integer general\n1 1 0\n", mtime=0)
    url = server.url(name, how)
    with pytest.raises(error, match=f"{url} .*{message}"):
        read_adata(url)
    assert cached() == []
    monkeypatch.setattr(download, "TIMEOUT", (5, 60))
    if name == "a.h5ad":  # a failure leaves nothing that a second try would take for the file
        assert read_adata(server.url(name)).n_obs == N_CELLS


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(settings, "cache_dir", tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, but nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.h5ad"
        with pytest.raises(ConnectionError, match=f"{url} cannot be downloaded.*refused"):
            read_adata(url)


def test_download_speaks_by_settings(
    h5ad: Path, server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files = dict.fromkeys(["a.h5ad", "b.h5ad", "c.h5ad"], h5ad.read_bytes())
    read_adata(server.url("a.h5ad"))
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(settings, "progress_bar", True)
    monkeypatch.setattr(_logging, "at_a_screen", lambda: True)
    read_adata(server.url("b.h5ad"))
    assert "100%" in capsys.readouterr().err
    monkeypatch.setattr(settings, "progress_bar", False)
    monkeypatch.setattr(settings, "verbosity", 2)
    read_adata(server.url("c.h5ad"))
    assert server.url("c.h5ad") in capsys.readouterr().err
