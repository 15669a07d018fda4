from __future__ import annotations

from itertools import pairwise

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch, Rectangle

from ginseng import pl
from ginseng.tl._vote import vote


@pytest.fixture
def voted(labelled):
    def make(n=4, length=12, n_clusters=None, **how):
        adata = labelled(n, length, **how)
        n_clusters = n_clusters or n
        of = adata.obs["cell_type"].cat.codes.to_numpy() % n_clusters
        adata.obs["leiden"] = pd.Categorical([str(i) for i in of])
        vote(adata, min_fraction=0.75)
        return adata

    return make


def blocks(ax):
    """Return the height of each block by name."""
    patches = [p for p in ax.patches if isinstance(p, Rectangle)]
    texts = [t.get_text() for t in ax.texts][: len(patches)]
    return dict(zip(texts, patches, strict=True))


def test_blocks_and_bands_are_the_cells(voted):
    adata = voted(6, unassigned=True, n_clusters=5)
    ax = pl.vote(adata, show=False)
    found = adata.uns["ginseng"]["vote"]
    drawn = blocks(ax)
    clusters = {name.split("  ")[0]: p for name, p in drawn.items() if name.endswith(("%", ")"))}
    labels = {name: p for name, p in drawn.items() if not name.endswith(("%", ")"))}
    sizes = adata.obs["leiden"].value_counts()
    scale = next(iter(clusters.values())).get_height() / sizes[next(iter(clusters))]
    assert {c: round(p.get_height() / scale) for c, p in clusters.items()} == sizes.to_dict()
    of_label = adata.obs["ginseng_cell_type"].value_counts()
    assert {c: round(p.get_height() / scale) for c, p in labels.items()} == of_label[of_label > 0].to_dict()
    bands = [p for p in ax.patches if isinstance(p, PathPatch)]
    cells = sorted(round((p.get_path().vertices[7, 1] - p.get_path().vertices[0, 1]) / scale) for p in bands)
    assert cells == sorted(found["counts"][found["counts"] > 0])
    table = found["table"]
    assert sum(p.get_alpha() > 0.5 for p in bands) == table["decided"].sum()
    shares = [f"{c}  {f:.0%}" if d else f"{c}  ({f:.0%})" for c, f, d in table[["fraction", "decided"]].itertuples()]
    assert {name for name in drawn if name not in labels} == set(shares)
    assert 0 < table["decided"].sum() < len(table)


def test_colours_are_those_of_scanpy(voted):
    adata = voted(3)
    adata.uns["ginseng_cell_type_colors"] = ["#111111", "#222222", "#333333"]
    adata.uns["leiden_colors"] = ["#aaaaaa", "#bbbbbb", "#cccccc"]
    drawn = {name.split("  ")[0]: to_hex(p.get_facecolor()) for name, p in blocks(pl.vote(adata, show=False)).items()}
    expected = dict(
        zip(adata.obs["ginseng_cell_type"].cat.categories, adata.uns["ginseng_cell_type_colors"], strict=True)
    )
    assert drawn == {**expected, "0": "#aaaaaa", "1": "#bbbbbb", "2": "#cccccc"}


@pytest.mark.parametrize(("n", "length"), [(1, 8), (10, 40), (60, 40)])
@pytest.mark.parametrize("given", [False, True])
def test_readable(voted, readable, n, length, given):
    adata = voted(n, length, n_clusters=max(1, n // 2))
    if given:
        fig, ax = plt.subplots(figsize=(12, 6))
        fig.subplots_adjust(left=0.3, right=0.6)
        pl.vote(adata, ax=ax)
    else:
        fig = pl.vote(adata, return_fig=True)
    readable(fig, fig.axes[0].texts)
    tops = sorted((p.get_x(), p.get_y(), p.get_height()) for p in blocks(fig.axes[0]).values())
    for one, other in pairwise(tops):
        assert one[0] != other[0] or one[1] + one[2] <= other[1] + 1e-9, "blocks overlap"


def test_one_cluster_far_larger_than_all_others(labelled, readable):
    adata = labelled(30, n_obs=3000)
    cluster = np.zeros(3000, int)
    cluster[:40] = np.arange(40)
    adata.obs["leiden"] = pd.Categorical(cluster.astype(str))
    vote(adata)
    fig = pl.vote(adata, return_fig=True)
    readable(fig, fig.axes[0].texts)


def test_errors(labelled):
    with pytest.raises(KeyError, match=r"`gs\.tl\.vote\(adata, groupby\)`"):
        pl.vote(labelled(2))
