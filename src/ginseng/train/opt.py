"""Documented names for the optimiser, on top of the one that training uses."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from ginseng._core.architecture import Params
from ginseng._core.optim import AdamW

__all__ = ["AdamState", "opt_adam_update", "opt_init_adam"]


class AdamState(NamedTuple):
    """State of Adam: steps taken, and the moving averages of gradients and of their squares."""

    step: Int[Array, ""]
    m: Params
    v: Params


def opt_init_adam(params: Params) -> AdamState:
    """Return the state before the first step."""
    return AdamState(*optax.tree.get(AdamW().init(params), "ScaleByAdamState"))


def opt_adam_update(
    grads: Params,
    params: Params,
    state: AdamState,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> tuple[Params, AdamState]:
    """Return parameters and state after one step of AdamW; all parameters decay."""
    optimizer = AdamW(betas, eps, weight_decay, decay_vectors=True)
    step = optax.ScaleByAdamState(jnp.asarray(state.step, jnp.int32), state.m, state.v)
    params, new = optimizer.update(grads, (step, *optimizer.init(params)[1:]), params, lr)
    return params, AdamState(*optax.tree.get(new, "ScaleByAdamState"))
