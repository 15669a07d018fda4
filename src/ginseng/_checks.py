"""Errors that say what was found and what to do, raised before anything is written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse


def suggest(name: object, existing: Iterable[object]) -> str:
    """Name the entry of `existing` closest to `name`, and list what there is."""
    names = [str(e) for e in existing]
    close = difflib.get_close_matches(str(name), names, n=1)
    listed = ", ".join(repr(n) for n in names[:20]) + (", ..." if len(names) > 20 else "")
    return (f"Did you mean {close[0]!r}? " if close else "") + (f"There are: {listed}." if names else "There are none.")


class MissingKeyError(KeyError):
    """A column, layer or other entry that is not there."""

    def __str__(self) -> str:  # KeyError shows its message in quotes, with escapes
        return str(self.args[0]) if self.args else ""


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
    return series


#: Characters in the name of a gene or a label.
MAX_NAME = 256


def check_names(names: Iterable[str], what: str) -> None:
    """Refuse names that could not be shown or kept in a file.

    Raises
    ------
    ValueError
        If one is empty, has control characters, or more than 256 characters.
    """
    for name in names:
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            msg = (
                f"{what} has a name that is empty, too long (over {MAX_NAME} characters) or not plain text: "
                f"{name[:40]!r}"
            )
            raise ValueError(msg)


def check_values(block: sparse.csr_matrix | np.ndarray, layer: str | None = None) -> None:
    """Refuse what can be neither counts nor log-normalised counts.

    Raises
    ------
    ValueError
        If a value is NaN, infinite or negative; the message says how many are and what to do.
    """
    values: np.ndarray = block if isinstance(block, np.ndarray) else block.data
    where = "`adata.X`" if layer is None else f"`adata.layers[{layer!r}]`"
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        n = int((~np.isfinite(values)).sum())
        msg = f"{where} has values that are NaN or infinite ({n:,} in the part read so far). Repair or drop them first."
        raise ValueError(msg)
    if values.size and values.min() < 0:
        msg = (
            f"{where} has negative values (lowest {values.min():.3g}): it looks scaled. "
            "Pass `layer=` with counts, or put them back from `adata.raw`."
        )
        raise ValueError(msg)
