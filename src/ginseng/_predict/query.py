"""Cells that a model is asked about: found, checked, and read by rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from anndata import AnnData

from ginseng import _logging
from ginseng._cells.accept import accept
from ginseng._cells.features import warn_of_other_features
from ginseng._cells.genes import MIN_OVERLAP, Alignment, align_genes
from ginseng._cells.matrix import Part, row_sums, take_columns
from ginseng._cells.named_genes import species_of
from ginseng._cells.open import AnnDataOrPath, OpenCells, open_cells
from ginseng._core.correction import Correction
from ginseng._core.process import prepare
from ginseng._core.steps import Normalization
from ginseng._errors import warn
from ginseng._predict.adapt import correction_for
from ginseng._predict.forward import Rows
from ginseng._settings import settings
from ginseng.data._batches import prefetch
from ginseng.model.file import ModelLike
from ginseng.model.state import GinsengClassifierState
from ginseng.models.store import default_model, open_model

#: Rows that are read at a time.
ROWS = 4096
#: Cells that say enough of all, and how many of them lie one behind the other.
ENOUGH, SAMPLED = 10_000, 256


@dataclass(frozen=True)
class Query:
    """Cells, and the model that is asked about them."""

    cells: OpenCells
    state: GinsengClassifierState
    genes: Alignment
    normalization: Normalization

    @property
    def correction(self) -> Correction | None:
        """What makes up for genes that were not measured, where the model knows how to."""
        return correction_for(self.state, self.genes)

    @property
    def adata(self) -> AnnData:
        """What results are written to."""
        return self.cells.adata

    def rows(self) -> Iterator[Rows]:
        """Yield the counts of consecutive cells, with the genes of the model in its order."""
        return prefetch(model_rows(self.cells.blocks(ROWS), self.genes))

    def map[T](self, step: Callable[..., Iterator[T]], **how: Any) -> Iterator[T]:
        """Yield what `step(state, rows, **how)` says of all cells, in order; see :meth:`OpenCells.map`."""
        return self.cells.map(partial(_map_rows, step, self.state, self.genes, how), ROWS)

    @property
    def n_some(self) -> int:
        """Number of cells that :meth:`map_some` looks at, about."""
        return self.adata.n_obs // max(1, self.adata.n_obs // ENOUGH)

    def map_some[T](self, step: Callable[..., Iterator[T]], **how: Any) -> Iterator[T]:
        """Yield the same of enough cells to know all: blocks that are spread evenly, or all where there are few."""
        every = max(1, self.adata.n_obs // ENOUGH)
        return self.cells.map(partial(_map_rows, step, self.state, self.genes, how), SAMPLED, every=every)


def open_query(
    adata: AnnDataOrPath,
    model: ModelLike,
    gene_key: str | None,
    layer: str | None,
    *,
    normalize: bool | None = None,
    silent: bool = False,
) -> Query:
    """Open and check cells and model, and warn of what is likely a mistake; to be called by the verb itself.

    Parameters
    ----------
    normalize
        Overrides the model.
    """
    cells = open_cells(adata, layer=layer, gene_key=gene_key)
    return ask(cells, open_model(model), normalize=normalize, silent=silent)


def chosen_model(cells: OpenCells) -> GinsengClassifierState:
    """Return a model for cells of any tissue of the species of the data, and say which.

    Raises
    ------
    ValueError
        If none is on this machine.
    """
    found = species_of(cells.var, cells.gene_key)
    name = default_model(found)
    state = open_model(name)
    _logging.warning(f"the genes look {found}: model {name!r} is taken, {state.n_classes} types of all tissues")
    return state


def ask(
    cells: OpenCells,
    state: GinsengClassifierState,
    *,
    normalize: bool | None = None,
    target_sum: float | None = None,
    min_overlap: float = MIN_OVERLAP,
    silent: bool = False,
) -> Query:
    """Check cells against a model, before anything is computed.

    Parameters
    ----------
    normalize, target_sum
        Override the model.
    min_overlap
        Least share of the genes of the model.
    """
    prepare(settings.cache_dir)
    if normalize is not None and not isinstance(normalize, bool | np.bool_):
        msg = f"`normalize` is {normalize!r}; it can be True (counts), False (log-normalised), or None."
        raise ValueError(msg)
    if target_sum is not None and not 0 < target_sum < np.inf:
        msg = f"`target_sum` must be a finite number above 0, not {target_sum!r}."
        raise ValueError(msg)
    _ = cells.matrix
    genes = align_genes(
        cells.holder, state.genes, cells.gene_key, other_names=state.other_names, min_overlap=min_overlap
    )
    own = state.normalization if target_sum is None else dataclasses.replace(state.normalization, target_sum=target_sum)
    normalizes = accept(
        cells,
        normalize=state.normalize if normalize is None else normalize, insisted=normalize is not None,
        target_sum=own.target_sum or state.n_genes, any_total=own.normalize and own.library_size == "model_genes",
    )  # fmt: skip
    if len(genes.missing):
        missing = np.flatnonzero(np.isin(state.genes, genes.missing))
        state = dataclasses.replace(state, params=state.network.without(state.params, missing))
    if not silent:
        if state.info.get("learned") is False:
            warn(
                "The model has learned nothing: in training it labelled held-out cells no better than chance, and its "
                "labels are meaningless."
            )
        warn_of_other_features(cells.var)
        if genes.notes:
            warn(f"Names of genes: {'; '.join(genes.notes)}.")
        if len(genes.missing):
            _warn_of_missing(genes, neutral=state.reference is not None or state.network.is_neutral)
    if own.normalize and not normalizes and own.library_size == "model_genes":
        # values scaled over all genes: the logarithm is undone, and they are scaled as the model scales counts
        return Query(cells, state, genes, dataclasses.replace(own, logged=True))
    return Query(cells, state, genes, dataclasses.replace(own, normalize=normalizes))


def model_rows(parts: Iterable[Part], genes: Alignment) -> Iterator[Rows]:
    """Yield the counts of consecutive cells, with the genes of the model in its order."""
    for start, stop, block, _ in parts:
        yield Rows(start, stop, take_columns(block, genes.position, genes.n_model), row_sums(block, genes.measured))


def _map_rows[T](
    step: Callable[..., Iterator[T]],
    state: GinsengClassifierState,
    genes: Alignment,
    how: dict[str, Any],
    parts: Iterator[Part],
) -> Iterator[T]:
    return step(state, prefetch(model_rows(parts, genes)), **how)


def _warn_of_missing(genes: Alignment, *, neutral: bool) -> None:
    some = ", ".join(map(str, genes.missing[:5])) + (", ..." if len(genes.missing) > 5 else "")
    warn(
        f"Partial gene overlap detected: {genes.overlap:.2%}. {len(genes.missing):,} of the {genes.n_model:,} genes of "
        f"the model are not in the data and {'have no influence' if neutral else 'count as zero'} "
        f"({some}).{genes.advice}"
    )
