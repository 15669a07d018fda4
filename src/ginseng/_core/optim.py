"""AdamW from optax, with the learning rate as an input of the step."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import optax
from jaxtyping import Array, Float

from ginseng._core.types import Params


def matrices(params: Params) -> Params:
    """Return a mask of the weight matrices, excluding biases and scales: True for parameters named `W`."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "W", params)


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    The learning rate is passed to each update, so that runs of any length and rate share one compiled step.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    def _transform(self) -> optax.GradientTransformation:
        return optax.chain(
            # flattened: one update to compile and run instead of one per parameter
            optax.flatten(optax.scale_by_adam(*self.betas, eps=self.eps)),
            # matrices only: biases and the scale of the input are not shrunk towards zero
            optax.add_decayed_weights(self.weight_decay, mask=matrices),
        )

    def init(self, params: Params) -> optax.OptState:
        """Return the state before the first step: zeros, of NumPy, so that nothing is compiled."""
        shapes = jax.eval_shape(self._transform().init, params)
        return jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)

    def update(
        self, grads: Params, state: optax.OptState, params: Params, lr: float | Float[Array, ""]
    ) -> tuple[Params, optax.OptState]:
        """Return the parameters and the state after one step."""
        updates, state = self._transform().update(grads, state, params)
        return optax.apply_updates(params, optax.tree.scale(-lr, updates)), state


def warmup_cosine(n_steps: int, peak: float, warmup: float = 0.1, max_warmup: int = 100) -> np.ndarray:
    """Return the learning rate of each step: linear warm-up, then cosine decay to zero (Loshchilov and Hutter 2017)."""
    n_up = max(1, min(int(warmup * n_steps), max_warmup))
    step = np.arange(n_steps)
    fall = 0.5 * (1 + np.cos(np.pi * np.clip((step - n_up) / max(n_steps - n_up, 1), 0, 1)))
    return (peak * np.where(step < n_up, (step + 1) / n_up, fall)).astype(np.float32)
