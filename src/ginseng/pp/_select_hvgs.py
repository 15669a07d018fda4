from __future__ import annotations

from anndata import AnnData

from ginseng import _keys
from ginseng._cells.open import open_cells
from ginseng._cells.target import check_genes
from ginseng._cells.write import write
from ginseng._docs import document
from ginseng._logging import running
from ginseng._select.columns import gene_results
from ginseng._select.hvgs import Flavor, find_hvgs


@document
def select_hvgs(
    adata: AnnData,
    n_top_genes: int = 2000,
    layer: str | None = None,
    *,
    target_sum: float | None = 1e4,
    min_mean: float | None = None,
    max_mean: float | None = None,
    n_bins: int = 20,
    chunk_size: int = 4096,
    silent: bool = False,
    copy: bool = False,
    overwrite: bool = False,
    flavor: Flavor = "seurat",
    batch_key: str | None = None,
    span: float = 0.3,
) -> AnnData | None:
    """Select highly variable genes, in blocks of cells.

    Selects the same genes as :func:`scanpy.pp.highly_variable_genes`, without loading or normalising the whole matrix:
    `chunk_size` cells are read at a time, once (twice with `flavor='seurat_v3'`), and only sums over cells are kept.
    `adata` may be in memory, backed, lazy or a view, with a sparse or dense matrix of any numeric dtype.

    Parameters
    ----------
    adata
        Cells x genes, counts or log-normalised values.
    n_top_genes
        Number of genes to select. All genes, with a warning, if there are fewer. As in scanpy, genes tied with the
        last one are selected too.
    %(layer_values)s
    target_sum
        Library size that each cell is scaled to before `log1p`. With `None` the matrix is taken as log-normalised,
        with the base in `adata.uns['log1p']`. Not used with `flavor='seurat_v3'`, which works on counts.
    min_mean, max_mean
        Bounds on mean expression, as quantiles over genes, between 0 and 1: with 0.025 and 0.995, the 2.5% of genes
        with the lowest mean and the 0.5% with the highest cannot be selected. No bounds by default.
    n_bins
        Number of bins of mean expression within which `flavor='seurat'` compares genes.
    chunk_size
        Cells in memory at a time. Changes memory use, never the result. A large matrix on disk that is stored by
        columns (CSC) is first copied by rows to temporary files.
    %(silent)s
    %(copy)s
    %(overwrite_genes)s
    flavor
        Definition of variability. `'seurat'` (Satija et al. 2015): dispersion of normalised counts, standardised
        among genes of similar mean. `'cell_ranger'` (Zheng et al. 2017): the same on log1p values, by median and
        median absolute deviation. `'seurat_v3'` (Stuart et al. 2019, needs `pip install "ginseng[seurat-v3]"`):
        variance of counts relative to the variance expected at that mean.
    batch_key
        Column of `obs`. Genes are selected in each batch, then those selected in most batches are taken (for
        `'seurat_v3'`, those with the best median rank). This avoids genes that only distinguish batches.
    span
        Fraction of the genes used for each local fit of `'seurat_v3'`.

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.var['ginseng_genes']` : :class:`pandas.Series` (dtype ``bool``)
        The selected genes.
    `adata.var['ginseng_means']` : :class:`pandas.Series` (dtype ``float64``)
        For `'seurat'` log1p of the mean normalised count, for `'cell_ranger'` the mean of log1p normalised
        counts, both averaged over batches; for `'seurat_v3'` the mean count.
    `adata.var['ginseng_dispersions']`, `adata.var['ginseng_dispersions_norm']` : (dtype ``float64``)
        Not with `'seurat_v3'`. Variance / mean (its logarithm for `'seurat'`), and the same relative to genes
        of similar mean. Averaged over batches.
    `adata.var['ginseng_variances']`, `adata.var['ginseng_variances_norm']` : (dtype ``float64``)
        `'seurat_v3'` only: variance of the counts, and of the clipped standardised counts; the latter averaged
        over batches.
    `adata.var['ginseng_rank']` : (dtype ``float64``)
        `'seurat_v3'` only: rank from 0, the median over the batches in which the gene is selected, else NaN.
    `adata.var['ginseng_n_batches']` : (dtype ``int64``)
        With `batch_key` only: number of batches in which the gene is selected.

    Statistics of an earlier call are removed. The file of a backed `adata` is not changed; `var` is written in memory.
    A view becomes an actual AnnData, as with any assignment to a view; a view of a backed AnnData remains a view and
    gets its own columns.

    Raises
    ------
    KeyError
        If the layer or column does not exist.
    ValueError
        If there are no cells or genes, if values are negative, NaN or infinite, if a batch has fewer than two
        cells or no counts, or if a parameter is out of range.
    ImportError
        If scikit-misc is required but not installed.

    References
    ----------
    Satija et al. 2015, Nature Biotechnology 33, 495, https://doi.org/10.1038/nbt.3192

    Zheng et al. 2017, Nature Communications 8, 14049, https://doi.org/10.1038/ncomms14049

    Stuart et al. 2019, Cell 177, 1888, https://doi.org/10.1016/j.cell.2019.05.031

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.pp.select_hvgs(adata, n_top_genes=200, silent=True)
    >>> int(adata.var["ginseng_genes"].sum())
    200
    """
    with running(f"select_hvgs, flavor {flavor!r}", silent=silent) as report:
        cells = open_cells(adata, layer=layer, in_place=True)
        check_genes(adata, overwrite=overwrite)
        columns = find_hvgs(
            cells, n_top_genes,
            target_sum=target_sum, min_mean=min_mean, max_mean=max_mean, n_bins=n_bins, chunk_size=chunk_size,
            silent=silent, flavor=flavor, batch_key=batch_key, span=span,
        )  # fmt: skip
        adata = write(adata, "pp", "", gene_results(adata, cells, columns), copy=copy)
        n_selected = int(columns[_keys.GENES].sum())
        report.done = f"{n_selected:,} of {cells.n_vars:,} genes selected"
        report(f"added `.var[{_keys.GENES!r}]` and the statistics of all genes")
    return adata if copy else None
