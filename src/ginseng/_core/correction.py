"""What is done to normalised expression where a query is not measured as the reference was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# B cells, G genes

#: Minimum share of counts to divide by.
TINY = 1e-9


class Correction(NamedTuple):
    """What makes up for a query that is not measured as the cells that the model was trained on.

    A gene that was not measured takes its mean in the reference, so that it says nothing, and what the query has more
    of than the reference, whatever the class, is taken off the others.
    """

    measured: Bool[Array, " G"]
    neutral: Float[Array, " G"]  # normalised expression of a gene that was not measured
    shift: Float[Array, " G"]  # normalised expression that is taken off one that was
    share: Float[Array, ""]  # of the counts of a cell of the reference that are of the genes measured

    @classmethod
    def of(
        cls, reference: Mapping[str, Any], measured: Any, *, skips_zeros: bool, shift: np.ndarray | None = None
    ) -> Self:
        """Return the correction for cells of which these genes were measured, (G,) bool.

        Parameters
        ----------
        reference
            Statistics of the cells that the model was trained on, with `mean` and `share` of each gene.
        skips_zeros
            Whether the architecture reads expressed genes alone, so that a gene that says nothing is zero.
        shift
            (G,) to take off the genes that were measured; nothing if None.
        """
        none: Any = np.zeros(len(measured), np.float32)
        given: Any = none if shift is None else shift
        share: Any = reference["share"]
        of_measured: Any = np.float32(max(share[measured].sum() / max(share.sum(), TINY), TINY))
        return cls(measured, none if skips_zeros else reference["mean"], given, of_measured)

    def __call__(self, x: Float[Array, "B G"]) -> Float[Array, "B G"]:
        """Return normalised expression as it would have been measured in the reference."""
        return jnp.where(self.measured, x - self.shift, self.neutral)
