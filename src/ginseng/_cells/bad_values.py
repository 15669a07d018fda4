"""Values and matrices that can be neither counts nor log-normalised counts."""

from __future__ import annotations

import numpy as np
from scipy import sparse


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
