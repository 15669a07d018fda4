"""Select highly variable genes."""

from __future__ import annotations

import importlib.util
import math
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from scipy import sparse

from ginseng._cells.accept import accept
from ginseng._cells.bad_values import LARGEST_COUNT, LARGEST_LOG
from ginseng._cells.features import warn_of_other_features
from ginseng._cells.labels import obs_column
from ginseng._cells.matrix import Part
from ginseng._cells.named_genes import NamedGenes, genes_to_select
from ginseng._cells.open import OpenCells
from ginseng._errors import warn
from ginseng._logging import progress
from ginseng._select.columns import COLUMNS
from ginseng._select.dispersion import (
    Moments,
    OnlineMoments,
    Values,
    counts,
    expected_sd,
    normalised,
    select_by_dispersion,
    select_by_variance,
)

Flavor = Literal["seurat", "cell_ranger", "seurat_v3"]


def find_hvgs(
    cells: OpenCells,
    n_top_genes: int,
    *,
    target_sum: float | None = 1e4,
    min_mean: float | None = None,
    max_mean: float | None = None,
    n_bins: int = 20,
    chunk_size: int = 4096,
    silent: bool = False,
    flavor: Flavor = "seurat",
    batch_key: str | None = None,
    span: float = 0.3,
) -> dict[str, np.ndarray]:
    """Return the columns of `var` that :func:`ginseng.pp.select_hvgs` writes."""
    n_top_genes = operator.index(n_top_genes)
    _check_arguments(
        cells,
        n_top_genes=n_top_genes,
        target_sum=target_sum,
        min_mean=min_mean,
        max_mean=max_mean,
        n_bins=n_bins,
        chunk_size=chunk_size,
        flavor=flavor,
        span=span,
    )
    batch, batch_names = _batches(cells, batch_key)
    genes = genes_to_select(cells.var)
    names, n_genes = pd.Index(genes.names), len(genes.names)
    is_log = target_sum is None and flavor != "seurat_v3"
    accept(cells, normalize=not is_log, insisted=True, option="target_sum=None")
    warn_of_other_features(cells.var)
    for note in genes.notes():
        warn(note)

    def summed(desc: str, moments: Moments, values: Callable[..., Iterator[Values]], **how: Any) -> Moments:
        with progress(desc=desc, silent=silent, total=cells.n_obs, unit="cells") as bar:
            return cells.fold(
                partial(values, genes=genes, **how), Moments.add_values, moments, chunk_size,
                largest=LARGEST_LOG if is_log else LARGEST_COUNT, of_cell=batch, report=bar.update,
            )  # fmt: skip

    if flavor == "seurat_v3":
        moments = (Moments if batch_key is None else OnlineMoments)(len(batch_names), n_genes)
        moments = summed("Selecting genes", moments, _counts)
    else:
        base = cells.adata.uns.get("log1p", {}).get("base") if is_log else None
        moments = Moments(len(batch_names), n_genes)
        how: dict[str, Any] = {"target_sum": target_sum, "flavor": flavor, "base": base}
        moments = summed("Selecting genes", moments, _normalised, **how)
    empty = [name for name, total in zip(batch_names, moments.total, strict=True) if not total.any()]
    if empty:
        msg = f"All values are zero{_where(batch_key, empty)}, so no gene varies. Drop these cells."
        raise ValueError(msg)

    eligible = _eligible(moments, min_mean, max_mean)
    n_wanted = min(n_top_genes, n_genes)
    if flavor == "seurat_v3":
        mean = moments.mean
        sd = np.stack([_expected_sd(m, v, span) for m, v in zip(mean, moments.variance, strict=True)])
        # clip large counts, so that a few cells do not make a gene highly variable
        ceiling = sd * np.sqrt(moments.n_cells)[:, None] + mean
        clipped = Moments(len(batch_names), n_genes)
        clipped = summed("Standardising counts", clipped, _counts, ceiling=ceiling)
        table = select_by_variance(moments, clipped, sd, eligible, n_top_genes=n_wanted)
    else:
        table = select_by_dispersion(
            moments,
            names,
            eligible,
            n_top_genes=n_wanted,
            n_bins=n_bins,
            flavor=flavor,
            batched=batch_key is not None,
        )
    if batch_key is None:
        table = table.drop(columns="n_batches")

    n_selected = int(table["selected"].sum())
    if n_top_genes > n_genes:
        table["selected"] = eligible
        n_selected = int(eligible.sum())
        msg = f"`{n_top_genes=}` is more than the {n_genes} available genes; all are selected."
        warn(msg)
    elif n_selected == 0:
        msg = "No gene can be selected: within the bounds, no gene varies between cells, or there are too "
        msg += "few genes for any to have others of similar mean."
        raise ValueError(msg)
    elif n_selected < n_top_genes:
        msg = f"Only {n_selected} genes vary between cells within the bounds, for `{n_top_genes=}`."
        warn(msg)
    nothing = {"selected": False, "n_batches": 0}  # for features that are not genes
    return {COLUMNS[str(name)]: genes.spread(table[name].to_numpy(), nothing.get(str(name), np.nan)) for name in table}


