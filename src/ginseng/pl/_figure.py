"""Shared by all plots: theme, panels and their layout, colours, legends, colour bars, saving and showing."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from anndata import AnnData
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox, ScaledTranslation

from ginseng import _keys
from ginseng._cells.colors import MISSING, OKABE_ITO, UNASSIGNED, distinct
from ginseng._logging import info
from ginseng._settings import settings
from ginseng.pl import _tables

__all__ = ["MISSING", "OKABE_ITO"]

Palette = str | Sequence[Any] | Mapping[str, Any]
Title = str | Sequence[str]
Save = bool | str | os.PathLike[str]

#: Mark of dots that have the size of the rows and columns between which they lie.
TO_SCALE = "to scale"
#: How the legends were drawn, to draw them anew for a panel of another size.
_LEGENDS: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
#: Sizes of text and dots before they were adapted to a panel of another size.
_FIRST: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

# -- theme ---------------------------------------------------------------------------------------------------------

_FORM = ("axes.", "boxplot.", "errorbar.", "grid.", "hatch.", "legend.", "lines.", "patch.", "xtick.", "ytick.")
#: What plots take from matplotlib's defaults, whatever the theme: a theme decides on colours and fonts alone. Grids
#: would cross numbers and matrices, and layout engines would squeeze panels that have the size of their text.
_OWN: dict[Any, Any] = {
    **{n: value for n, value in matplotlib.rcParamsDefault.items() if n.startswith(_FORM) and "color" not in n},
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "patch.force_edgecolor": False,
    "scatter.edgecolors": "face",
}  # fmt: skip
#: Text stays text in vector graphics: TrueType in PDF and PostScript, `<text>` in SVG.
_FONTS: dict[Any, Any] = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}


def themed[**P, T](plot: Callable[P, T]) -> Callable[P, T]:
    """Draw with the colours and fonts of the current theme, and nothing else of it."""

    @wraps(plot)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.rc_context(_OWN):
            return plot(*args, **kwargs)

    return drawn


def unit() -> float:
    """Return the inches for what is an inch at a font size of 10, so that panels grow with their text."""
    return plt.rcParams["font.size"] / 10


def paper() -> np.ndarray:
    """Return the background of panels, as RGB."""
    for name in ("axes.facecolor", "figure.facecolor"):
        *rgb, alpha = to_rgba(plt.rcParams[name])
        if alpha > 0:
            return np.array(rgb)
    return np.ones(3)


def luminance(color: Any) -> float:
    """Return the relative luminance of a colour, from 0 to 1 (WCAG 2)."""
    rgb = np.array(to_rgba(color)[:3])
    return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))


def contrast(one: Any, other: Any) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink(strength: float = 1.0) -> str:
    """Return the colour of text and lines on a panel; weaker ones are nearer to the background."""
    text = np.array(to_rgba(plt.rcParams["text.color"])[:3])
    if contrast(text, paper()) < 4.5:
        text = np.zeros(3) if luminance(paper()) > 0.18 else np.ones(3)
    return to_hex(tuple(strength * text + (1 - strength) * paper()))


def on(background: Any) -> str:
    """Return black or white, whichever is easier to read on a background."""
    return max(("black", "white"), key=lambda color: contrast(color, background))


def visible(color: Any) -> str:
    """Return a colour, moved away from the background if it would vanish in it: black on black, white on white."""
    rgb = np.array(to_rgba(color)[:3])
    if np.linalg.norm(rgb - paper()) < 0.2:
        rgb = 0.65 * rgb + 0.35 * np.array(to_rgba(ink())[:3])
    return to_hex(tuple(rgb))


def sequential(cmap: str | Colormap | None, hue: str = "Blues") -> str | Colormap:
    """Return a colour map in which zero is the background; `cmap` if it is given."""
    if cmap is not None:
        return cmap
    if luminance(paper()) > 0.18:
        return hue
    bright = matplotlib.colormaps[hue](np.linspace(0.75, 0.15, 8))
    dim = 0.88 * paper() + 0.12
    return LinearSegmentedColormap.from_list(f"{hue}_on_dark", [dim, *bright])


def diverging(cmap: str | Colormap | None) -> str | Colormap:
    """Return a colour map from blue to red in which zero is the background; `cmap` if it is given."""
    if cmap is not None or luminance(paper()) > 0.18:
        return cmap or "RdBu_r"
    colors = ["#92C5DE", "#4393C3", tuple(0.88 * paper() + 0.12), "#D6604D", "#F4A582"]
    return LinearSegmentedColormap.from_list("RdBu_on_dark", colors)


# -- panels --------------------------------------------------------------------------------------------------------


class Page(Figure):
    """A figure that has text in vector graphics, and is enlarged if something that was added does not fit."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save, as :meth:`matplotlib.figure.Figure.savefig`."""
        if self.get_layout_engine() is None:
            self._grow()
        with matplotlib.rc_context(_FONTS):
            super().savefig(*args, **kwargs)

    def _grow(self) -> None:
        width, height = self.get_size_inches()
        box = self.get_tightbbox()
        left, bottom = max(0.0, -box.x0), max(0.0, -box.y0)
        right, top = max(0.0, box.x1 - width), max(0.0, box.y1 - height)
        if max(left, bottom, right, top) < 0.01:
            return
        whole = width + left + right, height + bottom + top
        for ax in self.axes:
            x, y, w, h = ax.get_position(original=True).bounds
            _put(ax, (left + x * width, bottom + y * height, w * width, h * height), whole)
        self.set_size_inches(whole)


