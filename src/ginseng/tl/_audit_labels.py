from __future__ import annotations

import dataclasses
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.open import open_cells
from ginseng._cells.target import check_target
from ginseng._cells.training_set import choose_cells
from ginseng._cells.write import Results, label_column, write
from ginseng._core import registry
from ginseng._docs import document
from ginseng._logging import running
from ginseng.data._splits import folds, warn_of_unseen
from ginseng.tl import _contenders
from ginseng.tl._cross_validate import out_of_fold
from ginseng.tl._mislabelled import alike, describe_types, judge
from ginseng.tl._signature import says_normalize, settings_of, takes_settings
from ginseng.train.settings import GinsengClassifierTrainerSettings, SettingsByName

#: Folds, if there are as many groups.
N_FOLDS = 5
#: Rows of a table that are shown.
SHOWN = 10


@dataclass(frozen=True)
class LabelAudit:
    """The result of :func:`ginseng.tl.audit_labels`.

    Attributes
    ----------
    label_key
        Column of the labels.
    n_cells, n_judged
        Number of cells with a label, and of those of which something can be said.
    share
        Estimated share of labels that are wrong. It counts those as well of which no one can say which they are.
    wrong : :class:`pandas.DataFrame`
        The cells whose label is probably wrong, by name, the surest first: `label`, the `likely` one, and the `score`.
    pairs : :class:`pandas.DataFrame`
        The types that cannot be told apart, `first` and `second`, and the `error` if asked which of the two it is.
    types : :class:`pandas.DataFrame`
        A row per type: `n_cells`; `n_groups` with groups; the share of the cells that are `recognised`; `too_small`,
        whether there are too few cells to learn it; and `n_wrong`.
    """

    label_key: str
    n_cells: int
    n_judged: int
    share: float
    wrong: pd.DataFrame
    pairs: pd.DataFrame
    types: pd.DataFrame

    @property
    def too_small(self) -> list[str]:
        """Types that are too small to learn."""
        return self.types.index[self.types["too_small"]].tolist()

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, text, lists and dicts, ready for JSON."""
        tables = {
            name: table.rename_axis(index).reset_index().to_dict("records")
            for name, index, table in (("wrong", "cell", self.wrong), ("types", "label", self.types))
        }
        counts = {name: getattr(self, name) for name in ("label_key", "n_cells", "n_judged", "share", "too_small")}
        return {**counts, "n_wrong": len(self.wrong), **tables, "pairs": self.pairs.to_dict("records")}

    def __repr__(self) -> str:
        lines = [
            f"{len(self.wrong):,} of {self.n_cells:,} labels in {self.label_key!r} are probably wrong "
            f"(of all, about {self.share:.1%} are)"
        ]
        changes = Counter(zip(self.wrong["label"], self.wrong["likely"], strict=True)).most_common()
        lines += [f"  {n:>6,}  {label!r} looks like {likely!r}" for (label, likely), n in changes[:SHOWN]]
        if len(changes) > SHOWN:
            lines.append(f"  {sum(n for _, n in changes[SHOWN:]):>6,}  others")
        for pair in self.pairs.to_dict("records"):
            error = f"{pair['error']:.0%} mistaken for the other"
            lines.append(f"cannot be told apart: {pair['first']!r} and {pair['second']!r}, {error}")
        sizes = self.types["n_cells"].to_dict()
        lines += [f"too small to learn: {label!r}, {sizes[label]:,} cells" for label in self.too_small]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


@document
@takes_settings
def audit_labels(
    adata: AnnData | str | Path,
    label_key: str | Sequence[Any] | np.ndarray | pd.Series,
    group_key: str | Sequence[Any] | np.ndarray | pd.Series | None = None,
    *,
    model: Any = None,
    n_folds: int | None = None,
    min_score: float = 0.5,
    layer: str | None = None,
    genes: str | Sequence[str] | np.ndarray | None = None,
    n_top_genes: int | None = None,
    gene_key: str | None = None,
    settings: GinsengClassifierTrainerSettings | Mapping[str, Any] | None = None,
    rng: int | np.random.Generator | None = 0,
    key_added: str = _keys.AUDIT,
    overwrite: bool = False,
    copy: bool = False,
    silent: bool = False,
    unlabeled: str | Sequence[str] | None = None,
    **kwargs: Unpack[SettingsByName],
) -> AnnData | LabelAudit:
    """Find labels that are probably wrong, types that cannot be told apart, and types too small to learn.

    Each cell is labelled by a model that has not seen it, as in :func:`ginseng.tl.cross_validate`; with `group_key`, by
    one that has not seen its donor either. The probabilities of the given labels then serve to estimate the fraction of
    wrong labels and, per cell, the probability that its label is wrong: low for labels that the models often doubt,
    high for labels that they rarely do (after Northcutt et al. 2021, doi 10.1613/jair.1.12125, with a fitted mixture
    instead of thresholds). Errors that all cells of a type share cannot be detected.

    Parameters
    ----------
    %(adata_with_labels)s
    %(label_key_or_labels)s
    group_key
        Column of `obs` with donors or batches, or one group per cell. The cells of a group share a fold.
    model
        Any model that :func:`ginseng.tl.compare` takes, provided it has probabilities. If None, a linear network, which
        cannot memorise wrong labels.
    n_folds
        Number of folds; if None, 5, or as many as there are groups.
    min_score
        Minimum probability at which a label counts as wrong.
    %(layer)s
    genes
        Boolean column of `var`, a mask, or gene names. If None, all genes if there are at most 5,000; otherwise the
        2,000 that differ most between the labels, selected for each fold on the training cells.
    n_top_genes
        Number of genes to select in this way.
    %(gene_key)s
    settings
        Settings of the networks, as in :func:`ginseng.tl.train`; single ones can be passed by name: `epochs=5`.
        %(settings_by_name)s
    rng
        Seed or generator that draws the folds.
    %(key_added)s
    %(overwrite)s
    %(copy)s
    %(silent)s
    %(unlabeled)s

    Returns
    -------
    The findings, to print or as the tables `wrong`, `pairs` and `types`; or the copy if `copy=True`. Sets, unless
    `adata` is a path:

    `adata.obs['ginseng_audit_label']` : :class:`pandas.Series` (dtype ``category``)
        The given label, replaced by the most likely one where it is probably wrong. Inspect it before training on it.
    `adata.obs['ginseng_audit_wrong']` : :class:`pandas.Series` (dtype ``bool``)
        Whether the given label is probably wrong.
    `adata.obs['ginseng_audit_score']` : :class:`pandas.Series` (dtype ``float32``)
        Probability that the given label is wrong; missing for cells without a label or without counts, and for those
        whose type occurs in no other fold.
    `adata.uns['ginseng_audit']` : :class:`dict`
        `types`, a table with one row per type: `n_cells`, `n_groups` (with groups), the fraction of its cells that are
        `recognised`, whether it is `too_small` to learn, and `n_wrong`; `pairs`, a table of the types that cannot be
        told apart, `first` and `second`, with the `error` of a choice between the two (0.5 by chance); `summary` with
        `n_cells`, `n_judged`, `n_wrong` and `share`, the estimated fraction of wrong labels; `classes`; and `params`.

    Raises
    ------
    KeyError
        If a column, layer or gene does not exist.
    ValueError
        If the model is unknown or has no probabilities, there are too few cells or groups for the folds, or the values
        cannot be counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> audit = gs.tl.audit_labels(adata, "cell_type", n_folds=3, epochs=2, silent=True)
    >>> audit.n_cells
    700
    """
    if genes is not None and n_top_genes is not None:
        msg = "`genes` names the genes and `n_top_genes` selects some. Pass only one of them."
        raise ValueError(msg)
    if not 0 <= min_score <= 1:
        msg = f"`min_score` is a probability, between 0 and 1, not {min_score}."
        raise ValueError(msg)
    common = settings_of({"architecture": _linear_network()} if settings is None else settings, **kwargs)
    model = common.architecture if model is None else model
    contender, model_name = _contenders.contender_of(model, common), _contenders.name_of(model)
    from_path = not isinstance(adata, AnnData)
    cells = open_cells(adata, layer=layer, gene_key=gene_key)
    adata = cells.adata
    chosen = choose_cells(cells, label_key, genes=genes, group_key=group_key, unlabeled=unlabeled)
    _contenders.accept_values(cells, [contender], common, insisted=says_normalize(settings, kwargs))
    written = {name(key_added) for name in (_keys.audit_label, _keys.audit_score, _keys.audit_wrong)}
    if taken := {chosen.label_key, chosen.group_key} & written:
        msg = f"The results would replace `adata.obs[{taken.pop()!r}]`, which is an input. Choose another `key_added`."
        raise ValueError(msg)
    if not from_path:
        check_target(adata, "audit_labels", key_added, overwrite=overwrite)
    if n_folds is None:
        n_folds = N_FOLDS if chosen.groups is None else min(N_FOLDS, len(np.unique(chosen.groups)))
    y, names = chosen.labels, chosen.label_names
    parts = folds(y, chosen.groups, chosen.group_names, n_folds=n_folds, rng=np.random.default_rng(rng))
    warn_of_unseen(y, names, [(f"fold {name!r}", test.astype(int)) for name, test in parts])

    with running(f"audit of {chosen.label_key!r} by {model_name!r} in {len(parts)} folds") as report:
        said = out_of_fold(
            cells, chosen, parts, model_name, contender,
            given=genes is not None, n_top_genes=n_top_genes, settings=common, silent=silent,
        )  # fmt: skip
        if said.probs is None:
            msg = f"{model_name!r} has no probabilities, by which labels are judged. Choose another `model`."
            raise ValueError(msg)
        trained_on = np.stack([np.bincount(y[~test], minlength=len(names)) > 0 for _, test in parts])
        judged = judge(said.probs, y, (said.y >= 0) & trained_on[said.fold, y])
        types = describe_types(judged, y, names, chosen.groups)
        wrong = judged.wrong >= min_score  # False where it is NaN
        others = judged.probs.copy()
        others[np.arange(len(y)), y] = -1
        likely = np.where(wrong, others.argmax(axis=1), y)
        types["n_wrong"] = np.bincount(y[wrong], minlength=len(names))
        rows = np.flatnonzero(wrong)[np.argsort(-judged.wrong[wrong], kind="stable")]
        audit = LabelAudit(
            label_key=chosen.label_key,
            n_cells=len(y),
            n_judged=int(np.isfinite(judged.wrong).sum()),
            share=judged.share,
            wrong=pd.DataFrame(
                {"label": names[y[rows]], "likely": names[likely[rows]], "score": judged.wrong[rows]},
                index=adata.obs_names[chosen.rows[rows]],
            ),
            pairs=alike(judged.probs, y, np.isfinite(judged.wrong) & ~wrong, types),
            types=types,
        )
        n_small = int(types["too_small"].sum())
        report(
            f"{wrong.sum():,} of {len(y):,} labels are probably wrong, {len(audit.pairs)} pairs of types cannot be "
            f"told apart, {n_small} types are too small"
        )
        if from_path:
            return audit
        score, flag = np.full(adata.n_obs, np.nan, np.float32), np.zeros(adata.n_obs, bool)
        score[chosen.rows], flag[chosen.rows] = judged.wrong, wrong
        results = Results(
            obs={
                _keys.audit_label(key_added): label_column(likely, names, rows=chosen.rows, n_obs=adata.n_obs),
                _keys.audit_wrong(key_added): flag,
                _keys.audit_score(key_added): score,
            },
            classes=names,
            truth=chosen.label_key,
        )
        results.members = {
            "types": types,
            "pairs": audit.pairs,
            "summary": {
                "n_cells": audit.n_cells, "n_judged": audit.n_judged, "n_wrong": len(rows), "share": audit.share,
            },
            "classes": names.astype(object),
            "params": {
                "model": model_name,
                "label_key": chosen.label_key,
                "layer": "X" if layer is None else layer,
                "by": chosen.group_key or "cell",
                "n_folds": len(parts),
                "min_score": float(min_score),
                "settings": _contenders.as_json(dataclasses.asdict(common)),
            },
        }  # fmt: skip
        written_to = write(adata, "audit_labels", key_added, results, copy=copy)
        report(f"added `.obs[{_keys.audit_label(key_added)!r}]` and `.uns[{key_added!r}]`")
    return written_to if copy else audit


def _linear_network() -> str:
    """Return the network that judges by default: one that cannot learn wrong labels by heart."""
    return next(name for name in registry.names() if registry.get(name).is_linear)
