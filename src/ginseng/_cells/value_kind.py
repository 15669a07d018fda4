"""What the numbers of a matrix are: counts, log-normalised or scaled. Judged on cells spread over all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from anndata import AnnData
from scipy import sparse

from ginseng._cells.by_columns import is_by_columns
from ginseng._cells.matrix import Block, held, layers_of, matrix_of, row_sums, to_memory
from ginseng._disk.matrix_guard import check_matrix
from ginseng._errors import warn

type Kind = Literal["counts", "log1p", "normalised", "fractional", "scaled", "empty"]

#: Cells that are looked at, in runs of neighbours that are spread over all cells.
CELLS, RUN = 2048, 64
#: Of a matrix that is stored by columns on disk, genes instead of cells.
GENES, GENE_RUN = 128, 8
#: Sums of cells this close together, relative to their median, are one sum.
SAME = 0.01
#: The logarithm of no normalised count is above this: log2 of a million is 20.
LARGEST_LOG = 20.0


@dataclass(frozen=True)
class Values:
    """What a matrix holds, as far as it was looked at.

    Attributes
    ----------
    where
        The matrix, as `adata.X`.
    kind
        `"counts"`; `"log1p"` of counts per some total; `"normalised"` to one total, without a logarithm;
        `"fractional"`: neither, as corrected or estimated counts; `"scaled"`: with values below zero; `"empty"`.
    n_cells, n_empty
        Cells looked at, and how many of them have no count. 0 for what is stored by columns on disk.
    lowest, highest
        Of the values that are numbers.
    whole
        Share of the non-zero values that are whole numbers.
    n_bad
        Values that are NaN or infinite.
    target_sum
        Total of each cell before the logarithm, where it is one.
    base
        Of the logarithm, where that is known.
    """

    where: str
    kind: Kind
    n_cells: int
    n_empty: int
    lowest: float
    highest: float
    whole: float
    n_bad: int
    target_sum: float | None = None
    base: float | None = None

    @property
    def described(self) -> str:
        """In words."""
        per = "an unknown total" if self.target_sum is None else f"{self.target_sum:,.0f}"
        log = "log1p" if self.base in (None, math.e) else f"log{self.base:.0f}(1 + x)"
        return {
            "counts": f"counts (whole numbers up to {self.highest:,.0f})",
            "log1p": f"{log} of counts per {per}",
            "normalised": f"counts per {per}, without a logarithm",
            "fractional": f"numbers that are not whole (up to {self.highest:,.4g}), as of corrected counts",
            "scaled": f"negative values (lowest {self.lowest:.3g}), as scaled data have",
            "empty": "nothing but zeros",
        }[self.kind]


def judge(adata: AnnData, layer: str | None = None) -> Values:
    """Tell what `X`, or a layer, holds. Reads a few thousand cells, however many there are."""
    where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    x = held(adata, layer)
    if is_by_columns(x) and not sparse.issparse(x):
        return judge_matrix(x, where)  # also of the cells that a view leaves out: rows are not to be had alone
    if adata.is_view:  # its `.X` would load all of its rows
        check_matrix(x, f"`{where}`")
        return _judge(where, (to_memory(matrix_of(adata[rows], layer)) for rows in _runs(adata.n_obs)), rows=True)
    return judge_matrix(x, where)


def judge_matrix(x: Any, where: str) -> Values:
    """Tell what a matrix holds: NumPy, SciPy, dask or on disk."""
    n_rows, n_columns = x.shape
    check_matrix(x, f"`{where}`")
    if is_by_columns(x):
        if not sparse.issparse(x):
            columns = _runs(n_columns, GENES, GENE_RUN)
            return _judge(where, (to_memory(x[:, c]) for c in columns), rows=False)
        picked = x[np.concatenate([np.arange(r.start, r.stop) for r in _runs(n_rows)])] if n_rows else x
        return _judge(where, iter([to_memory(picked)]), rows=True)
    if getattr(x, "format", "csr") != "csr":
        x = x.tocsr()
    return _judge(where, (to_memory(x[rows]) for rows in _runs(n_rows)), rows=True)


def _runs(n: int, wanted: int = CELLS, length: int = RUN) -> Iterator[slice]:
    """Yield runs of neighbours, spread evenly from the first to the last."""
    if n <= wanted:
        yield from (slice(start, min(start + length, n)) for start in range(0, n, length))
        return
    for start in np.linspace(0, n - length, wanted // length).astype(int).tolist():
        yield slice(start, start + length)


def _judge(where: str, blocks: Iterator[Block], *, rows: bool) -> Values:
    n_values = n_whole = n_bad = 0
    lowest, highest = np.inf, -np.inf
    sums: dict[str, list[np.ndarray]] = {"plain": [], "e": [], "2": []}
    for block in blocks:
        here: Any = block if sparse.issparse(block) else sparse.csr_matrix(block)
        values: np.ndarray = here.data
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            n_bad += int((~finite).sum())
            values = values[finite]
        else:
            values = values.astype(np.float64)
        values = values[values != 0]
        n_values += len(values)
        if len(values):
            n_whole += int((values == np.rint(values)).sum())
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
        if rows:
            x = here.astype(np.float64)
            x.data = np.nan_to_num(x.data, posinf=0, neginf=0)
            sums["plain"].append(row_sums(x))
            logs = np.clip(x.data, 0, LARGEST_LOG)
            for name, linear in (("e", np.expm1(logs)), ("2", np.exp2(logs) - 1)):
                sums[name].append(row_sums(sparse.csr_matrix((linear, x.indices, x.indptr), shape=x.shape)))
    total = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in sums.items()}
    whole = n_whole / n_values if n_values else 1.0
    kind, target, base = _kind(n_values, lowest, highest, whole, total)
    n_cells = len(total["plain"])
    return Values(
        where, kind, n_cells, int((total["plain"] == 0).sum()),
        lowest if n_values else 0.0, highest if n_values else 0.0, whole, n_bad, target, base,
    )  # fmt: skip


def _kind(
    n_values: int, lowest: float, highest: float, whole: float, total: dict[str, np.ndarray]
) -> tuple[Kind, float | None, float | None]:
    if not n_values:
        return "empty", None, None
    if lowest < 0:
        return "scaled", None, None
    if whole == 1:
        return "counts", None, None
    if (target := _one_sum(total["plain"])) is not None:
        return "normalised", target, None
    if highest <= LARGEST_LOG:
        for name, base in (("e", math.e), ("2", 2.0)):
            if (target := _one_sum(total[name])) is not None:
                return "log1p", target, base
        # without the genes that were left out, cells no longer have one sum
        if whole < 0.5 and highest < np.log1p(1e6):
            return "log1p", None, None
    return "fractional", None, None


def _one_sum(sums: np.ndarray) -> float | None:
    sums = sums[sums > 0]
    if len(sums) < 3:
        return None
    low, middle, high = np.quantile(sums, [0.05, 0.5, 0.95])
    return float(f"{middle:.3g}") if high - low <= SAME * middle else None


def where_counts_are(adata: AnnData, but: str | None) -> list[str]:
    """Say how to pass the other matrices of `adata` that hold counts; `but` is the layer that does not, None for X."""
    found = []
    if but is not None and adata.X is not None and judge(adata).kind == "counts":
        found.append("leave out `layer`: `adata.X` has counts")
    found += [
        f"pass `layer={name!r}`, which has counts"
        for name in layers_of(adata)
        if name != but and judge(adata, name).kind == "counts"
    ]
    if adata.raw is not None and not (adata.isbacked and adata.is_view):
        raw = adata.raw
        if judge_matrix(raw.X, "adata.raw.X").kind == "counts" and adata.var_names.isin(raw.var_names).all():
            found.append(
                "take the counts from `adata.raw`: `adata.layers['counts'] = adata.raw[:, adata.var_names].X`, "
                "and pass `layer='counts'`"
            )
    return found


def agree_on_values(
    adata: AnnData,
    layer: str | None,
    *,
    normalize: bool,
    insisted: bool,
    target_sum: float | None = None,
    any_total: bool = False,
    training: bool = False,
) -> bool:
    """Hold what the matrix is against what it should be, before any of it is worked with.

    Parameters
    ----------
    adata, layer
        The matrix.
    normalize
        Whether counts are wanted, or else log-normalised values.
    insisted
        Whether the user has said so: what would be an error is a warning then.
    target_sum
        What a model makes of counts: log1p of counts per this. Such values are taken, with a warning.
    any_total
        Whether the logarithm can be undone, so that log1p of counts per any total is taken.
    training
        Whether a model is to be trained, for which there must be a value.

    Returns
    -------
    Whether to log-normalise.

    Raises
    ------
    ValueError
        If it is something else; the message says what was found and what to pass.
    """
    found = judge(adata, layer)
    has = f"`{found.where}` has {found.described}"
    if found.kind == "scaled":
        raise ValueError(f"{has}. {_remedy(adata, layer, normalize)}")
    if found.kind == "empty" and found.n_cells == adata.n_obs and training:
        raise ValueError(f"{has}. {_remedy(adata, layer, normalize)}")
    if found.kind == "empty" or found.kind == ("counts" if normalize else "log1p"):
        return normalize
    if normalize and found.kind == "normalised":
        return normalize  # to scale it again changes nothing
    if not normalize:
        msg = f"{has}, and log1p of normalised counts is wanted here. "
        if any_total and found.highest > LARGEST_LOG:  # whatever the user says: there is no logarithm to undo
            raise ValueError(f"{msg}Leave out `normalize=False`. {_remedy(adata, layer, True)}")
        if found.kind == "counts":
            msg += "Pass `normalize=True`, or take the logarithm first."
            if not insisted:
                raise ValueError(msg)
            warn(msg)
        else:
            warn(f"{msg}Pass `layer=` with that, if there is one.")
        return normalize
    if found.kind == "fractional":
        warn(f"{has}, where counts are wanted. {_remedy(adata, layer, normalize)}")
        return normalize
    if found.base == math.e and found.target_sum is not None and target_sum is not None and not insisted:
        if any_total:
            warn(f"{has}: the logarithm is undone for the model, which takes counts. Say so with `normalize=False`.")
            return False
        if abs(found.target_sum / target_sum - 1) <= SAME:
            warn(f"{has}, which is what the model makes of counts: it is used as it is. Say so with `normalize=False`.")
            return False
    msg = f"{has}, where counts are wanted: it would be log-normalised twice. {_remedy(adata, layer, normalize, found)}"
    if not insisted:
        raise ValueError(msg)
    warn(msg)
    return normalize


def _remedy(adata: AnnData, layer: str | None, normalize: bool, found: Values | None = None) -> str:
    counts = where_counts_are(adata, layer) if normalize else []
    if counts:
        return f"{counts[0][0].upper()}{counts[0][1:]}."
    if found is None:
        wanted = "counts" if normalize else "log-normalised values"
        return f"Pass `layer=` with {wanted}, or put them back from where the data came from."
    if found.target_sum is None or (found.base == math.e and abs(found.target_sum / 1e4 - 1) <= SAME):
        return "Pass `layer=` with counts, or `normalize=False` if it is log1p of counts per 10,000."
    code = f"np.expm1({found.where}{'' if found.base == math.e else ' * np.log(2)'})"
    return f"Undo the logarithm, `adata.layers['linear'] = {code}`, and pass `layer='linear'`."
