from __future__ import annotations

import operator

import numpy as np
from anndata import AnnData
from scipy import sparse

from ginseng import _keys
from ginseng._cells.matrix import Block, smallest_dtype, take_columns
from ginseng._cells.open import open_cells
from ginseng._cells.raw import place_in_adata
from ginseng._cells.target import check_layer
from ginseng._cells.write import Results, write
from ginseng._core.bins import bins_between
from ginseng._docs import document
from ginseng._logging import running

MAX_BINS = 65_534  # with 0 and the bin of the maximum they fit into 16 bits


@document
def bin_expression(
    adata: AnnData,
    n_bins: int = 14,
    layer: str | None = None,
    *,
    key_added: str = _keys.BINS,
    overwrite: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Bin the expression of each cell into equal widths between its lowest and highest non-zero value.

    Bins are relative to the cell and therefore independent of its sequencing depth, as in scGPT (which uses quantiles).
    The `"transformer"` architecture bins its input in this way by itself; use this function to inspect the bins, or for
    models of your own.

    Parameters
    ----------
    adata
        Cells x genes, usually log-normalised values: with counts, most genes share the lowest bins. The lowest and
        highest value of a cell are taken over the genes that are present.
    n_bins
        Number of bins.
    layer
        Layer to use instead of `X`; `"raw"` for `adata.raw`. Its genes then determine the bins, but only genes in
        `adata` are written.
    key_added
        Name of the layer to write.
    overwrite
        Whether to replace an existing layer of that name that does not hold bins.
    %(copy)s

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.layers['ginseng_bins']` : (dtype ``uint8``; ``uint16`` for more than 254 bins)
        0 for genes that are not expressed; 1 to `n_bins` from the lowest value of the cell upwards, and `n_bins` + 1
        for its highest value; 1 for all expressed genes of a cell if they share a single value. A value on the edge of
        two bins belongs to the upper one. Sparse if the matrix is, in the same format; always in memory.

    Raises
    ------
    KeyError
        If the layer does not exist.
    ValueError
        If `n_bins` is below 2 or above 65,534, or values are negative, NaN or infinite.

    References
    ----------
    Cui et al. 2024, Nature Methods 21, 1470, https://doi.org/10.1038/s41592-024-02201-0

    Examples
    --------
    >>> import ginseng as gs, scanpy as sc
    >>> adata = gs.datasets.pbmc68k()
    >>> sc.pp.normalize_total(adata, target_sum=1e4)
    >>> sc.pp.log1p(adata)
    >>> gs.pp.bin_expression(adata, n_bins=14)
    >>> int(adata.layers["ginseng_bins"].max())
    15
    """
    n_bins = operator.index(n_bins)
    if not 2 <= n_bins <= MAX_BINS:
        msg = f"`n_bins` must be from 2 to {MAX_BINS:,}, not {n_bins}."
        raise ValueError(msg)
    cells = open_cells(adata, layer=layer, in_place=True)
    check_layer(adata, key_added, overwrite=overwrite)
    kept = getattr(cells.matrix, "format", "csr")
    dtype = smallest_dtype(n_bins + 1, integers=True)
    with running(f"bin_expression, {n_bins} bins") as report:
        parts: list[Block] = []
        at = place_in_adata(adata, cells.var) if cells.is_raw else None
        for _, _, block, _ in cells.blocks():
            binned = _binned(block, n_bins, dtype)
            parts.append(binned if at is None else take_columns(binned, at, adata.n_vars))
        out = sparse.vstack(parts, format=kept) if parts and sparse.issparse(parts[0]) else np.concatenate(parts)
        adata = write(adata, "pp", key_added, Results(layers={key_added: out}), copy=copy)
        report.done = f"expression of {cells.n_obs:,} cells in bins 0 to {n_bins + 1}"
        report(f"added `.layers[{key_added!r}]`")
    return adata if copy else None


def _binned(block: Block, n_bins: int, dtype: np.dtype) -> Block:
    """Return the bins of each cell, computed in float32 like the network, so that edges fall the same way."""
    x = sparse.csr_matrix(block, dtype=np.float32, copy=True)
    x.eliminate_zeros()
    cell = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    low, high = np.full(x.shape[0], np.inf, np.float32), np.zeros(x.shape[0], np.float32)
    np.minimum.at(low, cell, x.data)
    np.maximum.at(high, cell, x.data)
    bins = bins_between(x.data, low[cell], high[cell], n_bins).astype(dtype)
    out = sparse.csr_matrix((bins, x.indices, x.indptr), shape=x.shape)
    return out if sparse.issparse(block) else out.toarray()
