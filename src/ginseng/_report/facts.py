"""What is known of labelled cells, as tables; nothing of how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.colors import MISSING, UNASSIGNED, categories, distinct, hex_colors, known_colors
from ginseng._cells.entries import column
from ginseng._cells.labels import UNASSIGNED as NO_LABEL
from ginseng._cells.labels import as_labels, in_memory, predicted_labels
from ginseng._errors import MissingKeyError, suggest

#: Below or above these, a type is listed among those to distrust.
LOW_CONFIDENCE, HIGH_NOVELTY, FEW_CELLS, LOW_AGREEMENT, LOW_F1 = 0.6, 0.5, 10, 0.5, 0.7

#: Embeddings that are looked for, the best first.
BASES = ("X_umap", "X_tsne", "X_draw_graph_fa", "X_phate", "X_pca")

NO_TYPE = "missing"


@dataclass
class Facts:
    """What the page says of the cells.

    Attributes
    ----------
    obs
        Per cell: `label`, and where they are known `confidence`, `novelty`, `vote`, `true` and `group`.
    types
        Per type that occurs, by number of cells: `n`, `share`, `color`, and where they are known `confidence` and
        `novelty` (medians), `low` and `high` (quartiles of the confidence), `agreement` (share with the label of the
        cluster), `precision`, `recall`, `f1`.
    colors
        By label, also of the true ones.
    entry
        `uns[key]`.
    names
        Columns of `obs` that were read, by what they are.
    without
        Label of cells without one.
    """

    obs: pd.DataFrame
    types: pd.DataFrame
    colors: dict[str, str]
    entry: Mapping[str, Any]
    names: dict[str, str] = field(default_factory=dict)
    without: str = NO_LABEL

    @property
    def n_without(self) -> int:
        """Number of cells without a label."""
        return int(self.obs["label"].isin([self.without, NO_TYPE]).sum())

    @property
    def n_types(self) -> int:
        """Number of types that occur."""
        return int((~self.types.index.isin([self.without, NO_TYPE])).sum())


def collect(adata: AnnData, key: str, label_key: str | None, groupby: str | None) -> Facts:
    """Return what is known of the cells.

    Raises
    ------
    KeyError
        If the cells have no labels, or a column does not exist.
    """
    found: Any = adata.uns.get(key, {})
    entry: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    obs = in_memory(adata.obs)
    metrics = member(entry, "metrics")
    if label_key is None and str(metrics.get("label_key", "")) in obs.columns:
        label_key = str(metrics["label_key"])
    label = predicted_labels(adata, _keys.cell_type(key))
    names = {"label": _keys.cell_type(key)}
    cells: dict[str, Any] = {"label": label.fillna(NO_TYPE).to_numpy(object)}
    for name, source in (("confidence", _keys.confidence(key)), ("novelty", _keys.novelty(key))):
        if source in obs.columns and obs[source].dtype.kind in "fiu":
            cells[name], names[name] = obs[source].to_numpy(float), source
    vote = _keys.vote(key) if _keys.vote(key) in obs.columns else None
    for name, given in (("vote", vote), ("true", label_key), ("group", groupby)):
        if given is not None:
            cells[name], names[name] = as_labels(column(obs, given)).fillna(NO_TYPE).to_numpy(object), given
    frame = pd.DataFrame(cells)
    without = str(member(entry, "unassigned").get("label", NO_LABEL))
    return Facts(
        obs=frame,
        types=_types(frame, metrics),
        colors=_colors(adata, obs, frame, names, without),
        entry=entry,
        names=names,
        without=without,
    )


def member(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a dictionary within an entry of `uns`; empty if there is none."""
    found = entry.get(name)
    return found if isinstance(found, Mapping) else {}


def _types(cells: pd.DataFrame, metrics: Mapping[str, Any]) -> pd.DataFrame:
    by_type = cells.groupby("label", sort=False)
    table = pd.DataFrame({"n": by_type.size()})
    table["share"] = table["n"] / len(cells)
    if "confidence" in cells:
        for name, q in (("low", 0.25), ("confidence", 0.5), ("high", 0.75)):
            table[name] = by_type["confidence"].quantile(q)
    if "novelty" in cells:
        table["novelty"] = by_type["novelty"].median()
    if "vote" in cells:
        table["agreement"] = (cells["vote"] == cells["label"]).groupby(cells["label"]).mean()
    per_class = metrics.get("per_class")
    if isinstance(per_class, pd.DataFrame) and {"f1", "precision", "recall"} <= set(per_class.columns):
        scores = per_class.set_axis(per_class.index.astype(str))
        table[["precision", "recall", "f1"]] = scores[["precision", "recall", "f1"]].reindex(table.index).to_numpy()
    return table.sort_values("n", ascending=False, kind="stable")


