from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from ginseng import pl
from ginseng._cells.colors import MISSING, OKABE_ITO, UNASSIGNED
from ginseng.pl import _palette, _tables


def shades(ax):
    """Return coordinates and colours of the dots."""
    dots = ax.collections[0]
    return pd.DataFrame(dots.get_offsets()).assign(color=[to_hex(c) for c in dots.get_facecolors()])


def legend_of(fig):
    legend = next(ax.get_legend() for ax in fig.axes if ax.get_legend())
    texts = [t.get_text() for t in legend.get_texts()]
    return dict(zip(texts, (to_hex(h.get_color()) for h in legend.legend_handles), strict=True))


@pytest.mark.parametrize("colors", [None, "uns"])
def test_every_cell_has_the_colour_of_its_label(labelled, colors):
    adata = labelled(4, unassigned=True)
    if colors:
        adata.uns["cell_type_colors"] = np.array(["#111111", "#222222", "#333333", "#444444"], dtype=object)
    fig = pl.embedding(adata, "umap", "cell_type", return_fig=True)
    legend = legend_of(fig)
    categories = list(adata.obs["cell_type"].cat.categories)
    assert list(legend) == [*categories, "unassigned"]
    assert len(set(legend.values())) == 5
    if colors:
        assert [legend[c] for c in categories] == list(adata.uns["cell_type_colors"])
    else:
        assert {legend[c].upper() for c in categories} <= set(OKABE_ITO)
    assert legend["unassigned"] == UNASSIGNED.lower()
    for ax, column in zip(fig.axes, ("cell_type", "ginseng_cell_type"), strict=False):
        expected = pd.DataFrame(adata.obsm["X_umap"][:, :2])
        expected["color"] = [legend[label] for label in adata.obs[column]]
        pd.testing.assert_frame_equal(
            shades(ax).sort_values([0, 1], ignore_index=True), expected.sort_values([0, 1], ignore_index=True)
        )
    confidence = fig.axes[2].collections[0]
    assert confidence.get_clim() == (0, 1)
    np.testing.assert_allclose(np.sort(confidence.get_array()), np.sort(adata.obs["ginseng_confidence"]))
    assert all(ax.collections[0].get_rasterized() for ax in fig.axes)


@pytest.mark.parametrize("n", [1, 10, 60])
@pytest.mark.parametrize("length", [8, 40])
@pytest.mark.parametrize("panels", [1, 2, 3])
def test_readable(labelled, readable, n, length, panels):
    adata = labelled(n, length)
    if panels == 1:
        del adata.obs["ginseng_confidence"]
    fig = pl.embedding(adata, label_key="cell_type" if panels == 3 else None, return_fig=True)
    assert len(fig.axes) == panels
    legend = next(ax.get_legend() for ax in fig.axes if ax.get_legend())
    readable(fig, legend.get_texts())
    legend_box = legend.get_window_extent()
    for ax in fig.axes:
        box = ax.get_window_extent()
        assert not (legend_box.overlaps(box) and min(legend_box.x1, box.x1) - max(legend_box.x0, box.x0) > 1)
        inches = ax.get_window_extent().transformed(fig.dpi_scale_trans.inverted())
        assert inches.width > 1.7
        assert inches.height > 1.7
    assert len(set(legend_of(fig).values())) == n


def test_basis_and_components(labelled):
    adata = labelled(3)
    adata.obsm["mine"] = adata.obsm["X_umap"][:, ::-1]
    names = {"umap": "UMAP", "X_umap": "UMAP", "mine": "mine"}
    for basis, name in names.items():
        ax = pl.embedding(adata, basis, components=(3, 1), show=False)[0]
        assert (ax.get_xlabel(), ax.get_ylabel()) == (f"{name}3", f"{name}1")
        values = adata.obsm["mine" if basis == "mine" else "X_umap"]
        np.testing.assert_allclose(np.sort(shades(ax)[0]), np.sort(values[:, 2]))
        assert not len(ax.get_xticks())
    with pytest.raises(ValueError, match=r"1 to 3"):
        pl.embedding(adata, components=(1, 4))
    with pytest.raises(KeyError, match=r"'umpa'.*'X_umpa'.*'X_umap'"):
        pl.embedding(adata, "umpa")
    del adata.obsm["X_umap"]
    with pytest.raises(KeyError, match=r"Name another as `basis`.*`sc.pp.neighbors\(adata\); sc.tl.umap\(adata\)`"):
        pl.embedding(adata)
    adata.uns["neighbors"] = {}
    del adata.obsm
    with pytest.raises(KeyError, match=r"There are none. Compute .*: `sc.tl.umap\(adata\)`"):
        pl.embedding(adata)


