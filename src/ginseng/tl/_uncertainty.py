from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.stats import entropy

from ginseng import _keys
from ginseng._cells.open import AnnDataOrPath
from ginseng._cells.target import check_target
from ginseng._cells.write import Results, label_column, write
from ginseng._docs import document
from ginseng._errors import warn
from ginseng._logging import progress, running
from ginseng._predict.inspect import dropout_passes
from ginseng._predict.query import open_query
from ginseng._rng import RNGLike, SeedLike, generator
from ginseng.model.file import ModelLike


@document
def uncertainty(
    adata: AnnDataOrPath,
    model: ModelLike,
    gene_key: str | None = None,
    *,
    n_passes: int = 50,
    layer: str | None = None,
    normalize: bool | None = None,
    batch_size: int = 1024,
    key_added: str = _keys.DEFAULT,
    rng: SeedLike | RNGLike | None = 0,
    return_table: bool = False,
    overwrite: bool = False,
    copy: bool = False,
    silent: bool = False,
) -> AnnData | pd.DataFrame | None:
    """Estimate the uncertainty of the labels by Monte Carlo dropout.

    With dropout as in training, each pass is the answer of another subnetwork (Gal and Ghahramani 2016). The mean
    probability is softer than that of :func:`ginseng.tl.classify`, and its entropy measures uncertainty. The standard
    deviation measures how much the label depends on single genes. It does not grow with `n_passes`, but becomes more
    precise. It is not a measure of uncertainty by itself: a cell between many types has a low probability, and hence a
    low spread, for each of them. Cells are taken as they are, without adapting to the query, like those of
    :func:`ginseng.tl.classify` with `adapt=False`.

    Parameters
    ----------
    %(adata_or_path)s
    %(model)s
    %(query_gene_key)s
    n_passes
        Passes per cell, at least 2.
    %(layer)s
    %(query_normalize)s
    %(batch_size)s
    %(key_added)s
    rng
        Seed or generator of the dropout. The dropout of a cell depends only on this, on its position in `adata`,
        and on the pass.
    %(return_table)s
    %(overwrite)s
    %(copy)s
    %(query_silent)s

    Returns
    -------
    `None`; the copy if `copy=True`; a table with `cell_type`, `confidence` (the mean probability of that label),
    `uncertainty` and `spread` per cell if `return_table=True`. For a path, the table, or the AnnData with `copy=True`.
    Sets:

    `adata.obs['ginseng_uncertainty']` : :class:`pandas.Series` (dtype ``float32``)
        Entropy of the mean probabilities relative to its maximum: 0 if all passes are certain of the same type, 1 if
        all types are equally probable. Missing for cells without counts in the genes of the model.
    `adata.obs['ginseng_spread']` : :class:`pandas.Series` (dtype ``float32``)
        Standard deviation over the passes of the probability of the label with the highest mean, 0 to 0.5; missing for
        the same cells.
    `adata.obsm['ginseng_probs_mean']` : :class:`pandas.DataFrame`
        Cells x classes, float32, mean probabilities, with columns as in `ginseng_probs`. Rows sum to 1.
    `adata.obsm['ginseng_probs_std']` : :class:`pandas.DataFrame`
        Cells x classes, float32, standard deviations of the probabilities.
    `adata.uns['ginseng']['classes']` : :class:`numpy.ndarray`
        Names of the classes. The entry `uncertainty` has the number of passes, `n_passes`.

    Raises
    ------
    KeyError
        If a layer or column does not exist.
    ValueError
        If the model was trained without dropout, no gene matches, or the values cannot be counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", layer="counts", epochs=1, silent=True)
    >>> gs.tl.uncertainty(adata, adata, layer="counts", n_passes=5, silent=True)
    >>> adata.obsm["ginseng_probs_mean"].shape
    (700, 10)
    """
    if n_passes < 2:
        msg = f"`n_passes` must be at least 2, not {n_passes}."
        raise ValueError(msg)
    query = open_query(adata, model, gene_key, layer, normalize=normalize, silent=silent)
    check_target(query.adata, "uncertainty", key_added, overwrite=overwrite)
    state, n_cells = query.state, query.adata.n_obs
    if state.network.dropout_rate == 0:
        msg = "The model was trained without dropout, so all passes would be the same. Set `dropout_rate` in training."
        raise ValueError(msg)
    with running(f"{n_passes} passes over {n_cells:,} cells", silent=silent) as report:
        mean, std = np.zeros((2, n_cells, state.n_classes), np.float32)
        empty = np.zeros(n_cells, bool)
        parts = query.map(
            dropout_passes,
            n_passes=n_passes,
            seed=int(generator(rng).integers(2**31)),
            batch_size=batch_size,
            normalization=query.normalization,
            correction=query.correction,
        )
        with progress(desc="Predicting with dropout", total=n_cells, unit="cells", silent=silent) as bar:
            for part in parts:
                here = slice(part.start, part.stop)
                mean[here], std[here], empty[here] = part.mean, part.std, part.empty
                bar.update(part.stop - part.start)
        label = state.network.probability.labels(mean, mean)
        spread = np.where(empty, np.float32(np.nan), std[np.arange(n_cells), label])
        doubt = entropy(mean, axis=1) / np.log(state.n_classes)
        doubt = np.where(empty, np.nan, np.clip(doubt, 0, 1)).astype(np.float32)
        report.done = (
            f"{n_passes} passes over {n_cells:,} cells, median uncertainty {np.nanmedian(doubt):.3f}"
            if (not empty.all())
            else f"{n_passes} passes over {n_cells:,} cells"
        )
        if empty.any():
            msg = f"{empty.sum():,} of {n_cells:,} cells have no counts in the genes of the model: no uncertainty."
            warn(msg)
        if return_table or not (isinstance(adata, AnnData) or copy):
            confidence = np.where(empty, np.float32(0), mean[np.arange(n_cells), label])
            columns = {
                "cell_type": label_column(np.where(empty, -1, label), state.label_keys),
                "confidence": confidence,
                "uncertainty": doubt,
                "spread": spread,
            }
            return pd.DataFrame(columns, index=query.adata.obs_names)
        results = Results(
            obs={_keys.uncertainty(key_added): doubt, _keys.spread(key_added): spread},
            obsm={_keys.mean_probs(key_added): mean, _keys.std_probs(key_added): std},
            members={"classes": state.label_keys.astype(object), "uncertainty": {"n_passes": n_passes}},
        )
        target = write(query.adata, "uncertainty", key_added, results, copy=copy)
        report(f"added `.obs[{_keys.uncertainty(key_added)!r}]` and `.obs[{_keys.spread(key_added)!r}]`")
        report(f"added `.obsm[{_keys.mean_probs(key_added)!r}]` and `.obsm[{_keys.std_probs(key_added)!r}]`")
    return target if copy else None
