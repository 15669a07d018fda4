"""Which rows of `var` are genes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ginseng._errors import warn

#: What `var["feature_types"]` calls a gene.
_GENES = "Gene Expression"


def measured_genes(var: Any) -> np.ndarray:
    """Return a bool for each row of `var`: False for antibodies, peaks and what else is no gene.

    Only the column `feature_types`, as 10x files have it, can tell; without it, or without one gene in it, all are.
    """
    if "feature_types" not in var:
        return np.ones(len(var), bool)
    is_gene = np.asarray(var["feature_types"].astype(str) == _GENES)
    return is_gene if is_gene.any() else np.ones(len(var), bool)


def warn_of_other_features(var: Any) -> None:
    """Say which rows of `var` are no genes, and that they are not used."""
    is_gene = measured_genes(var)
    if not is_gene.all():
        kinds = pd.Series(np.asarray(var["feature_types"].astype(str))[~is_gene]).value_counts()
        listed = ", ".join(f"{n:,} {kind!r}" for kind, n in kinds.items())
        msg = (
            f"Of {len(var):,} features only the {is_gene.sum():,} genes are used, also for the counts of a cell; "
            f"left out by `adata.var['feature_types']`: {listed}. "
            f"Drop them to silence this: `adata = adata[:, adata.var['feature_types'] == {_GENES!r}].copy()`."
        )
        warn(msg)
