"""The interface of all architectures.

An architecture is a frozen dataclass whose fields are its configuration: it is hashable (static under `jax.jit`), and
model files store just its `dataclasses.asdict`. Its methods are pure functions of one cell; `steps.py` adds the batch
axis, and the axis of the ensemble members if there are several.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ginseng._core.layers import standardize
from ginseng._core.probs import Probability
from ginseng._core.types import Params

# G genes, C classes, K width of the embedding


class Recipe(NamedTuple):
    """Default training settings of an architecture."""

    lr: float = 4e-3  # peak learning rate
    batch_size: int = 128
    batch_size_of_many: int | None = None  # where there are many cells to train on; the same if None
    least_seen: int = 30_000  # cells, over all epochs
    monitor: Literal["loss", "macro_f1"] = "loss"


@dataclasses.dataclass(frozen=True)
class Architecture(ABC):
    """Maps the log-normalised expression of one cell to the logits of the classes."""

    name: ClassVar[str]
    #: Whether `params["input"]` holds a mean and a scale per gene, fitted before the first training step.
    standardizes: ClassVar[bool] = False
    #: Whether the scale also gives more weight to genes whose variance lies between types.
    weighs: ClassVar[bool] = False
    #: Whether `gene_weights` is defined.
    has_gene_weights: ClassVar[bool] = False
    #: Whether the logits in `between` are linear, so that one gradient gives the contributions of all genes.
    is_linear: ClassVar[bool] = False

    #: Whether genes without counts are skipped, so that unmeasured genes are treated like unexpressed ones.
    skips_zeros: ClassVar[bool] = False
    #: Whether training stores statistics of the reference, by which queries are corrected for how they were measured.
    knows_reference: ClassVar[bool] = True
    #: Whether it can be trained; otherwise its weights must have been fitted elsewhere.
    trains: ClassVar[bool] = True
    #: Whether unmeasured genes have no effect, through :meth:`without`.
    is_neutral: ClassVar[bool] = False
    #: Whether it is evaluated in double precision, on counts normalised with scanpy's rounding.
    is_double: ClassVar[bool] = False

    #: Maximum cells per forward pass, to limit memory; None for no limit.
    cells_at_once: ClassVar[int | None] = None
    recipe: ClassVar[Recipe] = Recipe()

    hidden_dim: int = 64
    dropout_rate: float = 0.0
    #: Number of ensemble members, trained together on the same batches; their probabilities are averaged.
    n_members: int = 1

    def __post_init__(self) -> None:
        types = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), types[field.name]
            if get_origin(kind) is Literal:
                valid, wanted = value in get_args(kind), " or ".join(map(repr, get_args(kind)))
            elif kind is bool:
                valid, wanted = isinstance(value, bool), "True or False"
            elif get_origin(kind) is tuple:  # JSON has lists
                if isinstance(value, list):
                    object.__setattr__(self, field.name, value := tuple(value))
                valid = isinstance(value, tuple) and all(type(n) is int and 0 < n <= 65_536 for n in value)
                wanted = "whole numbers from 1 to 65,536"
            elif kind is float:
                valid, wanted = isinstance(value, int | float) and 0 <= value < 1, "in [0, 1)"
            else:
                most = 64 if field.name.startswith("n_") else 65_536
                valid, wanted = isinstance(value, int) and 0 < value <= most, f"a whole number from 1 to {most:,}"
            if not valid:
                msg = f"`{field.name}` of architecture {self.name!r} must be {wanted}, not {value!r}."
                raise ValueError(msg)

    @abstractmethod
    def init(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        """Return new parameters: a nested dict of float32 arrays."""

    def init_members(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        """Return new parameters of all members, stacked along the first axis if there are several."""
        if self.n_members == 1:
            return self.init(key, n_genes, n_classes)
        return jax.vmap(lambda key: self.init(key, n_genes, n_classes))(jax.random.split(key, self.n_members))

    @abstractmethod
    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        """Return the logits of one cell; dropout is applied if a key is given."""

    @property
    def probability(self) -> Probability:
        """How logits become probabilities."""
        return Probability()

    def with_offset(self, params: Params, offset: Float[Array, " C"]) -> Params:
        """Return parameters with `offset` added to the logits."""
        return {**params, "head": {**params["head"], "b": params["head"]["b"] + offset}}

    def without(self, params: Params, missing: np.ndarray) -> Params:
        """Return parameters for cells in which the genes with these indices were not measured and count as zero."""
        return params

    @abstractmethod
    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " K"]:
        """Return the input of the last linear layer."""

    def see(self, params: Params, x: Float[Array, " G"]) -> tuple[Float[Array, " C"], Float[Array, " K"]]:
        """Return the logits of one cell, and the direction of its embedding."""
        embedded = self.embed(params, x)
        return self.logits(params, x), embedded / jnp.maximum(jnp.linalg.norm(embedded), 1e-9)

    def forms(self, x: Float[Array, "B G"], *, training: bool) -> tuple[tuple[Self, ...], Int[Array, ""] | int]:
        """Return variants of this architecture by increasing cost, and the index of the one to use for this batch.

        All variants have the same parameters. Without dropout, the chosen one gives the same result as the last.
        """
        return (self,), 0

    def gene_weights(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        """Return the weight of each gene in this cell, in (0, 1)."""
        msg = f"Architecture {self.name!r} has no gene weights."
        raise NotImplementedError(msg)

    def baseline(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        """Return the baseline of a cell: the mean of the training data or, if none is stored, an empty cell."""
        return params["input"]["mean"] if self.standardizes else jnp.zeros_like(x)

    def between(
        self, params: Params, x: Float[Array, " G"], share: Float[Array, " G"], start: Float[Array, " G"] | None = None
    ) -> Float[Array, " C"]:
        """Return the logits with each gene at this fraction of the way from `start` (the baseline) to the cell."""
        start, end = self.baseline(params, x) if start is None else start, x
        if self.standardizes:  # clip outliers first, since their gradients vanish where they are clipped
            end = params["input"]["mean"] + params["input"]["scale"] * standardize(params["input"], x)
        return self.logits(params, start + share * (end - start))
