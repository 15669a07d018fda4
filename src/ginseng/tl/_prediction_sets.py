from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.labels import UNASSIGNED
from ginseng._cells.open import AnnDataOrPath, open_cells
from ginseng._cells.target import check_target
from ginseng._cells.write import Results, label_column, write
from ginseng._docs import document
from ginseng._errors import warn
from ginseng._logging import running
from ginseng._predict.annotate import annotate, check_adapt
from ginseng._predict.query import ask
from ginseng._predict.result import Result, class_terms
from ginseng.model import conformal
from ginseng.model.file import ModelLike
from ginseng.model.state import GinsengClassifierState
from ginseng.models.store import open_model
from ginseng.ontology.backoff import BackOff


@document
def prediction_sets(
    adata: AnnDataOrPath,
    model: ModelLike,
    gene_key: str | None = None,
    *,
    alpha: float = 0.1,
    layer: str | None = None,
    normalize: bool | None = None,
    adapt: bool | None = None,
    batch_size: int = 1024,
    key_added: str = _keys.DEFAULT,
    return_table: bool = False,
    overwrite: bool = False,
    copy: bool = False,
    silent: bool = False,
) -> AnnData | pd.DataFrame | None:
    """Give each cell the set of types that contains the true one with a chosen probability.

    A type is in the set of a cell if its probability reaches a threshold, which is set on the cells that the model was
    calibrated on in training (split conformal prediction; for cell types, Lopez-De-Castro et al. 2025). Types with 100
    such cells have a threshold of their own, by which the probability holds within each of them; the others share one.
    It holds for cells like those of the reference; in another study, sets contain the true type less often, see
    the figures on accuracy in the documentation.

    A set may have one type, several that the model cannot tell apart, or none: the cell is then unlike nearly all cells
    of each type, of a type that the reference lacks or one of the share `alpha` that the sets give up.

    Parameters
    ----------
    %(adata_or_path)s
    %(model)s
    %(query_gene_key)s
    alpha
        Share of the cells whose set may lack the true type, above 0 and below 1.
    %(layer)s
    %(query_normalize)s
    adapt
        Whether to adapt to the cells, as in :func:`ginseng.tl.classify`. The thresholds then follow the confidence of
        the cells, if there are 100 or more: to where as many are below as there were of the calibration cells, type by
        type. With False, they are those of split conformal prediction, and the set of each cell depends on nothing but
        itself.
    %(batch_size)s
    %(key_added)s
    return_table
        Whether to return the sets instead of writing anything.
    %(overwrite)s
    %(copy)s
    %(query_silent)s

    Returns
    -------
    `None`; the copy if `copy=True`; a table of cells x classes, bool, if `return_table=True`. For a path, the table, or
    the AnnData with `copy=True`. Sets:

    `adata.obs['ginseng_set']` : :class:`pandas.Series` (dtype ``category``)
        The types in the set, the most probable first: `"CD4 T cell | CD8 T cell"`; `"unassigned"` for an empty set, as
        that of a cell without counts.
    `adata.obs['ginseng_set_size']` : :class:`pandas.Series` (dtype ``int32``)
        How many there are.
    `adata.obs['ginseng_set_ancestor']` : :class:`pandas.Series` (dtype ``category``)
        The type that takes in all of the set: the deepest such term of the Cell Ontology if the model has ids, else the
        finest such label of its levels; `"unassigned"` if there is none. Only if the model has either.
    `adata.obsm['ginseng_sets']` : :class:`pandas.DataFrame`
        Cells x classes, bool, with columns as in `ginseng_probs`.
    `adata.uns['ginseng']['sets']` : :class:`dict`
        `alpha`; the `threshold` of each class, in the order of `classes`; `n_calibration`, the number of cells that
        they were set on; `n_empty`, the number of empty sets; and the `mean_size`. The entry `ancestors` says where
        these are from, `"ontology"` or `"levels"`.

    Raises
    ------
    KeyError
        If a layer or column does not exist.
    ValueError
        If the model was not calibrated, `alpha` is not between 0 and 1, no gene matches, or the values cannot be
        counts.

    References
    ----------
    Lopez-De-Castro et al. 2025, Bioinformatics 41, btaf521, https://doi.org/10.1093/bioinformatics/btaf521

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> ref, query = adata[::2].copy(), adata[1::2].copy()
    >>> gs.tl.train(ref, "cell_type", epochs=5, silent=True)
    >>> gs.tl.prediction_sets(query, ref, alpha=0.1, silent=True)
    >>> query.obsm["ginseng_sets"].shape
    (350, 10)
    """
    if isinstance(alpha, bool) or not 0 < alpha < 1:
        msg = f"`alpha` is a share of cells, above 0 and below 1, not {alpha!r}."
        raise ValueError(msg)
    state = open_model(model)
    if state.calibration is None or not len(state.calibration["cells"]):
        msg = (
            "The model was not calibrated, so that there are no cells to set thresholds on. Train it again, with the "
            "default `calibrate`."
        )
        raise ValueError(msg)
    adapts = check_adapt(state, adapt)
    cells = open_cells(adata, layer=layer, gene_key=gene_key)
    query = ask(cells, state, normalize=normalize, silent=silent)
    as_table = return_table or not (isinstance(adata, AnnData) or copy)
    if not as_table:
        check_target(cells.adata, "prediction_sets", key_added, overwrite=overwrite)
    n_cells = cells.adata.n_obs
    with running(f"prediction sets of {n_cells:,} cells", silent=silent) as report:
        result = Result(n_cells, state, query.genes, probs=True)
        annotate(query, state, result, report, adapts=adapts, batch_size=batch_size, silent=silent)
        assert result.probs is not None
        threshold = conformal.thresholds(state.calibration, alpha, state.n_classes)
        if adapts:
            real = ~result.empty
            threshold = conformal.matched(threshold, state.calibration, result.confidence[real], result.code[real])
        sets = (result.probs >= threshold) & ~result.empty[:, None]
        size = sets.sum(axis=1, dtype=np.int32)
        if result.n_empty:
            msg = (
                f"{result.n_empty:,} of {n_cells:,} cells have no counts in the genes of the model: their set is empty."
            )
            warn(msg)
        report.done = (
            f"sets of {n_cells:,} cells with {size.mean() if n_cells else 0:.2f} types in the mean, "
            f"{(size == 0).sum():,} empty, at alpha {alpha:g}"
        )
        if as_table:
            names = pd.Index([str(name) for name in state.label_keys], dtype=object)
            return pd.DataFrame(sets, index=cells.adata.obs_names, columns=names)
        results = Results(
            obs={_keys.prediction_set(key_added): in_words(sets, result.probs, state), _keys.set_size(key_added): size},
            obsm={_keys.sets(key_added): sets},
            members={
                "classes": state.label_keys.astype(object),
                "sets": {
                    "alpha": float(alpha),
                    "threshold": threshold,
                    "n_calibration": len(state.calibration["cells"]),
                    "n_empty": int((size == 0).sum()),
                    "mean_size": float(size.mean()) if n_cells else 0.0,
                },
            },
        )
        if (ancestors := ancestors_of(state)) is not None:
            results.members["ancestors"] = "ontology" if class_terms(state) is not None else "levels"
            results.obs[_keys.set_ancestor(key_added)] = common(sets, state, ancestors)
        target = write(cells.adata, "prediction_sets", key_added, results, copy=copy)
        report(f"added `.obs[{_keys.prediction_set(key_added)!r}]` and `.obsm[{_keys.sets(key_added)!r}]`")
    return target if copy else None


