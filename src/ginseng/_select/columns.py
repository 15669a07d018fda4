"""Columns of `var` that say which genes are selected, and why."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData, ImplicitModificationWarning

from ginseng import _keys
from ginseng._cells.open import OpenCells
from ginseng._cells.raw import columns_of_adata

#: Columns of `var`, by the name that the statistic has in :mod:`ginseng._select.dispersion`.
COLUMNS = {
    "selected": _keys.GENES,
    "means": _keys.MEANS,
    "variances": _keys.VARIANCES,
    "variances_norm": _keys.VARIANCES_NORM,
    "dispersions": _keys.DISPERSIONS,
    "dispersions_norm": _keys.DISPERSIONS_NORM,
    "rank": _keys.RANK,
    "n_batches": _keys.N_BATCHES,
}


def write_columns(adata: AnnData, cells: OpenCells, columns: dict[str, np.ndarray]) -> None:
    """Write columns of the genes of `cells` to `adata.var`, and remove what an earlier call wrote.

    Genes that only `raw` has are named in `uns`, where `layer="raw"` finds them.
    """
    if adata.is_view and not adata.isbacked:
        with warnings.catch_warnings():
            # the caller asked for the columns, so that the view becomes an AnnData of its own is no surprise
            warnings.simplefilter("ignore", ImplicitModificationWarning)
            adata.var[_keys.GENES] = False
    only_in_raw = None
    if cells.is_raw:
        columns, only_in_raw = columns_of_adata(adata, cells.var, columns)
    var: Any = adata.var
    if isinstance(var, pd.DataFrame):
        # `insert`, since assignment to a view of a backed AnnData wants to copy the file
        for name in var.columns.intersection([*COLUMNS.values(), _keys.MARKER_T, _keys.MARKER_RANK]):
            del var[name]
        for name, values in columns.items():
            var.insert(var.shape[1], name, values)
    else:  # lazy
        for name, values in columns.items():
            var[name] = values
    if only_in_raw is not None:
        adata.uns[_keys.RAW_GENES] = only_in_raw
    elif _keys.RAW_GENES in adata.uns:
        del adata.uns[_keys.RAW_GENES]
