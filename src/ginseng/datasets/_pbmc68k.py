from __future__ import annotations

import numpy as np
import scanpy as sc
from anndata import AnnData


def pbmc68k() -> AnnData:
    """700 human PBMC from Zheng et al. 2017 as counts, with the authors' cell types.

    The cells are those of :func:`scanpy.datasets.pbmc68k_reduced`, which ships with scanpy; nothing is downloaded. That
    file holds log-normalised values, `x = log1p(1e4 * count / n_counts)`, to three decimals. The counts are
    `rint(expm1(x) * n_counts / 1e4)`; rounding changes no value by more than 0.1.

    Returns
    -------
    700 cells x 765 genes, with

    `.X` and `.layers['counts']` : :class:`scipy.sparse.csr_matrix` (dtype ``float32``)
        UMI counts, integers.
    `.obs['cell_type']` : :class:`pandas.Series` (dtype ``category``)
        One of ten cell types.
    `.obs['n_counts']` : :class:`pandas.Series` (dtype ``int64``)
        Library size: UMI per cell over *all* measured genes, not only these 765.
    `.obsm['X_umap']` : :class:`numpy.ndarray`
        UMAP coordinates.

    References
    ----------
    Zheng et al. 2017, Massively parallel digital transcriptional profiling of single cells, Nature
    Communications 8, 14049, https://doi.org/10.1038/ncomms14049
    """
    shipped = sc.datasets.pbmc68k_reduced()
    library_size = shipped.obs["n_counts"].to_numpy(np.float64)
    counts = shipped.raw[:, shipped.var_names].X.tocsr().astype(np.float64)
    counts.sort_indices()
    counts.data = np.rint(np.expm1(counts.data) * np.repeat(library_size, np.diff(counts.indptr)) / 1e4)
    counts = counts.astype(np.float32)

    obs = shipped.obs[["bulk_labels"]].rename(columns={"bulk_labels": "cell_type"})
    obs["n_counts"] = library_size.astype(np.int64)
    return AnnData(
        X=counts,
        obs=obs.rename_axis(index=None),
        var=shipped.var[[]].rename_axis(index=None),
        obsm={"X_umap": shipped.obsm["X_umap"]},
        layers={"counts": counts.copy()},
    )
