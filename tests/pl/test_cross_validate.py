from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pandas as pd
import pytest

from ginseng import pl


@pytest.fixture
def validated(labelled):
    def make(n=5, by="cell"):
        adata, rng = labelled(2), np.random.default_rng(n)
        names = ["accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "macro_precision", "macro_recall"]
        folds = pd.DataFrame(rng.uniform(0.5, 1, (n, 6)), columns=names, index=[f"fold {i}" for i in range(n)])
        folds.insert(0, "n_test", rng.integers(10, 2000, n))
        adata.uns["ginseng_cv"] = {"folds": folds, "metrics": {"accuracy": 0.8}, "params": {"by": by}}
        return adata

    return make


@pytest.mark.parametrize("n", [1, 5, 40])
@pytest.mark.parametrize("metrics", ["accuracy", ["macro_f1", "accuracy", "macro_recall"]])
def test_folds_and_their_mean(validated, n, metrics):
    adata = validated(n, by="donor")
    ax = pl.cross_validate(adata, metrics, show=False)
    folds = adata.uns["ginseng_cv"]["folds"]
    assert [t.get_text() for t in ax.get_yticklabels()] == [*folds.index, "mean ± sd"]
    assert "donor" in ax.get_ylabel()
    assert [t.get_text() for t in ax.texts] == [*(f"{n:,}" for n in folds["n_test"]), "cells"]
    points = [line for line in ax.lines if len(line.get_xdata()) == n and line.get_marker() not in ("", "None", None)]
    for name in [metrics] if isinstance(metrics, str) else metrics:
        assert any(np.array_equal(line.get_xdata(), folds[name]) for line in points)
        bar = next(c for c in ax.containers if c.lines[0].get_xdata()[0] == pytest.approx(folds[name].mean()))
        ends = bar.lines[2][0].get_segments()[0][:, 0]
        assert (ends[1] - ends[0]) / 2 == pytest.approx(folds[name].std(ddof=1) if n > 1 else 0)


def test_errors_say_what_to_do(validated, labelled):
    with pytest.raises(KeyError, match=r"`gs\.tl\.cross_validate"):
        pl.cross_validate(labelled(2))
    with pytest.raises(KeyError, match=r"'f1'.*'macro_f1'"):
        pl.cross_validate(validated(), "f1")
    with pytest.raises(ValueError, match="`metrics`"):
        pl.cross_validate(validated(), [])
