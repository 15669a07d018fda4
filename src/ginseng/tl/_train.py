from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.accept import accept
from ginseng._cells.colors import distinct, hex_colors, known_colors
from ginseng._cells.labels import as_labels
from ginseng._cells.levels import finest_level
from ginseng._cells.open import OpenCells, open_cells
from ginseng._cells.target import check_target, refuse_lost_view
from ginseng._cells.training_set import choose_cells, choose_genes
from ginseng._cells.write import Results, write
from ginseng._docs import document
from ginseng._errors import suggest
from ginseng._logging import done, in_lines, info
from ginseng._select.columns import gene_results
from ginseng._select.markers import find_markers
from ginseng.data._memory import MemoryDataset
from ginseng.data._store import is_store
from ginseng.data.dataset import GinsengDataset
from ginseng.model.state import GinsengClassifierState
from ginseng.ontology.terms import cell_ontology
from ginseng.tl._signature import says_normalize, settings_of, takes_settings
from ginseng.train.calibrating import start_compiling
from ginseng.train.holdout import choose_holdout
from ginseng.train.settings import GinsengClassifierTrainerSettings, SettingsByName
from ginseng.train.trainer import GinsengClassifierTrainer

#: Without a gene selection, all genes are used up to `ALL_GENES`, otherwise the `TOP_GENES` most different ones.
ALL_GENES, TOP_GENES = 5000, 2000


