"""The dataset: what goes in comes out, whatever held it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import ginseng as gs
from ginseng.data import GinsengDataset, _batches

type Make = Callable[..., ad.AnnData]


def write_10x_h5(adata: ad.AnnData, path: Path) -> None:
    x = sparse.csr_matrix(adata.X)
    with h5py.File(path, "w") as f:
        for name, values in {"data": x.data.astype("i4"), "indices": x.indices, "indptr": x.indptr}.items():
            f[f"matrix/{name}"] = values
        f["matrix/shape"] = x.shape[::-1]
        f["matrix/barcodes"] = adata.obs_names.to_numpy().astype("S")
        genes = adata.var_names.to_numpy().astype("S")
        constants = {"feature_type": b"Gene Expression", "genome": b"GRCh38"}
        for name, values in {"id": genes, "name": genes}.items():
            f[f"matrix/features/{name}"] = values
        for name, value in constants.items():
            f[f"matrix/features/{name}"] = np.full(adata.n_vars, value)


HOLDERS = [
    "csr", "csc", "numpy", "dask", "dask csr", "view", "layer", "int32", "float64",
    "backed", "h5ad", "h5ad csc", "h5ad numpy", "zarr", "10x h5", "url",
]  # fmt: skip


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_same_store_from_any_holder(
    make_cells: Make, tmp_path: Path, holder: str, request: pytest.FixtureRequest
) -> None:
    adata = make_cells()
    x, labels, given, layer = adata.X.toarray(), adata.obs["cell_type"].astype(str), adata, None
    kind = holder.split()[-1]
    adata.X = {"csc": sparse.csc_matrix, "numpy": np.asarray}.get(kind, sparse.csr_matrix)(x)
    match holder:
        case "dask":
            adata.X = da.from_array(x, chunks=(17, 9))
        case "dask csr":
            adata.X = da.from_array(x, chunks=(17, -1)).map_blocks(sparse.csr_matrix)
        case "int32" | "float64":
            adata.X = adata.X.astype(holder)
        case "view":
            given = ad.concat([adata[:40], adata], index_unique="-")[40:]
            given.obs_names = adata.obs_names
        case "layer":
            adata.layers["counts"], layer = adata.X, "counts"
            adata.X = np.zeros(x.shape)
        case "backed" | "h5ad" | "h5ad csc" | "h5ad numpy" | "url":
            given = tmp_path / "a.h5ad"
            adata.write_h5ad(given)
            if holder == "backed":
                given = gs.read_adata(given, backed=True)
            elif holder == "url":
                server = request.getfixturevalue("server")
                server.files["a.h5ad"] = given.read_bytes()
                given = server.url("a.h5ad")
        case "zarr":
            given = tmp_path / "a.zarr"
            adata.write_zarr(given)
        case "10x h5":
            given = tmp_path / "a.h5"
            write_10x_h5(adata, given)
    label_key = labels.to_numpy() if holder == "10x h5" else "cell_type"
    data = GinsengDataset.create(
        tmp_path / "s.zarr",
        given,
        label_key,
        layer=layer,
        genes=["GENE7", "GENE1", "GENE29"],
        chunk_size=50,
        silent=True,
    )
    rows = ad.read_zarr(tmp_path / "s.zarr").obs["original_row"].to_numpy()
    assert sorted(rows) == list(range(120))
    np.testing.assert_array_equal(data.get_batch(range(120)), x[rows][:, [7, 1, 29]])
    assert [data.label_names[i] for i in data.labels] == labels.iloc[rows].tolist()
    np.testing.assert_array_equal(data.totals, x[rows].sum(axis=1))
    assert data.gene_names == ["GENE7", "GENE1", "GENE29"]


def test_attributes(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    created = GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", group_key="donor", silent=True)
    opened = GinsengDataset(str(tmp_path / "s.zarr"))
    for data in (created, opened):
        stored = ad.read_zarr(data.path)
        assert (len(data), data.n_cells, data.n_genes) == (120, 120, 30)
        assert data.label_names == ["B cell", "T/NK", "γδ T"]
        assert (data.label_key, data.group_key) == ("cell_type", "donor")
        assert data.groups is not None
        assert data.group_names is not None
        assert [data.group_names[i] for i in data.groups] == stored.obs["donor"].astype(str).tolist()
        assert data.labels.dtype == data.groups.dtype == np.int32
        assert data.totals.dtype == np.float32
        assert isinstance(data.root, zarr.Group)
        assert data.path == tmp_path / "s.zarr"
        assert (data.has_split, data.train_idx, data.test_idx) == (False, None, None)
        assert "120 cells x 30 genes, 3 classes of 'cell_type'" in repr(data)
    assert GinsengDataset.create(tmp_path / "t.zarr", adata, "cell_type", silent=True).groups is None


def test_labels_and_groups_of_their_own(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    labels = pd.Series(np.where(np.arange(120) < 30, "few", "many"), index=adata.obs_names, name="mine")
    labels.iloc[5] = None
    with pytest.warns(UserWarning, match="1 of 120 cells have no label in 'mine'"):
        data = GinsengDataset.create(
            tmp_path / "s.zarr", adata, labels.sample(frac=1, random_state=1), group_key=list(range(120)), silent=True
        )
    rows = ad.read_zarr(data.path).obs["original_row"].to_numpy()
    assert sorted(rows) == [i for i in range(120) if i != 5]
    assert [data.label_names[i] for i in data.labels] == ["few" if i < 30 else "many" for i in rows]
    assert data.groups is not None
    assert data.group_names is not None
    assert [data.group_names[i] for i in data.groups] == [str(i) for i in rows]
    np.testing.assert_array_equal(data.get_batch(range(119)), adata.X.toarray()[rows])


def test_genes_named_by_a_column(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    adata.var["symbol"] = [f"S{i}" for i in range(30)]
    adata.var["ginseng_genes"] = np.arange(30) % 10 == 3
    data = GinsengDataset.create(
        tmp_path / "s.zarr", adata, "cell_type", genes="ginseng_genes", gene_key="symbol", silent=True
    )
    assert data.gene_names == ["S3", "S13", "S23"]


def test_names_of_cells_may_repeat(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    adata.obs_names = ["cell"] * 120
    data = GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", silent=True)
    x, rows = adata.X.toarray(), np.asarray(zarr.open_group(data.path, mode="r")["obs/original_row"])
    np.testing.assert_array_equal(data.get_batch(range(120)), x[rows])


# -- cells by number ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, make_cells: Make) -> GinsengDataset:
    path = tmp_path_factory.mktemp("stored") / "s.zarr"
    return GinsengDataset.create(path, make_cells(), "cell_type", silent=True)


@pytest.fixture(scope="module")
def dense(stored: GinsengDataset) -> np.ndarray:
    return ad.read_zarr(stored.path).X.toarray()


@pytest.mark.parametrize(
    "index",
    [slice(None), slice(5, 50, 7), slice(None, None, -1), slice(-3, None), slice(200, 300), [4, 4, -1], np.arange(9)],
)
def test_several_cells(stored: GinsengDataset, dense: np.ndarray, index: object) -> None:
    x, y = stored[index]  # type: ignore[index]
    np.testing.assert_array_equal(x, dense[index])
    np.testing.assert_array_equal(y, stored.labels[index])
    assert x.dtype == np.float32


def test_a_mask_of_cells(stored: GinsengDataset, dense: np.ndarray) -> None:
    mask = np.arange(120) % 3 == 1
    np.testing.assert_array_equal(stored[mask][0], dense[mask])


@pytest.mark.parametrize("i", [0, 119, -1, -120, np.int64(7)])
def test_one_cell(stored: GinsengDataset, dense: np.ndarray, i: int) -> None:
    x, y = stored[i]
    np.testing.assert_array_equal(x, dense[i])
    assert x.shape == (30,)
    assert y == stored.labels[i]
    assert isinstance(y, int)


@pytest.mark.parametrize("i", [120, -121])
def test_no_such_cell(stored: GinsengDataset, i: int) -> None:
    with pytest.raises(IndexError, match=f"Cell {i} is out of range: there are 120"):
        stored[i]
    with pytest.raises(IndexError):
        stored[[0, i]]
    with pytest.raises(IndexError, match="from 0 to 119"):
        stored.get_batch([0, i])


def test_no_cells(stored: GinsengDataset) -> None:
    assert stored.get_batch([]).shape == (0, 30)


# -- splits ------------------------------------------------------------------------------------------------------


def test_a_split_is_kept(make_cells: Make, tmp_path: Path) -> None:
    data = GinsengDataset.create(tmp_path / "s.zarr", make_cells(), "cell_type", group_key="donor", silent=True)
    data.make_split(0.25, seed=3)
    again = GinsengDataset(tmp_path / "s.zarr")
    for d in (data, again):
        assert d.has_split
        assert d.train_idx is not None
        assert d.test_idx is not None
        assert sorted([*d.train_idx, *d.test_idx]) == list(range(120))
        assert np.bincount(d.labels[d.test_idx]).tolist() == [10, 10, 10]
        np.testing.assert_array_equal(np.flatnonzero(d.in_split("holdout")), d.test_idx)
    np.testing.assert_array_equal(data.test_idx, again.test_idx)
    ad.read_zarr(tmp_path / "s.zarr")

    data.make_split(0.4, stratify_group=True)
    assert data.groups is not None
    assert not set(data.groups[data.in_split("train")]) & set(data.groups[data.in_split("test")])
    assert len(set(data.groups[data.in_split("test")])) == 2
    data.make_split(mode="loo", group="d2")
    assert data.group_names is not None
    assert (data.in_split("test") == (data.groups == data.group_names.index("d2"))).all()
    np.testing.assert_array_equal(GinsengDataset(tmp_path / "s.zarr").test_idx, data.test_idx)

    for wrong in ({"fraction": 1.0}, {"mode": "loo", "group": "d9"}, {"mode": "x"}):
        with pytest.raises(ValueError, match=r"fraction|group"):
            data.make_split(**wrong)
    np.testing.assert_array_equal(GinsengDataset(tmp_path / "s.zarr").test_idx, data.test_idx)

    data.make_split(0.0)
    assert data.train_idx is not None
    assert len(data.train_idx) == 120
    assert GinsengDataset(tmp_path / "s.zarr").has_split
    assert list(data.stream(16, "test")) == []


def test_a_split_is_one_write(make_cells: Make, tmp_path: Path) -> None:
    data = GinsengDataset.create(tmp_path / "s.zarr", make_cells(), "cell_type", silent=True)
    split = data.root["uns/ginseng/split"]
    assert isinstance(split, zarr.Array)
    assert split.chunks == split.shape == (120,)


def test_a_split_that_cannot_be_written_changes_nothing(
    make_cells: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = GinsengDataset.create(tmp_path / "s.zarr", make_cells(), "cell_type", silent=True)
    data.make_split(0.2)
    before = data.test_idx

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(OSError, match="No space left"):
        data.make_split(0.5)
    np.testing.assert_array_equal(data.test_idx, before)
    np.testing.assert_array_equal(GinsengDataset(tmp_path / "s.zarr").test_idx, before)


def test_groups_are_needed_to_split_by_them(stored: GinsengDataset) -> None:
    with pytest.raises(ValueError, match="Give `group_key=`"):
        stored.make_split(stratify_group=True)


# -- streams -----------------------------------------------------------------------------------------------------


def test_parts_that_are_not_there(stored: GinsengDataset) -> None:
    with pytest.raises(ValueError, match=r"There is no split yet\. Call `make_split\(\)` first"):
        next(iter(stored.stream()))
    with pytest.raises(ValueError, match="not 'validation'"):
        next(iter(stored.stream(split="validation")))  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [1, 7, 120, 500])
@pytest.mark.parametrize("windows", [False, True])
def test_a_stream_has_each_cell_of_its_part_once(
    make_cells: Make, tmp_path: Path, batch_size: int, windows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if windows:
        monkeypatch.setattr(_batches, "BLOCK_ROWS", 8)
        monkeypatch.setattr(_batches, "BLOCKS_PER_WINDOW", 4)
    adata = make_cells()
    x = adata.X.toarray()
    x[:, 0] = np.arange(120)
    adata.X = sparse.csr_matrix(x)
    data = GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", silent=True)
    data.make_split(0.25)
    rows = ad.read_zarr(data.path).obs["original_row"].to_numpy()
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    for part in ("train", "test", "all"):
        seen = []
        for a, b in data.stream(batch_size, part, seed=3):
            assert a.dtype == np.float32
            assert b.dtype == np.int32
            assert len(a) == len(b) <= batch_size
            mine = a[:, 0].astype(int)
            np.testing.assert_array_equal(a, x[mine])
            assert [data.label_names[i] for i in b] == labels[mine].tolist()
            seen += mine.tolist()
        assert sorted(seen) == sorted(rows[data.in_split(part)])
        unshuffled = np.concatenate([a[:, 0] for a, _ in data.stream(batch_size, part, shuffle=False)])
        np.testing.assert_array_equal(unshuffled, rows[data.in_split(part)])
        balanced = [len(b) for _, b in data.stream(batch_size, part, balance_labels=True)]
        assert sum(balanced) == data.in_split(part).sum()


def test_a_balanced_stream_draws_classes_alike(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells(900)
    labels = np.where(np.arange(900) < 810, "many", "few")
    data = GinsengDataset.create(tmp_path / "s.zarr", adata, labels, silent=True)
    y = np.concatenate([b for e in range(4) for _, b in data.stream(100, "all", balance_labels=True, epoch=e)])
    assert len(y) == 3600
    assert np.mean(y) == pytest.approx(0.5, abs=5 * 0.5 / 60)


def test_importing_ginseng_leaves_zarr_as_it_is() -> None:
    code = "import zarr; a = str(zarr.config.config); import ginseng; assert str(zarr.config.config) == a"
    subprocess.run([sys.executable, "-c", code], check=True)
