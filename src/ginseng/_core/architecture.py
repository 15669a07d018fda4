"""The contract that every architecture keeps.

An architecture is a frozen dataclass: its fields are its configuration, so that it is hashable (static under
`jax.jit`) and `dataclasses.asdict` is all that a model file has to keep. Its methods are pure functions of one cell;
the batch axis is added in `steps.py`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from jaxtyping import Array, Float, PRNGKeyArray

# G genes, C classes, K width of the embedding
type Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Architecture(ABC):
    """From the log-normalised expression of one cell to the logits of its classes."""

    name: ClassVar[str]
    #: Whether `params["input"]` holds a mean and a scale for each gene, which training fits before the first step.
    standardizes: ClassVar[bool] = False
    #: Whether `gene_weights` is defined.
    has_gene_weights: ClassVar[bool] = False

    hidden_dim: int = 64
    dropout_rate: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "dropout_rate":
                valid, wanted = isinstance(value, int | float) and 0 <= value < 1, "in [0, 1)"
            else:
                most = 64 if field.name.startswith("n_") else 65_536
                valid, wanted = (
                    isinstance(value, int) and 0 < value <= most,
                    f"a whole number from 1 to {most:,}",
                )
            if not valid:
                msg = f"`{field.name}` of architecture {self.name!r} must be {wanted}, not {value!r}."
                raise ValueError(msg)

    @abstractmethod
    def init(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        """Return new parameters: a nested dict of float32 arrays."""

    @abstractmethod
    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        """Return the logits of one cell; a key means training, and makes dropout act."""

    @abstractmethod
    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " K"]:
        """Return what the last linear layer reads."""

    def gene_weights(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        """Return the weight in (0, 1) that each gene gets in this cell."""
        msg = f"Architecture {self.name!r} has no gene weights."
        raise NotImplementedError(msg)
