"""Values that can be neither counts nor log-normalised counts."""

from __future__ import annotations

import numpy as np
from scipy import sparse

#: More than any count; sums of such numbers still fit float32.
LARGEST_COUNT = 1e30
#: The logarithm of no normalised count is above this: log2 of a million is 20.
LARGEST_LOG = 20.0
#: What is below zero by less than this was zero before something was subtracted from it.
ROUNDING = 1e-6


def checked(
    block: sparse.csr_matrix | np.ndarray, where: str, largest: float = LARGEST_COUNT
) -> sparse.csr_matrix | np.ndarray:
    """Return a block of a matrix with zero for what is negative by rounding alone.

    Raises
    ------
    ValueError
        If a value is NaN, infinite, negative or above `largest`; the message says what there is and what to do.
    """
    values: np.ndarray = block if isinstance(block, np.ndarray) else block.data
    if not values.size or values.dtype.kind in "bu":
        return block
    lowest, highest = values.min(), values.max()  # NaN if there is one
    if lowest >= 0 and highest <= largest:
        return block
    if not (lowest > -ROUNDING and highest < np.inf):
        raise ValueError(_described(block, values, where))
    if highest > largest:
        kind = "log-normalised counts" if largest == LARGEST_LOG else "counts of anything"
        msg = f"`{where}` has values up to {highest:.3g}, which are no {kind}. "
        msg += "For counts leave `target_sum` at its default." if largest == LARGEST_LOG else "Repair them first."
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
            f"`{where}` has values that are NaN or infinite {parts}. Repair them, or drop such cells or genes, first."
        )
    return (
        f"`{where}` has negative values (lowest {values.min():.3g}), as scaled data have {parts}. "
        "Pass `layer=` with counts, or put them back from where the data came from."
    )


#: What to do about genes that some samples lack.
OUTER_JOIN = (
    "Some cells lack whole genes: those that their sample does not have, in an outer join. Join the samples with "
    "`join='inner'`, which keeps the genes that all have, or take the others for not expressed: "
    "`ad.concat(..., join='outer', fill_value=0)`."
)


def are_of_outer_join(block: sparse.csr_matrix | np.ndarray) -> bool:
    """Whether cells fall into few groups by which genes are NaN, and have NaN in no other place."""
    missing = np.isnan(block if isinstance(block, np.ndarray) else block.toarray())
    missing = missing[missing.any(axis=1)]
    patterns = np.unique(np.packbits(missing, axis=1), axis=0)
    return len(missing) > 1 and len(patterns) <= max(1, len(missing) // 4)