def _put(ax: Axes, box: tuple[float, float, float, float], whole: tuple[float, float]) -> None:
    """Place a panel at `(left, bottom, width, height)` in a figure of `whole` width and height, in inches."""
    x, y, width, height = box
    ax.set_position((x / whole[0], y / whole[1], width / whole[0], height / whole[1]))
    ax.set_in_layout(True)  # undone by `set_position`


def margins(ax: Axes, size: tuple[float, float]) -> np.ndarray:
    """Give a panel its size and return what its text takes to the left, below, to the right and above, in inches."""
    fig = cast(Figure, ax.figure)
    _put(ax, (0, 0, *size), tuple(fig.get_size_inches()))
    box = cast(Bbox, ax.get_tightbbox()).transformed(fig.dpi_scale_trans.inverted())
    return np.maximum(0, [-box.x0, -box.y0, box.x1 - size[0], box.y1 - size[1]])


class Sheet:
    """The panels of a plot: axes of a new figure that is fitted to them and their text, or the axes that were given.

    Parameters
    ----------
    sizes
        Width and height of each panel in inches, without its text.
    ax
        The axes that were given, one per panel.
    n_columns
        Number of panels side by side; all of them if None.
    """

    #: Distance between panels, and the margin of the figure, in inches.
    gap, edge = 0.15, 0.05

    def __init__(
        self, sizes: Sequence[tuple[float, float]], ax: Axes | Sequence[Axes] | None, n_columns: int | None = None
    ) -> None:
        self.sizes = [(float(width), float(height)) for width, height in sizes]
        self.n_columns = len(sizes) if n_columns is None else min(n_columns, len(sizes))
        self.is_new = ax is None
        self.supertitle: Any = None
        #: Width in inches at which panels that share their rows wrap, below the first panel.
        self.flow: float | None = None
        if ax is None:
            whole = float(sum(w for w, _ in sizes)), float(max(h for _, h in sizes))
            self.fig: Figure = plt.figure(FigureClass=Page, figsize=whole, layout="none")
            self.axes = [self.fig.add_axes((0, 0, w / whole[0], h / whole[1]), label=str(i))
                         for i, (w, h) in enumerate(self.sizes)]  # fmt: skip
            return
        self.axes = [ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object)))
        if len(self.axes) != len(sizes):
            msg = f"This plot has {len(sizes)} panels, but `ax` has {len(self.axes)}. Pass a list of {len(sizes)} axes."
            raise ValueError(msg)
        self.fig = cast(Figure, self.axes[0].get_figure(root=True))

    @property
    def rows(self) -> list[list[int]]:
        """The numbers of the panels in each row."""
        n = self.n_columns
        return [list(range(len(self.axes)))[start : start + n] for start in range(0, len(self.axes), n)]

    def finish(
        self,
        name: str,
        *,
        title: Title | None = None,
        figsize: tuple[float, float] | None = None,
        save: Save | None = None,
        show: bool | None = None,
        return_fig: bool = False,
    ) -> Any:
        """Lay out, save, and show or return the plot. By default, axes passed by the caller are not shown."""
        self._entitle(title)
        if self.is_new:
            self._fit(figsize)
        else:
            for panel, size in zip(self.axes, self.sizes, strict=True):
                box = panel.get_position(original=True).transformed(self.fig.transFigure)
                _rescale(panel, np.array(box.size) / self.fig.dpi / size)
                if self.fig.get_layout_engine() is None:
                    _fit_into(panel, size)
        if save is not None and save is not False:
            write_figure(self.fig, name, save)
        show = (settings.autoshow and self.is_new and not return_fig) if show is None else show and not return_fig
        if show:
            plt.show()
        if self.is_new and (return_fig or (save is not None and save is not False)):
            plt.close(self.fig)  # or notebooks show it once more at the end of the cell
            FigureCanvasAgg(self.fig)  # which closing takes away
        if return_fig:
            return self.fig
        if show:
            return None
        return self.axes if len(self.axes) > 1 else self.axes[0]

    def _entitle(self, title: Title | None) -> None:
        if title is None:
            return
        titles = [title] if isinstance(title, str) else [str(each) for each in title]
        if isinstance(title, str) and len(self.axes) > 1:
            if self.is_new:
                self.supertitle = self.fig.suptitle(title, fontsize="medium", parse_math=False)
                return
            titles += [panel.get_title() for panel in self.axes[1:]]
        if len(titles) != len(self.axes):
            msg = (
                f"`title` has {len(titles)} names for {len(self.axes)} panels. Pass one for each, or a string for all."
            )
            raise ValueError(msg)
        for panel, text in zip(self.axes, titles, strict=True):
            panel.set_title("")
            above = cast(Bbox, panel.get_tightbbox()).y1 - panel.get_window_extent().y1  # brackets and the like
            style: Any = {"fontsize": "medium", "color": plt.rcParams["text.color"], "parse_math": False}
            panel.set_title(text, pad=max(6.0, above * 72 / self.fig.dpi + 3), **style)

    def _fit(self, figsize: tuple[float, float] | None) -> None:
        """Place all panels with their text, and fit the figure to them; with `figsize`, them to the figure."""
        whole = self._place()
        if figsize is None:
            return
        target = np.asarray(figsize, dtype=float)
        natural = list(self.sizes)
        equal = any(panel.get_aspect() != "auto" for panel in self.axes)
        for _ in range(12):
            inner = np.array([
                sum(max(self.sizes[row[i]][0] for row in self.rows if i < len(row)) for i in range(self.n_columns)),
                sum(max(self.sizes[i][1] for i in row) for row in self.rows),
            ])  # fmt: skip
            factor = np.clip((inner + target - whole) / inner, 0.4, 2.5)
            if equal:
                factor[:] = factor.min()
            if np.abs(factor - 1).max() < 0.005:
                break
            factor = factor**0.7  # smaller names leave more room, so whole steps would overshoot
            self.sizes = [(w * factor[0], h * factor[1]) for w, h in self.sizes]
            for panel, size, first in zip(self.axes, self.sizes, natural, strict=True):
                _rescale(panel, np.divide(size, first))
            whole = self._place()
        self._place(np.maximum(whole, target))

    def _place(self, target: np.ndarray | None = None) -> np.ndarray:
        """Place the panels in rows and columns, fit the figure, and return its size."""
        if self.flow is not None:
            return self._place_in_flow(self.flow, target)
        around = np.array([margins(ax, size) for ax, size in zip(self.axes, self.sizes, strict=True)])
        sizes = np.array(self.sizes)
        columns = [[row[i] for row in self.rows if i < len(row)] for i in range(self.n_columns)]
        left = np.array([around[c, 0].max() for c in columns])
        wide = left + np.array([(sizes[c, 0] + around[c, 2]).max() for c in columns])
        above = np.array([around[r, 3].max() for r in self.rows])
        high = above + np.array([(sizes[r, 1] + around[r, 1]).max() for r in self.rows])
        whole = np.array([wide.sum() + self.gap * (len(wide) - 1), high.sum() + self.gap * (len(high) - 1)])
        return self._place_at(
            [
                (wide[:i].sum() + self.gap * i + left[i], high[:j].sum() + self.gap * j + above[j])
                for j, row in enumerate(self.rows)
                for i in range(len(row))
            ],
            whole,
            target,
        )

    def _place_in_flow(self, widest: float, target: np.ndarray | None) -> np.ndarray:
        """Place the first panel on top, and the others below in rows; only the first of a row names its rows."""

        def measure(i: int, *, named: bool = True) -> np.ndarray:
            self.axes[i].tick_params(labelleft=named)
            self.axes[i].yaxis.label.set_visible(named)
            return margins(self.axes[i], self.sizes[i])

        def width(i: int) -> float:
            return around[i][0] + self.sizes[i][0] + around[i][2] + self.gap

        around = {0: measure(0), 1: measure(1)}
        rows = [[0], [1]]
        for i in range(2, len(self.axes)):
            around[i] = measure(i, named=False)
            if sum(width(j) for j in rows[-1]) + width(i) > widest:
                around[i] = measure(i)
                rows.append([])
            rows[-1].append(i)
        corners, y = {}, 0.0
        for row in rows:
            x, above = 0.0, max(around[i][3] for i in row)
            for i in row:
                corners[i] = (x + around[i][0], y + above)
                x += width(i)
            y += above + max(self.sizes[i][1] + around[i][1] for i in row) + self.gap
        whole = np.array([max(sum(width(i) for i in row) for row in rows), y]) - self.gap
        return self._place_at([corners[i] for i in range(len(self.axes))], whole, target)

    def _place_at(
        self, corners: Sequence[tuple[float, float]], whole: np.ndarray, target: np.ndarray | None = None
    ) -> np.ndarray:
        """Place panels by their upper left corners, counted from the upper left of what is `whole` wide and high."""
        head = 0.0
        if self.supertitle is not None:
            box = self.supertitle.get_window_extent()
            head = box.height / self.fig.dpi + 0.1
            whole = np.maximum(whole, [box.width / self.fig.dpi, 0])
        needed = whole + 2 * self.edge + [0, head]
        page = needed if target is None else target
        spare = (page - needed) / 2
        for ax, (width, height), (x, y) in zip(self.axes, self.sizes, corners, strict=True):
            bottom = page[1] - spare[1] - self.edge - head - y - height
            _put(ax, (spare[0] + self.edge + x, bottom, width, height), tuple(page))
        self.fig.set_size_inches(*page)
        if self.supertitle is not None:
            self.supertitle.set_position((0.5, 1 - (self.edge + 0.02) / page[1]))
        return needed


