"""The store on disk: written whole or not at all, and never over what ginseng did not write."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import zarr
from scipy import sparse

import ginseng as gs
from ginseng.data import GinsengDataset, _store
from ginseng.data._store import smallest_dtype

type Make = Callable[..., ad.AnnData]


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Return all that is below a folder: the bytes of each file, and None for each folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def in_input_order(path: Path) -> ad.AnnData:
    adata = ad.read_zarr(path)
    return adata[np.argsort(adata.obs["original_row"].to_numpy())].copy()


def test_anndata_opens_a_store_and_finds_the_input_in_it(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", group_key="donor", silent=True)
    stored = ad.read_zarr(tmp_path / "s.zarr")
    assert stored.obs["original_row"].tolist() != list(range(120))
    back = in_input_order(tmp_path / "s.zarr")
    assert back.X.format == "csr"
    assert back.X.dtype == np.uint8
    np.testing.assert_array_equal(back.X.toarray(), adata.X.toarray())
    assert back.obs_names.tolist() == adata.obs_names.tolist()
    assert back.var_names.tolist() == adata.var_names.tolist()
    for key in ("cell_type", "donor"):
        assert back.obs[key].dtype == "category"
        assert back.obs[key].astype(str).tolist() == adata.obs[key].astype(str).tolist()
    np.testing.assert_array_equal(back.obs["total_counts"], adata.X.toarray().sum(axis=1))
    uns = dict(stored.uns["ginseng"])
    assert uns.pop("split").tolist() == [_store.UNSPLIT] * 120
    assert uns == {
        "format": "ginseng-store",
        "format_version": "1.1",
        "label_key": "cell_type",
        "group_key": "donor",
        "complete": True,
    }
    assert zarr.open_group(tmp_path / "s.zarr", mode="r").metadata.zarr_format == 3
    assert os.listdir(tmp_path) == ["s.zarr"]


def test_selected_genes_are_stored_and_totals_are_of_all(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", genes=["GENE9", "GENE2", "GENE20"], silent=True)
    back = in_input_order(tmp_path / "s.zarr")
    assert back.var_names.tolist() == ["GENE9", "GENE2", "GENE20"]
    np.testing.assert_array_equal(back.X.toarray(), adata.X.toarray()[:, [9, 2, 20]])
    np.testing.assert_array_equal(back.obs["total_counts"], adata.X.toarray().sum(axis=1))


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32), (2.5, np.float32)],
)
@pytest.mark.filterwarnings("ignore:.*numbers that are not whole:UserWarning")
@pytest.mark.parametrize("held_as", [np.float32, np.float64, np.int64])
def test_counts_take_the_smallest_type_that_holds_them(
    make_cells: Make, tmp_path: Path, largest: float, dtype: type, held_as: type
) -> None:
    if dtype == np.float32 and held_as == np.int64:
        largest, dtype = 7, np.uint8
    adata = make_cells()
    x = adata.X.toarray().astype(held_as)
    x[5, 5] = largest
    adata.X = sparse.csr_matrix(x)
    GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", silent=True)
    back = in_input_order(tmp_path / "s.zarr")
    assert back.X.dtype == dtype
    np.testing.assert_array_equal(back.X.toarray(), x)


def test_numbers_beyond_all_integers_are_floats() -> None:
    assert smallest_dtype(2.0**65, True) == np.float32
    assert smallest_dtype(2.0**40, True) == np.uint64


def test_many_parts_and_shards_make_the_same_store(
    make_cells: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = make_cells(seed=7)
    GinsengDataset.create(tmp_path / "one.zarr", adata, "cell_type", silent=True)
    monkeypatch.setattr(_store, "ROWS_PER_PART", 11)
    monkeypatch.setattr(_store, "CHUNK", 16)
    monkeypatch.setattr(_store, "CHUNKS_PER_SHARD", 3)
    monkeypatch.setattr(_store, "POINTER_CHUNKS_PER_SHARD", 2)
    GinsengDataset.create(tmp_path / "many.zarr", adata, "cell_type", chunk_size=7, silent=True)
    one, many = (ad.read_zarr(tmp_path / f"{name}.zarr") for name in ("one", "many"))
    np.testing.assert_array_equal(one.X.toarray(), many.X.toarray())
    assert many.X.has_sorted_indices
    assert one.obs.equals(many.obs)
    for name, shard, n in (("data", 48, adata.X.nnz), ("indices", 48, adata.X.nnz), ("indptr", 32, adata.n_obs + 1)):
        array = zarr.open_group(tmp_path / "many.zarr", mode="r")[f"X/{name}"]
        assert isinstance(array, zarr.Array)
        assert array.chunks == (16,)
        assert array.shards == (shard,)
        assert len(list((tmp_path / f"many.zarr/X/{name}/c").iterdir())) == -(-n // shard) > 1


def test_the_order_of_rows_is_that_of_the_seed(make_cells: Make, tmp_path: Path) -> None:
    rows = []
    for i, rng in enumerate([0, 0, 1, np.random.default_rng(0)]):
        GinsengDataset.create(tmp_path / f"{i}.zarr", make_cells(), "cell_type", rng=rng, silent=True)
        rows.append(ad.read_zarr(tmp_path / f"{i}.zarr").obs["original_row"].tolist())
    assert rows[0] == rows[1] == rows[3] != rows[2]
    assert sorted(rows[2]) == list(range(120))


def test_cells_without_counts_are_kept(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    adata.X = sparse.csr_matrix(([1.0], ([7], [0])), shape=adata.shape, dtype=np.float32)
    GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", silent=True)
    assert in_input_order(tmp_path / "s.zarr").X.nnz == 1


# -- what must not be lost ---------------------------------------------------------------------------------------


def test_by_default_nothing_is_replaced(make_cells: Make, tmp_path: Path) -> None:
    GinsengDataset.create(tmp_path / "s.zarr", make_cells(), "cell_type", silent=True)
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError, match=r"`overwrite=True` .*`GinsengDataset\('.*s.zarr'\)`"):
        GinsengDataset.create(tmp_path / "s.zarr", make_cells(60), "cell_type", silent=True)
    assert snapshot(tmp_path) == before
    GinsengDataset.create(tmp_path / "s.zarr", make_cells(60), "cell_type", overwrite=True, silent=True)
    assert len(GinsengDataset(tmp_path / "s.zarr")) == 60
    assert os.listdir(tmp_path) == ["s.zarr"]


@pytest.mark.parametrize("what", ["folder", "empty folder", "file", "broken link", "zarr", "store and notes"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_ginseng_did_not_write_is_never_replaced(
    make_cells: Make, tmp_path: Path, what: str, overwrite: bool
) -> None:
    target = tmp_path / "mine"
    if what == "file":
        target.write_text("thesis")
    elif what == "broken link":
        target.symlink_to(tmp_path / "nowhere")
    elif what == "zarr":
        adata = make_cells()
        adata.uns["ginseng"] = {"complete": True}
        adata.write_zarr(target)
    elif what == "store and notes":
        GinsengDataset.create(target, make_cells(), "cell_type", silent=True)
        (target / "notes.txt").write_text("thesis")
    else:
        target.mkdir()
        if what == "folder":
            (target / "thesis.txt").write_text("thesis")
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError, match="is not replaced"):
        GinsengDataset.create(target, make_cells(), "cell_type", overwrite=overwrite, silent=True)
    assert snapshot(tmp_path) == before


def bad(adata: ad.AnnData, value: float) -> ad.AnnData:
    x = adata.X.toarray()
    x[-1, -1] = value
    adata.X = sparse.csr_matrix(x)
    return adata


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label_key": "cell_typ"}, KeyError, "Did you mean 'cell_type'"),
        ({"layer": "counts"}, KeyError, "`adata.layers` has no 'counts'"),
        ({"genes": ["GENE1", "TP53"]}, KeyError, "TP53"),
        ({"genes": "ginseng_genes"}, KeyError, "`adata.var` has no column"),
        ({"genes": np.zeros(30, bool)}, ValueError, "No genes are selected"),
        ({"genes": ["TP53"]}, KeyError, "1 of 1 genes are not in `adata`"),
        ({"group_key": "batch"}, KeyError, "There are: 'cell_type', 'donor'"),
        ({"gene_key": "symbol"}, KeyError, "`adata.var` has no column 'symbol'"),
        ({"adata": "no such file.h5ad"}, FileNotFoundError, "There is no 'no such file.h5ad'"),
        ({"adata": np.nan}, ValueError, "NaN or infinite"),
        ({"adata": np.inf}, ValueError, "NaN or infinite"),
        ({"adata": -1.0}, ValueError, "negative values"),
        ({"group_key": "cell_type"}, ValueError, "names must differ"),
        ({"label_key": "total_counts"}, ValueError, "names must differ"),
        ({"label_key": "a/b"}, ValueError, "slash"),
    ],
)
def test_an_error_leaves_everything_as_it_was(
    make_cells: Make, tmp_path: Path, existing: bool, arguments: dict, error: type[Exception], message: str
) -> None:
    if existing:
        GinsengDataset.create(tmp_path / "s.zarr", make_cells(), "cell_type", silent=True)
    (tmp_path / "thesis.txt").write_text("thesis")
    before = snapshot(tmp_path)
    adata = make_cells()
    if "label_key" in arguments and arguments["label_key"] != "cell_typ":
        adata.obs[arguments["label_key"]] = adata.obs["cell_type"]
    value = arguments.get("adata")
    given = {"adata": bad(adata, value) if isinstance(value, float) else value or adata}
    given |= {"label_key": "cell_type"} | {k: v for k, v in arguments.items() if k != "adata"}
    with pytest.raises(error, match=message):
        GinsengDataset.create(tmp_path / "s.zarr", **given, overwrite=existing, chunk_size=50, silent=True)
    assert snapshot(tmp_path) == before


def test_a_full_disk_in_the_middle_leaves_everything_as_it_was(
    make_cells: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    GinsengDataset.create(tmp_path / "s.zarr", make_cells(), "cell_type", silent=True)
    before = snapshot(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_store._Appender, "append", full)
    with pytest.raises(OSError, match=r"is full: .* is unchanged"):
        GinsengDataset.create(tmp_path / "s.zarr", make_cells(60), "cell_type", overwrite=True, silent=True)
    assert snapshot(tmp_path) == before


def test_input_and_output_may_not_be_one_file(make_cells: Make, tmp_path: Path) -> None:
    make_cells().write_zarr(tmp_path / "a.zarr")
    make_cells().write_h5ad(tmp_path / "a.h5ad")
    before = snapshot(tmp_path)
    for name in ("a.zarr", "a.h5ad"):
        for overwrite in (True, False):
            with pytest.raises(FileExistsError, match="is not a store of ginseng"):
                GinsengDataset.create(tmp_path / name, tmp_path / name, "cell_type", overwrite=overwrite, silent=True)
    assert snapshot(tmp_path) == before


def test_a_store_is_not_made_anew_from_itself(
    make_cells: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its total counts are of all genes that were measured, and it has not all of them."""
    monkeypatch.chdir(tmp_path)
    GinsengDataset.create("s.zarr", make_cells(), "cell_type", silent=True)
    Path("link.zarr").symlink_to("s.zarr")
    before = snapshot(tmp_path)
    for spelling in ("s.zarr", "./s.zarr", "s.zarr/../s.zarr", "link.zarr"):
        for target, source in ((spelling, "s.zarr"), ("s.zarr", tmp_path / spelling)):
            with pytest.raises(FileExistsError, match="is the input itself"):
                GinsengDataset.create(target, source, "cell_type", overwrite=True, silent=True)
    assert snapshot(tmp_path) == before


