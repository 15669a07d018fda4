from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support

import ginseng as gs
from ginseng import pl


def drawn(ax):
    names = [t.get_text() for t in ax.get_yticklabels()]
    return pd.DataFrame({line.get_label(): line.get_xdata() for line in ax.lines[:3]}, index=names)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_scores_are_those_of_scikit_learn(labelled, stored, n):
    adata = labelled(n, unassigned=True)
    if stored:
        gs.tl.evaluate(adata, "cell_type")
    ax = pl.metrics(adata, None if stored else "cell_type", show=False)
    found = drawn(ax)
    true, predicted = adata.obs["cell_type"].astype(str), adata.obs["ginseng_cell_type"].astype(str)
    *scores, support = precision_recall_fscore_support(true, predicted, labels=list(found.index), zero_division=0)
    np.testing.assert_allclose(found[["precision", "recall", "F1"]].to_numpy().T, scores)
    assert [t.get_text() for t in ax.texts] == [*(str(n) for n in support), "cells"]
    assert set(found.index) == set(true)
    assert found["F1"].is_monotonic_decreasing


def test_order(labelled):
    adata = labelled(6)
    for by in ("precision", "recall"):
        assert drawn(pl.metrics(adata, "cell_type", sort_by=by, show=False))[by].is_monotonic_decreasing
    names = drawn(pl.metrics(adata, "cell_type", sort_by="name", show=False)).index
    assert list(names) == sorted(names)
    cells = adata.obs["cell_type"].value_counts()
    assert cells[drawn(pl.metrics(adata, "cell_type", sort_by="support", show=False)).index].is_monotonic_decreasing
    with pytest.raises(ValueError, match=r"`sort_by`.*'support'.*'size'"):
        pl.metrics(adata, "cell_type", sort_by="size")
    with pytest.raises(KeyError, match=r"`gs\.tl\.evaluate"):
        pl.metrics(adata)