def in_words(sets: np.ndarray, probs: np.ndarray, state: GinsengClassifierState) -> Any:
    """Return each set as text, the most probable class first."""
    order = np.argsort(np.where(sets, -probs, np.inf), axis=1, kind="stable")
    size = sets.sum(axis=1)
    names = [str(name) for name in state.label_keys]
    text = [" | ".join(names[c] for c in row[:n]) or UNASSIGNED for row, n in zip(order, size, strict=True)]
    return pd.Categorical(text)


def ancestors_of(state: GinsengClassifierState) -> BackOff | None:
    """Return the labels above the classes of a model; None if it has neither ids nor levels."""
    ids = class_terms(state)
    if ids is not None:
        return BackOff.to_terms(ids, threshold=1)
    return None if state.levels is None else BackOff.to_levels(state.levels, threshold=1)


def common(sets: np.ndarray, state: GinsengClassifierState, ancestors: BackOff) -> pd.Categorical:
    """Return the label that takes in all classes of each set; of one class, its own."""
    names = [str(name) for name in state.label_keys]
    above = [len(names) + i for i in range(len(ancestors.labels))]
    place = np.array([*above, -1])[ancestors.common(sets)]
    code = np.where(sets.sum(axis=1) == 1, sets.argmax(axis=1), place)
    known = [*names, *(label.label for label in ancestors.labels)]
    unique = list(dict.fromkeys(known))
    return label_column(np.array([*(unique.index(name) for name in known), -1])[code], unique)
