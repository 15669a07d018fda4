"""Logistic regression with coefficients that were fitted elsewhere."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ginseng._core.architecture import Architecture
from ginseng._core.layers import init_standardize
from ginseng._core.probs import Probability
from ginseng._core.registry import register
from ginseng._core.types import Params

# G genes, C classes


@register
@dataclasses.dataclass(frozen=True)
class Logistic(Architecture):
    """Logits W z + b of z = (x - mean) / scale, where z is clipped at 10 if `clip`, as in CellTypist.

    `link` is one sigmoid per class, or a softmax over all classes. The coefficients are fitted elsewhere; `hidden_dim`
    and `dropout_rate` have no effect. Coefficients in double precision are stored as the sum of two float32: logits in
    the thousands, as from stochastic gradient descent, need every digit.
    """

    name: ClassVar[str] = "logistic"
    is_linear: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    is_double: ClassVar[bool] = True
    is_neutral: ClassVar[bool] = True

    link: Literal["sigmoid", "softmax"] = "sigmoid"
    clip: bool = True

    @staticmethod
    def params_of(mean: np.ndarray, scale: np.ndarray, W: np.ndarray, b: np.ndarray) -> Params:
        """Return parameters from coefficients in double precision of shapes (G,), (G,), (G, C) and (C,)."""
        return {
            "scaler": {**_split("mean", mean), **_split("scale", scale)},
            "head": {**_split("W", W), **_split("b", b)},
        }

    @property
    def probability(self) -> Probability:
        return Probability("one_vs_rest" if self.link == "sigmoid" else "softmax")

    def init(self, key: PRNGKeyArray, n_genes: int, n_classes: int) -> Params:
        zeros = jnp.zeros
        head = {"W": zeros((n_genes, n_classes)), "b": zeros(n_classes)}
        rest = {"W_rest": zeros((n_genes, n_classes)), "b_rest": zeros(n_classes)}
        scaler = {**init_standardize(n_genes), "mean_rest": zeros(n_genes), "scale_rest": zeros(n_genes)}
        return {"scaler": scaler, "head": {**head, **rest}}

    def logits(self, params: Params, x: Float[Array, " G"], *, key: PRNGKeyArray | None = None) -> Float[Array, " C"]:
        return self._head(params, self.embed(params, x))

    def embed(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        z = (x - _whole(params["scaler"], "mean")) / _whole(params["scaler"], "scale")
        return jnp.minimum(z, 10.0) if self.clip else z

    def _head(self, params: Params, z: Float[Array, " G"]) -> Float[Array, " C"]:
        return z @ _whole(params["head"], "W") + _whole(params["head"], "b")

    def without(self, params: Params, missing: np.ndarray) -> Params:
        """Return parameters for which these unmeasured genes, which count as zero, have no effect."""
        scaler = {name: np.array(values) for name, values in params["scaler"].items()}
        for name in ("mean", "mean_rest"):
            scaler[name][missing] = 0.0
        return {**params, "scaler": scaler}

    def baseline(self, params: Params, x: Float[Array, " G"]) -> Float[Array, " G"]:
        return params["scaler"]["mean"]

    def between(
        self, params: Params, x: Float[Array, " G"], share: Float[Array, " G"], start: Float[Array, " G"] | None = None
    ) -> Float[Array, " C"]:
        return self._head(params, share * self.embed(params, x))


def _split(name: str, values: np.ndarray) -> Params:
    nearest = values.astype(np.float32)
    return {name: nearest, f"{name}_rest": (values - nearest).astype(np.float32)}


def _whole(params: Params, name: str) -> Float[Array, "..."]:
    """Return the sum of both parts, in double precision if it is enabled."""
    wide = jax.dtypes.canonicalize_dtype(np.float64)
    return params[name].astype(wide) + params[f"{name}_rest"].astype(wide)
