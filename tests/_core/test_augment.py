import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ginseng._core.augment import augment, background, drop_genes, mask, other_study
from ginseng._core.steps import Batch, Noise

KEY = jax.random.key(0)


@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_mask_has_its_rate_and_keeps_the_rest(rate: float) -> None:
    x = np.arange(1, 200_001, dtype=np.float32).reshape(400, 500)
    out = np.asarray(mask(KEY, x, rate))
    masked = out == 0
    assert abs(masked.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / x.size)
    np.testing.assert_array_equal(out[~masked], x[~masked])
    # value by value, not gene by gene or cell by cell
    assert masked.mean(axis=0).std() < 2 * np.sqrt(rate * (1 - rate) / 400)
    assert masked.mean(axis=1).std() < 2 * np.sqrt(rate * (1 - rate) / 500)


def test_background_is_poisson_with_a_mean_for_each_cell() -> None:
    lam_max, n_genes = 0.5, 1500
    noise = np.asarray(background(KEY, np.zeros((400, n_genes), np.float32), lam_max))
    np.testing.assert_array_equal(noise, np.round(noise))
    means = noise.mean(axis=1)
    deviation = np.sqrt(lam_max / n_genes)
    assert 0 <= means.min() < 0.03
    assert lam_max - 0.05 < means.max() < lam_max + 5 * deviation
    # uniform on [0, lam_max]: mean lam_max / 2, variance lam_max^2 / 12
    assert abs(means.mean() - lam_max / 2) < 5 * lam_max / np.sqrt(12 * 400)
    assert means.std() == pytest.approx(lam_max / np.sqrt(12), rel=0.15)
    large = means > 0.1
    assert np.median(noise[large].var(axis=1) / means[large]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_background_does_not_overflow_full_counts(dtype: type) -> None:
    full = np.full((50, 200), np.iinfo(dtype).max, dtype)
    out = np.asarray(background(KEY, full, 3.0))
    assert out.min() >= np.iinfo(dtype).max
    assert out.max() > np.iinfo(dtype).max


@pytest.mark.parametrize(("lower", "upper"), [(0, 3), (2, 5), (4, 5), (0, 1)])
def test_drop_genes_drops_at_least_lower_and_fewer_than_upper(lower: int, upper: int) -> None:
    x = np.ones((6, 12), np.float32)
    out = np.asarray(jax.vmap(lambda k: drop_genes(k, x, lower, upper))(jax.random.split(KEY, 300)))
    dropped = (out == 0).all(axis=1)
    np.testing.assert_array_equal(out, np.where(dropped[:, None, :], 0, 1) * np.ones((1, 6, 1)))  # whole genes
    assert set(dropped.sum(axis=1)) == set(range(lower, upper))
    if upper > 1:
        assert dropped.any(axis=0).all()  # each gene can be dropped


def test_augment_does_nothing_without_a_strength() -> None:
    x = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(augment(KEY, x), x)
    np.testing.assert_array_equal(augment(KEY, x, rate=0.0, lam_max=0.0, lower=0, upper=0), x)
    assert not Noise().acts
    assert not Noise(rate=0.0, lam_max=0.0, lower=0, upper=0).acts


@pytest.mark.parametrize(
    "noise", [Noise(rate=0.5), Noise(lam_max=2.0), Noise(lower=0, upper=20), Noise(0.2, 1.0, 1, 4)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_totals_follow_the_noise(noise: Noise, dtype: type) -> None:
    x = np.random.default_rng(1).poisson(3, (20, 25)).astype(dtype)
    batch = Batch(jnp.asarray(x), jnp.asarray(x.sum(axis=1) + 100.0, jnp.float32), jnp.zeros(20, int), jnp.ones(20))
    out = noise(KEY, batch)
    assert noise.acts
    assert not np.array_equal(out.x, x)
    np.testing.assert_allclose(out.total, np.asarray(out.x, float).sum(axis=1) + 100.0)


def test_other_study_is_one_cell_in_four() -> None:
    x = jnp.asarray(np.random.default_rng(0).integers(1, 9, (40, 500)))
    found = np.asarray(other_study(jax.random.key(0), x, 0.6)) / np.asarray(x)
    changed = np.arange(40) % 4 == 0
    np.testing.assert_array_equal(found[~changed], 1)
    np.testing.assert_allclose(found[changed], np.broadcast_to(found[0], (10, 500)), rtol=1e-5)  # alike in all cells
    assert np.log(found[0]).std() == pytest.approx(0.6, rel=0.1)
    assert np.log(found[0]).mean() == pytest.approx(0, abs=0.1)
    other = np.asarray(other_study(jax.random.key(1), x, 0.6)) / np.asarray(x)
    assert abs(np.corrcoef(np.log(found[0]), np.log(other[0]))[0, 1]) < 0.2
