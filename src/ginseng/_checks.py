"""Errors that say what was found and what to do, raised before anything is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import pandas as pd


def suggest(name: object, existing: Iterable[object]) -> str:
    """Name the entry of `existing` closest to `name`, and list what there is."""
    names = [str(e) for e in existing]
    close = difflib.get_close_matches(str(name), names, n=1)
    listed = ", ".join(repr(n) for n in names[:20]) + (", ..." if len(names) > 20 else "")
    return (f"Did you mean {close[0]!r}? " if close else "") + (
        f"There are: {listed}." if names else "There are none."
    )


class MissingKeyError(KeyError):
    """A column, layer or other entry that is not there."""

    def __str__(self) -> str:  # KeyError shows its message in quotes, with escapes
        return str(self.args[0]) if self.args else ""


def column(frame: pd.DataFrame, key: str, *, what: str = "adata.obs") -> pd.Series:
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
    return series
