from __future__ import annotations

import itertools

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from sklearn.calibration import calibration_curve

from ginseng import pl
from ginseng._cells.colors import UNASSIGNED
from ginseng.pl import _metric_tables, _tables


def names(ax):
    return [t.get_text() for t in ax.get_yticklabels()]


def test_boxes_are_the_quantiles(labelled):
    adata = labelled(5, unassigned=True)
    adata.obs.loc[adata.obs_names[-5:], "ginseng_confidence"] = 0.99
    adata.uns["ginseng"] = {"unassigned": {"label": "unassigned", "min_confidence": 0.25}}
    ax = pl.confidence(adata, show=False)
    cells = adata.obs.groupby("ginseng_cell_type", observed=True)["ginseng_confidence"]
    medians = cells.median().drop("unassigned").sort_values(ascending=False)
    assert names(ax) == [*medians.index, "unassigned"]
    boxes = [patch.get_path().vertices[:, 0] for patch in ax.patches]
    for box, label in zip(boxes, names(ax), strict=True):
        assert (box.min(), box.max()) == pytest.approx(cells.quantile([0.25, 0.75])[label].tolist())
    numbers = [t.get_text() for t in ax.texts]
    assert numbers == [*(str(n) for n in cells.size()[names(ax)]), "cells"]
    embedding = pl.embedding(adata, return_fig=True).axes[0].get_legend()
    entries = zip(embedding.get_texts(), embedding.legend_handles, strict=True)
    shades = {text.get_text(): to_hex(handle.get_color()) for text, handle in entries}
    assert [to_hex(p.get_facecolor()) for p in ax.patches] == [shades[name] for name in names(ax)]
    assert shades["unassigned"] == UNASSIGNED.lower()
    assert [0.25, 0.25] in [list(line.get_xdata()) for line in ax.lines]


def test_few_cells_are_drawn_one_by_one(labelled):
    adata = labelled(2, n_obs=20)
    last = adata.obs["ginseng_cell_type"].cat.categories[1]
    adata.obs["ginseng_cell_type"] = [last] * 3 + [adata.obs["ginseng_cell_type"].cat.categories[0]] * 17
    ax = pl.confidence(adata, show=False)
    dots = next(line for line in ax.lines if line.get_marker() == "o")
    assert sorted(dots.get_xdata()) == sorted(adata.obs["ginseng_confidence"][:3].astype(float))
    assert len(ax.patches) == 1


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_reliability_is_that_of_scikit_learn(labelled, n_bins):
    adata = labelled(4, unassigned=True)
    adata.obs.loc[adata.obs_names[:3], "cell_type"] = np.nan
    frame = _tables.confidence(adata, "cell_type", "ginseng")
    bins = _metric_tables.reliability(frame, n_bins)
    known = adata.obs[3:-5]
    right = (known["cell_type"].astype(str) == known["ginseng_cell_type"].astype(str)).to_numpy()
    confidence = known["ginseng_confidence"].to_numpy(dtype=float)
    accuracy, mean = calibration_curve(right, confidence, n_bins=n_bins)
    np.testing.assert_allclose(bins["accuracy"], accuracy)
    np.testing.assert_allclose(bins["confidence"], mean)
    assert bins["n"].sum() == len(known)
    assert ((bins["low"] <= bins["accuracy"]) & (bins["accuracy"] <= bins["high"])).all()
    assert ((bins["left"] <= bins["confidence"]) & (bins["confidence"] <= bins["right"])).all()
    error = (np.abs(accuracy - mean) * bins["n"]).sum() / len(known)
    assert _metric_tables.calibration_error(bins) == pytest.approx(error)
    axes = pl.confidence(adata, "cell_type", n_bins=n_bins, show=False)
    assert axes[1].get_legend().get_title().get_text() == f"ECE {error:.3f}"
    np.testing.assert_allclose([p.get_height() for p in axes[1].patches], bins["n"] / bins["n"].sum())


