from __future__ import annotations

import anndata as ad
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import ginseng as gs
from ginseng import pl
from ginseng.pl import _gene_tables


@pytest.fixture
def ranked():
    """Return a factory of cells with `n` types, with ranked genes and explanations as written by `tl`."""

    def make(n=4, length=12):
        names = [f"{i:02} γδ/$".ljust(length, "x") for i in range(n)]
        genes = np.array([f"ENSG{i:011}" for i in range(5 * n)], dtype=object)
        y = np.arange(4 * n) % n
        x = np.where(np.arange(5 * n) // 5 == y[:, None], 4.0, 0.0) + 1.0 * (np.arange(5 * n) % 2)
        obs = pd.DataFrame({"t": pd.Categorical(np.array(names)[y])}, index=[f"c{i}" for i in range(4 * n)])
        adata = ad.AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(index=genes.astype(str)))
        order = {name: np.argsort(-x[y == i].mean(axis=0), kind="stable") for i, name in enumerate(names)}
        fields = {
            "names": {name: genes[o] for name, o in order.items()},
            "scores": {name: np.linspace(1, -1, 5 * n) for name in names},
            "logfoldchanges": {name: np.where(np.arange(5 * n) == 0, -1.0, 1.0) for name in names},
        }
        adata.uns["ginseng_rank_genes"] = {
            "params": {"groupby": "t", "normalize": True, "target_sum": 1e4},
            **{key: pd.DataFrame(value).to_records(index=False) for key, value in fields.items()},
        }
        rows = {
            "cell": np.repeat(["c0", "c1"], 6), "label": names[0], "versus": names[-1], "gene": [*genes[:6]] * 2,
            "contribution": np.tile([3.0, 2, 1, -1, -2, -3], 2),
            "direction": np.tile(np.repeat(["for", "against"], 3), 2),
            "expression": np.tile([1.0, 0, 1, 1, 1, 1], 2),
        }  # fmt: skip
        adata.uns["ginseng"] = {"explanation": pd.DataFrame(rows)}
        return adata

    return make


@pytest.mark.parametrize("kind", ["dotplot", "heatmap"])
@pytest.mark.parametrize(("n", "length"), [(2, 8), (10, 40), (60, 40)])
def test_ranks_are_readable(ranked, readable, kind, n, length):
    fig = pl.rank_genes(ranked(n, length), kind=kind, return_fig=True)
    ax = fig.axes[0]
    readable(fig, [*ax.get_xticklabels(), *ax.get_yticklabels()])
    assert len(ax.get_yticklabels()) == n


@pytest.mark.parametrize("values", ["counts", "log-normalised", "raw", "all_genes"])
def test_dots_show_what_the_model_reads(values: str) -> None:
    adata = gs.datasets.pbmc68k()
    adata.X = adata.X.astype(np.float32)
    genes = adata.var_names[np.argsort(-np.asarray(adata.X.mean(axis=0)).ravel())][:100]
    library_size = "all_genes" if values == "all_genes" else "model_genes"
    settings = {"architecture": "linear", "epochs": 2, "library_size": library_size}
    model = gs.tl.train(adata, "cell_type", genes=list(genes), copy=True, calibrate=False, silent=True, **settings)
    counts, how = adata.X.toarray().astype(float), {}
    if values == "raw":
        adata.raw = adata.copy()
        adata, how = adata[:, :300].copy(), {"layer": "raw"}
    elif values == "log-normalised":
        adata.X = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
        how = {"normalize": False}
    gs.tl.rank_genes(adata, model, "cell_type", silent=True, **how)
    shown, _ = _gene_tables.expression(adata, list(genes[:5]), list(adata.obs["cell_type"].cat.categories), "ginseng")
    of_model = counts[:, gs.datasets.pbmc68k().var_names.get_indexer(genes)]
    total = counts.sum(axis=1) if values == "all_genes" else of_model.sum(axis=1)
    read = pd.DataFrame(np.log1p(1e4 * of_model / total[:, None]), columns=genes)
    expected = read.groupby(adata.obs["cell_type"].to_numpy()).mean().loc[shown.index, genes[:5]]
    np.testing.assert_allclose(shown, expected, rtol=1e-4)


