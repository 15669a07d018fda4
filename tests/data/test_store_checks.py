"""A store that lost something is refused: missing chunks read as zeros, and models learn from those."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import zarr
from scipy import sparse

import ginseng as gs
from ginseng.data import GinsengDataset, _store
from ginseng.data._store_checks import DamagedStoreError

type Make = Callable[..., ad.AnnData]
type Damage = Callable[[Path], None]

RELEASED = Path(__file__).parents[1] / "releases/0.3.0/store.zarr"


@pytest.fixture(scope="module")
def whole(make_cells: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of several shards, which no test may change."""
    path = tmp_path_factory.mktemp("whole") / "s.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_store, "CHUNK", 128)
        patch.setattr(_store, "CHUNKS_PER_SHARD", 4)
        GinsengDataset.create(path, make_cells(), "cell_type", group_key="donor", silent=True).make_split(0.2)
    assert len(list((path / "X/data/c").iterdir())) > 2
    return path


@pytest.fixture(params=["new", "1.0"])
def store(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> Path:
    """Return a copy of a store to damage, of this version or of format 1.0, which has no checksums."""
    return copy(whole if request.param == "new" else RELEASED, tmp_path)


@pytest.fixture
def new(whole: Path, tmp_path: Path) -> Path:
    return copy(whole, tmp_path)


def copy(path: Path, folder: Path) -> Path:
    shutil.copytree(path, folder / "s.zarr")
    return folder / "s.zarr"


def change(path: Path, name: str, how: Callable[[Any], Any]) -> None:
    """Change the values of an array as zarr does, with checksums that are right."""
    with zarr.config.set({"array.write_empty_chunks": True}):
        array: Any = zarr.open_group(path, mode="r+", use_consolidated=False)[name]
        array[:] = np.asarray(how(array[:])).astype(array.dtype)


def read_all(path: Path) -> None:
    for _ in GinsengDataset(path).stream(16, "all"):
        pass


def first(values: np.ndarray, value: float) -> np.ndarray:
    return np.where(np.arange(len(values)) == 0, value, values)


def test_what_is_not_damaged_is_read(store: Path, whole: Path) -> None:
    dataset = GinsengDataset(store)
    batches = list(dataset.stream(16, "all", shuffle=False))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), ad.read_zarr(store).X.toarray())


@pytest.mark.parametrize(
    "name",
    [
        "X/data", "X/indices", "X/indptr", "obs/cell_type/codes", "obs/cell_type/categories", "obs/donor/codes",
        "obs/total_counts", "obs/original_row", "obs/_index", "uns/ginseng/split", "var/_index",
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(new: Path, name: str) -> None:
    wanted = name.removesuffix("/codes").removesuffix("/categories").removesuffix("/_index")
    message = rf"s.zarr is damaged: .*`{wanted}.*GinsengDataset\.create\("
    last = sorted(p for p in (new / name).rglob("*") if p.is_file() and p.name != "zarr.json")[-1]
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(DamagedStoreError, match=message):
        GinsengDataset(new)
    last.write_bytes(content)
    GinsengDataset(new)
    if name == "obs/_index":  # is not read
        return
    shutil.rmtree(new / name)
    with pytest.raises(DamagedStoreError, match=message):
        GinsengDataset(new)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("X/indptr", lambda v: -v, "`X/indptr` runs from 0 to -"),
        ("X/indptr", lambda v: v * 5, "`X/indptr` runs from 0 to"),
        ("X/indptr", lambda v: v[::-1], "`X/indptr` runs from"),
        ("X/indptr", lambda v: np.r_[0, v[-2:0:-1], v[-1]], "`X/indptr` does not ascend"),
        ("obs/cell_type/codes", lambda v: v * 0 - 1, "`obs/cell_type/codes` has -1 to -1 for 3 names"),
        ("obs/cell_type/codes", lambda v: first(v, -1), "`obs/cell_type/codes` has -1 to 2 for 3 names"),
        ("obs/cell_type/codes", lambda v: v * 0 + 99, "`obs/cell_type` cannot be read"),
        ("obs/cell_type/codes", lambda v: v * 0, "`obs/cell_type/codes` leaves 2 of 3 names without a cell"),
        ("obs/donor/codes", lambda v: first(v, -1), "`obs/donor/codes` has -1 to"),
        ("obs/total_counts", lambda v: first(v, np.nan), "`obs/total_counts` has values that are NaN"),
        ("obs/total_counts", lambda v: first(v, np.inf), "`obs/total_counts` has values that are NaN, infinite"),
        ("obs/total_counts", lambda v: first(v, -1), "`obs/total_counts` has values .* negative"),
        ("obs/total_counts", lambda v: v * 0, r"`obs/total_counts` is 0 for \d+ cells that have counts"),
        ("obs/original_row", lambda v: v * 0, "`obs/original_row` "),
        ("obs/original_row", lambda v: -v, "`obs/original_row` "),
        ("uns/ginseng/split", lambda v: v * 0 + 7, "`uns/ginseng/split` has 7, but should"),
        ("uns/ginseng/split", lambda v: first(v, 255), "`uns/ginseng/split` has 0, 1, 255, but should"),
    ],
)
def test_values_of_cells_that_cannot_be(new: Path, name: str, how: Callable, message: str) -> None:
    change(new, name, how)
    with pytest.raises(DamagedStoreError, match=rf"s.zarr is damaged: {message}.*`GinsengDataset\.create\("):
        GinsengDataset(new)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("X/indices", lambda v: v * 0 + 250, "`X/indices` has gene 250,.* 30"),
        ("X/indices", lambda v: first(v, 30), "`X/indices` has gene 30,.* 30"),
        ("X/indices", lambda v: v * 0, "`X/indices` does not ascend within a cell"),
        ("X/indices", lambda v: v[::-1], "`X/indices` does not ascend within a cell"),
        ("X/data", lambda v: v * 0, "`X/data` contains explicit zeros"),
    ],
)
def test_counts_that_cannot_be(store: Path, name: str, how: Callable, message: str) -> None:
    change(store, name, how)
    dataset = GinsengDataset(store)
    with pytest.raises(DamagedStoreError, match=message):
        list(dataset.stream(16, "all"))
    with pytest.raises(DamagedStoreError, match=message):
        dataset.get_batch(range(90))


