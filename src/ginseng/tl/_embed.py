from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.open import AnnDataOrPath
from ginseng._cells.target import check_target
from ginseng._cells.write import Results, write
from ginseng._docs import document
from ginseng._logging import progress, running
from ginseng._predict.inspect import embed as embed_rows
from ginseng._predict.inspect import embedding_width
from ginseng._predict.query import open_query
from ginseng.model.file import ModelLike


@document
def embed(
    adata: AnnDataOrPath,
    model: ModelLike,
    gene_key: str | None = None,
    *,
    layer: str | None = None,
    normalize: bool | None = None,
    batch_size: int = 1024,
    key_added: str = _keys.DEFAULT,
    return_table: bool = False,
    overwrite: bool = False,
    copy: bool = False,
    silent: bool = False,
) -> AnnData | pd.DataFrame | None:
    """Embed the cells in the latent space of the model.

    The embedding is the input of the last linear layer. Cells that the model considers similar are close to each other,
    which makes it a basis for neighbours, UMAP and clustering. Its width depends on the architecture: for a logistic
    regression it is the number of genes, so a `gated` model is a better choice. Cells are taken as they are, without
    adapting to the query.

    Parameters
    ----------
    %(adata_or_path)s
    %(model)s
    %(query_gene_key)s
    %(layer)s
    %(query_normalize)s
    %(batch_size)s
    key_added
        The embedding is written as `X_{key_added}`.
    %(return_table)s
    %(overwrite)s
    %(copy)s
    %(query_silent)s

    Returns
    -------
    `None`; the copy if `copy=True`; a table (cells x dimensions) if `return_table=True`. For a path, the table, or the
    AnnData with `copy=True`. Sets:

    `adata.obsm['X_ginseng']` : :class:`numpy.ndarray`
        (cells, width) float32.
    `adata.uns['ginseng']['embedding']` : :class:`dict`
        `architecture` of the model and `n_dimensions`.

    Raises
    ------
    KeyError
        If a layer or column does not exist.
    ValueError
        If no gene matches, or the values cannot be counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> import scanpy as sc
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", layer="counts", epochs=1, silent=True)
    >>> gs.tl.embed(adata, adata, layer="counts", silent=True)
    >>> sc.pp.neighbors(adata, use_rep="X_ginseng")  # doctest: +SKIP
    """
    query = open_query(adata, model, gene_key, layer, normalize=normalize, silent=silent)
    check_target(query.adata, "embed", key_added, overwrite=overwrite)
    n_cells = query.adata.n_obs
    with running(f"embedding of {n_cells:,} cells", silent=silent) as report:
        values = np.zeros((n_cells, embedding_width(query.state)), np.float32)
        parts = query.map(
            embed_rows, batch_size=batch_size, normalization=query.normalization, correction=query.correction
        )
        with progress(desc="Embedding", total=n_cells, unit="cells", silent=silent) as bar:
            for part in parts:
                values[part.start : part.stop] = part.values
                bar.update(part.stop - part.start)
        report.done = f"{n_cells:,} cells embedded in {values.shape[1]} dimensions"
        name = _keys.embedding(key_added)
        if return_table or not (isinstance(adata, AnnData) or copy):
            columns = [f"{name}{i + 1}" for i in range(values.shape[1])]
            return pd.DataFrame(values, index=query.adata.obs_names, columns=columns)
        how = {"architecture": query.state.architecture, "n_dimensions": values.shape[1]}
        results = Results(obsm={name: values}, members={"embedding": how})
        target = write(query.adata, "embed", key_added, results, copy=copy)
        report(f"added `.obsm[{name!r}]`")
    return target if copy else None
