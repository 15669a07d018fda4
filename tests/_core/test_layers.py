"""Linear layers with products in bfloat16."""

import jax
import ml_dtypes
import numpy as np

from ginseng._core.layers import BFLOAT16, linear, products_in


def rounded(a: np.ndarray) -> np.ndarray:
    return a.astype(ml_dtypes.bfloat16).astype(np.float64)


def test_factors_are_rounded_to_bfloat16_and_sums_are_not() -> None:
    """On a CPU, which has no such products, as on a GPU."""
    rng = np.random.default_rng(0)
    x, w, b, g = (rng.normal(size=size).astype(np.float32) for size in ((5, 300), (300, 7), (7,), (5, 7)))

    def f(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        return jax.vmap(lambda x: linear(params, x))(x)

    with products_in(BFLOAT16):
        y, backward = jax.vjp(f, {"W": w, "b": b}, x)
        of_params, of_x = backward(g)
    how = {"rtol": 1e-5, "atol": 1e-4}
    np.testing.assert_allclose(y, rounded(x) @ rounded(w) + b, **how)
    np.testing.assert_allclose(of_params["W"], rounded(x).T @ rounded(g), **how)
    np.testing.assert_allclose(of_params["b"], g.sum(axis=0), **how)
    np.testing.assert_allclose(of_x, rounded(g) @ rounded(w).T, **how)
    assert {a.dtype.name for a in (y, of_params["W"], of_params["b"], of_x)} == {"float32"}
    assert np.abs(y - (x @ w + b)).max() > 1e-2  # what rounding changes is far more than the tolerance
    with products_in("highest"):
        np.testing.assert_allclose(linear({"W": w, "b": b}, x), x @ w + b, **how)
