from __future__ import annotations

from anndata import AnnData

from ginseng import _keys
from ginseng._cells.accept import accept
from ginseng._cells.features import warn_of_other_features
from ginseng._cells.genes import genes_to_select
from ginseng._cells.labels import Unlabeled, labels_of, obs_column
from ginseng._cells.open import open_cells
from ginseng._cells.write import check_genes, write
from ginseng._docs import document
from ginseng._errors import warn
from ginseng._logging import running
from ginseng._select.columns import gene_results
from ginseng._select.hvgs import check_size
from ginseng._select.markers import find_markers


@document
def select_markers(
    adata: AnnData,
    label_key: str,
    n_top_genes: int = 2000,
    *,
    layer: str | None = None,
    target_sum: float | None = 1e4,
    chunk_size: int = 4096,
    silent: bool = False,
    copy: bool = False,
    overwrite: bool = False,
    unlabeled: Unlabeled = None,
) -> AnnData | None:
    """Select the genes whose expression differs most between cell types, chunk by chunk.

    Where labels are known, as they are for training, they say better than variability alone which genes tell types
    apart. For each type, genes are ranked by the difference of its mean log1p expression from that of all other cells,
    over the standard error that follows from the variance within types. Types then take turns, each with its next best
    gene, so that types of few cells have as many genes of their own as large ones. Cells are read `chunk_size` at a
    time, once, and only sums over cells are kept.

    To judge a model on cells that it has not seen, select genes on the training cells alone, as
    :func:`ginseng.tl.train`, :func:`ginseng.tl.compare` and :func:`ginseng.tl.cross_validate` do.

    Parameters
    ----------
    adata
        Cells x genes, counts or log-normalised values; in memory, backed, lazy or a view.
    label_key
        Column of `obs` with the cell types. Cells without a label are left out.
    n_top_genes
        Number of genes to select. All that differ, with a warning, if there are fewer.
    %(layer_values)s
    target_sum
        Sum that the counts of each cell are scaled to before `log1p`. With `None` the values are taken as they are:
        log-normalised already.
    chunk_size
        Cells in memory at a time.
    %(silent)s
    %(copy)s
    %(overwrite_genes)s
    unlabeled
        Labels that stand for none, as in :func:`ginseng.tl.train`.

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.var['ginseng_genes']` : :class:`pandas.Series` (dtype ``bool``)
        The selected genes.
    `adata.var['ginseng_rank']` : :class:`pandas.Series` (dtype ``float64``)
        Rank of the gene in the type that it tells apart best, from 1; NaN for a gene that is the same in all.
    `adata.var['ginseng_t']` : :class:`pandas.Series` (dtype ``float64``)
        Its t statistic there: above 0 if the type has more of it than other cells, infinite if it is constant within
        each type.

    Statistics of an earlier selection are removed.

    Raises
    ------
    KeyError
        If there is no such layer or column.
    ValueError
        If there are fewer than two types, if values are negative, NaN or infinite, or if no gene differs.

    References
    ----------
    Student 1908, The probable error of a mean, with the variance within all types of a one-way analysis of variance
    (Fisher 1925): that within one type of few cells says little.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.pp.select_markers(adata, "cell_type", n_top_genes=200, silent=True)
    >>> int(adata.var["ginseng_genes"].sum())
    200
    """
    with running("select_markers") as added:
        cells = open_cells(adata, layer=layer, in_place=True)
        check_genes(adata, overwrite=overwrite)
        check_size(cells, n_top_genes=n_top_genes, chunk_size=chunk_size, target_sum=target_sum)
        labels = labels_of(obs_column(adata, label_key), label_key, unlabeled, obs=cells.obs)
        if len(labels.names) < 2:
            msg = f"Genes can differ only between at least two cell types; {label_key!r} has {len(labels.names)}."
            raise ValueError(msg)
        accept(cells, normalize=target_sum is not None, insisted=True, option="target_sum=None")
        warn_of_other_features(cells.var)
        genes = genes_to_select(cells.var)
        for note in genes.notes():
            warn(note)
        columns = find_markers(
            cells, labels.codes, n_top_genes, genes=genes, target_sum=target_sum, chunk_size=chunk_size, silent=silent
        )
        adata = write(adata, "pp", "", gene_results(adata, cells, columns), copy=copy)
        n_selected = int(columns[_keys.GENES].sum())
        added(f"added adata.var[{_keys.GENES!r}], {n_selected} of {cells.n_vars} genes, their ranks and t statistics")
    return adata if copy else None
