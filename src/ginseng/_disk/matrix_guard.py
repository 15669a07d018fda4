"""Matrices that compiled code can be trusted with."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse


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
