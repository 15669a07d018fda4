"""Columns and entries of an AnnData: found by name, and protected where they are not ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ginseng._errors import MissingKeyError, suggest


def column(frame: Any, key: str, *, what: str = "adata.obs") -> pd.Series:
    """Return a column of `frame`.

    Raises
    ------
    KeyError
        If there is none of that name; the message lists the columns and the closest one.
    """
    if key not in frame.columns:
        msg = f"`{what}` has no column {key!r}. {suggest(key, frame.columns)}"
        raise MissingKeyError(msg)
    series: Any = frame[key]
    if isinstance(series, pd.DataFrame):
        msg = f"`{what}` has {series.shape[1]} columns called {key!r}. Rename all but one."
        raise ValueError(msg)
    return series


def check_key_added(key_added: Any, uns: Mapping[str, Any], name: str | None = None) -> None:
    """Refuse a prefix that no file could keep, or under which `uns` has something else than ginseng writes.

    Parameters
    ----------
    key_added
        What the user passed.
    uns
        Of the AnnData that will be written to.
    name
        The entry of `uns` that will be written; `key_added` itself if None.

    Raises
    ------
    ValueError
        If it cannot be used; the message says why.
    """
    if not isinstance(key_added, str) or not key_added.strip(".") or not key_added.isprintable() or "/" in key_added:
        msg = f"`key_added` is {key_added!r}; it must be plain text without '/', as in `key_added='ginseng_2'`."
        raise ValueError(msg)
    name = key_added if name is None else name
    if name in uns and not isinstance(uns[name], dict):
        msg = (
            f"`adata.uns[{name!r}]` has something that ginseng did not write ({type(uns[name]).__name__}), and is not "
            f"replaced. Choose another name, `key_added='{key_added}_2'`, or drop it: `del adata.uns[{name!r}]`."
        )
        raise ValueError(msg)
