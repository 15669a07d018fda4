"""Check matrices before compiled code reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse


def check_matrix(x: Any, where: str = "The matrix") -> None:
    """Raise if a matrix is not numeric, or is sparse with out-of-bounds indices.

    Compiled code would read past the end of its arrays. Of a matrix on disk only `indptr` is checked here; its blocks
    must be checked as they are read.

    Raises
    ------
    TypeError
        If the values are not numbers.
    ValueError
        If values are masked, or `indptr` or indices are invalid.
    """
    if x.dtype.kind not in "biuf":
        msg = f"{where} has values of type {x.dtype}, not counts. Convert them to numbers first."
        raise TypeError(msg)
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        msg = f"{where} has masked values. Replace them first, as by `.filled(0)`."
        raise ValueError(msg)
    on_disk = hasattr(x, "group")
    if not (on_disk or sparse.issparse(x)) or x.format not in ("csr", "csc"):
        return
    n_major, n_minor = x.shape if x.format == "csr" else x.shape[::-1]
    parts: Any = x.group if on_disk else {"indptr": x.indptr, "indices": x.indices, "data": x.data}
    pointers, n_values = np.asarray(parts["indptr"][:]).astype(np.int64), parts["data"].shape[0]
    wrong = None
    if pointers.shape != (n_major + 1,) or parts["indices"].shape != (n_values,):
        wrong = "the lengths of its arrays do not match its shape"
    elif pointers[0] != 0 or pointers[-1] > n_values or (pointers[1:] < pointers[:-1]).any():
        wrong = "its pointers (`indptr`) do not increase from 0 to the number of values"
    elif not on_disk and n_values and not 0 <= x.indices.min() <= x.indices.max() < n_minor:
        wrong = f"its indices go from {x.indices.min():,} to {x.indices.max():,}, outside of 0 to {n_minor - 1:,}"
    if wrong:
        msg = f"{where} is damaged: {wrong}. Read or create it again from the original data."
        raise ValueError(msg)
