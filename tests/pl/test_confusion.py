from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ginseng import pl
from ginseng._settings import settings
from ginseng.pl import _metric_tables
from ginseng.tl._evaluate import evaluate


def tick_labels(ax):
    return [t.get_text() for t in ax.get_yticklabels()], [t.get_text() for t in ax.get_xticklabels()]


def drawn(ax):
    return np.asarray(ax.collections[0].get_array())


@pytest.mark.parametrize("order", ["cluster", "alphabetical"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("stored", [True, False])
def test_draws_the_crosstab(labelled, order, normalize, stored):
    adata = labelled(7, unassigned=True)
    if stored:
        evaluate(adata, "cell_type")
    ax = pl.confusion(adata, None if stored else "cell_type", order=order, normalize=normalize, show=False)
    rows, columns = tick_labels(ax)
    expected = pd.crosstab(
        adata.obs["cell_type"].astype(str),
        adata.obs["ginseng_cell_type"].astype(str),
        normalize="index" if normalize else False,
    )
    np.testing.assert_allclose(drawn(ax), expected.loc[rows, columns])
    assert columns == [*rows, "unassigned"]
    assert sorted(rows) == sorted(adata.obs["cell_type"].cat.categories)
    assert (rows == sorted(rows)) or order == "cluster"
    *texts, head = [t.get_text() for t in ax.texts]
    cells, texts = texts[len(texts) - len(rows) :], texts[: -len(rows)]
    assert head == "cells"
    true = adata.obs["cell_type"].astype(str)
    assert cells == [str((true == row).sum()) for row in rows]
    values = expected.loc[rows, columns].to_numpy().ravel()
    assert [float(t or 0) for t in texts] == pytest.approx(values, abs=0.0051 if normalize else 0)
    top = [ax.transData.transform((0, i))[1] for i in range(2)]
    assert top[0] > top[1], "the first label is not on top"


def test_cluster_puts_confused_labels_side_by_side():
    labels = list("abcd")
    counts = pd.DataFrame([[8, 0, 4, 0], [0, 8, 0, 4], [4, 0, 8, 0], [0, 4, 0, 8]], labels, labels)
    order = "".join(_metric_tables.ordered(counts, "cluster").index)
    assert "ac" in order or "ca" in order
    assert "bd" in order or "db" in order


def test_given_order(labelled):
    adata = labelled(4, unassigned=True)
    names = list(adata.obs["cell_type"].cat.categories)
    ax = pl.confusion(adata, "cell_type", order=[names[2], "unassigned", names[0]], show=False)
    rows, columns = tick_labels(ax)
    assert rows == [names[2], names[0], names[1], names[3]]
    assert columns == [*rows, "unassigned"]
    with pytest.raises(ValueError, match="'nothing'"):
        pl.confusion(adata, "cell_type", order=["nothing"])
    with pytest.raises(ValueError, match=r"`order`.*'cluster', 'alphabetical'"):
        pl.confusion(adata, "cell_type", order="size")


def test_a_label_that_is_never_predicted_keeps_its_column(labelled):
    adata = labelled(3)
    last = adata.obs["cell_type"].cat.categories[-1]
    adata.obs["ginseng_cell_type"] = adata.obs["ginseng_cell_type"].cat.remove_categories(last)
    adata.obs["ginseng_cell_type"] = adata.obs["ginseng_cell_type"].cat.add_categories("new").fillna("new")
    ax = pl.confusion(adata, "cell_type", show=False, order="alphabetical")
    rows, columns = tick_labels(ax)
    assert columns == [*rows, "new"]
    assert drawn(ax)[:, 2].sum() == 0


@pytest.mark.parametrize("n", [1, 3, 20, 60])
@pytest.mark.parametrize("length", [8, 40])
@pytest.mark.parametrize("normalize", [True, False])
def test_readable(labelled, readable, n, length, normalize):
    fig = pl.confusion(labelled(n, length), "cell_type", normalize=normalize, return_fig=True)
    ax = fig.axes[0]
    readable(fig, [*ax.get_xticklabels(), *ax.get_yticklabels(), *(t for t in ax.texts if t.get_text())])
    assert (len(ax.texts) > n + 1) == (n <= 20)
    assert ax.get_yticklabels()[0].get_fontsize() >= 6
    bar = ax.child_axes[0]
    assert bar.get_ylabel() == ("Fraction of true label" if normalize else "Cells")
    assert max(fig.get_size_inches()) < 11


def test_annotate(labelled):
    adata = labelled(3)
    assert len(pl.confusion(adata, "cell_type", annotate=False, show=False).texts) == 3 + 1
    assert len(pl.confusion(labelled(25), "cell_type", annotate=True, show=False).texts) == 25**2 + 25 + 1


def test_labels_are_no_formulas(labelled):
    adata = labelled(2)
    names = ["$x_1$ and $", "_hidden"]
    for column in ("cell_type", "ginseng_cell_type"):
        adata.obs[column] = adata.obs[column].cat.rename_categories(names)
    fig = pl.confusion(adata, "cell_type", return_fig=True)
    fig.canvas.draw()
    assert not any(t.get_parse_math() for t in fig.axes[0].get_yticklabels())
    assert sorted(tick_labels(fig.axes[0])[0]) == sorted(names)


def test_axes_and_show(labelled, monkeypatch):
    adata, calls = labelled(3), []
    monkeypatch.setattr(plt, "show", lambda: calls.append(1))
    fig, axes = plt.subplots(1, 2)
    size = tuple(fig.get_size_inches())
    assert pl.confusion(adata, "cell_type", ax=axes[1]) is axes[1]
    assert tuple(fig.get_size_inches()) == size
    assert axes[1].collections
    assert not axes[0].collections
    assert plt.get_fignums() == [fig.number]
    assert isinstance(pl.confusion(adata, "cell_type", show=False), Axes)
    assert isinstance(pl.confusion(adata, "cell_type", return_fig=True), Figure)
    assert not calls
    assert pl.confusion(adata, "cell_type") is None
    assert pl.confusion(adata, "cell_type", ax=axes[0], show=True) is None
    assert len(calls) == 2
    monkeypatch.setattr(settings, "autoshow", False)
    assert isinstance(pl.confusion(adata, "cell_type"), Axes)
    assert len(calls) == 2


def test_adata_is_left_alone(labelled):
    adata = labelled(3)
    before = adata.copy()
    pl.confusion(adata, "cell_type", show=False)
    pl.embedding(adata, "umap", "cell_type", show=False)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns


def test_errors_say_what_to_do(labelled):
    adata = labelled(3)
    with pytest.raises(KeyError, match=r"`gs\.tl\.evaluate\(adata, label_key\)`.*`label_key`"):
        pl.confusion(adata)
    with pytest.raises(KeyError, match=r"`gs\.tl\.classify`"):
        pl.confusion(adata, "cell_type", key="other")
