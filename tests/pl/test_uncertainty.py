from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ginseng import pl


@pytest.fixture
def uncertain(labelled):
    def make(n=4):
        adata = labelled(n, unassigned=True)
        rng = np.random.default_rng(0)
        adata.obs["ginseng_uncertainty"] = rng.random(adata.n_obs, dtype=np.float32)
        adata.obs["ginseng_spread"] = rng.random(adata.n_obs, dtype=np.float32) / 2
        adata.obs.loc[adata.obs_names[:2], "ginseng_uncertainty"] = np.nan
        return adata

    return make


@pytest.mark.parametrize("groupby", [None, "leiden"])
def test_rows_are_the_quantiles(uncertain, groupby):
    adata = uncertain()
    adata.obs["leiden"] = (np.arange(adata.n_obs) % 5).astype(str)
    axes = pl.uncertainty(adata, groupby=groupby, show=False)
    cells = adata.obs[2:].groupby(groupby or "ginseng_cell_type", observed=True)
    medians = cells["ginseng_uncertainty"].median().drop("unassigned", errors="ignore").sort_values(ascending=False)
    names = [t.get_text() for t in axes[0].get_yticklabels()]
    assert names == [*medians.index, *([] if groupby else ["unassigned"])]
    for ax, column in zip(axes, ("ginseng_uncertainty", "ginseng_spread"), strict=True):
        for name, box in zip(names, ax.patches, strict=True):
            x = box.get_path().vertices[:, 0]
            assert (x.min(), x.max()) == pytest.approx(tuple(cells[column].quantile([0.25, 0.75])[name]), abs=1e-6)


def test_wrong_labels_against_correct_ones(uncertain):
    adata = uncertain()
    ax = pl.uncertainty(adata, "cell_type", show=False)[-1]
    known = adata.obs[2:-5]
    wrong = known["cell_type"].astype(str) != known["ginseng_cell_type"].astype(str)
    area = roc_auc_score(wrong, known["ginseng_uncertainty"])
    assert ax.get_legend().get_title().get_text() == f"AUROC {area:.3f}"
    assert [line.get_label() for line in ax.lines] == [f"correct ({(~wrong).sum()})", f"wrong ({wrong.sum()})"]
    values = known.loc[wrong, "ginseng_uncertainty"].sort_values()
    np.testing.assert_allclose(ax.lines[1].get_xdata()[1:], values)
    np.testing.assert_allclose(ax.lines[1].get_ydata()[1:], np.arange(1, len(values) + 1) / len(values))


def test_no_errors_to_find(uncertain):
    adata = uncertain()
    adata.obs["truth"] = adata.obs["ginseng_cell_type"]
    legend = pl.uncertainty(adata, "truth", show=False)[-1].get_legend()
    assert legend.get_title().get_text() == "no wrong label"


def test_errors_say_what_to_do(uncertain, labelled):
    with pytest.raises(KeyError, match=r"`gs\.tl\.uncertainty"):
        pl.uncertainty(labelled(2))
    with pytest.raises(KeyError, match="'cel_type'"):
        pl.uncertainty(uncertain(), "cel_type")
