"""The training store on disk: a plain AnnData zarr store with shuffled rows.

Rows go through two passes, so that memory does not grow with the number of cells. The first reads the input in order
and distributes the rows over temporary files by their position in the shuffled order; the second sorts and appends
one file after the other. The store is built beside its target and renamed once it is complete.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import zarr
from anndata.io import read_elem
from scipy import sparse
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from ginseng._cells.matrix import index_dtype, smallest_dtype, trim
from ginseng._cells.open import OpenCells
from ginseng._cells.training_set import TrainingSet
from ginseng._disk.atomic import check_space, recover, replacing_folder
from ginseng._disk.zarr_guard import check_zarr, foreign
from ginseng._logging import progress

FORMAT = "ginseng-store"
#: From 1.1 on, all chunks are written, even if all zero, with a checksum; no zeros are stored in `X`. 1.2 may have
#: `levels`, and `other_names` of the genes; a store without these has the version before.
FORMAT_VERSION, WITHOUT_EXTRAS = "1.2", "1.1"

#: `obs` columns of a store, besides labels and groups.
TOTAL = "total_counts"
ROW = "original_row"
#: `var` column: what the genes are also called.
OTHER_NAMES = "other_names"

#: Number of rows that are sorted at a time: 100 MB at 250 expressed genes per cell.
ROWS_PER_PART = 65_536
#: Values per compressed chunk, and chunks per shard (file): of counts and genes, and of the offsets of cells.
CHUNK = 32_768
CHUNKS_PER_SHARD, POINTER_CHUNKS_PER_SHARD = 128, 8
#: Split of the cells, in `uns["ginseng"]["split"]`.
TRAIN, TEST, UNSPLIT = 0, 1, 255


#: Filters of the arrays other than the counts.
_PACKED = {"compressors": (ZstdCodec(), Crc32cCodec())}


def whole_chunks() -> AbstractContextManager[Any]:
    """Have zarr write all-zero chunks too, so that a missing chunk means that it was lost."""
    return zarr.config.set({"array.write_empty_chunks": True})


def members(label_key: str, group_key: str | None) -> set[str]:
    """Return the names of all groups and arrays in a store, `""` for the store itself."""
    columns = [key for key in (label_key, group_key) if key is not None]
    texts = {"obs/_index", "var/_index", f"var/{OTHER_NAMES}", *(f"obs/{key}/categories" for key in columns)}
    info = ("format", "format_version", "label_key", "group_key", "normalize", "levels", "split", "complete")
    return {
        "", "X", "X/data", "X/indices", "X/indptr", "obs", f"obs/{TOTAL}", f"obs/{ROW}", "var", "uns", "uns/ginseng",
        "layers", "obsm", "varm", "obsp", "varp", "raw",
        *(f"obs/{key}" for key in columns), *(f"obs/{key}/codes" for key in columns),
        *(f"uns/ginseng/{name}" for name in info),
        *texts, *(f"{text}/{part}" for text in texts for part in ("values", "mask")),
    }  # fmt: skip


class _Parts:
    """Rows of the input, distributed over temporary files by their position in the shuffled order."""

    def __init__(self, folder: Path, n_cells: int) -> None:
        self.folder = folder
        self.n = -(-n_cells // ROWS_PER_PART)
        self.nnz = 0
        self.largest = 0.0
        self.integers = True
        self.dtype = np.dtype(np.float32)

    def deal(self, place: np.ndarray, counts: sparse.csr_matrix) -> None:
        """Append each row to the files of its part, without explicit zeros.

        Parameters
        ----------
        place
            (rows,) position of each in the shuffled order.
        """
        counts.eliminate_zeros()
        if counts.nnz:
            self.nnz += counts.nnz
            self.largest = max(self.largest, float(counts.data.max()))
            self.integers = self.integers and bool((counts.data == np.rint(counts.data)).all())
        self.dtype = counts.dtype
        for part in np.unique(place // ROWS_PER_PART):
            rows = np.flatnonzero(place // ROWS_PER_PART == part)
            mine = counts[rows] if len(rows) < counts.shape[0] else counts
            columns = (place[rows], np.diff(mine.indptr), mine.indices, mine.data)
            for (name, dtype), values in zip(self._columns(), columns, strict=True):
                with (self.folder / f"{part}.{name}").open("ab") as file:
                    file.write(np.ascontiguousarray(values, dtype).data)  # `tofile` hides the reason of a failure

    def ordered(self, n_genes: int) -> Iterator[sparse.csr_matrix]:
        """Yield each part with its rows in final order, and remove its files."""
        for part in range(self.n):
            place, length, indices, data = (
                np.fromfile(self.folder / f"{part}.{name}", dtype) for name, dtype in self._columns()
            )
            for name, _ in self._columns():
                (self.folder / f"{part}.{name}").unlink()
            indptr = np.concatenate([[0], np.cumsum(length)])
            counts = sparse.csr_matrix((data, indices, indptr), shape=(len(length), n_genes))
            yield counts[np.argsort(place)]

    def _columns(self) -> list[tuple[str, np.dtype]]:
        place, index = np.dtype(np.int64), np.dtype(np.int32)
        return [("place", place), ("length", place), ("indices", index), ("data", self.dtype)]


class _Appender:
    """A one-dimensional sharded array that is written shard by shard, of which zarr makes several copies."""

    def __init__(self, group: zarr.Group, name: str, size: int, dtype: np.dtype, *, n_chunks: int) -> None:
        shard = CHUNK * min(n_chunks, max(1, -(-size // CHUNK)))
        self.array = group.create_array(
            name,
            shape=(size,),
            dtype=dtype,
            chunks=(CHUNK,),
            shards=(shard,),
            compressors=(BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()),
            attributes={"encoding-type": "array", "encoding-version": "0.2.0"},
        )
        self.shard = shard
        self.written = 0
        self.waiting: list[np.ndarray] = []

    def append(self, values: np.ndarray, *, last: bool = False) -> None:
        """Add values; those that do not fill a shard are kept for the next call, unless it is the last."""
        values = values.astype(self.array.dtype, copy=False)
        ready = np.concatenate([*self.waiting, values]) if self.waiting else values
        n = len(ready) if last else len(ready) // self.shard * self.shard
        for start in range(0, n, self.shard):
            some = ready[start : min(start + self.shard, n)]
            self.array[self.written : self.written + len(some)] = some
            self.written += len(some)
        self.waiting = [ready[n:]] if n < len(ready) else []


def write_store(
    path: Path,
    cells: OpenCells,
    chosen: TrainingSet,
    *,
    normalizes: bool,
    chunk_size: int,
    overwrite: bool,
    rng: np.random.Generator,
    silent: bool = False,
) -> None:
    """Write the cells to a new store at `path`.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is False, or ginseng did not write it.
    ValueError
        If a value is negative, NaN or infinite. `path` is then unchanged.
    """
    n_cells, n_genes = len(chosen.rows), len(chosen.gene_names)
    index = index_dtype(n_cells)
    order = rng.permutation(n_cells).astype(index)
    place = np.empty(n_cells, index)
    place[order] = np.arange(n_cells, dtype=index)
    total = np.empty(n_cells, np.float32)
    trim()
    check_target(path, overwrite=overwrite)
    with replacing_folder(path) as folder, whole_chunks():
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as parts_folder:
            parts = _Parts(Path(parts_folder), n_cells)
            with progress(desc="Reading cells", total=n_cells, unit="cells", silent=silent) as bar:
                for mine, counts, totals in chosen.blocks(cells, size=chunk_size):
                    if parts.nnz == 0 and len(mine):  # the first write
                        value_bytes = counts.indices.itemsize + counts.dtype.itemsize
                        check_space(folder.parent, counts.nnz * value_bytes * n_cells // len(mine))
                    parts.deal(place[mine], counts)
                    total[mine] = totals
                    bar.update(len(mine))
            root = _write_frame(folder, cells, chosen, order, total, normalizes=normalizes)
            del order, place, total  # what is not needed any more takes 12 MB per million cells
            _write_counts(root, parts, (n_cells, n_genes), silent=silent)
        check_target(path, overwrite=overwrite)  # again: another process may have written meanwhile
        # the completion marker goes last
        ad.io.write_elem(root["uns/ginseng"], "complete", True, dataset_kwargs=_PACKED)


def _write_frame(
    folder: Path, cells: OpenCells, chosen: TrainingSet, order: np.ndarray, total: np.ndarray, *, normalizes: bool
) -> zarr.Group:
    """Write everything except the counts."""
    rows = chosen.rows[order]
    uns: dict[str, Any] = {
        "format": FORMAT,
        "format_version": WITHOUT_EXTRAS if chosen.levels is chosen.other_names is None else FORMAT_VERSION,
        "label_key": chosen.label_key,
    }
    if chosen.group_key is not None:
        uns["group_key"] = chosen.group_key
    if not normalizes:
        uns["normalize"] = False
    if chosen.levels is not None:
        uns["levels"] = json.dumps(chosen.levels)
    others = {} if chosen.other_names is None else {OTHER_NAMES: chosen.other_names.astype(object)}
    frame = ad.AnnData(var=pd.DataFrame(others, index=chosen.gene_names), uns={"ginseng": uns})
    # not `frame.write_zarr`, whose consolidated metadata would lack what is written later
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    ad.io.write_elem(root, "/", frame, dataset_kwargs=_PACKED)
    obs = {chosen.label_key: _categorical(chosen.labels[order], chosen.label_names)}
    if chosen.groups is not None and chosen.group_key is not None:
        obs[chosen.group_key] = _categorical(chosen.groups[order], chosen.group_names)
    _write_obs(root, {**obs, TOTAL: total[order], ROW: rows}, cells.adata.obs_names, rows)
    # one chunk, so that a later split is a single write
    split = np.full(len(rows), UNSPLIT, np.uint8)
    ad.io.write_elem(root["uns/ginseng"], "split", split, dataset_kwargs={**_PACKED, "chunks": split.shape})
    return root


def _write_obs(root: zarr.Group, columns: dict[str, Any], names: pd.Index, rows: np.ndarray) -> None:
    """Write a table like anndata, but with its names in blocks: encoded at once, a million take 200 MB.

    Parameters
    ----------
    names, rows
        Names of the cells of the input, and which of them are written.
    """
    attributes: dict[str, Any] = {"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"}
    obs = root.create_group("obs", overwrite=True, attributes={**attributes, "column-order": list(columns)})
    for name, values in columns.items():
        ad.io.write_elem(obs, name, values, dataset_kwargs=_PACKED)
    attributes = {"encoding-type": "string-array", "encoding-version": "0.2.0"}
    chunk = max(1, min(ROWS_PER_PART, len(rows)))
    array = obs.create_array(
        "_index",
        shape=rows.shape,
        dtype=str,
        chunks=(chunk,),
        attributes=attributes,
        compressors=_PACKED["compressors"],
    )
    for start in range(0, len(rows), chunk):
        array[start : start + chunk] = names[rows[start : start + chunk]].to_numpy(object)


def _categorical(codes: np.ndarray, names: Any) -> pd.Categorical:
    values: Any = codes
    return pd.Categorical.from_codes(values, names.astype(object))


def _write_counts(root: zarr.Group, parts: _Parts, shape: tuple[int, int], *, silent: bool) -> None:
    x = root.create_group(
        "X",
        attributes={"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(shape)},
    )
    dtypes = {"data": smallest_dtype(parts.largest, parts.integers), "indices": smallest_dtype(shape[1], True)}
    data, indices = (_Appender(x, name, parts.nnz, d, n_chunks=CHUNKS_PER_SHARD) for name, d in dtypes.items())
    indptr, n = np.zeros(shape[0] + 1, np.int64), 0
    with progress(desc="Writing zarr", total=shape[0], unit="cells", silent=silent) as bar:
        for counts in parts.ordered(shape[1]):
            data.append(counts.data)
            indices.append(counts.indices)
            indptr[n + 1 : n + 1 + counts.shape[0]] = indptr[n] + counts.indptr[1:]
            n += counts.shape[0]
            trim()
            bar.update(counts.shape[0])
    data.append(np.empty(0), last=True)
    indices.append(np.empty(0), last=True)
    pointer = _Appender(x, "indptr", len(indptr), indptr.dtype, n_chunks=POINTER_CHUNKS_PER_SHARD)
    pointer.append(indptr, last=True)


def check_columns(chosen: TrainingSet) -> None:
    """Reject names of label and group columns that cannot both be columns of a store.

    Raises
    ------
    ValueError
        If a name clashes with another column, or contains a slash, which zarr does not allow.
    """
    for name in filter(None, (chosen.label_key, chosen.group_key)):
        if (TOTAL, ROW, chosen.label_key, chosen.group_key).count(name) > 1 or "/" in name:
            msg = (
                f"A store cannot have {name!r} as its column of labels or groups: their names must differ from each "
                f"other and from {TOTAL!r} and {ROW!r}, and contain no slash. Rename it."
            )
            raise ValueError(msg)


def is_store(path: Path) -> bool:
    """Whether ginseng wrote what is at `path`, completely or in part."""
    if not path.exists():
        recover(path)
    with suppress(Exception):
        check_zarr(path, str(path))
        return bool(read_elem(zarr.open_group(path, mode="r", use_consolidated=False)["uns/ginseng/format"]) == FORMAT)
    return False


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise if writing to `path` would lose data.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is False, or ginseng did not write it.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not is_store(path):
        msg = (
            f"{path} exists and is not a store of ginseng, so it is not replaced. Choose another path or move it away."
        )
        raise FileExistsError(msg)
    if foreign := _foreign(path):
        msg = f"{path} contains data that ginseng did not write, so it is not replaced: {foreign}. Move it away."
        raise FileExistsError(msg)
    if not overwrite:
        msg = f"{path} exists. Pass `overwrite=True` to replace it, or open it: `GinsengDataset({str(path)!r})`."
        raise FileExistsError(msg)


def _foreign(path: Path) -> str | None:
    """Return the first member of a store that was not written with it, or None."""
    uns: Any = zarr.open_group(path, mode="r", use_consolidated=False)["uns/ginseng"]
    keys: dict[str, Any] = {"label_key": "", "group_key": None}
    for name in keys:
        with suppress(Exception):
            keys[name] = read_elem(uns[name])
    written = members(**keys)
    for entry in foreign(path):
        return entry.relative_to(path).as_posix()
    nodes = {entry.parent.relative_to(path).as_posix().removeprefix(".") for entry in path.rglob("zarr.json")}
    return min(nodes - written, default=None)


def check_place(path: Path, adata: Any) -> None:
    """Refuse to write a store over its input, or into another zarr folder.

    Raises
    ------
    FileExistsError
        If `path` is the input, under any name, or is inside a zarr folder.
    """
    target = Path(os.path.realpath(path))
    for folder in target.parents:
        if any((folder / name).exists() for name in ("zarr.json", ".zgroup", ".zarray", ".zmetadata")):
            msg = f"{path} is inside {folder}, which is a zarr folder. Choose a path outside of it."
            raise FileExistsError(msg)
    source = adata.filename if isinstance(adata, ad.AnnData) else adata
    if not isinstance(source, str | Path) or not (os.path.exists(source) and target.exists()):
        return
    if os.path.samefile(source, target) and is_store(target):
        msg = f"{path} is the input itself, whose other genes and total counts would be lost. Choose another path."
        raise FileExistsError(msg)
