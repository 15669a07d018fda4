"""Columns of an AnnData, found by name."""

from __future__ import annotations

from typing import Any

import pandas as pd
from anndata import AnnData

from ginseng._errors import MissingKeyError, suggest


def check_adata(adata: Any) -> None:
    """Raise a `TypeError` for what is no AnnData, as the path of one."""
    if not isinstance(adata, AnnData):
        msg = f"`adata` is a {type(adata).__name__}, not an AnnData. Files are read with `ginseng.read_adata`."
        raise TypeError(msg)


def column(frame: Any, key: str, *, what: str = "adata.obs") -> pd.Series:
    """Return a column of `frame`.

    Raises
    ------
    KeyError
        If there is no such column; the message lists the columns and the closest name.
    """
    if key not in frame.columns:
        msg = f"`{what}` has no column {key!r}. {suggest(key, frame.columns)}"
        raise MissingKeyError(msg)
    series: Any = frame[key]
    if isinstance(series, pd.DataFrame):
        msg = f"`{what}` has {series.shape[1]} columns called {key!r}. Rename all but one."
        raise ValueError(msg)
    return series