def test_dots_show_expression(ranked):
    adata = ranked(3)
    ax = pl.rank_genes(adata, n_genes=2, show=False)
    genes, groups = ([t.get_text() for t in ticks] for ticks in (ax.get_xticklabels(), ax.get_yticklabels()))
    assert groups == list(adata.uns["ginseng_rank_genes"]["names"].dtype.names)
    x = adata.to_df()
    x = np.log1p(x.mul(1e4 / x.sum(axis=1), axis=0))
    mean = x.groupby(adata.obs["t"].astype(str)).mean().loc[groups, genes]
    dots = ax.collections[0]
    np.testing.assert_allclose(dots.get_array(), mean.to_numpy().ravel(), rtol=1e-5)
    share = (x > 0).groupby(adata.obs["t"].astype(str)).mean().loc[groups, genes].to_numpy().ravel()
    np.testing.assert_allclose(dots.get_sizes() / dots.get_sizes().max(), share)


def test_heat_map_shows_scores(ranked):
    adata = ranked(3)
    groups = list(adata.uns["ginseng_rank_genes"]["names"].dtype.names)[::-1][:2]
    scores, of_group = _gene_tables.ranked_genes(adata, "ginseng", groups, 2, 0)
    assert sum(of_group.values()) == len(scores.columns)
    assert scores.index.tolist() == groups
    ranks = adata.uns["ginseng_rank_genes"]
    for group in groups:
        by_gene = dict(zip(ranks["names"][group], ranks["scores"][group], strict=True))
        np.testing.assert_allclose(scores.loc[group], [by_gene[gene] for gene in scores.columns])
    ax = pl.rank_genes(adata, kind="heatmap", groups=groups, n_genes=2, show=False)
    np.testing.assert_allclose(ax.collections[0].get_array().ravel(), scores.to_numpy().ravel())
    limits = ax.collections[0].get_clim()
    assert limits[0] == -limits[1]
    shown, _ = _gene_tables.ranked_genes(adata, "ginseng", groups[:1], 2, 0.0)
    assert ranks["names"][groups[0]][0] not in shown.columns


def test_explanations_are_readable(ranked, readable):
    for n, length in ((2, 8), (60, 60)):
        adata = ranked(n, length)
        adata.uns["ginseng"]["explanation"]["contribution"] *= 0.06  # long numbers
        fig = pl.explain(adata, return_fig=True)
        readable(fig, [text for ax in fig.axes for text in [*ax.get_yticklabels(), ax.title, ax.xaxis.label]])
        for ax in fig.axes:
            readable(fig, [*ax.get_xticklabels(), ax.xaxis.label])


def test_bars_are_contributions(ranked):
    adata = ranked(3)
    ax = pl.explain(adata, "c1", show=False)
    assert [bar.get_width() for bar in ax.patches] == [3, 2, 1, -1, -2, -3]
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, True, False, False, False, False]
    assert ax.patches[0].get_facecolor() != ax.patches[-1].get_facecolor()
    axes = plt.subplots(1, 2)[1]
    assert pl.explain(adata, ["c0", "c1"], ax=axes) == list(axes)


def test_what_is_not_there(ranked):
    adata = ranked(3)
    with pytest.raises(KeyError, match=r"'c2'.*'c0', 'c1'"):
        pl.explain(adata, "c2")
    with pytest.raises(KeyError, match="'B'"):
        pl.rank_genes(adata, groups=["B"])
    with pytest.raises(ValueError, match=r"`kind`.*'dotplot'.*'heatmap'"):
        pl.rank_genes(adata, kind="violin")
    with pytest.raises(ValueError, match="`min_logfoldchange`"):
        pl.rank_genes(adata, min_logfoldchange=5)
    del adata.uns["ginseng_rank_genes"], adata.uns["ginseng"]
    with pytest.raises(KeyError, match=r"`gs\.tl\.rank_genes`"):
        pl.rank_genes(adata)
    with pytest.raises(KeyError, match=r"`gs\.tl\.explain"):
        pl.explain(adata)


