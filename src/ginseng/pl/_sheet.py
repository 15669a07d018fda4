"""The figure of a plot: its panels and their layout, and how it is saved and shown."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypedDict, cast

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ginseng._logging import info
from ginseng._settings import settings
from ginseng.pl._fit import fit_into, margins, put, rescale
from ginseng.pl._theme import OWN

Title = str | Sequence[str]
Save = bool | str | os.PathLike[str]

#: Text stays text in vector graphics: TrueType in PDF and PostScript, `<text>` in SVG.
_FONTS: dict[Any, Any] = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}


class Options(TypedDict, total=False):
    """The parameters that all plots have in common."""

    title: Title | None
    figsize: tuple[float, float] | None
    ax: Axes | Sequence[Axes] | None
    save: Save | None
    show: bool | None
    return_fig: bool


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
            put(ax, (left + x * width, bottom + y * height, w * width, h * height), whole)
        self.set_size_inches(whole)


class Sheet:
    """The panels of a plot: axes of a new figure that is fitted to them and their text, or the axes that were given.

    Parameters
    ----------
    sizes
        Width and height of each panel in inches, without its text.
    n_columns
        Number of panels side by side; all of them if None.
    title, figsize, ax, save, show, return_fig
        What the caller of the plot gave; `_docs.py` describes them.
    """

    #: Distance between panels, and the margin of the figure, in inches.
    gap, edge = 0.15, 0.05

    def __init__(
        self,
        sizes: Sequence[tuple[float, float]],
        n_columns: int | None = None,
        /,
        *,
        title: Title | None = None,
        figsize: tuple[float, float] | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        save: Save | None = None,
        show: bool | None = None,
        return_fig: bool = False,
    ) -> None:
        self.title, self.figsize, self.show, self.return_fig = title, figsize, show, return_fig
        self.save = None if save is False else save
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

    def finish(self, name: str) -> Any:
        """Lay out, save, and show or return the plot. By default, axes passed by the caller are not shown."""
        show, return_fig = self.show, self.return_fig
        self._entitle(self.title)
        if self.is_new:
            self._fit(self.figsize)
        else:
            for panel, size in zip(self.axes, self.sizes, strict=True):
                box = panel.get_position(original=True).transformed(self.fig.transFigure)
                rescale(panel, np.array(box.size) / self.fig.dpi / size)
                if self.fig.get_layout_engine() is None:
                    fit_into(panel, size)
        if self.save is not None:
            write_figure(self.fig, name, self.save)
        show = (settings.autoshow and self.is_new and not return_fig) if show is None else show and not return_fig
        if show:
            plt.show()
        if self.is_new and (return_fig or self.save is not None):
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
                rescale(panel, np.divide(size, first))
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
            put(ax, (spare[0] + self.edge + x, bottom, width, height), tuple(page))
        self.fig.set_size_inches(*page)
        if self.supertitle is not None:
            self.supertitle.set_position((0.5, 1 - (self.edge + 0.02) / page[1]))
        return needed


def plot[**P, T](draw: Callable[P, T]) -> Callable[P, T]:
    """Make a public plot of a function that ends with `**options`, and draw with the colours and fonts of the theme.

    Its signature names the options; the function passes them to :class:`Sheet` as `**options`, where editors find them.
    """
    own = inspect.signature(draw)
    shared = inspect.signature(Sheet, eval_str=True).parameters.values()
    options = [parameter for parameter in shared if parameter.kind is parameter.KEYWORD_ONLY]
    signature = own.replace(parameters=[*list(own.parameters.values())[:-1], *options])

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"{draw.__name__}() {error}"
            raise TypeError(msg) from None
        with matplotlib.rc_context(OWN):
            return draw(*args, **kwargs)

    drawn.__signature__ = signature  # type: ignore[attr-defined]
    return drawn


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