def test_missing_labels_are_grey(labelled):
    adata = labelled(3)
    adata.obs.loc[adata.obs_names[:7], "cell_type"] = np.nan
    fig = pl.embedding(adata, "umap", "cell_type", return_fig=True)
    assert legend_of(fig)["missing"] == MISSING.lower()
    assert (shades(fig.axes[0])["color"] == MISSING.lower()).sum() == 7
    assert (shades(fig.axes[0])["color"].iloc[:7] == MISSING.lower()).all(), "they hide others"


def test_palettes():
    labels = list("abc")
    assert _palette.colors(labels, {"b": "red"})["b"] == "#ff0000"
    assert list(_palette.colors(labels, ["k", "w", "r"]).values()) == ["#000000", "#ffffff", "#ff0000"]
    assert _palette.colors(labels, "tab10")["a"] == "#1f77b4"
    with pytest.raises(ValueError, match=r"`palette`.* 2 .* 3 "):
        _palette.colors(labels, ["k", "w"])
    whole = list(_palette.colors([str(i) for i in range(102)]).values())
    for n in (1, 8, 9, 60, 102, 103, 150):
        found = _palette.colors([str(i) for i in range(n)])
        assert len(set(found.values())) == n
        assert n > 102 or list(found.values()) == whole[:n], "a label more would change the others"
        known = dict(list(found.items())[n // 2 :])
        assert len(set(_palette.colors([str(i) for i in range(n)], known=known).values())) == n


def test_scanpy_keeps_colours_by_category(labelled):
    adata = labelled(3)
    adata.obs["plain"] = adata.obs["cell_type"].astype(str)
    adata.uns["plain_colors"] = ["red", "green", "blue"]
    assert list(_tables.known_colors(adata, "plain").values()) == ["red", "green", "blue"]
    adata.uns["plain_colors"] = ["red"]
    assert not _tables.known_colors(adata, "plain")
    adata.uns["ginseng_cell_type_colors"] = ["red", "green", "blue"]
    fig = pl.embedding(adata, return_fig=True)
    assert list(legend_of(fig).values()) == ["#ff0000", "#008000", "#0000ff"]


def test_axes(labelled):
    adata = labelled(3)
    fig, axes = plt.subplots(1, 3)
    assert pl.embedding(adata, "umap", "cell_type", ax=axes) == list(axes)
    assert all(len(ax.collections) == 1 for ax in axes)
    fig.draw_without_rendering()
    assert axes[1].get_legend().get_window_extent().x0 >= axes[1].get_window_extent().x1
    del adata.obs["ginseng_confidence"]
    assert isinstance(pl.embedding(adata, show=False), Axes)
    with pytest.raises(KeyError, match="'cel_type'"):
        pl.embedding(adata, "umap", "cel_type")
    with pytest.raises(KeyError, match=r"`gs\.tl\.classify`"):
        pl.embedding(adata, key="other")


def test_names_are_no_formulas(labelled):
    adata = labelled(2)
    names = ["$x_1$ and $", "_hidden"]
    adata.obs["ginseng_cell_type"] = adata.obs["ginseng_cell_type"].cat.rename_categories(names)
    fig = pl.embedding(adata, return_fig=True)
    fig.canvas.draw()
    assert list(legend_of(fig)) == names


def test_a_label_has_one_colour_in_all_plots(labelled):
    adata = labelled()
    of_predicted = _palette.label_colors(
        adata, ["ginseng_cell_type"], list(adata.obs["ginseng_cell_type"].unique()), None, "ginseng"
    )
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.reorder_categories(adata.obs["cell_type"].cat.categories[::-1])
    for columns in (["cell_type", "ginseng_cell_type"], ["cell_type"]):
        assert _palette.label_colors(adata, columns, list(of_predicted), None, "ginseng") == of_predicted


def dressed(labelled, n=5):
    adata = labelled(n)
    adata.obs["ginseng_vote"] = adata.obs["ginseng_cell_type"]
    adata.obs["ginseng_novelty"] = np.linspace(0, 1, adata.n_obs, dtype=np.float32)
    adata.obs["leiden"] = pd.Categorical((np.arange(adata.n_obs) % 3).astype(str))
    adata.obs["n_counts"] = np.arange(adata.n_obs)
    return adata


def test_votes_and_novelty_have_panels(labelled):
    adata = dressed(labelled)
    axes = pl.embedding(adata, "umap", "cell_type", show=False)
    titles = ["True label", "Predicted label", "Label of the cluster", "Confidence", "Novelty"]
    assert [ax.get_title() for ax in axes] == titles
    np.testing.assert_allclose(np.sort(axes[4].collections[0].get_array()), adata.obs["ginseng_novelty"])
    rows = {round(ax.get_position().y0, 3) for ax in axes}
    assert len(rows) == 2
    assert len({round(ax.get_position().y0, 3) for ax in pl.embedding(adata, ncols=1, show=False)}) == 4


def test_color_names_the_panels(labelled):
    adata = dressed(labelled)
    ax = pl.embedding(adata, color="predicted", show=False)
    assert isinstance(ax, Axes)
    whole = legend_of(pl.embedding(adata, "umap", "cell_type", return_fig=True))
    assert legend_of(ax.figure) == whole
    axes = pl.embedding(adata, color=["leiden", "n_counts", "novelty", "ginseng_vote"], show=False)
    assert [ax.get_title() for ax in axes] == ["leiden", "n_counts", "Novelty", "Label of the cluster"]
    assert list(legend_of(axes[0].figure)) == ["0", "1", "2"]
    assert axes[1].collections[0].get_clim() == (0, adata.n_obs - 1)
    assert [t.get_text() for t in axes[3].get_legend().get_texts()] == list(whole)
    adata.uns["leiden_colors"] = ["#123456", "#654321", "#abcdef"]
    assert list(legend_of(pl.embedding(adata, color="leiden", return_fig=True)).values()) == adata.uns["leiden_colors"]


@pytest.mark.parametrize("n", [3, 40])
def test_labels_on_data(labelled, n):
    adata = labelled(n, 20)
    ax = pl.embedding(adata, color="predicted", legend_loc="on data", show=False)
    assert ax.get_legend() is None
    texts = {"".join(t.get_text().split()): t for t in ax.texts}
    labels = adata.obs["ginseng_cell_type"]
    assert list(texts) == ["".join(label.split()) for label in labels.cat.categories]
    boxes = [text.get_window_extent() for text in texts.values()]
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:i])
    if n == 3:  # they need not move
        middle = pd.DataFrame(adata.obsm["X_umap"][:, :2]).groupby(labels.to_numpy(), observed=True).median()
        np.testing.assert_allclose([t.get_position()[1] for t in texts.values()], middle[1], atol=0.5)
    assert not pl.embedding(adata, color="predicted", legend_loc=None, show=False).texts


