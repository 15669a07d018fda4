from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pandas as pd
import pytest

from ginseng import pl


def drawn(ax):
    """Return the fractions and confidences of the dots: groups x labels."""
    rows, columns = ([t.get_text() for t in ticks] for ticks in (ax.get_yticklabels(), ax.get_xticklabels()))
    dots = ax.collections[0]
    x, y = (np.floor(np.asarray(dots.get_offsets())).astype(int)).T
    fraction, confidence = (pd.DataFrame(0.0, rows, columns) for _ in range(2))
    for i, j, size, shade in zip(y, x, dots.get_sizes(), dots.get_array(), strict=True):
        fraction.iloc[i, j], confidence.iloc[i, j] = size, shade
    return fraction, confidence


@pytest.mark.parametrize("groupby", ["leiden", "cell_type"])
def test_dots_are_fractions_and_mean_confidences(labelled, groupby):
    adata = labelled(5, unassigned=True)
    adata.obs["leiden"] = np.arange(adata.n_obs) % 7
    adata.obs.loc[adata.obs_names[:4], "ginseng_cell_type"] = np.nan
    ax = pl.clusters(adata, groupby, min_fraction=0, show=False)
    fraction, confidence = drawn(ax)
    obs = adata.obs.astype({groupby: str})
    counts = pd.crosstab(obs[groupby], obs["ginseng_cell_type"]).loc[fraction.index, fraction.columns]
    cells = obs[groupby].value_counts()[fraction.index]
    expected = counts.div(cells, axis=0)
    largest = fraction.to_numpy().max() / expected.to_numpy().max()
    np.testing.assert_allclose(fraction / largest, expected)
    means = obs.groupby([groupby, "ginseng_cell_type"], observed=True)["ginseng_confidence"].mean().unstack()
    np.testing.assert_allclose(confidence, means.loc[fraction.index, fraction.columns].fillna(0), rtol=1e-6)
    assert ax.collections[0].get_clim() == (0, 1)
    assert [t.get_text() for t in ax.texts] == [*(str(n) for n in cells), "cells"]


def test_true_labels_lie_on_the_diagonal(labelled):
    fraction, _ = drawn(pl.clusters(labelled(6), "cell_type", show=False))
    assert list(fraction.index) == list(fraction.columns)


def test_rare_labels_are_left_out(labelled):
    adata = labelled(5)
    adata.obs["leiden"] = "0"
    shares = adata.obs["ginseng_cell_type"].value_counts(normalize=True)
    fraction, _ = drawn(pl.clusters(adata, min_fraction=shares.median(), show=False))
    assert set(fraction.columns) == set(shares.index[shares >= shares.median()])
    with pytest.raises(ValueError, match="`min_fraction`"):
        pl.clusters(adata, min_fraction=0.99)
    with pytest.raises(ValueError, match=r"`min_fraction`.* 2"):
        pl.clusters(adata, min_fraction=2)


def test_without_confidence(labelled):
    adata = labelled(3)
    adata.obs["by hand"] = adata.obs["ginseng_cell_type"]
    del adata.obs["ginseng_confidence"]
    ax = pl.clusters(adata, "cell_type", "by hand", show=False)
    assert ax.get_xlabel() == "by hand"
    assert not ax.child_axes


def test_errors_say_what_to_do(labelled):
    adata = labelled(3)
    with pytest.raises(KeyError, match="'leiden'"):
        pl.clusters(adata)
    with pytest.raises(KeyError, match=r"`gs\.tl\.classify`"):
        pl.clusters(adata, "cell_type", key="other")
    adata.obs["leiden"] = None
    with pytest.raises(ValueError, match="'leiden'"):
        pl.clusters(adata)