def test_training_ends_with_the_reason(new: Path) -> None:
    change(new, "X/indices", lambda v: v * 0 + 250)
    with pytest.raises(DamagedStoreError, match="`X/indices` has gene 250"):
        gs.tl.train(new, architecture="linear", epochs=1, checkpoint=False, silent=True)


def test_totals_of_a_store_without_checksums(tmp_path: Path) -> None:
    path = copy(RELEASED, tmp_path)
    change(path, "obs/total_counts", lambda v: v * 0)
    with pytest.raises(DamagedStoreError, match="`obs/total_counts` is 0 for 90 cells that have counts"):
        GinsengDataset(path)


@pytest.mark.filterwarnings("ignore:.*numbers that are not whole:UserWarning")
def test_fractions_that_cannot_be(make_cells: Make, tmp_path: Path) -> None:
    adata = make_cells()
    adata.X = sparse.csr_matrix(adata.X, dtype=np.float32) * 1.5
    dataset = GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", silent=True)
    for value in (np.nan, np.inf, -1.0):
        change(dataset.path, "X/data", lambda v, value=value: first(v, value))
        with pytest.raises(DamagedStoreError, match="`X/data` has values that are NaN, infinite or negative"):
            read_all(dataset.path)


def flip(path: Path, start: int, n: int = 1) -> None:
    content = bytearray(path.read_bytes())
    for i in range(start, start + n):
        content[i] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(("name", "start"), [("X/data/c/1", 40), ("X/data/c/1", -80), ("X/indices/c/0", 100)])
def test_bytes_that_changed_are_noticed(new: Path, name: str, start: int) -> None:
    """In the values, in what comes last in a shard, and in its index; also where a chunk is read in part."""
    flip(new / name, start % (new / name).stat().st_size)
    message = r"s.zarr.*X.*GinsengDataset\.create"
    with pytest.raises(ValueError, match=message):
        read_all(new)
    with pytest.raises(ValueError, match=message):
        GinsengDataset(new).get_batch(range(120))


@pytest.mark.parametrize("name", ["obs/cell_type/codes", "obs/total_counts", "obs/original_row", "uns/ginseng/split"])
def test_bytes_of_columns_that_changed_are_noticed(new: Path, name: str) -> None:
    file = next(p for p in (new / name / "c").rglob("*") if p.is_file())
    flip(file, 20)
    with pytest.raises(ValueError, match=r"s.zarr.*GinsengDataset\.create"):
        GinsengDataset(new)


@pytest.mark.parametrize("name", ["X/data/c/1", "X/indices/c/0"])
def test_what_is_lost_while_it_is_open_is_noticed(new: Path, name: str) -> None:
    dataset = GinsengDataset(new)
    (new / name).unlink()
    with pytest.raises(DamagedStoreError, match=f"`{name}` is missing"):
        list(dataset.stream(16, "all"))
    with pytest.raises(DamagedStoreError, match="`X"):
        dataset.get_batch(range(120))


def test_each_chunk_is_compared_once(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ginseng.data import _store_checks

    sums: list[int] = []
    monkeypatch.setattr(
        _store_checks, "crc32c", lambda data, real=_store_checks.crc32c: sums.append(len(data)) or real(data)
    )
    dataset = GinsengDataset(new)
    for epoch in range(3):
        list(dataset.stream(16, "all", epoch=epoch))
    root: Any = zarr.open_group(new, mode="r")
    arrays = [root[f"X/{name}"] for name in ("data", "indices")]
    assert len(sums) == sum(-(-a.size // a.chunks[0]) + -(-a.size // a.shards[0]) for a in arrays)


def test_zeros_are_whole_chunks_and_not_damage(make_cells: Make, tmp_path: Path) -> None:
    """What is all zeros is written too: no cell held out, and a cell without counts."""
    adata = make_cells()
    x = adata.X.tolil()
    x[5] = 0
    adata.X = x.tocsr()
    adata.X.data[:3] = 0  # stored, as some programs do
    dataset = GinsengDataset.create(tmp_path / "s.zarr", adata, "cell_type", silent=True)
    dataset.make_split(0.0)
    again = GinsengDataset(tmp_path / "s.zarr")
    assert again.train_idx is not None
    assert len(again.train_idx) == 120
    assert (ad.read_zarr(again.path).X.data > 0).all()
    assert sum(len(y) for _, y in again.stream(16, "all")) == 120