def test_panels_grow_with_the_number_of_labels(labelled):
    sides = [pl.embedding(labelled(n), show=False)[0].get_window_extent().width for n in (5, 20, 40)]
    assert sides[0] < sides[1] < sides[2]


def test_bad_panels(labelled):
    adata = dressed(labelled)
    with pytest.raises(KeyError, match=r"'leidn'.*'leiden'"):
        pl.embedding(adata, color="leidn")
    with pytest.raises(KeyError, match=r"gene.*`sc\.pl\.embedding`"):
        pl.embedding(adata, color=adata.var_names[0])
    with pytest.raises(ValueError, match=r"`legend_loc`.*'on data'.*'top'"):
        pl.embedding(adata, legend_loc="top")
    with pytest.raises(ValueError, match=r"`ncols`.* 0"):
        pl.embedding(adata, ncols=0)
    with pytest.raises(ValueError, match="`color`"):
        pl.embedding(adata, color=[])


@pytest.mark.parametrize("categories", ["natural", "given"])
def test_colours_are_those_of_scanpy(categories):
    """Written by train, classify and vote in the order of the categories; scanpy draws with the same."""
    import scanpy as sc

    import ginseng as gs

    adata = gs.datasets.pbmc68k()
    names = sorted(adata.obs["cell_type"].unique(), reverse=categories == "given")
    adata.obs["cell_type"] = pd.Categorical(adata.obs["cell_type"].astype(str), names)
    ref, query = adata[::2].copy(), adata[1::2].copy()
    how = {"architecture": "linear", "epochs": 2, "calibrate": False, "silent": True}
    gs.tl.train(ref, "cell_type", **how)
    gs.tl.classify(query, ref, silent=True)
    query.obs["cluster"] = pd.Categorical(query.obs["cell_type"].cat.codes.astype(str))
    gs.tl.vote(query, "cluster")
    gs.tl.evaluate(query, "cell_type")
    of = [dict(zip(ref.obs["cell_type"].cat.categories, ref.uns["cell_type_colors"], strict=True))]
    for column in ("cell_type", "ginseng_cell_type", "ginseng_vote"):
        of.append(dict(zip(query.obs[column].cat.categories, query.uns[f"{column}_colors"], strict=True)))
    for one in of[1:]:
        assert {name: of[0][name] for name in one if name in of[0]} == {n: c for n, c in one.items() if n in of[0]}
    drawn = legend_of(pl.embedding(query, "umap", "cell_type", return_fig=True))
    assert {name.lower(): color.lower() for name, color in of[1].items()} == {
        name.lower(): drawn[name] for name in of[1]
    }
    ax = sc.pl.umap(query, color="ginseng_cell_type", show=False)
    ours = pl.embedding(query, color="predicted", show=False)
    theirs = pd.DataFrame(ax.collections[0].get_offsets()).assign(
        c=list(map(to_hex, ax.collections[0].get_facecolors()))
    )
    pd.testing.assert_frame_equal(
        shades(ours).rename(columns={"color": "c"}).sort_values([0, 1], ignore_index=True),
        theirs.sort_values([0, 1], ignore_index=True),
        check_dtype=False,
    )
