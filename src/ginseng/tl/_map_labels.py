from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.labels import as_labels, obs_column
from ginseng._cells.target import check_column
from ginseng._cells.write import Results, write
from ginseng._logging import running
from ginseng.ontology.labels import match_label
from ginseng.ontology.terms import UNKNOWN, cell_ontology


def map_labels(
    labels: Iterable[str] | AnnData,
    label_key: str | None = None,
    *,
    crosswalk: Mapping[str, str] | None = None,
    return_table: bool = False,
    overwrite: bool = False,
    copy: bool = False,
) -> pd.DataFrame | AnnData | None:
    """Find the terms of the Cell Ontology that labels stand for.

    Terms are found by id, label or exact synonym; by variant spellings of these (case, plurals, hyphens, Greek letters,
    `"CD14+"` for `"CD14-positive"`, with or without "cell"); and by the terms that Pan-human Azimuth, Azimuth and
    CellTypist publish for their labels. Ambiguous labels are not mapped.

    Parameters
    ----------
    labels
        Labels, or an AnnData with labels in `obs`.
    label_key
        Column of `obs` with the labels, if `labels` is an AnnData.
    crosswalk
        Your own terms by label, such as `{"my label": "CL:0000084"}`. They take precedence.
    return_table
        Whether to return the table for an AnnData as well, instead of writing anything.
    overwrite
        Whether to replace an existing column of that name with other contents, such as the one in files from CELLxGENE.
    copy
        Whether to write to a copy of the AnnData and return that.

    Returns
    -------
    For labels, a table with one row per distinct label: `label`, `ontology_term_id` and `ontology_label` (None if there
    is no term), and `match`: `"exact"`, `"synonym"`, `"normalised"`, `"crosswalk"` or `"none"`. For an AnnData, `None`
    or the copy. Sets:

    `adata.obs['{label_key}_ontology_term_id']` : :class:`pandas.Series` (dtype ``category``)
        The id, or `"unknown"`, as the CELLxGENE schema requires.

    Raises
    ------
    KeyError
        If the column does not exist.
    TypeError
        If `label_key` is missing for an AnnData, or given without one.
    ValueError
        If a column of that name has other contents, or a value of `crosswalk` is not the id of a term.

    Examples
    --------
    >>> import ginseng as gs
    >>> table = gs.tl.map_labels(["T cells", "CD14+ Mono", "my cluster 7"])
    >>> table["ontology_term_id"].tolist()
    ['CL:0000084', 'CL:0001054', None]
    """
    for label, term in (crosswalk or {}).items():
        if cell_ontology().current(str(term)) is None:
            msg = f"`crosswalk` has {term!r} for {label!r}, not the id of a Cell Ontology term, such as 'CL:0000084'."
            raise ValueError(msg)
    if not isinstance(labels, AnnData):
        if label_key is not None or isinstance(labels, str):
            msg = "Pass labels, `map_labels(['T cell'])`, or an AnnData and a column, `map_labels(adata, label_key)`."
            raise TypeError(msg)
        return _table(labels, crosswalk)
    if label_key is None:
        msg = "`label_key` is missing: the column of `adata.obs` with the labels."
        raise TypeError(msg)
    adata = labels
    column = as_labels(obs_column(adata, label_key))
    table = _table(column.dropna(), crosswalk)
    if return_table:
        return table
    key = _keys.term_of(label_key)
    with running(f"map_labels of {label_key!r}") as report:
        terms = column.map(dict(zip(table["label"], table["ontology_term_id"].fillna(UNKNOWN), strict=True)))
        new = pd.Categorical(terms.fillna(UNKNOWN).astype(object))
        check_column(adata, key, new, overwrite=overwrite)
        adata = write(adata, "map_labels", key, Results(obs={key: new}), copy=copy)
        n_known = int((table["match"] != "none").sum())
        report.done = f"{n_known:,} of {len(table):,} labels have a term"
        report(f"added `.obs[{key!r}]`")
    return adata if copy else None


def _table(labels: Iterable[Any], crosswalk: Mapping[str, str] | None) -> pd.DataFrame:
    names = list(dict.fromkeys(str(label) for label in pd.Series(list(labels), dtype=object).dropna()))
    found = [match_label(name, crosswalk) for name in names]
    columns: dict[str, list[str | None]] = {
        "label": list(names),
        "ontology_term_id": [match.id for match in found],
        "ontology_label": [None if match.id is None else cell_ontology().label(match.id) for match in found],
        "match": [match.kind for match in found],
    }
    return pd.DataFrame(columns, dtype=object)
