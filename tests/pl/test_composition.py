from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from matplotlib.colors import to_hex

from ginseng import pl
from ginseng._cells.colors import MISSING, UNASSIGNED


@pytest.fixture
def sampled(labelled):
    def make(n=4, length=12, n_samples=3, **how):
        adata = labelled(n, length, **how)
        rng = np.random.default_rng(0)
        names = [f"sample {i}".ljust(length, "x") for i in range(n_samples)]
        adata.obs["donor"] = pd.Categorical(rng.choice(names, adata.n_obs), categories=names[::-1])
        return adata

    return make


def drawn(ax):
    """Return the widths of the segments, groups x labels, and the colours of the labels."""
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    widths = {label: [p.get_width() for p in bars] for label, bars in zip(texts, ax.containers, strict=True)}
    rows = [t.get_text() for t in ax.get_yticklabels()]
    shades = {label: to_hex(bars[0].get_facecolor()) for label, bars in zip(texts, ax.containers, strict=True)}
    legend = {t: to_hex(h.get_facecolor()) for t, h in zip(texts, ax.get_legend().legend_handles, strict=True)}
    assert shades == legend
    return pd.DataFrame(widths, index=rows), shades


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("label_key", [None, "cell_type"])
def test_bars_are_the_crosstab(sampled, normalize, label_key):
    adata = sampled(5, unassigned=True)
    ax = pl.composition(adata, "donor", label_key, normalize=normalize, show=False)
    found, shades = drawn(ax)
    labels = adata.obs[label_key or "ginseng_cell_type"]
    expected = pd.crosstab(adata.obs["donor"], labels, normalize="index" if normalize else False)
    np.testing.assert_allclose(found, expected)
    assert list(found.index) == list(adata.obs["donor"].cat.categories)
    assert list(found.columns) == list(labels.cat.categories)
    assert [t.get_text() for t in ax.texts] == [str(n) for n in adata.obs["donor"].value_counts()[found.index]]
    assert shades.get("unassigned", UNASSIGNED.lower()) == UNASSIGNED.lower()


def test_a_label_keeps_its_colour_in_every_plot(sampled):
    adata = sampled(12)
    whole = drawn(pl.composition(adata, "donor", show=False))[1]
    few = adata[adata.obs["ginseng_cell_type"].isin(adata.obs["ginseng_cell_type"].cat.categories[[3, 8]])].copy()
    few.obs["ginseng_cell_type"] = pd.Categorical(few.obs["ginseng_cell_type"], categories=list(whole))
    part = drawn(pl.composition(few, "donor", show=False))[1]
    assert part == {label: whole[label] for label in part}
    assert len(part) == 2
    adata.uns["ginseng_cell_type_colors"] = [f"#0000{i:02x}" for i in range(12)]
    assert list(drawn(pl.composition(adata, "donor", show=False))[1].values()) == adata.uns["ginseng_cell_type_colors"]


def test_cells_without_label_or_group(sampled):
    adata = sampled(3)
    adata.obs.loc[adata.obs_names[:10], "ginseng_cell_type"] = np.nan
    adata.obs.loc[adata.obs_names[10:30], "donor"] = np.nan
    found, shades = drawn(pl.composition(adata, "donor", normalize=False, show=False))
    assert found["missing"].sum() == 10
    assert shades["missing"] == MISSING.lower()
    assert found.to_numpy().sum() == adata.n_obs - 20
    adata.obs["donor"] = np.nan
    with pytest.raises(ValueError, match="'donor'"):
        pl.composition(adata, "donor")
    with pytest.raises(KeyError, match=r"'dono'.*'donor'"):
        pl.composition(adata, "dono")
    with pytest.raises(KeyError, match=r"`gs\.tl\.classify`"):
        pl.composition(adata, "donor", key="other")


@pytest.mark.parametrize(("n", "length"), [(1, 8), (10, 40), (60, 40)])
@pytest.mark.parametrize("n_samples", [1, 40])
def test_readable(sampled, readable, n, length, n_samples):
    fig = pl.composition(sampled(n, length, n_samples), "donor", return_fig=True)
    ax = fig.axes[0]
    readable(fig, [*ax.get_yticklabels(), *ax.texts])
    readable(fig, ax.get_legend().get_texts())
    assert ax.get_legend().get_window_extent().x0 >= max(t.get_window_extent().x1 for t in ax.texts)


