from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc

import ginseng as gs
from ginseng import pl


def points(ax):
    """Return the dots of selected and other genes, in order."""
    both = {c.get_label().split(" ")[0]: np.asarray(c.get_offsets()) for c in ax.collections}
    return [np.array(sorted(map(tuple, both[name]))) for name in ("selected", "other")]


@pytest.mark.parametrize("flavor", ["seurat", "seurat_v3"])
def test_the_same_dots_as_scanpy(make_cells, readable, flavor):
    adata = make_cells(200, 60)
    gs.pp.select_hvgs(adata, 20, flavor=flavor, silent=True)
    fig = pl.highly_variable_genes(adata, return_fig=True)
    table = adata.var.rename(columns=lambda name: name.removeprefix("ginseng_"))
    table = table.rename(columns={"genes": "highly_variable"})
    sc.pl.highly_variable_genes(table, show=False)
    for ours, theirs in zip(fig.axes, plt.gcf().axes, strict=True):
        other = [np.array(sorted(map(tuple, np.asarray(c.get_offsets())))) for c in theirs.collections]
        for mine, reference in zip(points(ours), other, strict=True):
            np.testing.assert_allclose(mine, reference)
    readable(fig, fig.axes[0].get_legend().get_texts())
    assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == ["selected (20)", "other (40)"]


def test_axes_and_errors(make_cells):
    adata = make_cells(50)
    with pytest.raises(KeyError, match=r"'ginseng_genes'.*`gs\.pp\.select_hvgs\(adata\)`"):
        pl.highly_variable_genes(adata)
    gs.pp.select_hvgs(adata, 10, silent=True)
    _, axes = plt.subplots(1, 2)
    assert pl.highly_variable_genes(adata, ax=axes, palette={"selected": "red"}) == list(axes)
    assert axes[0].collections[1].get_facecolor()[0].tolist() == [1, 0, 0, 1]
