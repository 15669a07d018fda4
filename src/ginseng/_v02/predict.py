"""Documented names of ginseng 0.2 for labelling cells."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from anndata import AnnData

from ginseng._cells.genes import align_genes
from ginseng._cells.open import open_cells
from ginseng._predict.query import model_rows
from ginseng.tl._classify import classify

__all__ = ["annotate_iter", "classify"]


def annotate_iter(
    adata: AnnData,
    gene_names: np.ndarray,
    gene_key: str | None = None,
    layer: str | None = None,
    batch_size: int = 512,
) -> Iterator[tuple[jax.Array, int, int]]:
    """Yield the counts of consecutive cells for the genes of a model, for loops of your own.

    Parameters
    ----------
    adata
        Cells x genes.
    gene_names
        Genes of the model, in its order; those that `adata` lacks are zero.
    gene_key
        Column of `var` with the gene names; the index if None.
    layer
        Layer with the counts; `X` if None, `adata.raw` if `"raw"`.
    batch_size
        Cells per batch.

    Yields
    ------
    batch
        (cells, genes of the model) float32.
    start, stop
        Row range in `adata`.
    """
    cells = open_cells(adata, layer=layer, gene_key=gene_key)
    genes = align_genes(cells.holder, np.asarray(gene_names).astype(str), gene_key)
    for rows in model_rows(cells.blocks(batch_size), genes):
        dense = rows.counts if isinstance(rows.counts, np.ndarray) else rows.counts.toarray()
        yield jnp.asarray(dense, jnp.float32), rows.start, rows.stop
