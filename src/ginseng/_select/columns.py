"""Columns of `var` that hold the selected genes and their statistics."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.open import OpenCells
from ginseng._cells.raw import columns_of_adata
from ginseng._cells.write import Results

#: Columns of `var`, by the name of the statistic in :mod:`ginseng._select.dispersion`.
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


def gene_results(adata: AnnData, cells: OpenCells, columns: dict[str, np.ndarray]) -> Results:
    """Return per-gene columns of `cells` in the form in which they are written to `adata.var`.

    Selected genes that only `raw` has are listed in `uns`, where `layer="raw"` finds them.
    """
    only_in_raw = None
    if cells.is_raw:
        columns, only_in_raw = columns_of_adata(adata, cells.var, columns)
    return Results(var=dict(columns), entries={_keys.RAW_GENES: only_in_raw})
