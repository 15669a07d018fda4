from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.entries import column
from ginseng._cells.labels import UNASSIGNED, as_labels
from ginseng._cells.matrix import row_sums
from ginseng._cells.open import OpenCells, open_cells
from ginseng._cells.target import check_target
from ginseng._cells.training_set import TrainingSet, choose_cells
from ginseng._cells.write import Results, label_column, write
from ginseng._docs import document
from ginseng._errors import warn
from ginseng._logging import progress, running
from ginseng.data._splits import PARTS, partition, warn_of_unseen
from ginseng.tl import _contenders
from ginseng.tl._evaluate import measure
from ginseng.tl._signature import says_normalize, settings_of, takes_settings
from ginseng.train.settings import GinsengClassifierTrainerSettings, SettingsByName

#: Columns of the table.
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "macro_precision", "macro_recall")
SECONDS = ("fit_seconds", "predict_seconds")
#: Columns of `obs` for each model.
_COLUMNS = (_keys.cell_type, _keys.confidence)


@document
@takes_settings
def compare(
    adata: AnnData | str | Path,
    label_key: str | Sequence[Any] | np.ndarray | pd.Series,
    models: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    layer: str | None = None,
    genes: str | Sequence[str] | np.ndarray | None = None,
    n_top_genes: int | None = None,
    gene_key: str | None = None,
    group_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    split_key: str | None = None,
    settings: GinsengClassifierTrainerSettings | Mapping[str, Any] | None = None,
    rng: int | np.random.Generator | None = 0,
    key_added: str = _keys.DEFAULT,
    overwrite: bool = False,
    silent: bool = False,
    unlabeled: str | Sequence[str] | None = None,
    **kwargs: Unpack[SettingsByName],
) -> pd.DataFrame:
    """Train several models on the same cells and genes, and test them on the same held-out cells.

    Networks are trained on the training cells, and the validation cells decide which epoch is kept. Scikit-learn
    estimators do not need validation cells and are fitted to the training and validation cells together; a parameter
    search such as :class:`sklearn.model_selection.GridSearchCV` makes its own splits of these. All models read the same
    input: log1p counts per 10,000, with library sizes over the genes of the model, unless `settings` say otherwise.

    Parameters
    ----------
    %(adata_with_labels)s
    %(label_key_or_labels)s
    models
        A list of the following, or a dictionary from names to them:

        - the name of a network, one of `ginseng.model.architectures()`;
        - :class:`ginseng.train.GinsengClassifierTrainerSettings`, or a dictionary of some settings, such as
          `{"architecture": "linear", "lr": 1e-3}`;
        - `"logistic_regression"` or `"random_forest"`, both with classes weighted by inverse frequency;
        - any estimator with `fit` and `predict`. A clone is fitted, to a sparse matrix if the estimator supports it.

        If None, the default network and the two named estimators.
    %(layer)s
    genes
        Boolean column of `var`, a mask, or gene names. If None, all genes if there are at most 5,000; otherwise the
        2,000 that differ most between the labels in the training cells (as in :func:`ginseng.pp.select_markers`).
        Unlike :func:`ginseng.tl.train`, this ignores `var["ginseng_genes"]`, which may have been selected with the test
        cells; pass `genes="ginseng_genes"` to use it anyway.
    n_top_genes
        Number of genes to select in this way.
    %(gene_key)s
    group_key
        Column of `obs` with donors or batches, or one group per cell. Whole groups are then held out.
    fractions
        Fraction of the cells of each class, or of the groups, for training, validation and test. Without validation
        cells, networks hold out `holdout_fraction` of the training cells, as in :func:`ginseng.tl.train`.
    split_key
        Column of `obs` with `"train"`, `"validation"` or `"test"` per cell, to use instead of a random split. Cells
        where it is missing are left out.
    settings
        Settings of the networks, as in :func:`ginseng.tl.train`; single ones can be passed by name: `epochs=5`.
        %(settings_by_name)s
        `normalize` and `target_sum` also apply to estimators, and `seed` to the named ones.
    rng
        Seed or generator of the random split.
    %(key_added)s
    %(overwrite)s
    %(silent)s
    %(unlabeled)s

    Returns
    -------
    A table with one row per model, in the order given: `accuracy`, `balanced_accuracy`, `macro_f1`, `weighted_f1`,
    `macro_precision` and `macro_recall`, defined as in :func:`ginseng.tl.evaluate`, and `fit_seconds` and
    `predict_seconds` on this machine. For an AnnData also sets:

    `adata.obs['ginseng_split']` : :class:`pandas.Series` (dtype ``category``)
        `"train"`, `"validation"` or `"test"`; missing for cells without a label.
    `adata.obs['ginseng_<model>_cell_type']` : :class:`pandas.Series` (dtype ``category``)
        Label that each model predicts for the test cells, missing for the others; `"unassigned"` for cells without
        counts in the genes. `gs.pl.confusion(adata, "cell_type", key="ginseng_<model>")` draws it.
    `adata.obs['ginseng_<model>_confidence']` : :class:`pandas.Series` (dtype ``float32``)
        Probability of that label, if the model has probabilities.
    `adata.uns['ginseng']['comparison']` : :class:`dict`
        `table`, as returned; `confusion` with `labels` and `counts` (models x true x predicted); `genes`; and `params`,
        with the result of any parameter search in `best_params`. :func:`ginseng.pl.compare` plots it.

    Raises
    ------
    KeyError
        If a column, layer or gene does not exist.
    ValueError
        If a model is unknown, the cells cannot be split in this way, or the values cannot be counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> from sklearn.naive_bayes import MultinomialNB
    >>> adata = gs.datasets.pbmc68k()
    >>> table = gs.tl.compare(adata, "cell_type", ["linear", MultinomialNB()], epochs=5, silent=True)
    >>> list(table.index)
    ['linear', 'MultinomialNB']
    """
    common = settings_of(settings, **kwargs)
    contenders = _contenders.resolve(models, common)
    if genes is not None and n_top_genes is not None:
        msg = "`genes` names the genes and `n_top_genes` selects some. Pass only one of them."
        raise ValueError(msg)
    if split_key is not None and group_key is not None:
        msg = "`split_key` has the split and `group_key` is for drawing one. Pass only one of them."
        raise ValueError(msg)
    from_path = not isinstance(adata, AnnData)
    cells = open_cells(adata, layer=layer, gene_key=gene_key)
    adata = cells.adata
    chosen = choose_cells(cells, label_key, genes=genes, group_key=group_key, unlabeled=unlabeled)
    _contenders.accept_values(cells, contenders.values(), common, insisted=says_normalize(settings, kwargs))
    prefixes = {_keys.of_model(name, key_added): name for name in contenders}
    written = [_keys.split(key_added), *map(_keys.cell_type, prefixes)]
    if taken := {chosen.label_key, chosen.group_key, split_key} & set(written):
        msg = f"The results would replace `adata.obs[{taken.pop()!r}]`, which is an input. Choose another `key_added`."
        raise ValueError(msg)
    earlier = _earlier(adata, key_added)
    if not from_path:
        known = {prefix: name in earlier for prefix, name in prefixes.items()}
        check_target(adata, "compare", key_added, overwrite=overwrite, columns=known)
    if split_key is None:
        generator = np.random.default_rng(rng)
        part = partition(chosen.labels, chosen.groups, chosen.group_names, fractions=fractions, rng=generator)
    else:
        chosen, part = _given_split(cells, chosen, split_key)
    rows = {name: np.flatnonzero(part == code) for code, name in enumerate(PARTS)}
    # test against training and validation: a class that only validation has does no harm
    role = np.where(part == 2, 1, np.where(part == 0, 0, -1))
    warn_of_unseen(chosen.labels, chosen.label_names, [("the test set", role)])

    with running(f"comparison of {len(contenders)} models on {len(rows['test']):,} cells", silent=silent) as report:
        data = _contenders.read_cells(
            cells, chosen,
            train=rows["train"], given=genes is not None, n_top_genes=n_top_genes, settings=common,
        )  # fmt: skip
        names = np.array(data.label_names, dtype=object)
        if n_empty := int((row_sums(data.source.counts[rows["test"]]) == 0).sum()):
            msg = f"{n_empty:,} of {len(rows['test']):,} test cells have no counts in the genes: {UNASSIGNED!r}."
            warn(msg)
        true = names[data.labels[rows["test"]]]
        split = label_column(part, PARTS, rows=chosen.rows, n_obs=adata.n_obs)
        columns: dict[str, Any] = {_keys.split(key_added): split}
        table: list[dict[str, float]] = []
        confusion: dict[str, Any] = {}
        best: dict[str, Any] = {}
        with progress(contenders.items(), desc="Comparing", total=len(contenders), unit="models", silent=silent) as bar:
            for name, model in bar:
                bar.set_postfix_str(name)
                said, seconds = run(name, model, data, rows, silent=silent)
                found = measure(true, label_column(said.y, data.label_names))
                table.append({**{m: found[m] for m in METRICS}, **dict(zip(SECONDS, seconds, strict=True))})
                confusion[name] = found["confusion"]
                best |= {name: searched} if (searched := model.chosen()) else {}
                columns |= _contenders.label_columns(
                    adata.n_obs, chosen.rows[rows["test"]], said.y, said.probs, data.label_names,
                    _keys.of_model(name, key_added),
                )  # fmt: skip
                report(f"{name}: accuracy {found['accuracy']:.3f}, macro F1 {found['macro_f1']:.3f}")
        frame = pd.DataFrame(table, index=pd.Index(list(contenders), name="model"))
        leader = frame["macro_f1"].idxmax()
        report.done = (
            f"{len(frame)} models compared on {len(rows['test']):,} cells: highest macro F1 "
            f"{frame['macro_f1'].max():.3f}, {leader}"
        )
        if from_path:
            return frame
        results = Results(
            obs=columns,
            stale=[name_of(_keys.of_model(name, key_added)) for name in earlier for name_of in _COLUMNS],
            classes=data.label_names,
            truth=chosen.label_key,
        )
        results.members = {
            "comparison": {
                "table": frame,
                "confusion": _stacked(confusion),
                "genes": np.array(data.gene_names, dtype=object),
                "params": {
                    "label_key": chosen.label_key,
                    "layer": "X" if layer is None else layer,
                    "by": chosen.group_key or split_key or "cell",
                    **{f"n_{name}": len(rows[name]) for name in PARTS},
                    "settings": _contenders.as_json(dataclasses.asdict(common)),
                    "best_params": _contenders.as_json(best),
                },
            },
        }
        write(adata, "compare", key_added, results)
        report(f"added `.uns[{key_added!r}]['comparison']` and the labels of each model to `.obs`")
    return frame.copy()


