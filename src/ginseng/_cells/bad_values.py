"""Values that are neither counts nor log-normalised counts."""

from __future__ import annotations

import numpy as np
from scipy import sparse

#: Larger than any real count, small enough for sums in float32.
LARGEST_COUNT = 1e30
#: No log-normalised value exceeds this: log2 of a million is 20.
LARGEST_LOG = 20.0
#: Values between minus this and zero are rounding errors, for instance of a subtraction.
ROUNDING = 1e-6


def checked(
    block: sparse.csr_matrix | np.ndarray, where: str, largest: float = LARGEST_COUNT
) -> sparse.csr_matrix | np.ndarray:
    """Return a block of a matrix with rounding errors below zero set to zero.

    Raises
    ------
    ValueError
        If a value is NaN, infinite, negative or above `largest`; the message says what was found and what to do.
    """
    values: np.ndarray = block if isinstance(block, np.ndarray) else block.data
    if not values.size or values.dtype.kind in "bu":
        return block
    lowest, highest = values.min(), values.max()  # NaN if any value is NaN
    if lowest >= 0 and highest <= largest:
        return block
    if not (lowest > -ROUNDING and highest < np.inf):
        raise ValueError(_described(block, values, where))
    if highest > largest:
        kind = "log-normalised counts" if largest == LARGEST_LOG else "counts"
        msg = f"`{where}` has values up to {highest:.3g}, too large for {kind}. "
        msg += "For counts, leave `target_sum` at its default." if largest == LARGEST_LOG else "Repair them first."
        raise ValueError(msg)
    block = block.copy()
    values = block if isinstance(block, np.ndarray) else block.data
    values[values < 0] = 0
    return block


def _described(block: sparse.csr_matrix | np.ndarray, values: np.ndarray, where: str) -> str:
    counted = {
        "NaN": int(np.isnan(values).sum()),
        "infinite": int(np.isinf(values).sum()),
        "negative": int((values < 0).sum()),
    }
    found = ", ".join(f"{n:,} {what}" for what, n in counted.items() if n)
    parts = f"({found} in the part read so far)"
    if counted["NaN"] and are_of_outer_join(block):
        return f"`{where}` has values that are NaN {parts}. {OUTER_JOIN}"
    if counted["NaN"] or counted["infinite"]:
        return (
            f"`{where}` has values that are NaN or infinite {parts}. Repair them, or drop these cells or genes first."
        )
    return (
        f"`{where}` has negative values (lowest {values.min():.3g}), as scaled data have {parts}. "
        "Pass `layer=` with counts, or restore them from the original data."
    )


#: Advice for genes that are missing from some samples.
OUTER_JOIN = (
    "Some cells have no values for whole genes, as after an outer join of samples with different genes. Join the "
    "samples with `join='inner'`, which keeps the shared genes, or treat the missing genes as not expressed: "
    "`ad.concat(..., join='outer', fill_value=0)`."
)


def are_of_outer_join(block: sparse.csr_matrix | np.ndarray) -> bool:
    """Whether NaN fall into few patterns of missing genes, each shared by many cells, as an outer join leaves them."""
    missing = np.isnan(block if isinstance(block, np.ndarray) else block.toarray())
    missing = missing[missing.any(axis=1)]
    patterns = np.unique(np.packbits(missing, axis=1), axis=0)
    return len(missing) > 1 and len(patterns) <= max(1, len(missing) // 4)