def _rescale(ax: Axes, scale: np.ndarray, names: float = 1.0) -> None:
    """Adapt a panel to `scale` times the width and height that it needs, and its text to `names` times that.

    Text never grows. Dots keep to their rows.
    """

    def first(artist: Any, value: Any) -> Any:
        return _FIRST.setdefault(artist, value)

    def resize(texts: Iterable[Text], factor: float) -> None:
        for text in texts:
            text.set_fontsize(max(3.0, first(text, text.get_fontsize()) * names * min(1.0, factor)))

    wide, high = scale
    for axis, factor in ((ax.yaxis, high), (ax.xaxis, wide)):
        named = isinstance(axis.get_major_locator(), FixedLocator)
        if named and (axis is ax.yaxis or len(axis.get_majorticklocs()) > 3):
            resize(axis.get_majorticklabels(), factor)
    resize(ax.texts, scale.min())
    for dots in ax.collections:
        if isinstance(dots, PathCollection) and dots.get_gid() == TO_SCALE:
            dots.set_sizes(first(dots, dots.get_sizes()) * scale.min() ** 2)
    drawn = ax.get_legend()
    if drawn in _LEGENDS:  # anew: it has room for other numbers of rows
        how = _LEGENDS[drawn]
        for mark in how["marks"].values():
            if isinstance(mark, Line2D) and mark.get_gid() == TO_SCALE:
                mark.set_markersize(first(mark, mark.get_markersize()) * scale.min())
        legend(ax, **{**how, "shrunk": float(np.clip(names * scale.min(), 0.5, 1))})


