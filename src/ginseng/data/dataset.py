from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import read_elem
from zarr.codecs import BloscCodec, Crc32cCodec

from ginseng._cells.accept import accept
from ginseng._cells.open import open_cells
from ginseng._cells.training_set import choose_cells
from ginseng._disk.atomic import recover
from ginseng._disk.zarr_guard import check_zarr
from ginseng._docs import document
from ginseng._repr import Card, listed
from ginseng._rng import RNGLike, SeedLike, generator
from ginseng.data._batches import Source, StoreSource, class_weights, stream
from ginseng.data._splits import held_out
from ginseng.data._store import (
    FORMAT,
    FORMAT_VERSION,
    OTHER_NAMES,
    ROW,
    TEST,
    TOTAL,
    TRAIN,
    UNSPLIT,
    check_columns,
    check_place,
    check_target,
    members,
    whole_chunks,
    write_store,
)
from ginseng.data._store_checks import DamagedStoreError, check_columns_of_cells, check_pointer, read_part

type Split = Literal["train", "test", "holdout", "all"]


class GinsengDataset:
    """Labelled cells on disk, for training without loading them into memory.

    A dataset is a plain AnnData zarr store, which :func:`anndata.read_zarr` opens: the counts of the selected genes in
    CSR format with shuffled rows; `obs` holds the label, the group, the library size of each cell over all measured
    genes (`total_counts`) and its row in the input (`original_row`).

    Parameters
    ----------
    path
        A store written by :meth:`create`.

    Attributes
    ----------
    path : :class:`pathlib.Path`
        Folder of the store.
    root : :class:`zarr.Group`
        The open store, read-only.
    n_cells, n_genes : int
        Its size.
    gene_names : list of str
        Genes in the order in which a model sees them.
    other_names : :class:`numpy.ndarray` or None
        (genes,) what these are also called, ids beside symbols or the reverse; empty where unknown.
    label_names : list of str
        Name of each integer label.
    levels : dict or None
        Label of each of these at each level, by name of the level, the broadest first.
    labels : :class:`numpy.ndarray`
        (cells,) int32.
    groups : :class:`numpy.ndarray` or None
        (cells,) int32, the group (donor, batch) of each cell; `group_names` holds the names.
    totals : :class:`numpy.ndarray`
        (cells,) float32, library size over all measured genes.
    normalizes : bool
        Whether training log-normalises the values; False if :meth:`create` was told that they already are.

    Raises
    ------
    FileNotFoundError
        If `path` does not exist.
    ValueError
        If it is not a store of ginseng, is incomplete, or is damaged. The counts are checked as they are read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        recover(self.path)
        if not self.path.exists():
            msg = f"There is no dataset at {self.path}. Write one with `GinsengDataset.create(path, adata, label_key)`."
            raise FileNotFoundError(msg)
        missing = check_zarr(self.path, str(self.path)) if self.path.is_dir() else {}
        try:
            self.root = zarr.open_group(self.path, mode="r", use_consolidated=False)
            uns: Any = self.root["uns/ginseng"]
            if (found := read_elem(uns["format"])) != FORMAT:
                raise ValueError(found)
        except (KeyError, IndexError, TypeError, FileNotFoundError, ValueError) as error:
            msg = f"{self.path} is not a dataset of ginseng. Write one with `GinsengDataset.create`."
            raise ValueError(msg) from error
        version = re.fullmatch(r"(\d+)\.(\d+)", str(self._read("uns/ginseng/format_version")))
        if version is None:
            raise DamagedStoreError(self.path, "`uns/ginseng/format_version` is not a version")
        if version[1] != FORMAT_VERSION.split(".")[0]:
            msg = (
                f"{self.path} has format {version[0]}, but this version of ginseng reads {FORMAT_VERSION}. "
                "Run `pip install -U ginseng`."
            )
            raise ValueError(msg)
        if "complete" not in uns or not self._read("uns/ginseng/complete"):
            msg = f"{self.path} is incomplete: writing was interrupted. Create it again with `overwrite=True`."
            raise ValueError(msg)
        info = self._read("uns/ginseng")
        self.label_key: str = info["label_key"]
        self.group_key: str | None = info.get("group_key")
        #: Whether every chunk is stored with a checksum, as from format 1.1 on
        self._strict = int(version[2]) >= 1
        self._check_packing()
        if self._strict:
            written = members(self.label_key, self.group_key) - {"raw"}  # all of them have metadata
            if gone := sorted(name for name, n in missing.items() if n > 0 and name in written):
                raise DamagedStoreError(self.path, f"parts of `{gone[0]}` are missing")
        label = self._read(f"obs/{self.label_key}")
        self.labels = label.codes.astype(np.int32)
        self.label_names = [str(name) for name in label.categories]
        self.groups: np.ndarray | None = None
        self.group_names: list[str] | None = None
        # read only the required columns of `obs`: the names of a million cells take 100 MB
        codes = {f"obs/{self.label_key}": (self.labels, len(self.label_names))}
        if self.group_key is not None:
            group = self._read(f"obs/{self.group_key}")
            self.groups = group.codes.astype(np.int32)
            self.group_names = [str(name) for name in group.categories]
            codes[f"obs/{self.group_key}"] = self.groups, len(self.group_names)
        self.totals = np.asarray(self._read(f"obs/{TOTAL}"), np.float32)
        var = self._read("var")
        self.gene_names = [str(name) for name in var.index]
        self.other_names = var[OTHER_NAMES].to_numpy().astype(str) if OTHER_NAMES in var else None
        self.levels = self._checked_levels(info.get("levels"))
        self.normalizes = bool(info.get("normalize", True))
        self._split = np.asarray(info["split"]) if "split" in info else np.empty(0)
        self._indptr = self._checked_pointer()
        check_columns_of_cells(
            self.path, codes=codes, totals=self.totals, split=self._split,
            rows=np.asarray(self._read(f"obs/{ROW}")), lengths=np.diff(self._indptr), strict=self._strict,
        )  # fmt: skip

    def _read(self, name: str) -> Any:
        return read_part(self.path, self.root, name)

    def _checked_levels(self, text: Any) -> dict[str, list[str]] | None:
        if text is None:
            return None
        try:
            levels = json.loads(str(text))
            sizes = {len(labels) for labels in levels.values() if all(isinstance(label, str) for label in labels)}
        except (ValueError, AttributeError, TypeError) as error:
            raise DamagedStoreError(self.path, "`uns/ginseng/levels` is not a table of labels") from error
        if sizes != {len(self.label_names)}:
            raise DamagedStoreError(self.path, "`uns/ginseng/levels` lacks the labels of some classes")
        return levels

    def _check_packing(self) -> None:
        for name in ("data", "indices", "indptr"):
            if f"X/{name}" not in self.root:
                raise DamagedStoreError(self.path, f"`X/{name}` is missing")
        counts: Any = self.root["X"]
        # the fast reader trusts the size that a Blosc header declares, so no other codec is accepted
        packed = [BloscCodec, Crc32cCodec] if self._strict else [BloscCodec]
        if any([type(c) for c in counts[name].compressors] != packed for name in ("data", "indices", "indptr")):
            msg = f"{self.path} has counts that are not compressed as ginseng does. Create it again."
            raise ValueError(msg)

    def _checked_pointer(self) -> np.ndarray:
        """Return the offsets of the counts of each cell, after checking that the arrays of `X` are consistent."""
        counts: Any = self.root["X"]
        shape = (len(self.labels), len(self.gene_names))
        if tuple(counts.attrs.get("shape", ())) != shape:
            raise DamagedStoreError(self.path, f"`X` has shape {counts.attrs.get('shape')}, but should have {shape}")
        indptr = np.asarray(self._read("X/indptr"))
        check_pointer(self.path, indptr, shape[0], {f"X/{name}": counts[name].size for name in ("data", "indices")})
        return indptr

    @classmethod
    @document
    def create(
        cls,
        path: str | Path,
        adata: AnnData | str | Path,
        label_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
        layer: str | None = None,
        genes: str | Sequence[str] | np.ndarray | None = None,
        group_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
        chunk_size: int = 4096,
        overwrite: bool = False,
        *,
        gene_key: str | None = None,
        normalize: bool | None = None,
        rng: SeedLike | RNGLike | None = 0,
        silent: bool = False,
        unlabeled: str | Sequence[str] | None = None,
        levels: Sequence[str] | None = None,
    ) -> Self:
        """Write cells to a new store, in shuffled order, and open it.

        The input is read once, in order and in blocks; only the names and labels of all cells are held in memory.

        Parameters
        ----------
        path
            Path of the new store.
        %(adata_or_path)s
        label_key
            Column of `obs` with the labels, or one label per cell. Cells without a label are left out.
        %(layer)s
        genes
            Boolean column of `var` (such as `"ginseng_genes"`), a mask, or gene names in the desired order. All genes
            if None.
        group_key
            Column of `obs` with donors, batches or the like, or one group per cell.
        chunk_size
            Rows per block. Changes memory use, never the result.
        overwrite
            Whether to replace an existing store of ginseng at `path`. Anything else is never replaced.
        %(gene_key)s
        normalize
            Whether training log-normalises the values. None expects counts, and refuses values that look
            log-normalised; `True` accepts them with a warning. `False` declares log-normalised values, which the store
            records.
        rng
            Seed or generator for shuffling the rows.
        %(silent)s
        %(unlabeled)s
        levels
            Columns of `obs` with labels, the broadest first, as for :func:`ginseng.tl.train`; instead of `label_key`.

        Raises
        ------
        FileExistsError
            If `path` exists and may not be replaced, is the input itself, or is inside a zarr folder.
        KeyError
            If a column, layer or gene does not exist.
        ValueError
            If there are fewer than two classes, duplicated genes, values that cannot be counts, or values that look
            log-normalised and `normalize` is not set.
        """
        path = Path(path).expanduser()
        check_place(path, adata)
        check_target(path, overwrite=overwrite)
        cells = open_cells(adata, layer=layer, gene_key=gene_key)
        if label_key is None and levels is None:
            msg = "Pass `label_key`, the column of `adata.obs` with the cell types, or `levels`."
            raise TypeError(msg)
        chosen = choose_cells(cells, label_key, genes=genes, group_key=group_key, unlabeled=unlabeled, levels=levels)
        check_columns(chosen)
        normalizes = accept(cells, normalize=normalize is not False, insisted=normalize is not None, training=True)
        write_store(
            path, cells, chosen,
            normalizes=normalizes, chunk_size=chunk_size, overwrite=overwrite, rng=generator(rng),
            silent=silent,
        )  # fmt: skip
        del cells, chosen  # which hold as much of each cell as the dataset does
        return cls(path)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.labels)

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.gene_names)

    def __len__(self) -> int:
        return self.n_cells

    def _card(self) -> Card:
        sizes = np.bincount(self.labels, minlength=len(self.label_names))
        rows: dict[str, Any] = {
            "path": self.path,
            "classes": listed(f"{name} ({n:,})" for name, n in zip(self.label_names, sizes, strict=True)),
        }
        if self.group_names is not None and len(self.group_names):
            rows["groups"] = f"{len(self.group_names)} of {self.group_key!r}: {listed(self.group_names)}"
        if self.has_split:
            rows["split"] = f"{int(self.in_split('train').sum()):,} train, {int(self.in_split('test').sum()):,} test"
        title = (
            f"GinsengDataset: {self.n_cells:,} cells x {self.n_genes:,} genes, "
            f"{len(self.label_names)} classes of {self.label_key!r}"
        )
        return Card(title, rows)

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    @cached_property
    def source(self) -> Source:
        """The cells, as a source of windows."""
        return StoreSource(self.path, self.root, self.labels, self.totals, self._indptr, strict=self._strict)

    def __getitem__(self, index: int | slice | np.ndarray | Sequence[int]) -> tuple[np.ndarray, Any]:
        """Return the counts and label of one or several cells."""
        if isinstance(index, int | np.integer):
            if not -self.n_cells <= index < self.n_cells:
                msg = f"Cell {index} is out of range: there are {self.n_cells:,}."
                raise IndexError(msg)
            return self.get_batch([int(index) % self.n_cells])[0], int(self.labels[index])
        index = np.arange(self.n_cells)[index]
        return self.get_batch(index), self.labels[index]

    def get_batch(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the counts of these cells in the given order: float32, cells x genes."""
        rows, back = np.unique(np.asarray(indices, np.int64), return_inverse=True)
        if len(rows) and not (rows[0] >= 0 and rows[-1] < self.n_cells):
            msg = f"Cell indices must be from 0 to {self.n_cells - 1:,}; found {rows[0]} to {rows[-1]}."
            raise IndexError(msg)
        counts = self.source.counts[rows]
        return counts.astype(np.float32).toarray()[back]

    # -- train and test -----------------------------------------------------------------------------------------

    @property
    def has_split(self) -> bool:
        """Whether a split has been made."""
        return not (self._split == UNSPLIT).any()

    @property
    def train_idx(self) -> np.ndarray | None:
        """Indices of the training cells, or None before a split."""
        return np.flatnonzero(self._split == TRAIN) if self.has_split else None

    @property
    def test_idx(self) -> np.ndarray | None:
        """Indices of the held-out cells, or None before a split."""
        return np.flatnonzero(self._split == TEST) if self.has_split else None

    def make_split(
        self,
        fraction: float = 0.1,
        stratify_group: bool = False,
        seed: int = 123,
        *,
        mode: Literal["fraction", "loo"] = "fraction",
        group: str | None = None,
    ) -> None:
        """Hold out cells, and save the split in the store.

        Parameters
        ----------
        fraction
            Share of the cells of each class, or of the groups, to hold out, in [0, 1). In a split by cell, every class
            keeps cells to train on.
        stratify_group
            Whether to hold out whole groups, so that no group is in both parts.
        seed
            Seed for drawing the cells or groups.
        mode
            With groups: `"fraction"` holds out that share of them, `"loo"` a single one.
        group
            The group that `"loo"` holds out; random if None.

        Raises
        ------
        ValueError
            If groups are requested and the store has none, or nothing would be left to train on.
        """
        split = held_out(
            self.labels, self.groups, self.group_names,
            fraction=fraction, by_group=stratify_group, mode=mode, group=group, rng=generator(seed),
        )  # fmt: skip
        # a single write, as the split is one chunk: an interruption leaves either the old or the new split
        with whole_chunks():
            root: Any = zarr.open_group(self.path, mode="r+", use_consolidated=False)
            root["uns/ginseng/split"][:] = self._split = np.where(split, TEST, TRAIN).astype(np.uint8)

    def in_split(self, split: Split) -> np.ndarray:
        """Return a mask of the cells in this part: (cells,) bool.

        Raises
        ------
        ValueError
            If there is no split yet, or no such part.
        """
        if split == "all":
            return np.ones(self.n_cells, bool)
        if split not in ("train", "test", "holdout"):
            msg = f"The parts are 'train', 'test' (or 'holdout') and 'all', not {split!r}."
            raise ValueError(msg)
        if not self.has_split:
            msg = f"There is no split yet. Call `make_split()` first, or use `split='all'` instead of {split!r}."
            raise ValueError(msg)
        return self._split == (TRAIN if split == "train" else TEST)

    def stream(
        self,
        batch_size: int = 128,
        split: Split = "train",
        balance_labels: bool = False,
        shuffle: bool = True,
        *,
        seed: int = 0,
        epoch: int = 0,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield batches of counts and labels.

        Parameters
        ----------
        batch_size
            Cells per batch; the last may have fewer.
        split
            `"train"`, `"test"` or `"all"`. Before a split, only `"all"` is valid.
        balance_labels
            Whether to sample all classes equally often, with replacement; every cell can be drawn. Only classes with
            very few cells are sampled less often: one cell makes up at most a 64th of a window.
        shuffle
            Whether to read in a random order, determined by `(seed, epoch)`, or in the order of the store.

        Yields
        ------
        x
            (cells, genes) float32 counts.
        y
            (cells,) int32 labels.
        """
        keep = self.in_split(split)
        weights = class_weights(self.labels[keep], len(self.label_names), 1.0) if balance_labels else None
        for window in stream(
            self.source, keep,
            batch_size=batch_size, n_per_window=1, shuffle=shuffle, seed=seed, epoch=epoch, weights=weights,
        ):  # fmt: skip
            real = window.weight[0] > 0
            yield window.x[0, real].astype(np.float32), window.y[0, real]
