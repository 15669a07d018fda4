"""Errors that say what was found and what to do, raised before anything is written."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Collection, Iterable, Mapping
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
    if isinstance(series, pd.DataFrame):
        msg = f"`{what}` has {series.shape[1]} columns called {key!r}. Rename all but one."
        raise ValueError(msg)
    return series


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


def warn_of_other_features(var: Any, *, stacklevel: int) -> None:
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
        warnings.warn(msg, UserWarning, stacklevel=stacklevel + 1)


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


def check_unique_names(names: Collection[str], what: str) -> None:
    """Refuse names that :func:`check_names` refuses, that are repeated, or of which there are none.

    Raises
    ------
    ValueError
        If there are such.
    """
    check_names(names, what)
    if len(names) == 0 or len(set(names)) < len(names):
        msg = f"{what!r} are empty or not unique"
        raise ValueError(msg)


def bad_values(where: str, *, nan: int = 0, infinite: int = 0, negative: int = 0, lowest: float = 0.0) -> str:
    """Say what is wrong with values that can be neither counts nor log-normalised counts, and what to do."""
    counted = (("NaN", nan), ("infinite", infinite), ("negative", negative))
    found = ", ".join(f"{n:,} {what}" for what, n in counted if n)
    broken = nan or infinite
    negatives = f"negative values (lowest {lowest:.3g}), as scaled data have"
    return (
        f"`{where}` has {'values that are NaN or infinite' if broken else negatives} ({found} in the part read so far)."
        f"{' Repair them, or drop such cells or genes, first.' if broken else ''}"
        f"{' Pass `layer=` with counts, or put them back from where the data came from.' if negative else ''}"
    )


#: More than any count; sums of such numbers still fit float32.
LARGEST_COUNT = 1e30


def check_values(block: sparse.csr_matrix | np.ndarray, layer: str | None = None) -> None:
    """Refuse what can be neither counts nor log-normalised counts.

    Raises
    ------
    ValueError
        If a value is NaN, infinite, negative or too large; the message says what there is and what to do.
    """
    values: np.ndarray = block if isinstance(block, np.ndarray) else block.data
    where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(bad_values(where, nan=int(np.isnan(values).sum()), infinite=int(np.isinf(values).sum())))
    if values.size and values.dtype.kind != "b" and values.min() < 0:
        raise ValueError(bad_values(where, negative=int((values < 0).sum()), lowest=float(values.min())))
    if values.size and values.dtype.kind == "f" and values.max() > LARGEST_COUNT:
        msg = f"`{where}` has values up to {values.max():.3g}, which are no counts of anything. Repair them first."
        raise ValueError(msg)


def check_matrix(x: Any, where: str = "The matrix") -> None:
    """Refuse a matrix that is not of numbers, or is sparse and has places outside of it.

    Compiled code would read memory there that is not its own. Of what is on disk the pointers alone are looked at: its
    parts have to be as they come.

    Raises
    ------
    TypeError
        If it has no numbers.
    ValueError
        If values are masked, or pointers or indices cannot be right.
    """
    if x.dtype.kind not in "biuf":
        msg = f"{where} has values of type {x.dtype}, which are no counts. Convert it to numbers first."
        raise TypeError(msg)
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        msg = f"{where} has values that are masked. Say what they are first, as by `.filled(0)`."
        raise ValueError(msg)
    on_disk = hasattr(x, "group")
    if not (on_disk or sparse.issparse(x)) or x.format not in ("csr", "csc"):
        return
    n_major, n_minor = x.shape if x.format == "csr" else x.shape[::-1]
    parts: Any = x.group if on_disk else {"indptr": x.indptr, "indices": x.indices, "data": x.data}
    pointers, n_values = np.asarray(parts["indptr"][:]).astype(np.int64), parts["data"].shape[0]
    wrong = None
    if pointers.shape != (n_major + 1,) or parts["indices"].shape != (n_values,):
        wrong = "the lengths of its arrays do not fit its shape"
    elif pointers[0] != 0 or pointers[-1] > n_values or (pointers[1:] < pointers[:-1]).any():
        wrong = "its pointers (`indptr`) do not rise from 0 to the number of its values"
    elif not on_disk and n_values and not 0 <= x.indices.min() <= x.indices.max() < n_minor:
        wrong = f"its indices go from {x.indices.min():,} to {x.indices.max():,}, where 0 to {n_minor - 1:,} would do"
    if wrong:
        msg = f"{where} is damaged: {wrong}. Read it, or make it, again from where the data came from."
        raise ValueError(msg)


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