@document
@takes_settings
def train(
    adata: AnnData | GinsengDataset | str | Path,
    label_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
    *,
    layer: str | None = None,
    genes: str | Sequence[str] | np.ndarray | None = None,
    gene_key: str | None = None,
    group_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
    levels: Sequence[str] | None = None,
    settings: GinsengClassifierTrainerSettings | Mapping[str, Any] | None = None,
    checkpoint: bool | str | Path | None = None,
    resume: bool = False,
    key_added: str = _keys.DEFAULT,
    overwrite: bool = False,
    copy: bool = False,
    silent: bool = False,
    unlabeled: str | Sequence[str] | None = None,
    **kwargs: Unpack[SettingsByName],
) -> AnnData | GinsengClassifierState | None:
    """Train a cell type classifier.

    By default, the genes that differ most between the types are selected, 5% of the cells of each type are held out to
    choose the epoch that is kept, and the model is written into `adata.uns`.

    Ctrl-C ends training after the current batches and keeps the best model so far; a second Ctrl-C aborts immediately.

    Parameters
    ----------
    adata
        Counts with labels: an AnnData (in memory, backed or lazy), a :class:`ginseng.data.GinsengDataset` or its path
        for data that do not fit in memory, or a path or URL that :func:`ginseng.read_adata` reads.
    label_key
        Column of `obs` with the cell types, or one label per cell. Not needed for a dataset, which has its labels.
    %(layer)s
    genes
        Boolean column of `var`, a mask, or gene names. If None, those in `var["ginseng_genes"]`, as selected by
        :func:`ginseng.pp.select_hvgs` or :func:`ginseng.pp.select_markers`. Without that column, all genes if there are
        at most 5,000; otherwise the 2,000 that differ most between the cell types in the training cells, which are then
        marked in that column.
    %(gene_key)s
    group_key
        Column of `obs` with donors or batches, or one group per cell. Whole groups are then held out, unless `settings`
        say otherwise.
    levels
        Columns of `obs` with labels, the broadest first, as in `levels=["lineage", "cell_type"]`. The model predicts
        the last one, which need not be passed as `label_key`, and :func:`ginseng.tl.classify` gives a label of each
        level, whose probability is the sum over the classes within it. Each label must lie within one label of the
        level above. A dataset has its levels.
    settings
        Training settings, see :class:`ginseng.train.GinsengClassifierTrainerSettings`. Single ones can also be passed
        by name: `epochs=20`, `lr=1e-3`, `architecture="linear"`.
        %(settings_by_name)s
    checkpoint
        Path of a file from which interrupted training can resume. If None, a dataset has one next to it, which is
        removed at the end, and an AnnData has none. False for none.
    resume
        Whether to resume from the checkpoint of an interrupted call. Cells, genes and settings must be the same; the
        model is then bit-identical to that of an uninterrupted call.
    key_added
        Name in `uns`.
    %(overwrite)s
    %(copy)s
    %(silent)s
    %(unlabeled)s

    Returns
    -------
    `None` for an AnnData, or the copy if `copy=True`; the trained state for a dataset or a path. Sets:

    `adata.uns['ginseng']['model']` : :class:`dict`
        The model, which :func:`ginseng.save_model` and :func:`ginseng.tl.classify` read from there.
    `adata.uns['ginseng']['classes']` : :class:`numpy.ndarray`
        Names of the cell types.
    `adata.uns['ginseng']['history']` : :class:`dict`
        Loss and metrics of each epoch, see :class:`ginseng.train.GinsengLogger`.
    `adata.uns['ginseng']['params']`, `adata.uns['ginseng']['versions']` : :class:`dict`
        Parameters of the call, and versions of the packages.
    `adata.var['ginseng_genes']` : :class:`pandas.Series` (dtype ``bool``)
        The genes, if they were selected here.
    `adata.uns['cell_type_colors']` : :class:`list`
        Colours of the cell types, named after `label_key`. Existing ones are kept, and stored in the model.

    Raises
    ------
    KeyError
        If a column, layer or gene does not exist; the message lists those that do.
    ValueError
        If there are fewer than two classes; if the values cannot be counts, or look log-normalised without `normalize`
        being set; if a label of one of the `levels` lies within several of the level above; if the loss diverges, with
        the reason; if the checkpoint belongs to another run; if `adata` is an unnamed view, such as `adata[rows]`, with
        which the model would be lost; or if the results would replace something that ginseng did not write.
    FileExistsError
        If `checkpoint` is a file other than a checkpoint of this run.
    RuntimeError
        If several processes train together, and another of them is lost.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", epochs=1, silent=True)
    >>> len(adata.uns["ginseng"]["classes"])
    10
    """
    start = time.monotonic()
    if not copy:
        refuse_lost_view(adata)
    said_so = says_normalize(settings, kwargs)
    if group_key is not None and not isinstance(settings, GinsengClassifierTrainerSettings):
        settings = {"group_level": True, **(settings or {})}  # the only reason to pass groups
    settings = settings_of(settings, **kwargs)
    if isinstance(adata, str | Path) and is_store(Path(adata).expanduser()):
        adata = GinsengDataset(adata)
    if isinstance(adata, GinsengDataset):
        given = {"label_key": label_key, "layer": layer, "genes": genes, "gene_key": gene_key, "group_key": group_key}
        given |= {"unlabeled": unlabeled, "levels": levels}
        own: dict[str, Any] = {"label_key": adata.label_key, "group_key": adata.group_key}
        own["levels"] = None if adata.levels is None else list(adata.levels)
        own = {name: own.get(name) for name, value in given.items() if value is not None}
        wrong = [
            name for name, mine in own.items()
            if not (isinstance(given[name], str | list | tuple) and _as_list(given[name]) == _as_list(mine))
        ]  # fmt: skip
        if wrong:
            msg = (
                f"A dataset has its own labels, levels, genes and groups. Leave out `{wrong[0]}`, or create "
                "another dataset with it."
            )
            raise ValueError(msg)
        trainer = GinsengClassifierTrainer(adata, settings)
        _, state = trainer.fit(silent=silent, reports=in_lines(), checkpoint=checkpoint, resume=resume)
        if not silent:
            done(_said(state), time.monotonic() - start)
        return state

    from_path = not isinstance(adata, AnnData)
    cells = open_cells(adata, layer=layer, gene_key=gene_key)
    adata = cells.adata
    if not from_path:
        check_target(adata, "train", key_added, overwrite=overwrite)
    if label_key is None and levels is None:
        listed = suggest("cell_type", adata.obs.columns)
        msg = f"Pass `label_key`, the column of `adata.obs` with the cell types. {listed}"
        raise ValueError(msg)
    label_key = label_key if levels is None else finest_level(levels, label_key)
    chosen_for = _chosen_for(cells, key_added)
    if (
        genes is None
        and _keys.GENES in cells.var
        and (not chosen_for or (isinstance(label_key, str) and label_key == chosen_for))
    ):
        genes = _keys.GENES
    # check everything before the gene selection, which takes longest
    chosen = choose_cells(cells, label_key, genes=genes, group_key=group_key, unlabeled=unlabeled, levels=levels)
    holdout = choose_holdout(chosen.labels, chosen.groups, chosen.group_names, settings)
    accept(cells, normalize=settings.normalize, insisted=said_so, training=True)
    columns: dict[str, np.ndarray] | None = None
    selects = genes is None and cells.measured.sum() > ALL_GENES
    start_compiling(
        settings, n_cells=int((~holdout).sum()), n_classes=len(chosen.label_names),
        n_genes=TOP_GENES if selects else len(chosen.gene_names),
    )  # fmt: skip
    if selects:
        seen = np.full(adata.n_obs, -1)
        seen[chosen.rows] = np.where(holdout, -1, chosen.labels)
        target_sum = (settings.target_sum or cells.n_vars) if settings.normalize else None
        columns = find_markers(cells, seen, TOP_GENES, genes=chosen.genes, silent=silent, target_sum=target_sum)
        chosen = chosen.only(columns[_keys.GENES])
        info(
            f"training on the {chosen.gene_names.size:,} of {cells.n_vars:,} genes that differ most between the "
            f"cell types, in `var[{_keys.GENES!r}]`"
        )
    dataset = MemoryDataset.read(cells, chosen)
    trainer = GinsengClassifierTrainer(dataset, settings)
    _, state = trainer.fit(silent=silent, reports=in_lines(), checkpoint=checkpoint, resume=resume)
    state.info |= {"label_key": chosen.label_key, "layer": layer}
    if ids := _term_ids(cells.obs, chosen.label_key):
        state.info["ontology"] = ids
    if chosen.label_key in cells.obs.columns:
        known = hex_colors(known_colors(cells.obs, adata.uns, chosen.label_key))
        colors = {str(label): known[label] for label in state.label_keys if label in known}
        if colors and colors != distinct(map(str, state.label_keys), {}):  # the model stores them
            state.info["colors"] = colors
    if not silent:
        done(_said(state), time.monotonic() - start)
    if from_path:
        return state
    results = Results() if columns is None else gene_results(adata, cells, columns)
    results.truth, results.classes = chosen.label_key, state.label_keys
    results.members = {
        "params": {
            "label_key": chosen.label_key,
            "layer": "X" if layer is None else layer,
            "genes_chosen_for": chosen.label_key if columns is not None else chosen_for,
            "best_epoch": int(trainer.best_epoch or 0),
            "settings": json.dumps(dataclasses.asdict(settings)),
        },
        "classes": state.label_keys.astype(object),
        "model": state.to_dict(),
        "history": state.history,
        "versions": state.info["versions"],
    }
    adata = write(adata, "train", key_added, results, copy=copy)
    return adata if copy else None


