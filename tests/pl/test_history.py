from __future__ import annotations

from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from ginseng import pl
from ginseng.pl import _metric_tables


def curves(n=6, holdout=True):
    rng = np.random.default_rng(n)
    names = ["train_loss", *(["holdout_loss", "holdout_accuracy", "holdout_f1"] if holdout else [])]
    return {"epoch": np.arange(1, n + 1), **{name: rng.random(n) for name in names}}


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


@pytest.mark.parametrize("n", [1, 6, 200])
@pytest.mark.parametrize("kind", ["adata", "state", "dict"])
def test_draws_the_history(labelled, readable, n, kind):
    history = curves(n)
    source = {"adata": labelled(2), "state": SimpleNamespace(history=history), "dict": history}[kind]
    if kind == "adata":
        source.uns["ginseng"] = {"history": history}
    loss, scores = pl.history(source, show=False)
    for ax, names in (
        (loss, {"training": "train_loss", "holdout": "holdout_loss"}),
        (scores, {"accuracy": "holdout_accuracy", "macro F1": "holdout_f1"}),
    ):
        for label, name in names.items():
            line = lines(ax)[label]
            np.testing.assert_array_equal(line.get_xdata(), history["epoch"])
            np.testing.assert_array_equal(line.get_ydata(), history[name])
        best = history["epoch"][history["holdout_loss"].argmin()]
        assert lines(ax)[f"kept epoch ({best})"].get_xdata() == [best, best]
        readable(ax.figure, [*ax.get_xticklabels(), *ax.get_legend().get_texts()])
        legend, box = ax.get_legend().get_window_extent(), ax.get_window_extent()
        assert legend.y0 >= box.y1 - 1, "the legend hides the curves"


def test_best_epoch_is_the_one_kept(labelled):
    adata = labelled(2)
    adata.uns["ginseng"] = {"history": curves(6), "params": {"best_epoch": np.int64(4)}}
    assert "kept epoch (4)" in lines(pl.history(adata, show=False)[0])


@pytest.mark.parametrize("absent", ["missing", "nan"])
def test_no_holdout(absent):
    history = curves(5, holdout=absent == "nan")
    for name in set(history) - {"epoch", "train_loss"}:
        history[name] = np.full(5, np.nan)
    ax = pl.history(history, show=False)
    assert set(lines(ax)) == {"training"}


def test_tidy():
    frame, best = _metric_tables.history({**curves(3), "other": np.arange(3)}, "ginseng")
    assert list(frame.columns) == ["epoch", "metric", "split", "value"]
    assert len(frame) == 12
    assert best in (1, 2, 3)


def test_axes():
    _, axes = plt.subplots(1, 2)
    assert pl.history(curves(), ax=axes) == list(axes)
    assert axes[1].get_lines()
    with pytest.raises(ValueError, match=r"2 .*`ax`.* 1"):
        pl.history(curves(), ax=axes[0])


def test_palette():
    loss, _ = pl.history(curves(), palette={"training": "#123456"}, show=False)
    assert lines(loss)["training"].get_color() == "#123456"


def test_errors_say_what_to_do(labelled):
    with pytest.raises(KeyError, match=r"'history'.*`gs\.tl\.train"):
        pl.history(labelled(2))
    with pytest.raises(TypeError, match=r"`history`.*int"):
        pl.history(3)
    with pytest.raises(ValueError, match="epoch"):
        pl.history(curves(0))
