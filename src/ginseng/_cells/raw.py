"""Use `adata.raw`, with its own matrix and genes, like any other AnnData."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.gene_names import count_the_rows
from ginseng._cells.labels import in_memory

#: Value of `layer=` that selects it.
RAW = "raw"


def raw_as_adata(adata: AnnData) -> AnnData | None:
    """Return `adata.raw` as an AnnData with its own genes, on disk if it is there; None if there is no `raw`.

    For a view, rows are taken from the `raw` of its parent: `raw` of the view itself would load all rows.
    """
    whole: Any = adata._adata_ref if adata.is_view else adata
    try:
        x = None if whole.raw is None else whole.raw.X
    except (AttributeError, KeyError):  # `raw` exists in the file, but is empty
        x = None
    if x is None or len(x.shape) != 2 or x.shape[1] != len(whole.raw.var_names):
        return None
    obs = pd.DataFrame(index=whole.obs_names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*names are not unique", UserWarning)
        raw = AnnData(x, obs=obs, var=_var(whole))
        return raw[adata._oidx] if adata.is_view else raw


def _var(adata: AnnData) -> pd.DataFrame:
    """Return the gene table of `raw`, extended by columns of `adata.var`."""
    raw, own = in_memory(adata.raw.var).copy(), in_memory(adata.var)
    names = raw.index.astype(str)
    if len(raw) == len(own) and count_the_rows(names):
        raw.index = names = own.index.astype(str)
    if own.index.is_unique and names.isin(own.index).all():
        raw = raw.join(own[own.columns.difference(raw.columns)])
    selected = adata.uns.get(_keys.RAW_GENES)
    if selected is None and _keys.GENES in own and own[_keys.GENES].dtype == bool:
        selected = own.index[own[_keys.GENES]]
    if selected is not None:
        raw[_keys.GENES] = names.isin(np.asarray(selected).astype(str))
    return raw


def columns_of_adata(
    adata: AnnData, raw: pd.DataFrame, columns: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Map columns for the genes of `raw` to `adata.var`; also return the selected genes if `adata.var` lacks some.

    Genes that `raw` lacks are not selected and have no statistics.
    """
    to = place_in_adata(adata, raw)
    here = {}
    for name, values in columns.items():
        empty = np.zeros((), values.dtype) if values.dtype.kind in "biu" else np.nan
        here[name] = np.full(adata.n_vars, empty)
        here[name][to[to >= 0]] = values[to >= 0]
    selected = columns[_keys.GENES]
    return here, raw.index[selected].astype(str).to_numpy(object) if (to[selected] < 0).any() else None


def place_in_adata(adata: AnnData, raw: pd.DataFrame) -> np.ndarray:
    """Return the index in `adata.var` of each gene of `raw`, or -1; for repeated names, of the first only."""
    names, own = raw.index.astype(str), adata.var_names.astype(str)
    if names.equals(own):
        return np.arange(len(own))
    place = {name: i for i, name in reversed(list(enumerate(own)))}
    to = np.array([place.get(name, -1) for name in names], int)
    return np.where(names.duplicated(), -1, to)
