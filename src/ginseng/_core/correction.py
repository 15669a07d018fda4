"""What is done to normalised expression where a query is not measured as the reference was."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# B cells, G genes


class Correction(NamedTuple):
    """What makes up for a query that is not measured as the cells that the model was trained on.

    A gene that was not measured takes its mean in the reference, so that it says nothing, and what the query has more
    of than the reference, whatever the class, is taken off the others.
    """

    measured: Bool[Array, " G"]
    neutral: Float[Array, " G"]  # normalised expression of a gene that was not measured
    shift: Float[Array, " G"]  # normalised expression that is taken off one that was
    share: Float[Array, ""]  # of the counts of a cell of the reference that are of the genes measured

    def __call__(self, x: Float[Array, "B G"]) -> Float[Array, "B G"]:
        """Return normalised expression as it would have been measured in the reference."""
        return jnp.where(self.measured, x - self.shift, self.neutral)
