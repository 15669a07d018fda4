from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.class_table import class_values
from ginseng._cells.entries import check_adata
from ginseng._docs import document
from ginseng._errors import MissingKeyError, suggest


@document
def probabilities(adata: AnnData, *, key: str = _keys.DEFAULT) -> pd.DataFrame:
    """Return the probability of each class in each cell.

    Parameters
    ----------
    adata
        Annotated data, labelled by :func:`ginseng.tl.classify` with `store_probs=True`, or cross-validated.
    %(key)s

    Returns
    -------
    Cells x classes, float32, with the names of the classes as in the model. Rows sum to 1; they are NaN for cells that
    were not predicted.

    Raises
    ------
    KeyError
        If there are no probabilities.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", architecture="linear", silent=True)
    >>> gs.tl.classify(adata, adata, store_probs=True, silent=True)
    >>> gs.get.probabilities(adata).shape
    (700, 10)
    """
    check_adata(adata)
    name = _keys.probs(key)
    if name not in adata.obsm:
        msg = (
            f"`adata.obsm` has no {name!r}. Label the cells with `gs.tl.classify(adata, model, store_probs=True)`. "
            f"{suggest(name, adata.obsm)}"
        )
        raise MissingKeyError(msg)
    entry: Any = adata.obsm[name]
    values = class_values(entry)
    found: Any = adata.uns.get(key, {})
    classes = [str(c) for c in found.get("classes", ())] if isinstance(found, Mapping) else []
    if len(classes) != values.shape[1]:  # merging samples drops `uns`
        if not hasattr(entry, "columns"):
            msg = f"`adata.uns[{key!r}]` has no names for the columns of `adata.obsm[{name!r}]`. Label the cells again."
            raise MissingKeyError(msg)
        classes = [str(c) for c in entry.columns]
    return pd.DataFrame(values, index=adata.obs_names, columns=pd.Index(classes, dtype=object))


@document
def top(adata: AnnData, k: int = 3, *, key: str = _keys.DEFAULT) -> pd.DataFrame:
    """Return the most probable classes of each cell.

    Parameters
    ----------
    adata
        Annotated data, labelled by :func:`ginseng.tl.classify` with `store_probs=True`.
    k
        Number of classes; all if there are fewer.
    %(key)s

    Returns
    -------
    One row per cell, with the columns `label_1`, `probability_1`, `label_2`, ... by decreasing probability. Labels of
    cells that were not predicted are missing.

    Raises
    ------
    KeyError
        If there are no probabilities.
    ValueError
        If `k` is below 1.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", architecture="linear", silent=True)
    >>> gs.tl.classify(adata, adata, store_probs=True, silent=True)
    >>> gs.get.top(adata, k=2).columns.tolist()
    ['label_1', 'probability_1', 'label_2', 'probability_2']
    """
    if k < 1:
        msg = f"`k` must be at least 1, not {k}."
        raise ValueError(msg)
    table = probabilities(adata, key=key)
    values: np.ndarray = table.to_numpy()
    classes: Any = table.columns
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    known = ~np.isnan(values).any(axis=1)
    columns: dict[str, Any] = {}
    for i in range(order.shape[1]):
        labels = pd.Categorical.from_codes(np.where(known, order[:, i], -1), categories=classes)
        columns[f"label_{i + 1}"] = labels.remove_unused_categories()
        columns[f"probability_{i + 1}"] = np.take_along_axis(values, order[:, i : i + 1], axis=1)[:, 0]
    return pd.DataFrame(columns, index=adata.obs_names)