def test_no_store_is_written_into_a_zarr_folder(make_cells: Make, tmp_path: Path) -> None:
    make_cells().write_zarr(tmp_path / "a.zarr")
    GinsengDataset.create(tmp_path / "s.zarr", make_cells(), "cell_type", silent=True)
    (tmp_path / "link").symlink_to("a.zarr")
    before = snapshot(tmp_path)
    for where in ("a.zarr/inner", "a.zarr/new/inner", "s.zarr/X/inner", "link/inner", "a.zarr/../s.zarr/i"):
        for source in (tmp_path / "a.zarr", make_cells()):
            with pytest.raises(FileExistsError, match=r"which is a zarr folder\. Choose a path outside of it"):
                GinsengDataset.create(tmp_path / where, source, "cell_type", overwrite=True, silent=True)
    assert snapshot(tmp_path) == before


def test_a_link_to_a_store_stays_and_what_it_leads_to_is_replaced(make_cells: Make, tmp_path: Path) -> None:
    target = "elsewhere/s.zarr"
    (tmp_path / "elsewhere").mkdir()
    GinsengDataset.create(tmp_path / target, make_cells(), "cell_type", silent=True)
    link = tmp_path / "link.zarr"
    link.symlink_to(target)
    GinsengDataset.create(link, make_cells(60), "cell_type", overwrite=True, silent=True)
    assert link.is_symlink()
    assert len(GinsengDataset(link)) == len(GinsengDataset(tmp_path / target)) == 60
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if "s.zarr/" not in str(p))
    assert found == sorted({"elsewhere", "link.zarr", target})