def test_only_positive_genes_unless_asked(ranked):
    adata = ranked(3)
    ranks = adata.uns["ginseng_rank_genes"]
    one = {"groups": ranks["names"].dtype.names[:1], "show": False}
    first = str(ranks["names"][ranks["names"].dtype.names[0]][0])
    assert ranks["logfoldchanges"][ranks["names"].dtype.names[0]][0] < 0
    genes = {
        least: [t.get_text() for t in pl.rank_genes(adata, min_logfoldchange=least, **one).get_xticklabels()]
        for least in (0, None)
    }
    assert first in genes[None]
    assert first not in genes[0]
    assert genes[0] == [t.get_text() for t in pl.rank_genes(adata, **one).get_xticklabels()]


def test_a_bracket_per_group(ranked):
    adata = ranked(4)
    ax = pl.rank_genes(adata, n_genes=3, show=False)
    groups = [t.get_text() for t in ax.get_yticklabels()]
    genes = [t.get_text() for t in ax.get_xticklabels()]
    _, of_group = _gene_tables.ranked_genes(adata, "ginseng", None, 3, 0)
    ends = np.cumsum(list(of_group.values()))
    assert [t.get_text() for t in ax.texts] == [group for group in groups if of_group[group]]
    spans = [(min(line.get_xdata()), max(line.get_xdata())) for line in ax.lines]
    assert [round(b) for _, b in spans] == [end for end, n in zip(ends, of_group.values(), strict=True) if n]
    assert round(spans[0][0]) == 0
    assert len(genes) == ends[-1]


@pytest.mark.parametrize("scale", ["var", "group"])
def test_standard_scale_is_that_of_scanpy(ranked, scale):
    adata = ranked(4)
    ax = pl.rank_genes(adata, standard_scale=scale, show=False)
    shown = np.asarray(ax.collections[0].get_array()).reshape(len(ax.get_yticklabels()), -1)
    plain = np.asarray(pl.rank_genes(adata, show=False).collections[0].get_array()).reshape(shown.shape)
    mean = pd.DataFrame(plain)  # as in scanpy.pl.DotPlot
    if scale == "group":
        mean = mean.sub(mean.min(axis=1), axis=0)
        mean = mean.div(mean.max(axis=1), axis=0).fillna(0)
    else:
        mean -= mean.min(axis=0)
        mean = (mean / mean.max(axis=0)).fillna(0)
    np.testing.assert_allclose(shown, mean, atol=1e-6)
    with pytest.raises(ValueError, match=r"`standard_scale`.*'var', 'group'.*'obs'"):
        pl.rank_genes(adata, standard_scale="obs")


def test_both_sides_of_an_explanation_are_named(ranked):
    adata = ranked(3, 40)
    table = adata.uns["ginseng"]["explanation"]
    fig = pl.explain(adata, "c0", return_fig=True)
    against, for_ = fig.axes[0].texts
    assert against.get_text().startswith("\u2190 ")
    assert for_.get_text().endswith(" \u2192")
    for text, name in ((against, table["versus"].iloc[0]), (for_, table["label"].iloc[0])):
        assert "".join(text.get_text().strip("\u2190\u2192 ").split()) == "".join(name.split())
    zero = fig.axes[0].transData.transform((0, 0))[0]
    assert against.get_window_extent().x1 <= zero <= for_.get_window_extent().x0
    legend = fig.axes[0].get_legend()
    assert len(legend.get_texts()) == 3
    assert legend.get_window_extent().x0 >= fig.axes[0].get_window_extent().x1
