"""A coarse classifier for groups of cell types, and one classifier per group for the types within it."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ginseng._core.architecture import Architecture
from ginseng._core.layers import dropout, init_linear, linear, random_bits
from ginseng._core.probs import Probability
from ginseng._core.registry import register
from ginseng._core.types import Params

# G genes, C classes, K groups of classes, H hidden units


@register
@dataclasses.dataclass(frozen=True)
class Cascade(Architecture):
    """log p(class) = log p(group) + log p(class given group) (+ an offset per class).

    Each network is a small MLP on the genes. The classes of a group are consecutive. A group with a single class needs
    no network, and a single group needs no coarse network.
    """

    name: ClassVar[str] = "cascade"

    hidden_dim: int = 25
    dropout_rate: float = 0.2
    #: Units of the hidden layers before the last one.
    widths: tuple[int, ...] = (100, 50)
    #: Number of classes per group; a single group if empty.
    groups: tuple[int, ...] = ()

    @property
    def probability(self) -> Probability:
        return Probability("cascade", self.groups)

    @property
    def n_layers(self) -> int:
        """Number of group networks, not counting the coarse network."""
        return sum(size > 1 for size in self.groups)

    def _sizes(self, n_classes: int) -> tuple[int, ...]:
        sizes = self.groups or (n_classes,)
        if sum(sizes) != n_classes:
            msg = f"`groups` of architecture {self.name!r} has {sum(sizes):,} classes, but there are {n_classes:,}."
            raise ValueError(msg)
        return sizes

    def init(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        sizes = self._sizes(n_classes)
        outputs = {"coarse": len(sizes)} | {f"group{k}": size for k, size in enumerate(sizes)}
        outputs = {name: n for name, n in outputs.items() if n > 1 or (n_classes == 1 and name != "coarse")}
        params = {
            name: self._init_network(key, n_genes, n)
            for key, (name, n) in zip(jax.random.split(key, len(outputs)), outputs.items(), strict=True)
        }
        return {**params, "offset": {"b": jnp.zeros(n_classes)}}

    def _init_network(self, key: PRNGKeyArray, n_inputs: int, n_outputs: int) -> Params:
        widths = [n_inputs, *self.widths, self.hidden_dim, n_outputs]
        keys = jax.random.split(key, len(widths) - 1)
        return {f"layer{i + 1}": init_linear(k, widths[i], widths[i + 1]) for i, k in enumerate(keys)}

    def _hidden(self, layers: Params, x: Float[Array, " G"], key: PRNGKeyArray | None) -> Float[Array, " H"]:
        bits = random_bits(key, *self.widths, self.hidden_dim)
        for i, b in enumerate(bits):
            x = dropout(b, jax.nn.relu(linear(layers[f"layer{i + 1}"], x)), self.dropout_rate)
        return x

    def _log_probs(self, layers: Params, x: Float[Array, " G"], key: PRNGKeyArray | None) -> Float[Array, " N"]:
        return jax.nn.log_softmax(linear(layers[f"layer{len(self.widths) + 2}"], self._hidden(layers, x, key)))

    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        sizes = self._sizes(params["offset"]["b"].size)
        networks = [name for name in params if name != "offset"]
        keys = dict(zip(networks, jax.random.split(key, len(networks)), strict=True)) if key is not None else {}
        log_probs = {name: self._log_probs(params[name], x, keys.get(name)) for name in networks}
        coarse = log_probs.pop("coarse", jnp.zeros(1))
        out = jnp.repeat(coarse, np.array(sizes), total_repeat_length=sum(sizes)) + params["offset"]["b"]
        starts = np.cumsum(sizes) - sizes
        for name, fine in log_probs.items():
            start = int(starts[int(name.removeprefix("group"))])
            out = out.at[start : start + fine.size].add(fine)
        return out

    def with_offset(self, params: Params, offset: Float[Array, " C"]) -> Params:
        return {**params, "offset": {"b": params["offset"]["b"] + offset}}

    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " K*H"]:
        """Return the input of the last layer of every network, concatenated."""
        return jnp.concatenate([self._hidden(params[name], x, None) for name in sorted(set(params) - {"offset"})])
