"""What the numbers of a matrix are: counts, log-normalised or scaled. Judged on cells spread over all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from anndata import AnnData
from scipy import sparse

from ginseng._cells.bad_values import LARGEST_LOG, ROUNDING, are_of_outer_join
from ginseng._cells.by_columns import is_by_columns
from ginseng._cells.matrix import Block, matrix_of, row_sums, to_memory

type ValueKind = Literal["counts", "log1p", "normalised", "fractional", "scaled", "empty"]

#: Cells that are looked at, in runs of neighbours that are spread over all cells.
CELLS, RUN = 2048, 64
#: Of a matrix that is stored by columns on disk, genes instead of cells.
GENES, GENE_RUN = 128, 8
#: Sums of cells this close together, relative to their median, are one sum.
SAME = 0.01
#: How far a ratio of two values may be from a whole number, and up to which ratio that is looked at.
NEAR_WHOLE, LARGEST_RATIO = 1e-3, 50
#: Share of the values that are whole multiples of the lowest one of their cell, where counts were scaled by cell.
MULTIPLES = 0.9


@dataclass(frozen=True)
class Values:
    """What a matrix holds, as far as it was looked at.

    Attributes
    ----------
    where
        The matrix, as `adata.X`.
    kind
        `"counts"`; `"log1p"` of counts per some total; `"normalised"` to one total, without a logarithm;
        `"fractional"`: neither, as counts are that were estimated or corrected for ambient RNA (SoupX, CellBender,
        alevin, STARsolo); `"scaled"`: with values below zero; `"empty"`.
    n_cells, n_empty
        Cells looked at, and how many of them have no count. 0 for what is stored by columns on disk.
    lowest, highest
        Of the values that are numbers.
    whole
        Share of the non-zero values that are whole numbers.
    n_bad
        Values that are NaN or infinite.
    outer_join
        Whether the NaN are whole genes that some cells lack.
    mixed
        Whether some cells have counts and others do not.
    target_sum
        Total of each cell before the logarithm, where it is one.
    base
        Of the logarithm, where that is known.
    """

    where: str
    kind: ValueKind
    n_cells: int
    n_empty: int
    lowest: float
    highest: float
    whole: float
    n_bad: int
    outer_join: bool = False
    mixed: bool = False
    target_sum: float | None = None
    base: float | None = None

    @property
    def described(self) -> str:
        """In words."""
        per = "an unknown total" if self.target_sum is None else f"{self.target_sum:,.0f}"
        log = "log1p" if self.base in (None, math.e) else f"log{self.base:.0f}(1 + x)"
        if self.mixed:
            return f"counts in some cells and other numbers in the rest (up to {self.highest:,.4g})"
        return {
            "counts": f"counts (whole numbers up to {self.highest:,.0f})",
            "log1p": f"{log} of counts per {per}",
            "normalised": f"counts per {per}, without a logarithm",
            "fractional": f"counts that are not whole (up to {self.highest:,.4g}), as estimated or corrected ones are",
            "scaled": f"negative values (lowest {self.lowest:.3g}), as scaled data have",
            "empty": "nothing but zeros",
        }[self.kind]


def judge(adata: AnnData, layer: str | None, x: Any, where: str) -> Values:
    """Tell what `X`, or a layer, holds. Reads a few thousand cells, however many there are.

    Parameters
    ----------
    adata, layer
        The matrix.
    x
        The same as :func:`ginseng._cells.matrix.held` returns it, once it has been checked.
    where
        What a user calls it.
    """
    by_columns = is_by_columns(x) and not sparse.issparse(x)
    if adata.is_view and not by_columns:  # its `.X` would load all of its rows
        return _judge(where, (to_memory(matrix_of(adata[rows], layer), of=x) for rows in _runs(adata.n_obs)), rows=True)
    return judge_matrix(x, where)  # by columns also of the cells that a view leaves out: rows are not to be had alone


def judge_matrix(x: Any, where: str) -> Values:
    """Tell what a matrix holds: NumPy, SciPy, dask or on disk."""
    n_rows, n_columns = x.shape
    if is_by_columns(x):
        if not sparse.issparse(x):
            columns = _runs(n_columns, GENES, GENE_RUN)
            return _judge(where, (to_memory(x[:, c], of=x) for c in columns), rows=False)
        picked = x[np.concatenate([np.arange(r.start, r.stop) for r in _runs(n_rows)])] if n_rows else x
        return _judge(where, iter([to_memory(picked, of=x)]), rows=True)
    if getattr(x, "format", "csr") != "csr":
        x = x.tocsr()
    return _judge(where, (to_memory(x[rows], of=x) for rows in _runs(n_rows)), rows=True)


def _runs(n: int, wanted: int = CELLS, length: int = RUN) -> Iterator[slice]:
    """Yield runs of neighbours, spread evenly from the first to the last."""
    if n <= wanted:
        yield from (slice(start, min(start + length, n)) for start in range(0, n, length))
        return
    for start in np.linspace(0, n - length, wanted // length).astype(int).tolist():
        yield slice(start, start + length)


@dataclass
class _Seen:
    """What was seen of a matrix under the assumption that its values are counts, or the logarithm of counts."""

    sums: list[np.ndarray]
    n_multiples: int = 0

    def add(self, x: sparse.csr_matrix) -> None:
        """Take note of cells, the assumed logarithm undone; no value is zero."""
        self.sums.append(row_sums(x))
        lowest = np.full(x.shape[0], np.inf)
        cell = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
        np.minimum.at(lowest, cell, x.data)
        ratio = np.divide(x.data, lowest[cell], out=np.zeros_like(x.data), where=lowest[cell] > 0)
        whole = (np.abs(ratio - np.rint(ratio)) <= NEAR_WHOLE) & (ratio <= LARGEST_RATIO)
        self.n_multiples += int(whole.sum())

    @property
    def total(self) -> np.ndarray:
        return np.concatenate(self.sums) if self.sums else np.empty(0)

    @property
    def one_sum(self) -> float | None:
        """The total that all cells have, if they have one."""
        sums = self.total[self.total > 0]
        if len(sums) < 3:
            return None
        low, middle, high = np.quantile(sums, [0.05, 0.5, 0.95])
        return float(f"{middle:.3g}") if high - low <= SAME * middle else None


def _judge(where: str, blocks: Iterator[Block], *, rows: bool) -> Values:
    n_values = n_whole = n_bad = 0
    lowest, highest = np.inf, -np.inf
    outer_join = False
    plain, natural, binary = _Seen([]), _Seen([]), _Seen([])
    whole_cells: list[np.ndarray] = []
    for block in blocks:
        x = sparse.csr_matrix(block, dtype=np.float64, copy=True)
        if (bad := ~np.isfinite(x.data)).any():
            outer_join = outer_join or are_of_outer_join(block)
            n_bad += int(bad.sum())
            x.data[bad] = 0
        x.data[np.abs(x.data) < ROUNDING] = 0
        x.eliminate_zeros()
        if x.nnz:
            lowest, highest = min(lowest, float(x.data.min())), max(highest, float(x.data.max()))
        is_whole = x.data == np.rint(x.data)
        n_values, n_whole = n_values + x.nnz, n_whole + int(is_whole.sum())
        if rows:
            n_of = np.diff(x.indptr)
            of = sparse.csr_matrix((is_whole, x.indices, x.indptr), shape=x.shape)
            whole_cells.append((row_sums(of) / np.maximum(n_of, 1))[n_of > 0])
            plain.add(x)
            logs = np.clip(x.data, 0, LARGEST_LOG)
            for seen, linear in ((natural, np.expm1(logs)), (binary, np.exp2(logs) - 1)):
                seen.add(sparse.csr_matrix((linear, x.indices, x.indptr), shape=x.shape))
    total = plain.total
    values = Values(
        where, "empty", len(total), int((total == 0).sum()), lowest if n_values else 0.0,
        highest if n_values else 0.0, n_whole / n_values if n_values else 1.0, n_bad, outer_join,
    )  # fmt: skip
    if not n_values:
        return values
    if lowest < 0:
        return replace(values, kind="scaled")
    if values.whole == 1:
        return replace(values, kind="counts")
    if (target := plain.one_sum) is not None:
        return replace(values, kind="normalised", target_sum=target)
    if highest <= LARGEST_LOG:
        for seen, base in ((natural, math.e), (binary, 2.0)):
            if (target := seen.one_sum) is not None:
                return replace(values, kind="log1p", target_sum=target, base=base)
        # without the genes that were left out, cells no longer have one sum, but values are still multiples of one
        for seen, base in ((natural, math.e), (binary, 2.0)):
            if seen.n_multiples >= MULTIPLES * n_values and seen.n_multiples > plain.n_multiples:
                return replace(values, kind="log1p", base=base)
        scaled = plain.n_multiples >= MULTIPLES * n_values
        if values.whole < 0.5 and highest < np.log1p(1e6) and not scaled:
            return replace(values, kind="log1p")
    of_cells = np.concatenate(whole_cells) if whole_cells else np.empty(0)
    mixed = bool(len(of_cells) and min(np.mean(of_cells == 1), np.mean(of_cells < 0.5)) >= 0.05)
    return replace(values, kind="fractional", mixed=mixed)