def _as_list(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _said(state: GinsengClassifierState) -> str:
    """Say in a line what was learned."""
    n_cells = int(state.info["n_train"]) + int(state.info["n_holdout"])
    said = f"{state.n_classes} types learned from {n_cells:,} cells and {state.n_genes:,} genes"
    accuracy = state.history["holdout_accuracy"][int(state.info["best_epoch"] or 0) - 1]
    if np.isnan(accuracy):
        return said
    return f"{said}, accuracy {accuracy:.3f} on {state.info['n_holdout']:,} of them held out"


def _chosen_for(cells: OpenCells, key_added: str) -> str:
    """Return the label column for which an earlier call selected the genes; empty if the user selected them."""
    before = cells.adata.uns.get(key_added, {})
    if not isinstance(before, Mapping):  # not written by ginseng
        return ""
    label_key = str(before.get("params", {}).get("genes_chosen_for", ""))
    if not label_key or _keys.GENES not in cells.var:
        return ""
    _, selected, _ = choose_genes(cells.var, _keys.GENES, cells.gene_key)
    return label_key if set(selected) == set(before["model"]["genes"]) else ""


def _term_ids(obs: pd.DataFrame, label_key: str) -> dict[str, str]:
    """Return the Cell Ontology ids of the labels, where a column beside them has one id for each label."""
    key = _keys.term_of(label_key)
    if label_key not in obs.columns or key not in obs.columns:
        return {}
    pairs = pd.DataFrame({"label": as_labels(obs[label_key]), "id": obs[key].astype(object)}).dropna().drop_duplicates()
    pairs = pairs[pairs["id"].map(lambda term: cell_ontology().current(str(term)) is not None)]
    single = pairs[~pairs["label"].duplicated(keep=False)]
    return dict(zip(single["label"], single["id"].astype(str), strict=True))
