"""What plots take from the theme: colours and fonts alone, and shades between text and background."""

from __future__ import annotations

from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgba

from ginseng._cells.colors import OKABE_ITO

_FORM = ("axes.", "boxplot.", "errorbar.", "grid.", "hatch.", "legend.", "lines.", "patch.", "xtick.", "ytick.")
#: What plots take from matplotlib's defaults, whatever the theme: a theme decides on colours and fonts alone. Grids
#: would cross numbers and matrices, and layout engines would squeeze panels that have the size of their text.
OWN: dict[Any, Any] = {
    **{n: value for n, value in matplotlib.rcParamsDefault.items() if n.startswith(_FORM) and "color" not in n},
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "patch.force_edgecolor": False,
    "scatter.edgecolors": "face",
}  # fmt: skip


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


def accent(i: int = 0) -> str:
    """Return a colour for lines and dots that are not labels."""
    return visible(OKABE_ITO[(0, 5, 2, 3, 1, 4)[i]])


def faint() -> str:
    """Return the colour of secondary text outside of panels."""
    text, page = (np.array(to_rgba(plt.rcParams[name])[:3]) for name in ("text.color", "figure.facecolor"))
    return to_hex(tuple(0.75 * text + 0.25 * page))


def text_size(n: int) -> float:
    """Return the font size in points for the names of `n` rows, smaller above 30 to fit on a page."""
    return plt.rcParams["font.size"] * (0.83 if n <= 30 else 0.6)