@pytest.fixture(scope="module")
def whole(make_cells: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "s.zarr"
    GinsengDataset.create(path, make_cells(), "cell_type", group_key="donor", silent=True)
    return path


def add_array(path: Path, name: str) -> None:
    group, _, last = name.rpartition("/")
    root = zarr.open_group(path, mode="r+", use_consolidated=False)
    ad.io.write_elem(root[group] if group else root, last, np.zeros((120, 2)))


@pytest.mark.parametrize(
    "name",
    [
        "obs/notes.txt", "X/notes.txt", "X/data/c/notes.txt", "X/data/c/0.orig", "uns/mine/x.txt", "obs/c/0", "empty/",
        "X/data/empty/", "obsm/X_mine", "obs/mine", "uns/ginseng/mine", "layers/counts",
    ],
)  # fmt: skip
def test_what_was_added_to_a_store_keeps_it_from_being_replaced(
    make_cells: Make, whole: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "s.zarr"
    shutil.copytree(whole, path)
    if name.endswith("/"):
        (path / name).mkdir()
    elif "." in name or "/c/" in name:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("thesis")
    else:
        add_array(path, name)
    before = snapshot(tmp_path)
    first = {"uns/mine/x.txt": "uns/mine", "obs/c/0": "obs/c"}.get(name, name.rstrip("/"))
    with pytest.raises(FileExistsError, match=rf"not replaced: {first}\. "):
        GinsengDataset.create(path, make_cells(), "cell_type", overwrite=True, silent=True)
    assert snapshot(tmp_path) == before
    assert len(GinsengDataset(path)) == 120  # and it is read as before


@pytest.mark.parametrize("keys", [("cell_type", "donor"), ("c", "0")])
def test_a_store_is_replaced_whatever_its_columns_are_called(
    make_cells: Make, tmp_path: Path, keys: tuple[str, str]
) -> None:
    adata = make_cells()
    adata.obs = adata.obs[["cell_type", "donor"]].set_axis(list(keys), axis=1)
    columns = dict(zip(("label_key", "group_key"), keys, strict=True))
    for _ in range(2):
        GinsengDataset.create(tmp_path / "s.zarr", adata, **columns, overwrite=True, silent=True).make_split(0.2)
    assert os.listdir(tmp_path) == ["s.zarr"]


def test_a_store_that_was_not_written_to_its_end_is_refused_and_can_be_replaced(
    make_cells: Make, tmp_path: Path
) -> None:
    path = tmp_path / "s.zarr"
    GinsengDataset.create(path, make_cells(), "cell_type", silent=True)
    shutil.rmtree(path / "uns/ginseng/complete")
    with pytest.raises(ValueError, match=r"`overwrite=True`"):
        GinsengDataset(path)
    with pytest.raises(ValueError, match="is incomplete"):
        gs.tl.train(path, silent=True)
    GinsengDataset.create(path, make_cells(), "cell_type", overwrite=True, silent=True)
    assert len(GinsengDataset(path)) == 120


@pytest.mark.parametrize("uns", [None, "text", {"x": 1}, {"format": "other"}])
def test_other_zarr_stores_are_not_datasets(make_cells: Make, tmp_path: Path, uns: object) -> None:
    adata = make_cells()
    if uns is not None:
        adata.uns["ginseng"] = uns
    adata.write_zarr(tmp_path / "s.zarr")
    with pytest.raises(ValueError, match=r"s.zarr is not a dataset of ginseng\. Write one with"):
        GinsengDataset(tmp_path / "s.zarr")


def test_a_store_of_a_later_format_is_refused(make_cells: Make, tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    GinsengDataset.create(path, make_cells(), "cell_type", silent=True)
    ad.io.write_elem(zarr.open_group(path, mode="r+", use_consolidated=False)["uns/ginseng"], "format_version", "2.0")
    with pytest.raises(ValueError, match=r"format 2\.0, .* reads 1\.2"):
        GinsengDataset(path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no dataset at"):
        GinsengDataset(tmp_path / "s.zarr")


KILLED = """
import os, sys, signal
import anndata as ad
from ginseng.data import GinsengDataset, _store
written = _store._write_counts
_store._write_counts = lambda *a, **k: (written(*a, **k), os.kill(os.getpid(), signal.SIGKILL))
GinsengDataset.create(sys.argv[1], sys.argv[2], "cell_type", overwrite=True, silent=True)
"""


def test_a_writer_that_is_killed_leaves_the_old_store_and_the_next_one_clears_up(
    make_cells: Make, tmp_path: Path
) -> None:
    path = tmp_path / "s.zarr"
    GinsengDataset.create(path, make_cells(), "cell_type", silent=True)
    before = snapshot(path)
    make_cells(60).write_h5ad(tmp_path / "a.h5ad")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(tmp_path / "a.h5ad")], check=False)
    assert done.returncode == -9
    assert snapshot(path) == before
    assert any(".partial-" in name for name in os.listdir(tmp_path))
    GinsengDataset.create(path, tmp_path / "a.h5ad", "cell_type", overwrite=True, silent=True)
    assert sorted(os.listdir(tmp_path)) == ["a.h5ad", "s.zarr"]
    assert len(GinsengDataset(path)) == 60