def _fit_into(ax: Axes, natural: tuple[float, float]) -> None:
    """Shrink a panel of the caller's figure if its names and legends would leave the figure or cross other panels."""
    fig = cast(Figure, ax.get_figure(root=True))
    fig.draw_without_rendering()  # so that the positions are final
    whole, inches = fig.get_size_inches(), fig.dpi_scale_trans.inverted()
    slot = ax.get_position(original=True).transformed(fig.transFigure).transformed(inches)
    tight = cast(Bbox, ax.get_tightbbox()).transformed(inches)
    low, high = np.array([0.0, 0.0]), np.array(whole)
    for other in fig.axes:
        if other is ax or not other.get_visible():
            continue
        its = other.get_position(original=True).transformed(fig.transFigure).transformed(inches)
        text = cast(Bbox, other.get_tightbbox()).transformed(inches)
        for side, across in ((0, 1), (1, 0)):
            if its.min[across] < slot.max[across] and its.max[across] > slot.min[across]:
                if its.min[side] >= slot.max[side] - 1e-6:
                    high[side] = min(high[side], max(text.min[side], slot.min[side]))
                elif its.max[side] <= slot.min[side] + 1e-6:
                    low[side] = max(low[side], min(text.max[side], slot.max[side]))
    start, stop, names = np.array(slot.min), np.array(slot.max), 1.0
    for _ in range(10):  # a panel of fixed aspect may need several steps
        lack = np.maximum(0, low + 0.03 - tight.min), np.maximum(0, tight.max - high + 0.03)
        if max(lack[0].max(), lack[1].max()) < 0.01:
            break
        start, stop = start + lack[0], stop - lack[1]
        if (stop - start < 0.5 * np.asarray(slot.size)).any():
            names *= 0.75  # smaller names leave more room
        stop = np.maximum(stop, start + 0.25 * np.asarray(slot.size))
        _put(ax, (*start, *(stop - start)), tuple(whole))
        _rescale(ax, (stop - start) / natural, names)
        tight = cast(Bbox, ax.get_tightbbox()).transformed(inches)


