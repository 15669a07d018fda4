"""Cells that a model is asked about: found, checked, and read by rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anndata import AnnData

from ginseng._core.steps import Normalization
from ginseng._matrix import copied, make_actual, matrix_of
from ginseng._values import agree_on_values
from ginseng.data._batches import prefetch
from ginseng.data._readers import open_adata
from ginseng.model._forward import Rows
from ginseng.model.state import GinsengClassifierState
from ginseng.pp._align import Alignment, align_genes
from ginseng.tl._classify import _load, _warn_of_missing, model_rows

type Cells = AnnData | str | Path
type Model = GinsengClassifierState | AnnData | str | Path


@dataclass(frozen=True)
class Query:
    """Cells, and the model that is asked about them."""

    adata: AnnData
    state: GinsengClassifierState
    genes: Alignment
    layer: str | None
    normalization: Normalization

    def rows(self) -> Iterator[Rows]:
        """Yield the counts of consecutive cells, with the genes of the model in its order."""
        return prefetch(model_rows(self.adata, self.genes, self.layer))

    def target(self, *, copy: bool) -> AnnData:
        """Return what results are written into: a copy, or the cells, of which a view becomes an AnnData of its own."""
        if copy:
            return copied(self.adata)
        make_actual(self.adata)
        return self.adata


def open_query(
    adata: Cells,
    model: Model,
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
    state = model if isinstance(model, GinsengClassifierState) else _load(model)
    data = adata if isinstance(adata, AnnData) else open_adata(adata)
    matrix_of(data, layer)
    genes = align_genes(data, state.genes, gene_key)
    normalize = agree_on_values(
        data,
        layer,
        normalize=state.normalize if normalize is None else normalize,
        insisted=normalize is not None,
        target_sum=(state.target_sum or state.n_genes) if state.library_size == "all_genes" else None,
    )
    if len(genes.missing) and not silent:
        _warn_of_missing(genes, stacklevel=4)
    return Query(data, state, genes, layer, dataclasses.replace(state.normalization, normalize=normalize))
