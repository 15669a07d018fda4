"""The contract that every architecture keeps.

An architecture is a frozen dataclass: its fields are its configuration, so that it is hashable (static under
`jax.jit`) and `dataclasses.asdict` is all that a model file has to keep. Its methods are pure functions of one cell;
the batch axis is added in `steps.py`, and so is the axis of the members where there are several.
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
    """How to train an architecture, where the settings of the training leave it open."""

    lr: float = 4e-3  # the highest
    batch_size: int = 128
    least_seen: int = 30_000  # cells, those of all epochs together
    monitor: Literal["loss", "macro_f1"] = "loss"


@dataclasses.dataclass(frozen=True)
class Architecture(ABC):
    """From the log-normalised expression of one cell to the logits of its classes."""

    name: ClassVar[str]
    #: Whether `params["input"]` holds a mean and a scale for each gene, which training fits before the first step.
    standardizes: ClassVar[bool] = False
    #: Whether the scale also makes genes larger whose variance lies between types, and others smaller.
    weighs: ClassVar[bool] = False
    #: Whether `gene_weights` is defined.
    has_gene_weights: ClassVar[bool] = False
    #: Whether the logits in `between` are linear, so that one gradient says what each gene contributes.
    is_linear: ClassVar[bool] = False

    #: Whether genes without a count are not read at all, so that one that was not measured is like one not expressed.
    skips_zeros: ClassVar[bool] = False
    #: Whether training keeps what the reference looks like, by which queries are read as if measured as it was.
    knows_reference: ClassVar[bool] = True
    #: Whether it can be trained; otherwise it is made from weights that were fitted elsewhere.
    trains: ClassVar[bool] = True
    #: Whether genes that were not measured say nothing, by :meth:`without`.
    is_neutral: ClassVar[bool] = False
    #: Whether it is evaluated in double precision, on counts normalised as scanpy rounds them.
    is_double: ClassVar[bool] = False

    #: Cells that go through a forward pass at once, where memory bounds them.
    cells_at_once: ClassVar[int | None] = None
    recipe: ClassVar[Recipe] = Recipe()

    hidden_dim: int = 64
    dropout_rate: float = 0.0
    #: Networks that are trained side by side on the same batches; their probabilities are averaged.
    n_members: int = 1

    def __post_init__(self) -> None:
        types = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), types[field.name]
            if get_origin(kind) is Literal:
                valid, wanted = value in get_args(kind), " or ".join(map(repr, get_args(kind)))
            elif kind is bool:
                valid, wanted = isinstance(value, bool), "True or False"
            elif get_origin(kind) is tuple:  # a list, as JSON has it
                if isinstance(value, list):
                    object.__setattr__(self, field.name, value := tuple(value))
                valid = isinstance(value, tuple) and all(type(n) is int and 0 < n <= 65_536 for n in value)
                wanted = "whole numbers from 1 to 65,536"
            elif kind is float:
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

    def init_members(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        """Return new parameters of all members, along a first axis where there are several."""
        if self.n_members == 1:
            return self.init(key, n_genes, n_classes)
        return jax.vmap(lambda key: self.init(key, n_genes, n_classes))(jax.random.split(key, self.n_members))

    @abstractmethod
    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        """Return the logits of one cell; a key means training, and makes dropout act."""

    @property
    def probability(self) -> Probability:
        """What the logits mean."""
        return Probability()

    def with_offset(self, params: Params, offset: Float[Array, " C"]) -> Params:
        """Return parameters whose logits are higher by `offset`."""
        return {**params, "head": {**params["head"], "b": params["head"]["b"] + offset}}

    def without(self, params: Params, missing: np.ndarray) -> Params:
        """Return parameters for cells in which these genes, by their places, were not measured and count as zero."""
        return params

    @abstractmethod
    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " K"]:
        """Return what the last linear layer reads."""

    def forms(self, x: Float[Array, "B G"], *, training: bool) -> tuple[tuple[Self, ...], Int[Array, ""] | int]:
        """Return forms of this architecture, the cheaper the smaller the cells they are for, and which does for these.

        All have the same parameters, and without dropout the one that does says what the last would.
        """
        return (self,), 0

    def gene_weights(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        """Return the weight in (0, 1) that each gene gets in this cell."""
        msg = f"Architecture {self.name!r} has no gene weights."
        raise NotImplementedError(msg)

    def baseline(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        """Return what a cell is compared with: the mean of the training data or, where none is kept, an empty cell."""
        return params["input"]["mean"] if self.standardizes else jnp.zeros_like(x)

    def between(
        self, params: Params, x: Float[Array, " G"], share: Float[Array, " G"], start: Float[Array, " G"] | None = None
    ) -> Float[Array, " C"]:
        """Return the logits where each gene has gone this share of the way from `start` (the baseline) to the cell."""
        start, end = self.baseline(params, x) if start is None else start, x
        if (
            self.standardizes
        ):  # outliers are clipped before they go, since their gradients vanish where they are clipped
            end = params["input"]["mean"] + params["input"]["scale"] * standardize(params["input"], x)
        return self.logits(params, start + share * (end - start))