def _normalised(parts: Iterator[Part], *, genes: NamedGenes, **how: Any) -> Iterator[Values]:
    for _, _, block, batch in parts:
        yield normalised(sparse.csr_matrix(genes.summed(block)), **how), batch


def _counts(parts: Iterator[Part], *, genes: NamedGenes, ceiling: np.ndarray | None = None) -> Iterator[Values]:
    for _, _, block, batch in parts:
        yield counts(sparse.csr_matrix(genes.summed(block)), ceiling, batch), batch


def _check_arguments(
    cells: OpenCells,
    *,
    n_top_genes: int,
    target_sum: float | None,
    min_mean: float | None,
    max_mean: float | None,
    n_bins: int,
    chunk_size: int,
    flavor: Flavor,
    span: float,
) -> None:
    check_size(cells, n_top_genes=n_top_genes, n_bins=n_bins, chunk_size=chunk_size, target_sum=target_sum)
    if flavor not in get_args(Flavor):
        msg = f"`flavor={flavor!r}` is not one of {', '.join(map(repr, get_args(Flavor)))}."
        raise ValueError(msg)
    if not 0 <= (0 if min_mean is None else min_mean) < (1 if max_mean is None else max_mean) <= 1:
        msg = f"`{min_mean=}` and `{max_mean=}` are quantiles and need 0 <= min_mean < max_mean <= 1."
        raise ValueError(msg)
    if not 0 < span <= 1:
        msg = f"`span={span}` is a fraction of the genes; it must be above 0 and at most 1."
        raise ValueError(msg)
    if flavor == "seurat_v3" and importlib.util.find_spec("skmisc") is None:
        msg = "`flavor='seurat_v3'` needs scikit-misc: `pip install \"ginseng[seurat-v3]\"`."
        raise ImportError(msg)


def check_size(cells: OpenCells, *, target_sum: float | None, **numbers: int) -> None:
    """Check that there are cells and genes, and that all numbers are positive."""
    if 0 in (cells.n_obs, cells.n_vars):
        msg = f"`adata` has {cells.n_obs} cells and {cells.n_vars} genes; there is nothing to select from."
        raise ValueError(msg)
    for name, number in numbers.items():
        if operator.index(number) < 1:
            msg = f"`{name}={number}` must be at least 1."
            raise ValueError(msg)
    if target_sum is not None and not 0 < target_sum < math.inf:
        msg = f"`target_sum={target_sum}` must be positive, or None for log-normalised values."
        raise ValueError(msg)


def _batches(cells: OpenCells, batch_key: str | None) -> tuple[np.ndarray, list[Any]]:
    """Return the batch index of each cell, and the names of the batches."""
    if batch_key is None:
        batch = pd.Categorical(np.zeros(cells.n_obs, dtype=int))
    else:
        batch = pd.Categorical(obs_column(cells.adata, batch_key)).remove_unused_categories()
    n_missing = int((batch.codes < 0).sum())
    if n_missing:
        msg = f"{n_missing} cells have no value in `adata.obs[{batch_key!r}]`. Drop them or fill in their batch."
        raise ValueError(msg)
    names = list(batch.categories)
    n_cells = np.bincount(batch.codes, minlength=len(names))
    small = [name for name, n in zip(names, n_cells, strict=True) if n == 1]
    if small:
        msg = f"There is only one cell{_where(batch_key, small)}; its variance is undefined. Merge or drop it."
        raise ValueError(msg)
    return batch.codes.astype(np.intp), names


def _where(batch_key: str | None, names: list[Any]) -> str:
    if batch_key is None:
        return ""
    return f" where `adata.obs[{batch_key!r}]` is {' or '.join(repr(name) for name in names[:5])}"


def _eligible(moments: Moments, min_mean: float | None, max_mean: float | None) -> np.ndarray:
    """Whether each gene is between the quantiles of mean expression: (genes,) bool."""
    mean = moments.over_batches().mean[0]
    low, high = np.quantile(mean, [min_mean or 0, 1 if max_mean is None else max_mean])
    return (mean >= low) & (mean <= high)


def _expected_sd(mean: np.ndarray, variance: np.ndarray, span: float) -> np.ndarray:
    try:
        return expected_sd(mean, variance, span)
    except ValueError as error:  # the message of loess is about condition numbers
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        msg = f"The fit of variance on mean failed: {reason}. Try a larger `span` than {span}."
        raise ValueError(msg) from error
