"""Ensembles: the members of an architecture as one network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ginseng._core.architecture import Architecture
from ginseng._core.types import Params

# M members, G genes, C classes, K width of the embedding, E of those of all members

#: Beside the parameters: how much each member counts, if not alike.
WEIGHTS = "weights"


def together(architecture: Architecture) -> Architecture:
    """Return the ensemble of all members of an architecture, or the architecture itself if it has one member."""
    return architecture if architecture.n_members == 1 else Together(architecture)


def each_member(f: Callable[..., Any], *args: Any) -> Any:
    """Return `f(*args)` of each member, whose arguments are stacked along the first axis.

    One after the other on CPUs, whose caches then hold what a member needs; elsewhere all at once.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(lambda own: f(*own), args)
    return jax.vmap(f)(*args)


@dataclasses.dataclass(frozen=True, init=False, kw_only=True)
class Together(Architecture):
    """An ensemble, with parameters stacked along the first axis."""

    member: Architecture

    def __init__(self, member: Architecture) -> None:
        object.__setattr__(self, "member", member)
        for name in ("name", "standardizes", "has_gene_weights", "skips_zeros", "cells_at_once"):
            object.__setattr__(self, name, getattr(member, name))

    def init(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        return self.member.init_members(key, n_genes, n_classes)

    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        """Return the logarithm of the mean probabilities."""
        weights = params.get(WEIGHTS)
        if key is None:
            return _mean(jax.lax.map(lambda params: self.member.logits(params, x), params), weights)
        keys = jax.random.split(key, self.member.n_members)
        logits = jax.lax.map(lambda member: self.member.logits(member[0], x, key=member[1]), (params, keys))
        return _mean(logits, weights)

    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " E"]:
        """Return the concatenated embeddings of the members."""
        return jax.vmap(lambda params: self.member.embed(params, x))(params).reshape(-1)

    def see(self, params: Params, x: Float[Array, " G"]) -> tuple[Float[Array, " C"], Float[Array, " K"]]:
        """Return the logarithm of the mean probabilities, and the direction of the last member.

        Where members read genes in two ways, that one reads them on one scale, as they are, and is least disturbed by
        other studies.
        """
        logits, directions = jax.lax.map(lambda params: self.member.see(params, x), params)
        return _mean(logits, params.get(WEIGHTS)), directions[-1]

    def gene_weights(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        """Return the mean weights."""
        return jax.vmap(lambda params: self.member.gene_weights(params, x))(params).mean(axis=0)

    def baseline(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        return self.member.baseline(jax.tree.map(lambda a: a[0], params), x)

    def between(
        self, params: Params, x: Float[Array, " G"], share: Float[Array, " G"], start: Float[Array, " G"] | None = None
    ) -> Float[Array, " C"]:
        start = self.baseline(params, x) if start is None else start  # shared by all members
        return _mean(jax.vmap(lambda params: self.member.between(params, x, share, start))(params))


def reads_on_one_scale(params: Params) -> np.ndarray:
    """Return which members read genes without centring them, (M,) bool."""
    found: np.ndarray = ~np.asarray(params["input"]["mean"]).any(axis=-1)
    return found


def weighted(architecture: Architecture, params: Params, weights: np.ndarray | None = None) -> Params:
    """Return parameters of an ensemble whose members count as much as these weights say, (M,); those of one unchanged.

    If None, all count alike, which is said even so: one program then does for any weights.
    """
    n = architecture.n_members
    return params if n == 1 else {**params, WEIGHTS: np.asarray(np.ones(n) if weights is None else weights, np.float32)}


def _mean(logits: Float[Array, "M C"], weights: Float[Array, " M"] | None = None) -> Float[Array, " C"]:
    log_probs = jax.nn.log_softmax(logits)
    if weights is None:
        return jax.nn.logsumexp(log_probs, axis=0) - math.log(logits.shape[0])
    return jax.nn.logsumexp(log_probs, axis=0, b=(weights / weights.sum())[:, None])
