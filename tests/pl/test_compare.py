from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ginseng import pl
from ginseng.tl._compare import METRICS, _stacked
from ginseng.tl._evaluate import measure

NAMES = ["gated", "random_forest", "GridSearchCV(LogisticRegression)", "a $b$ c"]


@pytest.fixture
def compared():
    """Return a factory of AnnData with a comparison of `len(models)` models on `n` labels."""

    def make(n=4, models=NAMES, length=12):
        rng = np.random.default_rng(n)
        names = np.array([f"{i:02} γδ/".ljust(length, "x") for i in range(n)], dtype=object)
        true = np.concatenate([np.arange(n), rng.integers(n, size=600)])
        rows, confusion = [], {}
        for k, model in enumerate(models):
            labels = names[np.where(rng.random(len(true)) < 0.6 + 0.1 * k, true, rng.integers(n, size=len(true)))]
            labels[:1] = "unassigned" if k == 1 else labels[:1]
            found = measure(names[true], labels)
            confusion[model] = found["confusion"]
            rows.append({**{m: found[m] for m in METRICS}, "fit_seconds": 12.345 * 10**k, "predict_seconds": 0.01 * k})
        adata = ad.AnnData(np.zeros((3, 1), dtype=np.float32))
        table = pd.DataFrame(rows, index=pd.Index(models, name="model"))
        adata.uns["ginseng"] = {"comparison": {"table": table, "confusion": _stacked(confusion)}}
        return adata

    return make


def tick_labels(ax):
    # not the texts: panels may share the row names of the one to their left
    return tuple(axis.get_major_formatter().format_ticks(axis.get_majorticklocs()) for axis in (ax.yaxis, ax.xaxis))


def test_draws_table_and_matrices(compared):
    adata = compared(5)
    found = adata.uns["ginseng"]["comparison"]
    axes = pl.compare(adata, show=False)
    assert len(axes) == 1 + len(NAMES)
    table, *panels = axes
    texts = np.array([t.get_text() for t in table.texts]).reshape(len(NAMES), -1)
    np.testing.assert_allclose(texts[:, :6].astype(float), found["table"][list(METRICS)], atol=0.00051)
    assert texts[:, 6].tolist() == ["12", "123", "1,234", "12,345"]
    bold = np.array([t.get_fontweight() == "bold" for t in table.texts]).reshape(texts.shape)
    assert bold[:, 0].tolist() == (found["table"]["accuracy"] == found["table"]["accuracy"].max()).tolist()
    assert bold[:, 6].tolist() == [True, False, False, False], "the fastest is best"
    labels = [str(label) for label in found["confusion"]["labels"]]
    orders = set()
    for k, panel in enumerate(panels):
        rows, columns = tick_labels(panel)
        assert columns == [*rows, "unassigned"]
        orders.add(tuple(rows))
        counts = pd.DataFrame(found["confusion"]["counts"][k], labels, labels).loc[rows, columns]
        expected = counts.div(counts.sum(axis=1), axis=0)
        np.testing.assert_allclose(np.asarray(panel.collections[0].get_array()), expected)
        assert panel.get_title() == NAMES[k]
    assert len(orders) == 1, "the matrices cannot be compared row by row"


def test_which_models_and_what_order(compared):
    axes = pl.compare(compared(6), ["a $b$ c", "gated"], order="alphabetical", normalize=False, show=False)
    assert [ax.get_title() for ax in axes[1:]] == ["a $b$ c", "gated"]
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["a $b$ c", "gated"]
    rows, _ = tick_labels(axes[1])
    assert rows == sorted(rows)
    limits = {ax.collections[0].get_clim() for ax in axes[1:]}
    assert len(limits) == 1, "one colour must mean one number of cells"
    with pytest.raises(KeyError, match=r"'gatd'.*'gated'"):
        pl.compare(compared(3), ["gatd"])


@pytest.mark.parametrize("n", [2, 16, 60])
def test_all_is_readable(compared, readable, n):
    fig = pl.compare(compared(n, NAMES[: 2 if n == 60 else 3], length=24), return_fig=True)
    assert isinstance(fig, Figure)
    panels = fig.axes[1 : 3 if n == 60 else 4]
    for ax in panels:
        readable(fig, [*ax.get_xticklabels(), ax.title])
    shown = [ax for ax in panels if ax.yaxis.label.get_visible()]
    readable(fig, shown[0].get_yticklabels())
    readable(fig, [ax.title for ax in panels])
    boxes = [ax.get_tightbbox() for ax in [fig.axes[0], *panels]]
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:i])


def test_given_axes(compared):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3)
    assert pl.compare(compared(3), NAMES[:2], ax=axes) == list(axes)
    assert axes[1].get_title() == "gated"
    with pytest.raises(ValueError, match=r"3 .*`ax`.* 1"):
        pl.compare(compared(3), NAMES[:2], ax=axes[:1])
    plt.close(fig)


def test_without_a_comparison(compared):
    adata = compared(2)
    with pytest.raises(KeyError, match=r"`gs\.tl\.compare\(adata, label_key\)`"):
        pl.compare(adata, key="other")