def write_figure(fig: Figure, name: str, save: Save) -> Path:
    """Save a figure as scanpy does: into `scanpy.settings.figdir`, unless `save` is a path with a folder."""
    path = Path(save) if not isinstance(save, bool) else None
    if path is None or (isinstance(save, str) and path.name == save):
        import scanpy as sc

        path = Path(sc.settings.figdir) / f"{name}{'' if save is True else save}"
        default = str(sc.settings.file_format_figs)
    else:
        default = "pdf"
    if path.suffix.removeprefix(".").lower() not in fig.canvas.get_supported_filetypes():
        path = path.with_name(f"{path.name}.{default}")
    path.parent.mkdir(parents=True, exist_ok=True)
    dpi = plt.rcParams["savefig.dpi"]
    with matplotlib.rc_context(_FONTS):
        fig.savefig(path, dpi=300 if dpi == "figure" else dpi)
    info(f"saved {path}")
    return path


# -- parts of a plot -----------------------------------------------------------------------------------------------


def beside(ax: Axes, dx: float, dy: float = 0.0, corner: tuple[float, float] = (1, 0)) -> Any:
    """Return a transform in inches from a corner of a panel, whatever size the panel will have."""
    inches: Any = ax.figure.dpi_scale_trans
    return inches + ScaledTranslation(*corner, cast(Any, ax.transAxes)) + ScaledTranslation(dx, dy, inches)


def points(ax: Axes, dx: float, dy: float) -> Any:
    """Return a shift in points, to add to a transform."""
    return ScaledTranslation(dx / 72, dy / 72, ax.figure.dpi_scale_trans)


def taken(ax: Axes) -> float:
    """Return the inches to the right of a panel that its text and colour bar take."""
    box = cast(Bbox, ax.get_tightbbox())
    return max(0.0, (box.x1 - ax.get_window_extent().x1) / ax.figure.dpi)


def colorbar(ax: Axes, mappable: ScalarMappable, label: str = "", *, length: float = 1.2) -> Axes:
    """Draw a colour bar of about the height of a panel, at most `length` inches, to the right of it and its text."""
    u = unit()
    height = float(np.clip(ax.get_window_extent().height / ax.figure.dpi, 0.6 * u, length * u))
    cax = ax.inset_axes((0, 0, 0.09 * u, height), transform=beside(ax, taken(ax) + 0.09 * u))
    bar = ax.figure.colorbar(mappable, cax=cax)
    bar.set_label(label, fontsize="small")
    bar.outline.set_linewidth(0.5)
    cax.tick_params(labelsize="small", width=0.5, length=2)
    cax.locator_params(nbins=5 if height > 0.9 * u else 2)  # so that the numbers do not touch
    return cax


