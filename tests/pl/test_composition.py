from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
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
