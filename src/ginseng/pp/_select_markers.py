from __future__ import annotations

from anndata import AnnData

from ginseng import _keys
from ginseng._cells.accept import accept
from ginseng._cells.features import warn_of_other_features
from ginseng._cells.labels import Unlabeled, labels_of, obs_column
from ginseng._cells.named_genes import genes_to_select
from ginseng._cells.open import open_cells
from ginseng._cells.target import check_genes
from ginseng._cells.write import write
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
    """Select the genes whose expression differs most between cell types, in blocks of cells.

    If labels are known, as in training, they identify the genes that distinguish types better than variability alone.
    For each type, genes are ranked by the difference of its mean log1p expression from that of all other cells, divided
    by the standard error from the variance within types. Types then take turns, each adding its next best gene, so that
    types with few cells contribute as many genes as large ones. `chunk_size` cells are read at a time, once, and only
    sums over cells are kept.

    To evaluate a model on unseen cells, select genes on the training cells only, as
    :func:`ginseng.tl.train`, :func:`ginseng.tl.compare` and :func:`ginseng.tl.cross_validate` do.

    Parameters
    ----------
    adata
        Cells x genes, counts or log-normalised values; in memory, backed, lazy or a view.
    label_key
        Column of `obs` with the cell types. Cells without a label are left out.
    n_top_genes
        Number of genes to select. If fewer genes differ, all of them, with a warning.
    %(layer_values)s
    target_sum
        Library size that each cell is scaled to before `log1p`. With `None` the values are taken as log-normalised and
        used unchanged.
    chunk_size
        Cells in memory at a time.
    %(silent)s
    %(copy)s
    %(overwrite_genes)s
    unlabeled
        Labels that mean "no label", as in :func:`ginseng.tl.train`.

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.var['ginseng_genes']` : :class:`pandas.Series` (dtype ``bool``)
        The selected genes.
    `adata.var['ginseng_rank']` : :class:`pandas.Series` (dtype ``float64``)
        Rank of the gene in the type that it distinguishes best, from 1; NaN for genes that do not differ.
    `adata.var['ginseng_t']` : :class:`pandas.Series` (dtype ``float64``)
        Its t statistic there: positive if expression is higher in the type than in other cells, infinite if the gene is
        constant within each type.

    Statistics of an earlier selection are removed.

    Raises
    ------
    KeyError
        If the layer or column does not exist.
    ValueError
        If there are fewer than two types, if values are negative, NaN or infinite, or if no gene differs.

    References
    ----------
    Student 1908, The probable error of a mean; with the variance within all types, as in a one-way analysis of variance
    (Fisher 1925), because that within a single type with few cells is unreliable.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.pp.select_markers(adata, "cell_type", n_top_genes=200, silent=True)
    >>> int(adata.var["ginseng_genes"].sum())
    200
    """
    with running("select_markers", silent=silent) as report:
        cells = open_cells(adata, layer=layer, in_place=True)
        check_genes(adata, overwrite=overwrite)
        check_size(cells, n_top_genes=n_top_genes, chunk_size=chunk_size, target_sum=target_sum)
        labels = labels_of(obs_column(adata, label_key), label_key, unlabeled, obs=cells.obs)
        if len(labels.names) < 2:
            msg = f"Genes can only differ between at least two cell types; {label_key!r} has {len(labels.names)}."
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
        report.done = f"{n_selected:,} of {cells.n_vars:,} genes selected"
        report(f"added `.var[{_keys.GENES!r}]`, ranks and t statistics of the genes")
    return adata if copy else None
