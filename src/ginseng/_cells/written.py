"""What ginseng wrote into an AnnData, told from what others did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.class_table import class_values
from ginseng._cells.labels import in_memory


def level_columns(adata: AnnData, output: _keys.Output, key: str) -> list[str]:
    """Return the columns of the levels that an earlier call recorded."""
    entry: Any = adata.uns.get(key)
    if _keys.LEVELS not in output.members or not isinstance(entry, Mapping) or _keys.LEVELS not in entry:
        return []
    names = [str(level) for level in entry[_keys.LEVELS]]
    return [name(level)(key) for level in names for name in (_keys.level, _keys.level_confidence)]


def columns_of(output: _keys.Output, key: str) -> list[str]:
    return [name(key) for name in output.columns]


def not_written(adata: AnnData, output: _keys.Output, key: str) -> set[str]:
    """Return the columns that are not always written, and were not by the last call under this prefix.

    Where `uns` has no record of that, those of which some are missing that are written together.
    """
    entry: Any = adata.uns.get(key)
    recorded = isinstance(entry, Mapping) and output.record in entry
    groups = {member: {name(key) for name in names} for member, names in output.optional.items()}
    return {
        name
        for member, names in groups.items()
        for name in names
        if not (member in entry if recorded else names <= set(adata.obs.columns))
    }


def records(entry: Any) -> list[str]:
    """Return the verbs that left a record in an entry of `uns`."""
    if not isinstance(entry, Mapping):
        return []
    kinds = Mapping | pd.DataFrame
    return [verb for verb, o in _keys.OUTPUTS.items() if o.record and isinstance(entry.get(o.record), kinds)]


def is_known(adata: AnnData, output: _keys.Output, key: str) -> bool:
    """Whether ginseng wrote what is stored under the names of an output.

    Either `uns` has a record of it; or, after merging samples dropped `uns`, all of its columns are present and have
    the dtypes and ranges that ginseng writes.
    """
    recorded = records(adata.uns.get(key))
    labels = _keys.OUTPUTS["classify"]
    if not columns_of(output, key):  # only arrays
        return bool(recorded) or _looks_ours(adata, labels, key)
    return any(_keys.OUTPUTS[verb] is output for verb in recorded) or _looks_ours(adata, output, key)


def _looks_ours(adata: AnnData, output: _keys.Output, key: str) -> bool:
    optional = {name(key) for names in output.optional.values() for name in names}
    missing = optional - set(adata.obs.columns)
    names = [name for name in columns_of(output, key) if name not in missing]
    if not (output.fractions or output.counts) or not all(name in adata.obs.columns for name in names):
        return False
    obs = in_memory(adata.obs[names])
    for name in (name for column in output.fractions if (name := column(key)) not in missing):
        if not are_fractions(obs[name]):
            return False
    if not all(obs[column(key)].dtype == bool for column in output.flags):
        return False
    if not all(_are_numbers(obs[column(key)]) for column in output.counts):
        return False
    text = (name for column in (*output.types, *output.groups) if (name := column(key)) not in missing)
    return all(obs[name].dtype.kind not in "biufc" for name in text)


def are_fractions(column: pd.Series) -> bool:
    values = column.to_numpy()
    return values.dtype == np.float32 and bool(((values >= 0) & (values <= 1) | np.isnan(values)).all())


def _are_numbers(column: pd.Series) -> bool:
    return column.dtype == np.int32 and bool((column >= 0).all())


def are_ours(values: Any) -> bool:
    """Whether an array or table has what ginseng writes into `obsm`: float32, or bool."""
    dtypes = set(values.dtypes) if hasattr(values, "columns") else {getattr(values, "dtype", None)}
    return dtypes == {np.dtype(bool)} or _are_float32(values)


def _are_float32(values: Any) -> bool:
    """Whether an array or table is float32, or was before a merge with cells that lack it widened it."""
    if hasattr(values, "dtypes") and hasattr(values, "columns"):  # a table, perhaps lazy
        dtypes = set(values.dtypes)
        return dtypes == {np.dtype(np.float32)} or (
            dtypes <= {np.dtype(np.float32), np.dtype(np.float64)} and _are_float32(class_values(values))
        )
    if getattr(values, "dtype", None) == np.float64 and isinstance(values, np.ndarray):
        return np.array_equal(values, values.astype(np.float32), equal_nan=True)
    return getattr(values, "dtype", None) == np.float32


def ranking(adata: AnnData, name: str) -> Mapping[str, Any] | None:
    """Return the parameters of a ranking made by :func:`ginseng.tl.rank_genes`, or None."""
    entry: Any = adata.uns[name]
    params = entry.get("params") if isinstance(entry, Mapping) else None
    return params if isinstance(params, Mapping) and params.get("method") == _keys.RANKED_BY else None