@pytest.mark.parametrize(("n", "length"), [(1, 8), (10, 40), (60, 40)])
@pytest.mark.parametrize("truth", [None, "cell_type"])
def test_readable(labelled, readable, n, length, truth):
    fig = pl.confidence(labelled(n, length), truth, return_fig=True)
    for ax in fig.axes:
        readable(fig, [t for t in [*ax.get_yticklabels(), *ax.get_xticklabels(), *ax.texts] if t.get_text()])
    if truth:
        boxes = [ax.get_tightbbox() for ax in fig.axes]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert max(fig.get_size_inches()) < 12


def test_axes_and_errors(labelled):
    adata = labelled(3)
    _, axes = plt.subplots(1, 3)
    assert pl.confidence(adata, "cell_type", ax=axes) == list(axes)
    with pytest.raises(ValueError, match=r"3 .*`ax`.* 1"):
        pl.confidence(adata, "cell_type", ax=axes[0])
    with pytest.raises(ValueError, match=r"`n_bins`.* 1.* 0"):
        pl.confidence(adata, "cell_type", n_bins=0)
    with pytest.raises(KeyError, match="'cel_type'"):
        pl.confidence(adata, "cel_type")
    with pytest.raises(KeyError, match=r"`gs\.tl\.classify`"):
        pl.confidence(adata, key="other")
    adata.obs["cell_type"] = np.nan
    with pytest.raises(ValueError, match="'cell_type'"):
        pl.confidence(adata, "cell_type")


@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_coverage_and_accuracy_are_those_of_the_cells_above_the_threshold(labelled, threshold):
    adata = labelled(4, unassigned=True)
    adata.obs.loc[adata.obs_names[:3], "cell_type"] = np.nan
    axes = pl.confidence(adata, "cell_type", show=False)
    known = adata.obs[adata.obs["cell_type"].notna()]
    kept = known[(known["ginseng_confidence"] >= threshold) & (known["ginseng_cell_type"] != "unassigned")]
    accuracy = (kept["cell_type"].astype(str) == kept["ginseng_cell_type"].astype(str)).mean()
    coverage, drawn = axes[-1].lines[0].get_data()
    place = np.abs(coverage - len(kept) / len(known)).argmin()
    assert coverage[place] == pytest.approx(len(kept) / len(known))
    assert drawn[place] == pytest.approx(accuracy)
    marked = {t.get_text(): t.xy for t in axes[-1].texts}
    if str(threshold) in marked:
        assert marked[str(threshold)] == pytest.approx((len(kept) / len(known), accuracy))
    assert max(coverage) == pytest.approx((len(known) - 5) / len(known))


def test_novelty_has_the_same_rows(labelled):
    adata = labelled(5)
    adata.obs["ginseng_novelty"] = np.linspace(0, 1, adata.n_obs, dtype=np.float32)
    adata.uns["ginseng"] = {"unassigned": {"min_confidence": 0.25, "max_novelty": 0.75}}
    confidence, novelty = pl.confidence(adata, show=False)
    assert novelty.get_xlabel() == "Novelty"
    quartiles = adata.obs.groupby("ginseng_cell_type", observed=True)["ginseng_novelty"].quantile([0.25, 0.75])
    for label, box in zip(names(confidence), novelty.patches, strict=True):
        x = box.get_path().vertices[:, 0]
        assert (x.min(), x.max()) == pytest.approx(tuple(quartiles[label]), abs=1e-6)
    assert [0.75, 0.75] in [list(line.get_xdata()) for line in novelty.lines]


def test_by_cluster(labelled):
    adata = labelled(4)
    adata.obs["leiden"] = np.arange(adata.n_obs) % 7
    ax = pl.confidence(adata, groupby="leiden", show=False)
    medians = adata.obs.groupby("leiden")["ginseng_confidence"].median().sort_values(ascending=False)
    assert names(ax) == [str(name) for name in medians.index]
    with pytest.raises(KeyError, match="'leidn'"):
        pl.confidence(adata, groupby="leidn")
