"""Documented names of ginseng 0.2 for the optimiser: a step of AdamW on nested dicts."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from ginseng._core.types import Params

__all__ = ["AdamState", "opt_adam_update", "opt_init_adam"]


class AdamState(NamedTuple):
    """State of Adam: number of steps, and moving averages of the gradients and their squares."""

    step: Int[Array, ""]
    m: Params
    v: Params


def opt_init_adam(params: Params) -> AdamState:
    """Return the state before the first step."""
    return AdamState(*optax.scale_by_adam().init(params))


def opt_adam_update(
    grads: Params,
    params: Params,
    state: AdamState,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Params, AdamState]:
    """Return parameters and state after one step of AdamW; weight decay applies to all parameters."""
    adam = optax.scale_by_adam(*betas, eps=eps)
    before = optax.ScaleByAdamState(jnp.asarray(state.step, jnp.int32), state.m, state.v)
    updates, after = adam.update(grads, before, params)
    params = jax.tree.map(lambda p, u: p - lr * (u + weight_decay * p), params, updates)
    return params, AdamState(*after)