def test_clusters_that_are_whole_numbers_among_missing_ones(sampled):
    adata = sampled(3)
    adata.obs["donor"] = pd.Categorical(np.where(np.arange(adata.n_obs) < 5, np.nan, np.arange(adata.n_obs) % 3.0))
    found, _ = drawn(pl.composition(adata, "donor", normalize=False, show=False))
    assert list(found.index) == ["0", "1", "2"]
    assert found.to_numpy().sum() == adata.n_obs - 5


def test_axes(sampled):
    fig, axes = plt.subplots(1, 2)
    assert pl.composition(sampled(3), "donor", ax=axes[0]) is axes[0]
    assert plt.get_fignums() == [fig.number]


@pytest.fixture
def conditions(sampled):
    def make(n=4, n_samples=6, **how):
        adata = sampled(n, n_samples=n_samples, **how)
        number = adata.obs["donor"].cat.codes.to_numpy()
        adata.obs["condition"] = pd.Categorical(np.where(number % 2 == 0, "ill", "healthy"), ["ill", "healthy"])
        return adata

    return make


def intervals(ax):
    """Return the fraction and interval by group and label, in the order drawn."""
    labels = [t.get_text() for t in ax.get_yticklabels()]
    means = [line.get_xdata() for line in ax.lines if line.get_marker() == "D"]
    spans = [np.array([segment[:, 0] for segment in lines.get_segments() if len(segment)]) for lines in ax.collections]
    return labels, means, spans


@pytest.mark.parametrize("ci", [None, 0.8])
def test_intervals_are_those_of_the_samples(conditions, ci):
    adata = conditions()
    ax = pl.composition(adata, "condition", sample_key="donor", ci=ci, show=False)
    labels, means, spans = intervals(ax)
    assert labels == list(adata.obs["ginseng_cell_type"].cat.categories)
    shares = pd.crosstab(adata.obs["donor"].astype(str), adata.obs["ginseng_cell_type"], normalize="index")
    of_sample = adata.obs.groupby("donor", observed=True)["condition"].first()
    for i, group in enumerate(["ill", "healthy"]):
        part = shares.loc[of_sample.index[of_sample == group]]
        np.testing.assert_allclose(means[i], part.mean())
        expected = scipy.stats.t.interval(ci or 0.95, len(part) - 1, part.mean(), scipy.stats.sem(part))
        np.testing.assert_allclose(spans[i].T, np.clip(expected, 0, 1))
        for label, row in zip(labels, part.to_numpy().T, strict=True):
            dots = [line.get_xdata() for line in ax.lines if line.get_marker() == "o"]
            assert any(np.array_equal(np.sort(row), np.sort(x)) for x in dots if len(x) == len(row)), label
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["ill (n = 3)", "healthy (n = 3)"]


def test_without_samples_the_interval_is_that_of_the_cells(conditions):
    adata = conditions()
    _, means, spans = intervals(pl.composition(adata, "condition", "cell_type", ci=0.9, show=False))
    counts = pd.crosstab(adata.obs["condition"], adata.obs["cell_type"])
    for i, cells in enumerate(counts.to_numpy()):
        np.testing.assert_allclose(means[i], cells / cells.sum())
        wilson = proportion_confint(cells, cells.sum(), 0.9)
        np.testing.assert_allclose(spans[i].T, wilson)


def proportion_confint(hits, n, level):
    """Wilson 1927, J Am Stat Assoc 22, 209-212."""
    z, p = scipy.stats.norm.ppf((1 + level) / 2), hits / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def test_one_sample_has_no_interval(conditions):
    adata = conditions(n_samples=2)
    _, means, spans = intervals(pl.composition(adata, "condition", sample_key="donor", show=False))
    assert np.isfinite(means).all()
    assert not any(np.isfinite(span).any() for span in spans)


@pytest.mark.parametrize("ci", [0, 1, 95])
def test_levels_are_fractions(conditions, ci):
    with pytest.raises(ValueError, match=r"`ci`"):
        pl.composition(conditions(), "condition", ci=ci)
    with pytest.raises(ValueError, match=r"`normalize=False`"):
        pl.composition(conditions(), "condition", ci=0.9, normalize=False)
    with pytest.raises(KeyError, match="'donr'"):
        pl.composition(conditions(), "condition", sample_key="donr")
