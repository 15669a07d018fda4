"""What the plots share: axes, colours, colour bars, and how a plot ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from scanpy.pl import palettes

from ginseng._settings import settings

Palette = str | Sequence[Any] | Mapping[str, Any]

# https://jfly.uni-koeln.de/color (Okabe and Ito), the pale yellow next to last: it is faint on white
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MISSING = "#D3D3D3"


def make_axes(n: int, ax: Axes | Sequence[Axes] | None, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of `n` panels side by side, or the axes that were given. `size` in inches."""
    if ax is None:
        fig, axes = plt.subplots(1, n, figsize=size, layout="constrained", squeeze=False)
        return fig, list(axes[0])
    given = [ax] if isinstance(ax, Axes) else list(ax)
    if len(given) != n:
        msg = f"This plot has {n} panels, but `ax` has {len(given)}. Give a list of {n} axes."
        raise ValueError(msg)
    return cast(Figure, given[0].get_figure(root=True)), given


def finish(axes: list[Axes], *, ax: Any, show: bool | None, return_fig: bool) -> Any:
    """Show the plot, or return it. Axes that a caller has made are shown by the caller."""
    if return_fig:
        return axes[0].get_figure(root=True)
    if show or (show is None and settings.autoshow and ax is None):
        plt.show()
        return None
    return axes if len(axes) > 1 else axes[0]


def wrap(fig: Figure, ax: Axes, width: float, height: float) -> None:
    """Make a figure of one panel as large as that panel, `width` x `height` inches, and all its text need."""
    fig.set_layout_engine("none")
    fig.set_size_inches(width, height)
    ax.set_position((0, 0, 1, 1))
    box = cast(Bbox, ax.get_tightbbox()).transformed(fig.dpi_scale_trans.inverted()).padded(0.05)
    fig.set_size_inches(box.width, box.height)
    # the layout is in place already, but goes on to make room for what a user adds, as a title
    ax.set_position((-box.x0 / box.width, -box.y0 / box.height, width / box.width, height / box.height))
    ax.set_in_layout(True)  # which `set_position` undoes
    fig.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)


def colorbar(ax: Axes, mappable: ScalarMappable, label: str = "", *, length: float = 1.2) -> None:
    """Draw a colour bar of `length` inches, or less, to the right of `ax`, which it takes no room from."""
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    width, height = 0.09 / box.width, min(1.0, length / box.height)
    cax = ax.inset_axes((1 + width, 0, width, height))
    bar = ax.figure.colorbar(mappable, cax=cax)
    bar.set_label(label, fontsize="small")
    bar.outline.set_linewidth(0.5)
    cax.tick_params(labelsize="small", width=0.5, length=2)


def shortened(name: str, n: int = 30) -> str:
    """Return a name that fits above a panel."""
    return name if len(name) <= n else f"{name[: n - 1]}…"


def literal(texts: Iterable[Any]) -> None:
    """Draw labels as they are written: a pair of dollar signs in them is no formula."""
    for text in texts:
        text.set_parse_math(False)


def colors(
    labels: Sequence[str], palette: Palette | None = None, known: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Return a colour for each label.

    Parameters
    ----------
    palette
        A palette's name, its colours in the order of `labels`, or the colours of some labels.
    known
        Colours that some labels have already. The others take colours that are still free.
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
    free = [c for c in _default(len(labels)) if c.lower() not in fixed.values()]
    rest = [label for label in labels if label not in fixed]
    fixed.update(zip(rest, (to_hex(c) for c in free), strict=False))
    return {label: fixed[label] for label in labels}


def _default(n: int) -> Sequence[str]:
    for choice in (OKABE_ITO, palettes.default_20, palettes.default_28, palettes.default_102):
        if n <= len(choice):
            return choice
    return sns.color_palette("husl", n).as_hex()
