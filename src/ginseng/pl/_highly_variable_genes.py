from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ginseng._docs import document
from ginseng.pl import _figure, _tables


@document
def highly_variable_genes(
    adata: AnnData,
    *,
    palette: _figure.Palette | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Axes | list[Axes] | Figure | None:
    """Plot the variability of the genes against their mean expression, and which genes were selected.

    As in :func:`scanpy.pl.highly_variable_genes`. On the left is the dispersion (the variance for the flavor
    `"seurat_v3"`) relative to genes of similar mean, by which genes are selected; on the right, the raw value.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`ginseng.pp.select_hvgs`.
    palette
        Colours of `"selected"` and `"other"`.
    ax
        Two axes to draw into.
    %(show)s
    %(return_fig)s

    Returns
    -------
    `None` if the plot is shown, else the two axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If no genes were selected, or another tool selected them.
    """
    genes, of_counts = _tables.genes(adata)
    colors = _figure.colors(["selected", "other"], palette, {"selected": _figure.OKABE_ITO[5], "other": "#A8A8A8"})
    what = "variance" if of_counts else "dispersion"
    panels = {"spread_norm": f"Standardised {what}", "spread": "Variance of counts" if of_counts else "Dispersion"}

    _, axes = _figure.make_axes(2, ax, (5.6, 2.5))
    for axis, (column, title) in zip(axes, panels.items(), strict=True):
        for name in ("other", "selected"):
            part = genes[genes["selected"] == (name == "selected")]
            # rasterised, as in `embedding`
            style: Any = {"s": 3, "linewidths": 0, "rasterized": True, "color": colors[name]}
            axis.scatter(part["mean"], part[column], label=f"{name} ({len(part):,})", **style)
        if of_counts:
            axis.set_xscale("log")
            if column == "spread":
                axis.set_yscale("log")
        axis.set_xlabel("Mean count" if of_counts else "Mean expression", fontsize="small")
        axis.set_ylabel(title, fontsize="small")
        axis.tick_params(labelsize="small", width=0.6, length=2.5)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=2, reverse=True, fontsize="small", frameon=False,
        borderaxespad=0.2, borderpad=0, handletextpad=0.1, columnspacing=0.9, markerscale=2.5,
    )  # fmt: skip
    return _figure.finish(axes, ax=ax, show=show, return_fig=return_fig)
