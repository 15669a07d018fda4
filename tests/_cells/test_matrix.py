"""Row blocks and columns, against dense NumPy."""

from pathlib import Path

import anndata as ad
import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import ginseng as gs
from ginseng._cells import by_columns
from ginseng._cells.matrix import copied, matrix_of, row_blocks, row_sums, take_columns
from ginseng._cells.open import open_cells

COUNTS = np.random.default_rng(0).poisson(0.7, (23, 9))


@given(st.data())
def test_take_columns_is_a_product_with_a_zero_one_matrix(data: st.DataObject) -> None:
    rows, columns, n = data.draw(st.tuples(st.integers(0, 5), st.integers(1, 7), st.integers(1, 6)))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16, np.int32, np.int64, np.float32, np.float64]))
    values = st.lists(st.integers(0, 255), min_size=rows * columns, max_size=rows * columns)
    x = np.array(data.draw(values), dtype).reshape(rows, columns)
    position = np.array(data.draw(st.lists(st.integers(-1, n - 1), min_size=columns, max_size=columns)))
    expected = x.astype(float) @ (position[:, None] == np.arange(n)).astype(float)
    dense, csr = take_columns(x, position, n), take_columns(sparse.csr_matrix(x), position, n)
    np.testing.assert_array_equal(dense, expected)
    np.testing.assert_array_equal(csr.toarray(), expected)
    assert sparse.issparse(csr)
    assert csr.has_sorted_indices
    assert csr.has_canonical_format


def test_take_columns_adds_up_entries_stored_twice() -> None:
    x = sparse.csr_matrix((np.array([200, 100, 7], np.uint8), [1, 1, 0], [0, 2, 3]), shape=(2, 2))
    np.testing.assert_array_equal(take_columns(x, np.array([0, 0]), 1).toarray(), [[300], [7]])


def test_row_sums_do_not_overflow() -> None:
    x = np.full((2, 300), 255, np.uint8)
    np.testing.assert_array_equal(row_sums(x), [76_500, 76_500])
    np.testing.assert_array_equal(row_sums(sparse.csr_matrix(x)), [76_500, 76_500])


def containers(folder: Path, x: np.ndarray) -> dict[str, ad.AnnData]:
    found = {
        "numpy": ad.AnnData(x.copy()),
        "fortran": ad.AnnData(np.asfortranarray(x)),
        "csr": ad.AnnData(sparse.csr_matrix(x)),
        "csc": ad.AnnData(sparse.csc_matrix(x)),
        "csr_array": ad.AnnData(sparse.csr_array(x)),
        "dask": ad.AnnData(da.from_array(x, chunks=(5, 4))),
        "dask csr": ad.AnnData(da.from_array(x, chunks=(5, -1)).map_blocks(sparse.csr_matrix)),
        "dask csc": ad.AnnData(da.from_array(x, chunks=(-1, 4)).map_blocks(sparse.csc_matrix)),
    }
    padded = np.vstack([x[:1], x])
    for name in ("numpy", "csr", "csc"):
        found[name].write_h5ad(folder / f"{name}.h5ad")
        found[name].write_zarr(folder / f"{name}.zarr")
        found[f"backed {name}"] = gs.read_adata(folder / f"{name}.h5ad", backed=True)
        found[f"zarr {name}"] = gs.read_adata(folder / f"{name}.zarr", backed=True)
        longer = ad.AnnData(padded if name == "numpy" else sparse.csr_matrix(padded).asformat(name))
        longer.write_h5ad(folder / f"{name}-longer.h5ad")
        found[f"view {name}"] = longer[1:]
        found[f"backed view {name}"] = gs.read_adata(folder / f"{name}-longer.h5ad", backed=True)[1:]
    layered = ad.AnnData(np.zeros(x.shape), layers={"counts": sparse.csr_matrix(x)})
    layered.write_h5ad(folder / "layer.h5ad")
    found["layer"], found["backed layer"] = layered, gs.read_adata(folder / "layer.h5ad", backed=True)
    return found


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ad.AnnData]:
    return containers(tmp_path_factory.mktemp("held"), COUNTS)


