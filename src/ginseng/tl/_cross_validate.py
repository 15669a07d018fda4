from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.open import OpenCells, open_cells
from ginseng._cells.target import check_target
from ginseng._cells.training_set import TrainingSet, choose_cells
from ginseng._cells.write import Results, label_column, write
from ginseng._docs import document
from ginseng._logging import progress, running
from ginseng.data._splits import folds, warn_of_unseen
from ginseng.tl import _contenders
from ginseng.tl._compare import METRICS, run
from ginseng.tl._evaluate import measure
from ginseng.tl._signature import says_normalize, settings_of, takes_settings
from ginseng.train.settings import GinsengClassifierTrainerSettings, SettingsByName


@document
@takes_settings
def cross_validate(
    adata: AnnData | str | Path,
    label_key: str | Sequence[Any] | np.ndarray | pd.Series,
    model: Any = None,
    *,
    n_folds: int | Literal["loo"] = 5,
    layer: str | None = None,
    genes: str | Sequence[str] | np.ndarray | None = None,
    n_top_genes: int | None = None,
    gene_key: str | None = None,
    group_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
    settings: GinsengClassifierTrainerSettings | Mapping[str, Any] | None = None,
    rng: int | np.random.Generator | None = 0,
    key_added: str = _keys.CROSS_VALIDATION,
    return_table: bool = False,
    overwrite: bool = False,
    copy: bool = False,
    silent: bool = False,
    unlabeled: str | Sequence[str] | None = None,
    **kwargs: Unpack[SettingsByName],
) -> AnnData | pd.DataFrame | None:
    """Label every cell with a model that has not seen it, and measure how well that works.

    The cells are divided into folds. For each fold, a model is trained on all other folds as in
    :func:`ginseng.tl.train`, with its own holdout and gene selection, and labels the cells of the fold. The cells of a
    donor resemble each other, so pass donors as `group_key` to find out how well the model works on a new donor.

    Parameters
    ----------
    %(adata_with_labels)s
    %(label_key_or_labels)s
    model
        Any model that :func:`ginseng.tl.compare` takes: the name of a network, settings, or a scikit-learn estimator.
        If None, the network in `settings`.
    n_folds
        Number of folds, stratified by class; or `"loo"`, which leaves out one group at a time.
    %(layer)s
    genes
        Boolean column of `var`, a mask, or gene names. If None, all genes if there are at most 5,000; otherwise the
        2,000 that differ most between the labels, selected for each fold on the training cells.
    n_top_genes
        Number of genes to select in this way.
    %(gene_key)s
    group_key
        Column of `obs` with donors or batches, or one group per cell. The cells of a group share a fold.
    settings
        Settings of the networks, as in :func:`ginseng.tl.train`; single ones can be passed by name: `epochs=5`.
        %(settings_by_name)s
    rng
        Seed or generator that draws the folds.
    %(key_added)s
    return_table
        Whether to return the metrics of each fold, their mean and standard deviation, and those over all cells.
    %(overwrite)s
    %(copy)s
    %(silent)s
    %(unlabeled)s

    Returns
    -------
    `None`, the copy if `copy=True`, or the table if `return_table=True` or for a path. Sets, for cells with a label:

    `adata.obs['ginseng_cv_cell_type']` : :class:`pandas.Series` (dtype ``category``)
        Predicted cell type; `"unassigned"` for cells without counts in the genes.
    `adata.obs['ginseng_cv_confidence']` : :class:`pandas.Series` (dtype ``float32``)
        Probability of that type, if the model has probabilities.
    `adata.obs['ginseng_cv_fold']` : :class:`pandas.Series` (dtype ``category``)
        Fold of the cell: a number from 1, or the name of the group that was left out.
    `adata.obsm['ginseng_cv_probs']` : :class:`pandas.DataFrame`
        Cells x classes, float32, as from :func:`ginseng.tl.classify`, if the model has probabilities.
    `adata.uns['ginseng_cv']` : :class:`dict`
        `folds`, a table with the metrics of each fold; `metrics` over all cells, as written by
        :func:`ginseng.tl.evaluate`, so that `gs.pl.confusion(adata, key="ginseng_cv")` plots them; `classes`; and
        `params`.

    Raises
    ------
    KeyError
        If a column, layer or gene does not exist.
    ValueError
        If the model is unknown, there are too few cells or groups for the folds, or the values cannot be counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.cross_validate(adata, "cell_type", "linear", n_folds=3, epochs=2, silent=True)
    >>> adata.uns["ginseng_cv"]["folds"].index.tolist()
    ['1', '2', '3']
    """
    if copy and return_table:
        msg = "`copy=True` and `return_table=True` cannot be combined: each sets the return value. Choose one."
        raise ValueError(msg)
    if genes is not None and n_top_genes is not None:
        msg = "`genes` names the genes and `n_top_genes` selects some. Pass only one of them."
        raise ValueError(msg)
    common = settings_of(settings, **kwargs)
    model = common.architecture if model is None else model
    contender, model_name = _contenders.contender_of(model, common), _contenders.name_of(model)
    from_path = not isinstance(adata, AnnData)
    cells = open_cells(adata, layer=layer, gene_key=gene_key)
    adata = cells.adata
    chosen = choose_cells(cells, label_key, genes=genes, group_key=group_key, unlabeled=unlabeled)
    _contenders.accept_values(cells, [contender], common, insisted=says_normalize(settings, kwargs))
    if taken := {chosen.label_key, chosen.group_key} & {_keys.cell_type(key_added), _keys.fold(key_added)}:
        msg = f"The results would replace `adata.obs[{taken.pop()!r}]`, which is an input. Choose another `key_added`."
        raise ValueError(msg)
    if not from_path:
        check_target(adata, "cross_validate", key_added, overwrite=overwrite)
    parts = folds(chosen.labels, chosen.groups, chosen.group_names, n_folds=n_folds, rng=np.random.default_rng(rng))
    warn_of_unseen(chosen.labels, chosen.label_names, [(f"fold {name!r}", test.astype(int)) for name, test in parts])

    true = chosen.label_names.astype(object)[chosen.labels]
    with running(f"cross-validation of {model_name!r} in {len(parts)} folds", silent=silent) as report:
        y, fold, all_probs, frame = out_of_fold(
            cells, chosen, parts, model_name, contender,
            given=genes is not None, n_top_genes=n_top_genes, settings=common, silent=silent,
        )  # fmt: skip
        names = frame.index.tolist()
        overall = measure(true, label_column(y, chosen.label_names))
        report.done = (
            f"{len(y):,} cells in {len(parts)} folds: accuracy {overall['accuracy']:.3f}, "
            f"macro F1 {overall['macro_f1']:.3f}"
        )

        if not from_path:
            columns = _contenders.label_columns(adata.n_obs, chosen.rows, y, all_probs, chosen.label_names, key_added)
            columns[_keys.fold(key_added)] = label_column(fold, names, rows=chosen.rows, n_obs=adata.n_obs)
            results = Results(obs=columns, classes=chosen.label_names, truth=chosen.label_key)
            if all_probs is not None:
                everywhere = np.full((adata.n_obs, all_probs.shape[1]), np.nan, np.float32)
                everywhere[chosen.rows] = all_probs
                results.obsm = {_keys.probs(key_added): everywhere}
            results.members = {
                "folds": frame,
                "metrics": {**overall, "label_key": chosen.label_key, "prediction_key": _keys.cell_type(key_added)},
                "classes": chosen.label_names.astype(object),
                "params": {
                    "model": model_name,
                    "label_key": chosen.label_key,
                    "layer": "X" if layer is None else layer,
                    "by": chosen.group_key or "cell",
                    "settings": _contenders.as_json(dataclasses.asdict(common)),
                },
            }
            adata = write(adata, "cross_validate", key_added, results, copy=copy)
            report(f"added `.obs[{_keys.cell_type(key_added)!r}]` and `.uns[{key_added!r}]`")
    if return_table or from_path:
        scores = frame[list(METRICS)]
        pooled = pd.Series({m: overall[m] for m in METRICS})
        summary = pd.DataFrame({"mean": scores.mean(), "sd": scores.std(), "all cells": pooled}).T
        return pd.concat([frame, summary])
    return adata if copy else None