def legend(
    ax: Axes,
    marks: Mapping[str, Any],
    *,
    title: str | None = None,
    n_rows: int | None = None,
    low: bool = False,
    shrunk: float = 1.0,
) -> Legend:
    """Draw a legend to the right of a panel and its text, in columns that are not taller than the panel.

    Parameters
    ----------
    marks
        What stands beside each name: a colour, or an artist.
    n_rows
        Maximum number of rows, if not by the height of the panel.
    low
        Align the legend with the lower end of the panel.
    shrunk
        Factor of the size of its text.
    """
    how = {"marks": marks, "title": title, "n_rows": n_rows, "low": low, "shrunk": shrunk}
    if (earlier := ax.get_legend()) is not None:
        earlier.remove()
    u, size = unit() * shrunk, shrunk * plt.rcParams["font.size"] * (0.83 if len(marks) <= 20 else 0.69)
    widest = max((m.get_markersize() for m in marks.values() if isinstance(m, Line2D)), default=0) / size
    spacing = max(0.3, 1.1 * widest - 0.9)
    line = size / 72 * (1.18 + spacing)
    tall = max(ax.get_window_extent().height / ax.figure.dpi, 8 * line)
    n_rows = max(1, int(tall / line)) if n_rows is None else n_rows
    handles = [
        mark if isinstance(mark, Artist) else Line2D(
            [], [], ls="", marker="o", ms=5 * u, mfc=mark, color=mark, mec=ink(0.35), mew=0.3 * u)
        for mark in marks.values()
    ]  # fmt: skip
    drawn = ax.legend(
        handles,
        [" "] * len(handles),  # the names are set below, since matplotlib hides those with a leading underscore
        loc="lower left" if low else "upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=beside(ax, taken(ax) + 0.04 * u, corner=(1, 0 if low else 1)),
        ncols=int(np.ceil(len(marks) / n_rows)),
        title=title, title_fontsize=size, alignment="left",
        fontsize=size, frameon=False, labelspacing=spacing, handletextpad=0.3, handlelength=max(1.0, widest),
        columnspacing=0.9,
        borderaxespad=0.1, borderpad=0.1, labelcolor=plt.rcParams["text.color"],
    )  # fmt: skip
    drawn.get_title().set_color(plt.rcParams["text.color"])
    literal([*drawn.get_texts(), drawn.get_title()])
    for text, label in zip(drawn.get_texts(), marks, strict=True):
        text.set_text(label)
    _LEGENDS[drawn] = how
    return drawn


def size_legend(ax: Axes, largest: float, title: str) -> None:
    """Draw a legend of dot sizes that stand for fractions, to the right of a panel and its colour bar.

    Parameters
    ----------
    largest
        Area of the dot of all cells, in points squared.
    """
    style: Any = {"ls": "", "marker": "o", "mfc": ink(0.4), "mec": ink(0.5), "mew": 0.2, "gid": TO_SCALE}
    marks = {f"{share:.0%}": Line2D([], [], ms=np.sqrt(largest * share), **style) for share in (0.2, 0.6, 1.0)}
    legend(ax, marks, title=title, n_rows=3, low=True)


def name_rows(ax: Axes, names: Sequence[str], size: float) -> None:
    """Name the rows of a panel, the first on top."""
    ax.set_yticks(np.arange(len(names)), names, fontsize=size)
    literal(ax.get_yticklabels())
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def number_rows(ax: Axes, numbers: Iterable[int], size: float, head: str = "cells", *, at: float = 0.0) -> None:
    """Write a number, such as that of the cells, to the right of each row; the first row is at the height `at`."""
    across = ax.get_yaxis_transform()
    style: Any = {"fontsize": 0.85 * size, "color": faint(), "textcoords": "offset points", "annotation_clip": False}
    for row, n in enumerate(numbers):
        ax.annotate(f"{n:,}", (1, row + at), (4, 0), xycoords=across, va="center", **style)
    ax.annotate(head, (1, 1), (4, 2), xycoords=ax.transAxes, va="bottom", **style)