def _colors(
    adata: AnnData, obs: pd.DataFrame, cells: pd.DataFrame, names: Mapping[str, str], without: str
) -> dict[str, str]:
    known: dict[str, str] = {}
    labels: list[str] = []
    for name in ("true", "label"):
        if name in cells:
            known |= hex_colors(known_colors(obs, adata.uns, names[name]))
            labels = [*categories(obs[names[name]]), *cells[name].unique(), *labels]
    return distinct(labels, {**known, without: UNASSIGNED, NO_TYPE: MISSING})


def distrusted(facts: Facts) -> list[tuple[str, list[str]]]:
    """Return the types whose labels need a second look, and why."""
    found = []
    for name, row in facts.types.iterrows():
        if name in (facts.without, NO_TYPE):
            continue
        why = []
        if row.get("confidence", 1) < LOW_CONFIDENCE:
            why.append(f"half of its cells have a confidence below {row['confidence']:.2f}")
        if row.get("novelty", 0) > HIGH_NOVELTY:
            why.append(f"half of its cells have a novelty above {row['novelty']:.2f}: the reference may lack them")
        if row.get("agreement", 1) < LOW_AGREEMENT:
            share = f"only {row['agreement']:.0%}" if row["agreement"] else "none"
            why.append(f"{share} of its cells are in clusters that voted for this label")
        if row.get("f1", 1) < LOW_F1:
            why.append(f"F1 {row['f1']:.2f} against the true labels")
        if row["n"] < FEW_CELLS:
            why.append(f"only {int(row['n'])} cell{'s' if row['n'] > 1 else ''}")
        if why:
            found.append((str(name), why))
    return found


def coordinates(adata: AnnData, basis: str | None) -> tuple[np.ndarray, str] | None:
    """Return two coordinates per cell and the name of the embedding; None if there is none and none was asked for."""
    if basis is None:
        name = next((name for name in BASES if name in adata.obsm), None)
        if name is None:
            return None
    else:
        name = basis if basis in adata.obsm else f"X_{basis}"
        if name not in adata.obsm:
            msg = f"`adata.obsm` has no {basis!r} or {name!r}. {suggest(name, adata.obsm)}"
            raise MissingKeyError(msg)
    found = np.asarray(adata.obsm[name], dtype=float)
    if found.ndim != 2 or found.shape[1] < 2:
        if basis is None:
            return None
        msg = f"`adata.obsm[{name!r}]` has no two dimensions to plot."
        raise ValueError(msg)
    return found[:, :2], name.removeprefix("X_")


def top_genes(adata: AnnData, key: str, n: int = 10) -> tuple[dict[str, list[str]], str]:
    """Return the genes of each group that :func:`ginseng.tl.rank_genes`, or else scanpy, ranked; and whose they are."""
    for name, source in ((_keys.rank_genes(key), "ginseng.tl.rank_genes"), ("rank_genes_groups", "scanpy")):
        ranks: Any = adata.uns.get(name)
        names: Any = ranks.get("names") if isinstance(ranks, Mapping) else None
        fields = getattr(getattr(names, "dtype", None), "names", None)
        if fields is None:
            continue
        changes = ranks.get("logfoldchanges")
        found = {}
        for group in fields:
            genes = np.asarray(names[group]).astype(str)
            if changes is not None and group in (changes.dtype.names or ()):
                genes = genes[np.nan_to_num(np.asarray(changes[group], float), nan=1) > 0]
            found[str(group)] = genes[:n].tolist()
        return found, source
    return {}, ""


def genes_of_reference(state: Any, n: int = 10) -> dict[str, list[str]]:
    """Return the genes that are highest in each class of a model, relative to its other classes."""
    if state.reference is None:
        return {}
    means = np.asarray(state.reference["classes"], float)
    total = means.sum(axis=0)
    others = (total - means) / max(len(means) - 1, 1)
    order = np.argsort(-(means - others), axis=1, kind="stable")[:, :n]
    return {str(c): state.genes[rows].tolist() for c, rows in zip(state.label_keys, order, strict=True)}


def composition(facts: Facts) -> pd.DataFrame:
    """Return the share of each type in each group: groups x types."""
    counts = pd.crosstab(facts.obs["group"], facts.obs["label"])
    return counts[[name for name in facts.types.index if name in counts]]