@pytest.mark.parametrize("size", [1, 4, 23, 100])
def test_row_blocks_are_the_matrix_whatever_holds_it(held: dict[str, ad.AnnData], size: int) -> None:
    for name, adata in held.items():
        blocks = list(row_blocks(adata, "counts" if "layer" in name else None, size=size))
        assert [(a, b) for a, b, _ in blocks] == [(i, min(i + size, 23)) for i in range(0, 23, size)], name
        dense = [block.toarray() if sparse.issparse(block) else block for _, _, block in blocks]
        assert all((sparse.issparse(b) and b.format == "csr") or type(b) is np.ndarray for _, _, b in blocks), name
        np.testing.assert_array_equal(np.vstack(dense), COUNTS, err_msg=name)
        assert all(d.dtype == COUNTS.dtype for d in dense), name


def test_a_copy_of_anything_is_in_memory_or_lazy_and_its_own(held: dict[str, ad.AnnData]) -> None:
    for name, adata in held.items():
        copy = copied(adata)
        assert copy is not adata
        assert not copy.is_view
        assert not copy.isbacked
        layer = "counts" if "layer" in name else None
        (_, _, block), *_ = row_blocks(copy, layer, size=100)
        np.testing.assert_array_equal(block.toarray() if sparse.issparse(block) else block, COUNTS, err_msg=name)


def test_a_missing_layer_and_a_missing_matrix_name_what_there_is() -> None:
    adata = ad.AnnData(layers={"counts": COUNTS}, obs={"a": range(23)})
    with pytest.raises(KeyError, match=r"no 'count'\. Did you mean 'counts'\? There are: 'counts'"):
        matrix_of(adata, "count")
    with pytest.raises(ValueError, match=r"Pass `layer=`\. Layers: counts\."):
        matrix_of(adata)


def test_counts_in_raw_alone_are_had_by_what_the_message_says() -> None:
    adata = ad.AnnData(COUNTS)
    adata.raw = adata
    adata = adata[:, :4].copy()
    adata.X = None
    with pytest.raises(ValueError, match="Pass `layer='raw'`"):
        matrix_of(adata)
    np.testing.assert_array_equal(open_cells(adata, layer="raw").matrix, COUNTS)


@pytest.mark.parametrize("size", [1, 4, 5, 23, 100])
def test_columns_on_disk_are_dealt_to_rows(
    held: dict[str, ad.AnnData], size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As large ones are: few values at a time, few rows a file, and no file left over."""
    monkeypatch.setattr(by_columns, "IN_MEMORY", 0)
    monkeypatch.setattr(by_columns, "AT_A_TIME", 20)
    monkeypatch.setattr(by_columns, "ROWS", 6)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("backed csc", "zarr csc", "dask csc"):
        x = matrix_of(held[name])
        monkeypatch.setattr(type(x), "to_memory", None, raising=False)
        blocks = list(row_blocks(held[name], size=size))
        assert [stop - start for start, stop, _ in blocks] == [b.shape[0] for *_, b in blocks]
        assert all(b.dtype == x.dtype and b.has_canonical_format for *_, b in blocks)
        np.testing.assert_array_equal(np.vstack([b.toarray() for *_, b in blocks]), COUNTS)
    assert not list(tmp_path.iterdir())


def test_a_view_of_what_is_on_disk_is_read_in_parts(
    held: dict[str, ad.AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.array([20, 3, 4, 11, 0, 22])
    view = held["zarr csr"][rows, ::2]
    read: list[int] = []
    cls = type(matrix_of(held["zarr csr"]))
    original = cls.__getitem__
    monkeypatch.setattr(cls, "__getitem__", lambda x, i: (read.append(original(x, i).shape[0]), original(x, i))[1])
    blocks = [b.toarray() for *_, b in row_blocks(view, size=2)]
    np.testing.assert_array_equal(np.vstack(blocks), COUNTS[rows, ::2])
    assert read
    assert max(read) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_of_temporary_files_is_named() -> None:
    with pytest.raises(OSError, match=r"temporary files in .*TMPDIR"):
        by_columns._append(Path("/dev/full"), np.zeros(10_000))
