"""Every plot under every theme, with few and with many types: readable, whole, and in colours that can be seen."""

from __future__ import annotations

import inspect
import itertools

import anndata as ad
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ginseng import pl

FOLDS = ["accuracy", "balanced_accuracy", "macro_f1"]


def _theme(name):
    if name == "scanpy":
        import scanpy as sc

        sc.set_figure_params()
    elif name == "darkgrid":
        import seaborn as sns

        sns.set_theme(style="darkgrid")
    elif name == "constrained":
        matplotlib.rcParams.update({"figure.constrained_layout.use": True, "axes.grid": True, "font.size": 14})
    elif name != "default":
        plt.style.use(name)


@pytest.fixture
def figdir(tmp_path):
    import scanpy as sc

    before = sc.settings.figdir, sc.settings.file_format_figs
    sc.settings.figdir = tmp_path / "figures"
    yield tmp_path / "figures"
    sc.settings.figdir, sc.settings.file_format_figs = before


@pytest.fixture
def theme():
    with matplotlib.rc_context():
        yield _theme


def cells(n):
    """Return cells of `n` types with everything that can be plotted."""
    rng = np.random.default_rng(n)
    words = ["alpha-beta T", "endothelial", "proximal tubule", "B", "monocyte"]
    names = np.array([f"{words[i % 5]} cell {i}, {'activated' if i % 3 else 'CD8-positive'}" for i in range(n)], object)
    y = np.tile(np.arange(n), 12)
    labels = names[np.where(rng.random(len(y)) < 0.8, y, rng.integers(n, size=len(y)))]
    share = rng.random((4, len(y)), np.float32)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(names[y], names),
            "ginseng_cell_type": pd.Categorical(labels, names),
            "ginseng_vote": pd.Categorical(labels, names),
            "ginseng_confidence": share[0],
            "ginseng_novelty": share[1],
            "ginseng_uncertainty": share[2],
            "ginseng_spread": share[3] / 2,
            "donor": pd.Categorical([f"donor {i}" for i in np.arange(len(y)) % 6]),
            "condition": pd.Categorical(np.where(np.arange(len(y)) % 6 < 3, "healthy", "ill")),
            "leiden": pd.Categorical((y // 2).astype(str)),
        },
        index=[f"c{i}" for i in range(len(y))],
    )
    genes = np.array([f"GENE{i}" for i in range(3 * n)], dtype=object)
    x = np.where(np.arange(3 * n) // 3 == y[:, None], 4.0, 1.0)
    var = pd.DataFrame({"ginseng_means": 1 + rng.random(3 * n), "ginseng_dispersions": rng.normal(size=3 * n)}, genes)
    var["ginseng_dispersions_norm"], var["ginseng_genes"] = var["ginseng_dispersions"], var["ginseng_dispersions"] > 0
    adata = ad.AnnData(x.astype(np.float32), obs, var)
    adata.obsm["X_umap"] = rng.normal(size=(len(y), 2)) + 6 * rng.normal(size=(n, 2))[y]
    counts = pd.crosstab(adata.obs["leiden"], adata.obs["ginseng_cell_type"])
    vote = {"label": counts.idxmax(axis=1), "fraction": counts.max(axis=1) / counts.sum(axis=1), "decided": True}
    table = pd.DataFrame(
        {
            "cell": np.repeat(["c0", "c1"], 6), "label": names[0], "versus": names[1], "gene": [*genes[:6]] * 2,
            "contribution": np.tile([3.0, 2, 1, -1, -2, -3], 2) * 0.013,
            "direction": np.tile(np.repeat(["for", "against"], 3), 2), "expression": np.tile([1.0, 0, 1, 1, 1, 1], 2),
        }
    )  # fmt: skip
    metrics = {name: rng.random(3) for name in ("accuracy", "macro_f1", "fit_seconds")}
    confusion = pd.crosstab(adata.obs["cell_type"], adata.obs["ginseng_cell_type"]).to_numpy()
    curves = {name: rng.random(8) for name in ("train_loss", "holdout_loss", "holdout_accuracy", "holdout_f1")}
    adata.uns["ginseng"] = {
        "vote": {
            "table": pd.DataFrame(vote), "counts": counts.to_numpy(), "labels": counts.columns.to_numpy(object),
            "groupby": "leiden", "prediction_key": "ginseng_cell_type", "unassigned": "unassigned",
        },
        "explanation": table,
        "history": {"epoch": np.arange(8), **curves},
        "comparison": {
            "table": pd.DataFrame(metrics, index=["one model", "another", "third"]),
            "confusion": {"labels": names, "counts": np.stack([confusion] * 3)},
        },
    }  # fmt: skip
    folds = pd.DataFrame(rng.uniform(0.6, 1, (6, 3)), [f"donor {i}" for i in range(6)], FOLDS).assign(n_test=1200)
    adata.uns["ginseng_cv"] = {"folds": folds, "metrics": {}, "params": {"by": "donor"}}
    order = {name: np.argsort(-x[y == i].mean(axis=0), kind="stable") for i, name in enumerate(names)}
    fields = {
        "names": {name: genes[o] for name, o in order.items()},
        "scores": {name: np.linspace(1, -1, 3 * n) for name in names},
        "logfoldchanges": {name: np.ones(3 * n) for name in names},
    }
    adata.uns["ginseng_rank_genes"] = {
        "params": {"groupby": "cell_type", "normalize": True, "target_sum": 1e4},
        **{key: pd.DataFrame(value).to_records(index=False) for key, value in fields.items()},
    }
    return adata


CELLS = {n: cells(n) for n in (5, 40)}
PLOTS = {
    "clusters": {},
    "compare": {},
    "composition": {"groupby": "donor"},
    "composition of conditions": {"groupby": "condition", "sample_key": "donor"},
    "confidence": {"label_key": "cell_type"},
    "confidence of clusters": {"groupby": "leiden"},
    "confusion": {"label_key": "cell_type"},
    "cross_validate": {},
    "embedding": {"label_key": "cell_type"},
    "embedding on data": {"color": "predicted", "legend_loc": "on data"},
    "explain": {},
    "highly_variable_genes": {},
    "history": {},
    "metrics": {"label_key": "cell_type"},
    "rank_genes": {},
    "rank_genes heatmap": {"kind": "heatmap", "n_genes": 1},
    "uncertainty": {"label_key": "cell_type"},
    "vote": {},
}


def plot(name, n, **how):
    return getattr(pl, name.split()[0])(CELLS[n], **PLOTS[name], **how)


def test_every_plot_is_here():
    assert {name.split()[0] for name in PLOTS} == set(pl.__all__)


@pytest.mark.parametrize("name", pl.__all__)
def test_every_plot_has_the_options(name):
    parameters = inspect.signature(getattr(pl, name)).parameters
    given = {n: parameters[n].default for n in ("title", "figsize", "ax", "save", "show", "return_fig")}
    assert given == dict.fromkeys(given) | {"return_fig": False}
    with pytest.raises(TypeError, match=rf"{name}\(\).*'colour'"):
        plot(name, 5, colour="red")


def luminance(color):
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def shown_texts(fig):
    """Return the texts that are drawn, with their boxes."""
    renderer = fig.canvas.get_renderer()
    found = []
    for text in fig.findobj(lambda artist: isinstance(artist, Text) and bool(artist.get_text().strip())):
        ax = text.axes
        axis_off = ax is not None and not ax.axison and text is not ax.title and text not in ax.texts
        if text.get_visible() and not axis_off:
            found.append((text, text.get_window_extent(renderer)))
    return found


def whole(fig):
    box, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    return box.x0 > -0.01 and box.y0 > -0.01 and box.x1 < width + 0.01 and box.y1 < height + 0.01


def check(fig):
    fig.draw_without_rendering()
    assert whole(fig), "something is cut off"
    inside = [(text, box) for text, box in shown_texts(fig) if box.width and fig.bbox.padded(1).overlaps(box)]
    ticks = {id(t) for ax in every_axes(fig) for a in (ax.xaxis, ax.yaxis) for t in hidden_ticks(a)}
    inside = [(text, box) for text, box in inside if id(text) not in ticks]
    for (one, a), (other, b) in itertools.combinations(inside, 2):
        both = Bbox.intersection(a, b)
        # boxes of letters have space above and below
        free = 0.3 * min(one.get_fontsize(), other.get_fontsize()) * fig.dpi / 72
        assert both is None or min(both.width, both.height) < free, (one.get_text(), other.get_text())
    page = fig.get_facecolor()
    for text, box in inside:
        panels = [ax.get_facecolor() for ax in every_axes(fig) if ax.axison and holds(ax.get_window_extent(), box)]
        if not (panels and text.axes is not None and text in text.axes.texts):  # on a panel it may lie on a colour
            assert contrast(text.get_color(), panels[-1] if panels else page) > 3, text.get_text()
    for bar in (child for ax in fig.axes for child in ax.child_axes):
        drawn = [t for t in bar.get_yticklabels() if id(t) not in ticks]
        middles = [t.get_window_extent().y0 for t in drawn]
        assert np.diff(middles).min(initial=np.inf) > 1.15 * drawn[0].get_fontsize() * fig.dpi / 72, "numbers touch"
    for ax in fig.axes:
        assert min(ax.get_window_extent().size) > 0.4 * fig.dpi, "an axis is collapsed"
        assert not any(line.get_visible() for line in [*ax.get_xgridlines(), *ax.get_ygridlines()]), "a grid"
        if ax.get_legend():
            drawn, panel = ax.get_legend().get_window_extent(), ax.get_window_extent()
            both = Bbox.intersection(drawn, panel)
            assert both is None or min(both.width, both.height) < 1, "the legend lies on the data"


def every_axes(fig):
    return [ax for outer in fig.axes for ax in (outer, *outer.child_axes)]


def hidden_ticks(axis):
    """Return the labels that are not drawn, since their ticks lie outside of the axis."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    edge = 1e-6 * (high - low)
    return [t for tick in ticks for t in (tick.label1, tick.label2) if not low - edge <= tick.get_loc() <= high + edge]


def holds(outer, inner):
    return outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and outer.x1 >= inner.x1 and outer.y1 >= inner.y1


FAST = {"scanpy", "dark_background"}
LARGE = {"compare", "confidence", "rank_genes", "rank_genes heatmap", "uncertainty"}
CASES = [
    pytest.param(name, style, n, marks=() if fast else pytest.mark.slow)
    for name in PLOTS
    for n, style, fast in (
        *((5, style, style in FAST) for style in ("default", "scanpy", "darkgrid", "dark_background", "ggplot")),
        *((40, style, False) for style in ("default", "scanpy", "dark_background", "ggplot")),
        (40, "constrained", name not in LARGE),
    )
]


@pytest.mark.parametrize(("name", "style", "n"), CASES)
def test_readable(theme, name, style, n):
    theme(style)
    check(plot(name, n, return_fig=True))


@pytest.mark.parametrize("style", ["scanpy", "darkgrid", "dark_background", "ggplot"])
def test_every_label_can_be_seen(theme, style):
    theme(style)
    adata = CELLS[40].copy()
    adata.uns["ginseng_cell_type_colors"] = ["#000000", "#ffffff", "#e6e6e6", *(f"#{i:02x}80ff" for i in range(37))]
    adata.obs.loc[adata.obs_names[-1], "ginseng_cell_type"] = np.nan
    ax = pl.embedding(adata, color="predicted", show=False)
    background = np.array(to_rgb(ax.get_facecolor()))
    shades = np.unique(ax.collections[0].get_facecolors()[:, :3], axis=0)
    assert np.linalg.norm(shades - background, axis=1).min() > 0.15


@pytest.mark.usefixtures("theme")
@pytest.mark.parametrize(
    "name", [name if " " not in name else pytest.param(name, marks=pytest.mark.slow) for name in PLOTS]
)
def test_title_size_and_file(name, figdir, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    matplotlib.rcParams["savefig.dpi"] = 40
    natural = plot(name, 5, return_fig=True)
    assert not plt.get_fignums(), "a notebook would show it"
    size = tuple(natural.get_size_inches() * 1.3)
    fig = plot(name, 5, title="One title", figsize=size, save="_mine.png", return_fig=True)
    np.testing.assert_allclose(fig.get_size_inches(), size, atol=0.1)
    assert "One title" in [text.get_text() for text, _ in shown_texts(fig)]
    fig.draw_without_rendering()
    assert whole(fig)
    kind = name.split()[0]
    assert [path.name for path in figdir.iterdir()] == [f"{kind}_mine.png"]
    assert not shown
    assert not plt.get_fignums()


@pytest.mark.usefixtures("figdir")
def test_files_are_named_as_in_scanpy(tmp_path):
    import scanpy as sc

    sc.settings.file_format_figs = "svg"
    for save in (True, "_a", "_b.pdf", tmp_path / "new" / "c.png", str(tmp_path / "d.jpg")):
        plot("metrics", 5, save=save, show=False)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert files == ["d.jpg", "figures/metrics.svg", "figures/metrics_a.svg", "figures/metrics_b.pdf", "new/c.png"]


@pytest.mark.parametrize("how", ["save", "savefig"])
def test_text_stays_text(tmp_path, how):
    for suffix in ("pdf", "svg"):
        path = tmp_path / f"x.{suffix}"
        fig = plot("metrics", 5, save=path if how == "save" else None, return_fig=True)
        if how == "savefig":
            fig.savefig(path)
    pdf = (tmp_path / "x.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # TrueType
    assert b"/Type3" not in pdf
    assert "CD8-positive</text>" in (tmp_path / "x.svg").read_text()


def test_what_is_added_is_not_cut_off(tmp_path):
    ax = plot("metrics", 5, show=False)
    ax.set_title("A title\nof three\nlines")
    assert not whole(ax.figure)
    ax.figure.savefig(tmp_path / "x.png")
    assert whole(ax.figure)


@pytest.mark.parametrize("name", ["embedding on data", "confusion", "composition", "metrics", "clusters", "vote"])
def test_given_axes(name):
    fig, axes = plt.subplots(1, 2, figsize=(9, 4))
    assert plot(name, 40, ax=axes[0]) is axes[0]
    assert plot(name, 5, ax=axes[1], title="mine") is axes[1]
    assert tuple(fig.get_size_inches()) == (9, 4)
    fig.draw_without_rendering()
    assert whole(fig)
    assert axes[1].get_title() == "mine"
    assert min(*axes[0].get_window_extent().size, *axes[1].get_window_extent().size) > 0.4 * fig.dpi


def test_titles_of_panels():
    titles = [ax.get_title() for ax in plot("confidence", 5, title=list("abcd"), show=False)]
    assert titles == list("abcd")
    with pytest.raises(ValueError, match=r"`title`.* 3 .* 4 "):
        plot("confidence", 5, title=list("abc"), show=False)
