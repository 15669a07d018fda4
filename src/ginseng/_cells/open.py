"""Open cells, from an AnnData or a path, and read their matrix by blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng._cells.bad_values import LARGEST_COUNT, checked
from ginseng._cells.entries import check_adata
from ginseng._cells.features import measured_genes
from ginseng._cells.labels import in_memory
from ginseng._cells.matrix import Part, held, layers_of, matrix_of, row_blocks, x_of
from ginseng._cells.on_dask import Work, can_map, fold_parts, map_parts
from ginseng._cells.raw import RAW, raw_as_adata
from ginseng._cells.value_kind import Values, judge
from ginseng._disk.matrix_guard import check_matrix
from ginseng._disk.readers import open_adata, read_adata
from ginseng._errors import MissingKeyError

type AnnDataOrPath = AnnData | str | Path


@dataclass(frozen=True)
class OpenCells:
    """Cells and the matrix to work with. Properties of the matrix are computed once.

    Attributes
    ----------
    adata
        Results are written here; its `obs` describes the cells.
    holder
        Holds the matrix, in `X` or `layer`: `adata` itself, or its `raw`, which has its own genes.
    layer
        As passed by the user: a layer, `"raw"`, or None for `X`.
    gene_key
        Column of `var` with the gene names; the index if None.
    path
        Path that `adata` was read from, or None.
    """

    adata: AnnData
    holder: AnnData
    layer: str | None = None
    gene_key: str | None = None
    path: str | Path | None = None

    @property
    def is_raw(self) -> bool:
        """Whether the matrix is `adata.raw.X`."""
        return self.holder is not self.adata

    @property
    def where(self) -> str:
        """Name of the matrix in messages."""
        if self.is_raw:
            return "adata.raw.X"
        return "adata.X" if self.layer is None else f"adata.layers[{self.layer!r}]"

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return self.adata.n_obs

    @property
    def n_vars(self) -> int:
        """Number of genes of the matrix."""
        return self.holder.n_vars

    @cached_property
    def obs(self) -> pd.DataFrame:
        """The table of cells, in memory."""
        return in_memory(self.adata.obs)

    @cached_property
    def var(self) -> pd.DataFrame:
        """The table of genes of the matrix, in memory."""
        return in_memory(self.holder.var)

    @cached_property
    def measured(self) -> np.ndarray:
        """(genes,) bool, False for antibodies and other features, which do not count towards the library size."""
        return measured_genes(self.var)

    @cached_property
    def matrix(self) -> Any:
        """The matrix, not loaded; if `adata` is a view, the whole matrix of its parent.

        Raises
        ------
        TypeError, ValueError
            If there is no matrix, if it is not numeric, or if it is sparse with out-of-bounds indices.
        """
        x = held(self.holder, self._layer)
        check_matrix(x, f"`{self.where}`")
        return x

    @cached_property
    def values(self) -> Values:
        """The kind of values, judged on a few thousand cells."""
        return judge(self.holder, self._layer, self.matrix, self.where)

    def blocks(
        self, size: int = 4096, *, every: int = 1, largest: float = LARGEST_COUNT, of_cell: np.ndarray | None = None
    ) -> Iterator[Part]:
        """Yield parts of consecutive cells, read by this process; the block of each is CSR or dense, cells x genes.

        Only the first of every `every` blocks is read.

        Raises
        ------
        ValueError
            If a value is negative, NaN, infinite or above `largest`.
        """
        _ = self.matrix  # checks the indices of a matrix in memory once
        for start, stop, block in row_blocks(self.holder, self._layer, size=size, every=every):
            here = None if of_cell is None else of_cell[start:stop]
            yield Part(start, stop, checked(block, self.where, largest), here)

    def map[T](
        self,
        f: Callable[[Iterator[Part]], Iterator[T]],
        size: int = 4096,
        *,
        every: int = 1,
        largest: float = LARGEST_COUNT,
        of_cell: np.ndarray | None = None,
    ) -> Iterator[T]:
        """Yield `f(parts)`, in the order of the cells: computed here or, for a dask array, by the workers of dask.

        Each worker calls `f` with some of the parts, so a result must not depend on where parts begin, and `f` must be
        picklable. Parts are those of :meth:`blocks`, but those of a dask array follow its chunks.

        Parameters
        ----------
        of_cell
            (cells,) values, of which each part gets its own.
        """
        if can_map(self.matrix):
            work = Work(f, partial(checked, where=self.where, largest=largest), size)
            return map_parts(matrix_of(self.holder, self._layer), work, every=every, of_cell=of_cell)
        return f(self.blocks(size, every=every, largest=largest, of_cell=of_cell))

    def fold[T, S](
        self,
        f: Callable[[Iterator[Part]], Iterator[T]],
        add: Callable[[S, T], None],
        total: S,
        size: int = 4096,
        *,
        largest: float = LARGEST_COUNT,
        of_cell: np.ndarray | None = None,
        report: Callable[[int], object] = lambda n: None,
    ) -> S:
        """Return `total` after `add(total, result)` for each result of :meth:`map`, in the order of the cells.

        The workers of dask add as well, so that only the total comes back. `report` gets numbers of cells as they are
        added.
        """
        if can_map(self.matrix):
            work = Work(f, partial(checked, where=self.where, largest=largest), size)
            x = matrix_of(self.holder, self._layer)
            return fold_parts(x, work, add, total, of_cell=of_cell, report=report)

        def reported() -> Iterator[Part]:
            for part in self.blocks(size, largest=largest, of_cell=of_cell):
                yield part
                report(part.stop - part.start)

        for result in f(reported()):
            add(total, result)
        return total

    def take(self, rows: np.ndarray) -> Self:
        """Return a subset of the cells."""
        adata = self.adata[rows]
        return replace(self, adata=adata, holder=self.holder[rows] if self.is_raw else adata)

    def others(self) -> Iterator[OpenCells]:
        """Yield the other matrices of the same cells."""
        layers = layers_of(self.adata)
        for layer in (None, *layers, *([] if RAW in layers else [RAW])):
            if layer != self.layer and (layer is not None or x_of(self.adata) is not None):
                holder = raw_as_adata(self.adata) if layer == RAW and RAW not in layers else self.adata
                if holder is not None:
                    yield replace(self, holder=holder, layer=layer)

    @property
    def _layer(self) -> str | None:
        return None if self.is_raw else self.layer


def open_cells(
    adata: AnnDataOrPath,
    *,
    layer: str | None = None,
    gene_key: str | None = None,
    backed: bool | Literal["dask"] = True,
    in_place: bool = False,
) -> OpenCells:
    """Open cells and find the matrix to work with. No values are read yet.

    Parameters
    ----------
    adata
        AnnData in memory, backed, lazy or a view; or a path or URL that :func:`ginseng.read_adata` reads.
    layer
        Layer to use instead of `X`; `"raw"` means `adata.raw`, unless a layer has that name.
    gene_key
        Column of `var` with the gene names; the index if None.
    backed
        Whether matrices of a file stay on disk, where the format allows it; with `"dask"`, as dask arrays.
    in_place
        Whether results are written into the AnnData, so that paths are refused.

    Raises
    ------
    TypeError
        If `adata` is neither an AnnData nor, unless `in_place`, a path.
    KeyError
        If there is no such layer.
    """
    path = None if isinstance(adata, AnnData) else adata
    if not isinstance(adata, AnnData):
        if in_place or not isinstance(adata, str | Path):
            check_adata(adata)
        adata = open_adata(adata, dask=backed == "dask") if backed else read_adata(adata)
    if layer == RAW and RAW not in adata.layers:
        raw = raw_as_adata(adata)
        if raw is None:
            msg = f"`adata` has neither `raw` nor a layer {RAW!r}. Layers: {', '.join(layers_of(adata)) or 'none'}."
            raise MissingKeyError(msg)
        return OpenCells(adata, raw, RAW, gene_key, path)
    if layer is not None:
        matrix_of(adata, layer)
    return OpenCells(adata, adata, layer, gene_key, path)