def simple(ax: Axes, *, left: bool = False) -> None:
    """Draw the axes of a panel with numbers: thin, without a frame."""
    u = unit()
    ax.tick_params(labelsize="small", width=0.6 * u, length=2.5 * u)
    ax.spines[["top", "right"] + (["left"] if left else [])].set_visible(False)
    ax.spines[:].set(linewidth=0.6 * u, edgecolor=ink(0.6))
    ax.tick_params(color=ink(0.6))


def share_axis(ax: Axes) -> None:
    """Let the x axis of a panel run from 0 to 1."""
    ax.set_xlim(-0.02, 1.02)
    ax.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))


def accent(i: int = 0) -> str:
    """Return a colour for lines and dots that are not labels."""
    return visible(OKABE_ITO[(0, 5, 2, 3, 1, 4)[i]])


def faint() -> str:
    """Return the colour of secondary text outside of panels."""
    text, page = (np.array(to_rgba(plt.rcParams[name])[:3]) for name in ("text.color", "figure.facecolor"))
    return to_hex(tuple(0.75 * text + 0.25 * page))


def shortened(name: str, n: int = 30) -> str:
    """Truncate a name to `n` characters."""
    return name if len(name) <= n else f"{name[: n - 1]}\N{HORIZONTAL ELLIPSIS}"


def wrapped(name: str, n: int = 24) -> str:
    """Break a name into lines of at most `n` characters."""
    return "\n".join(textwrap.wrap(name, n, break_on_hyphens=False, break_long_words=False)) or name


def literal(texts: Iterable[Any]) -> None:
    """Disable mathtext, so that dollar signs in labels are drawn as such."""
    for text in texts:
        text.set_parse_math(False)


def text_size(n: int) -> float:
    """Return the font size in points for the names of `n` rows, smaller above 30 to fit on a page."""
    return plt.rcParams["font.size"] * (0.83 if n <= 30 else 0.6)


# -- colours -------------------------------------------------------------------------------------------------------


def colors(
    labels: Sequence[str], palette: Palette | None = None, known: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Return a colour for each label.

    Parameters
    ----------
    palette
        A palette's name, one colour per label in order, or a mapping from some labels to colours.
    known
        Existing colours of some labels. The others get colours that are still free.
    """
    fixed: dict[str, Any] = {}
    if palette is None:
        fixed = dict(known or {})
    elif isinstance(palette, Mapping):
        fixed = {**(known or {}), **palette}
    elif isinstance(palette, str):
        fixed = dict(zip(labels, sns.color_palette(palette, len(labels)), strict=False))
    else:
        if len(palette) < len(labels):
            msg = f"`palette` has {len(palette)} colours for {len(labels)} labels."
            raise ValueError(msg)
        fixed = dict(zip(labels, palette, strict=False))
    fixed = {label: to_hex(fixed[label]) for label in labels if label in fixed}
    return {label: to_hex(color) for label, color in distinct(labels, fixed).items()}


def label_colors(
    adata: AnnData, columns: Sequence[str], present: Sequence[str], palette: Palette | None, key: str
) -> dict[str, str]:
    """Return a colour for each label that is present, the same in every plot.

    By default it is the colour in `adata.uns` for the first of `columns` or the predicted labels, as stored by
    :func:`ginseng.tl.classify` and scanpy. Labels without a colour take the next ones of the palette: predicted labels
    first and then those of `columns`, so that adding true labels to a plot changes no colours. Cells without a label
    are grey.
    """
    if palette is not None and not isinstance(palette, Mapping):
        return colors(present, palette)
    predicted = [name for name in (_keys.cell_type(key),) if name in adata.obs]
    known: dict[str, Any] = {_tables.unassigned(adata, key): UNASSIGNED}
    for column in (*predicted, *reversed(columns)):
        known |= _tables.known_colors(adata, column)
    every = dict.fromkeys([*_tables.all_labels(adata, [*predicted, *columns]), *present])
    found = colors(list(every), palette, known)
    return {label: found[label] if label in (palette or ()) else visible(found[label]) for label in present}


def group_colors(adata: AnnData, groupby: str, groups: Sequence[str], palette: Palette | None) -> dict[str, str]:
    """Return a colour for each cluster, sample or other group: the one that scanpy stores, or a free one."""
    found = colors(groups, palette, _tables.known_colors(adata, groupby))
    return {group: color if palette is not None else visible(color) for group, color in found.items()}
