from __future__ import annotations

from typing import Any, Unpack

from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ginseng._cells.colors import OKABE_ITO
from ginseng._docs import document
from ginseng.pl import _gene_tables, _palette, _parts, _sheet, _theme


@_sheet.plot
@document
def highly_variable_genes(
    adata: AnnData,
    *,
    palette: _palette.Palette | None = None,
    **options: Unpack[_sheet.Options],
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
    %(plot_options)s

    Returns
    -------
    `None` if the plot is shown, else the two axes, or the figure if `return_fig=True`.

    Raises
    ------
    KeyError
        If no genes were selected, or another tool selected them.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.pp.select_hvgs(adata, n_top_genes=200)
    >>> axes = gs.pl.highly_variable_genes(adata, show=False)
    >>> [text.get_text() for text in axes[0].get_legend().get_texts()]
    ['selected (200)', 'other (565)']
    """
    genes, of_counts = _gene_tables.genes(adata)
    colors = _palette.colors(["selected", "other"], palette, {"selected": OKABE_ITO[5], "other": _theme.ink(0.35)})
    what = "variance" if of_counts else "dispersion"
    panels = {"spread_norm": f"Standardised {what}", "spread": "Variance of counts" if of_counts else "Dispersion"}

    u, dot = _theme.unit(), min(15.0, max(3.0, 6000 / len(genes)))
    sheet = _sheet.Sheet([(2.2 * u, 2.0 * u)] * 2, **options)
    for axis, (column, name_of_y) in zip(sheet.axes, panels.items(), strict=True):
        for name in ("other", "selected"):
            part = genes[genes["selected"] == (name == "selected")]
            # rasterised, as in `embedding`
            style: Any = {
                "s": dot,
                "linewidths": 0,
                "rasterized": True,
                "color": colors[name],
            }
            axis.scatter(part["mean"], part[column], label=f"{name} ({len(part):,})", **style)
        if of_counts:
            axis.set_xscale("log")
            if column == "spread":
                axis.set_yscale("log")
        axis.set_xlabel("Mean count" if of_counts else "Mean expression", fontsize="small")
        axis.set_ylabel(name_of_y, fontsize="small")
        _parts.simple(axis)
    marks: Any = {"handlelength": 2.0, "handletextpad": 0.1, "markerscale": 4.3 / dot**0.5}
    _parts.legend_above(sheet.axes[0], ncols=2, reverse=True, **marks)
    return sheet.finish("highly_variable_genes")
