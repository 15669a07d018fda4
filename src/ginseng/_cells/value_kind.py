"""Judge what the values of a matrix are (counts, log-normalised, scaled, ...) on a sample of its cells."""

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
from ginseng._cells.matrix import Block, all_to_memory, matrix_of, row_sums, to_memory

type ValueKind = Literal["counts", "log1p", "normalised", "fractional", "scaled", "empty"]

#: Number of sampled cells, in runs of neighbours spread over all cells.
CELLS, RUN = 2048, 64
#: Number of sampled genes, for matrices stored by columns on disk.
GENES, GENE_RUN = 128, 8
#: Library sizes within this relative distance of their median count as equal.
SAME = 0.01
#: Tolerance for a ratio of two values to be an integer, and the largest ratio considered.
NEAR_WHOLE, LARGEST_RATIO = 1e-3, 50
#: Minimum share of values that are integer multiples of the lowest value of their cell, for scaled counts.
MULTIPLES = 0.9


@dataclass(frozen=True)
class Values:
    """The values of a matrix, as judged on a sample.

    Attributes
    ----------
    where
        Name of the matrix, such as `adata.X`.
    kind
        `"counts"`; `"log1p"` of counts per some total; `"normalised"` to one total, not log-transformed;
        `"fractional"`: counts that were estimated, or corrected for ambient RNA (SoupX, CellBender, alevin,
        STARsolo); `"scaled"`: with negative values; `"empty"`.
    n_cells, n_empty
        Number of sampled cells, and of those without counts. 0 for matrices stored by columns on disk.
    lowest, highest
        Range of the finite values.
    whole
        Share of non-zero values that are integers.
    n_bad
        Number of NaN or infinite values.
    outer_join
        Whether the NaN are whole genes that some cells lack.
    mixed
        Whether some cells have counts and others other values.
    target_sum
        Total per cell before the logarithm, if all cells have the same.
    base
        Base of the logarithm, if known.
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
        """A description in words."""
        per = "an unknown total" if self.target_sum is None else f"{self.target_sum:,.0f}"
        log = "log1p" if self.base in (None, math.e) else f"log{self.base:.0f}(1 + x)"
        if self.mixed:
            return f"counts in some cells and other numbers in the rest (up to {self.highest:,.4g})"
        return {
            "counts": f"counts (whole numbers up to {self.highest:,.0f})",
            "log1p": f"{log} of counts per {per}",
            "normalised": f"counts per {per}, not log-transformed",
            "fractional": f"non-integer counts (up to {self.highest:,.4g}), as if estimated or corrected",
            "scaled": f"negative values (lowest {self.lowest:.3g}), as scaled data have",
            "empty": "nothing but zeros",
        }[self.kind]


def judge(adata: AnnData, layer: str | None, x: Any, where: str) -> Values:
    """Judge `X` or a layer. Reads a few thousand cells at most.

    Parameters
    ----------
    adata, layer
        The matrix.
    The matrix as :func:`ginseng._cells.matrix.held` returns it, already checked.
        The same as :func:`ginseng._cells.matrix.held` returns it, once it has been checked.
    where
        Name of the matrix in messages.
    """
    by_columns = is_by_columns(x) and not sparse.issparse(x)
    if adata.is_view and not by_columns:  # `.X` of a view would load all of its rows
        parts = (matrix_of(adata[rows], layer) for rows in _runs(adata.n_obs))
        return _judge(where, all_to_memory(parts, of=x), rows=True)
    return judge_matrix(x, where)  # by columns: over all cells of the parent, as rows cannot be read alone


def judge_matrix(x: Any, where: str) -> Values:
    """Judge a matrix: NumPy, SciPy, dask or on disk."""
    n_rows, n_columns = x.shape
    if is_by_columns(x):
        if not sparse.issparse(x):
            columns = _runs(n_columns, GENES, GENE_RUN)
            return _judge(where, all_to_memory((x[:, c] for c in columns), of=x), rows=False)
        picked = x[np.concatenate([np.arange(r.start, r.stop) for r in _runs(n_rows)])] if n_rows else x
        return _judge(where, iter([to_memory(picked, of=x)]), rows=True)
    if getattr(x, "format", "csr") != "csr":
        x = x.tocsr()
    return _judge(where, all_to_memory((x[rows] for rows in _runs(n_rows)), of=x), rows=True)


def _runs(n: int, wanted: int = CELLS, length: int = RUN) -> Iterator[slice]:
    """Yield evenly spaced runs of neighbours, from the first to the last."""
    if n <= wanted:
        yield from (slice(start, min(start + length, n)) for start in range(0, n, length))
        return
    for start in np.linspace(0, n - length, wanted // length).astype(int).tolist():
        yield slice(start, start + length)


@dataclass
class _Seen:
    """Statistics of a matrix, assuming that its values are counts or log-transformed counts with a given base."""

    sums: list[np.ndarray]
    n_multiples: int = 0

    def add(self, x: sparse.csr_matrix) -> None:
        """Add cells, with the assumed logarithm undone; no value is zero."""
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
        """The total that all cells share, if they do."""
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
        # after genes were dropped, totals differ between cells, but values are still multiples of the lowest
        for seen, base in ((natural, math.e), (binary, 2.0)):
            if seen.n_multiples >= MULTIPLES * n_values and seen.n_multiples > plain.n_multiples:
                return replace(values, kind="log1p", base=base)
        scaled = plain.n_multiples >= MULTIPLES * n_values
        if values.whole < 0.5 and highest < np.log1p(1e6) and not scaled:
            return replace(values, kind="log1p")
    of_cells = np.concatenate(whole_cells) if whole_cells else np.empty(0)
    mixed = bool(len(of_cells) and min(np.mean(of_cells == 1), np.mean(of_cells < 0.5)) >= 0.05)
    return replace(values, kind="fractional", mixed=mixed)