class OutOfFold(NamedTuple):
    """What models say of cells that they have not seen."""

    y: np.ndarray  # (cells,) index into the labels, or -1 for cells without counts in the genes
    fold: np.ndarray  # (cells,) index of the fold of each cell
    probs: np.ndarray | None  # (cells, classes) float32, if the model has probabilities
    table: pd.DataFrame  # sizes, metrics and seconds of each fold


def out_of_fold(
    cells: OpenCells,
    chosen: TrainingSet,
    parts: Sequence[tuple[str, np.ndarray]],
    name: str,
    contender: _contenders.Contender,
    *,
    given: bool,
    n_top_genes: int | None,
    settings: GinsengClassifierTrainerSettings,
    silent: bool,
) -> OutOfFold:
    """Label the cells of each fold with a model that was trained on all others.

    Parameters
    ----------
    parts
        Name and cells, (cells,) bool, of each fold.
    name
        Name of the model.
    given, n_top_genes, settings
        As for :func:`ginseng.tl._contenders.read_cells`.
    """
    y, fold = np.zeros(len(chosen.rows), np.int64), np.zeros(len(chosen.rows), np.int64)
    probs: np.ndarray | None = np.zeros((len(y), len(chosen.label_names)), np.float32)
    true = chosen.label_names.astype(object)[chosen.labels]
    table = []
    with progress(parts, desc="Cross-validating", unit="folds", silent=silent) as bar:
        for i, (_, test) in enumerate(bar):
            rows = {"train": np.flatnonzero(~test), "validation": np.array([], int), "test": np.flatnonzero(test)}
            data = _contenders.read_cells(
                cells, chosen, train=rows["train"], given=given, n_top_genes=n_top_genes, settings=settings
            )
            said, (fit_seconds, predict_seconds) = run(name, contender, data, rows, silent=silent)
            y[test], fold[test] = said.y, i
            if said.probs is None:
                probs = None
            elif probs is not None:
                probs[test] = said.probs
            found = measure(true[test], label_column(said.y, chosen.label_names))
            sizes = {"n_train": int((~test).sum()), "n_test": int(test.sum())}
            seconds = {"fit_seconds": fit_seconds, "predict_seconds": predict_seconds}
            table.append({**sizes, **{m: found[m] for m in METRICS}, **seconds})
            bar.set_postfix_str(f"macro F1 {found['macro_f1']:.3f}")
    return OutOfFold(y, fold, probs, pd.DataFrame(table, index=pd.Index([part for part, _ in parts], name="fold")))