def _earlier(adata: AnnData, key_added: str) -> list[str]:
    """Return the models of an earlier comparison, whose labels are in `obs`."""
    entry = adata.uns.get(key_added, {})
    found = entry.get("comparison", {}) if isinstance(entry, Mapping) else {}
    return [str(name) for name in found["table"].index] if isinstance(found, Mapping) and "table" in found else []


def run(
    name: str, model: _contenders.Contender, data: Any, rows: Mapping[str, np.ndarray], *, silent: bool
) -> tuple[_contenders.Predictions, tuple[float, float]]:
    """Fit and predict; return the predictions for the test cells, and the seconds that each took."""
    try:
        start = time.perf_counter()
        model.fit(data, rows["train"], rows["validation"], silent=silent)
        fitted = time.perf_counter() - start
        said = _contenders.marked(data, rows["test"], model.predict(data, rows["test"]))
    except Exception as error:
        error.add_note(f"Raised by the model {name!r}.")
        raise
    return said, (fitted, said.seconds)


def _given_split(cells: OpenCells, chosen: TrainingSet, split_key: str) -> tuple[TrainingSet, np.ndarray]:
    """Return the cells with a part of the split, and the index of the part in `PARTS`."""
    said = as_labels(column(cells.obs, split_key)).iloc[chosen.rows]
    if unknown := sorted(set(said.dropna()) - set(PARTS)):
        msg = f"`adata.obs[{split_key!r}]` has {unknown[0]!r}; allowed are {', '.join(map(repr, PARTS))}."
        raise ValueError(msg)
    if missing := {"train", "test"} - set(said):
        msg = f"`adata.obs[{split_key!r}]` has no labelled cell with {missing.pop()!r}."
        raise ValueError(msg)
    known = said.notna().to_numpy()
    chosen = dataclasses.replace(chosen, rows=chosen.rows[known], labels=chosen.labels[known])
    return chosen, pd.Categorical(said[known], categories=list(PARTS)).codes


def _stacked(confusion: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the confusion matrices of all models over all labels: (models, true, predicted)."""
    labels = sorted({str(label) for one in confusion.values() for label in one["labels"]})
    counts = [
        pd.DataFrame(one["counts"], one["labels"], one["labels"]).reindex(index=labels, columns=labels, fill_value=0)
        for one in confusion.values()
    ]
    return {"labels": np.array(labels, dtype=object), "counts": np.stack([c.to_numpy() for c in counts])}
