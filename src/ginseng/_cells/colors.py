"""One colour per label, in the lists that scanpy keeps in `uns`, enough for the types of an atlas."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng._cells.labels import as_labels

# https://jfly.uni-koeln.de/color (Okabe and Ito); pale yellow, which is faint on white, comes next to last
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")

# Chosen greedily: each colour is the one farthest from all previous ones, from white and from the grey of missing
# labels, leaving out greys and very dark or very pale colours. The distance is the smallest in CAM02-UCS under three
# kinds of vision: full colour vision (weighted 0.6), deuteranopia and protanopia (Machado et al. 2009). Among the first
# 60 colours no two are closer than 6 under any of them; among the first 60 of scanpy's 102, the minimum is 0.1.
_FARTHEST = (
    "70004058400048089768587078DF8FBF10408780FF0010FF00EFFFC7089F5870608FAF9F304060582820879F50006830"
    "D7AFCF4860FF8F7887FF7087AFC758784050AF78C78F80508F9FBF50D7B78F4808B740C7009718F780DF68388058608F"
    "009F9F1880781860587000BF00FF78403848FF2880600070AFE7BF97C7FFCFA77060BFBF38503038C728971820805848"
    "A7D700C7CFE7B7486880186897C797973868FF4038E7B7B7681008976000E7589778B7508730C770A7FF38F7DF2080DF"
    "B77838A76097EFCFA7C700788080AFB79FAF8F1097F7CF609750A7707850CFC778D768684830309F87E7AF3828584058"
    "9F687818D7D70097C7BF978F2050EF9F408F18EFA7BF9700601050A79F68AFC7C7FF28CF875880603840"
)
#: Colours of labels. Black is left out: it is invisible on a dark background and looks like text on a light one.
DISTINCT = (*OKABE_ITO[:-1], *(f"#{_FARTHEST[i : i + 6]}" for i in range(0, len(_FARTHEST), 6)), "#E000F8")

#: Colours of cells without a type.
MISSING = "#D3D3D3"
UNASSIGNED = "#A0A0A0"

_HEX = re.compile(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?")


def color_key(column: str) -> str:
    """Name of the `uns` entry with the colours of an `obs` column, in the order of :func:`categories`, as in scanpy."""
    return f"{column}_colors"


def categories(values: pd.Series) -> list[str]:
    """Return the labels that a column can take, in the order of scanpy's colours.

    For a categorical these are its categories; for text, the categories that scanpy creates when it first plots it.
    """
    found: Any
    if isinstance(values.dtype, pd.CategoricalDtype):
        found = values.cat.categories
    else:
        found = values.dropna().unique()
        if values.dtype.kind in "biuf":
            found = np.sort(found)
        else:  # in natural order: "T2" before "T10"
            twice = pd.DataFrame({"": np.repeat(np.asarray(found, object).astype(str), 2)}).rename(str)
            table = AnnData(obs=twice)
            table.strings_to_categoricals()
            found = table.obs[""].cat.categories if len(twice) else ()
    names = pd.Series(list(found), dtype=object)
    return as_labels(names).fillna(names.astype(str)).tolist()  # "nan" keeps its place


def known_colors(obs: Any, uns: Mapping[str, Any], column: str) -> dict[str, str]:
    """Return the colours that `uns` holds for the labels of an `obs` column; none if there are too few of them."""
    if column not in obs.columns:
        return {}
    names, stored = categories(obs[column]), uns.get(color_key(column))
    if not isinstance(stored, list | tuple | np.ndarray | pd.Index) or len(stored) < len(names):
        return {}
    if not all(isinstance(color, str) for color in stored):
        return {}
    found: dict[str, str] = {}
    for label, color in zip(names, stored, strict=False):
        found.setdefault(label, str(color))  # the first of labels that differ only by surrounding blanks
    return found


def hex_colors(colors: Any) -> dict[str, str]:
    """Return the entries of a mapping from labels to anything that are valid colours."""
    pairs = colors.items() if isinstance(colors, Mapping) else ()
    return {str(label): color for label, color in pairs if isinstance(color, str) and _HEX.fullmatch(color)}


def distinct(labels: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return a colour for each label: the known one, else the next unused colour of the palette."""
    labels = list(dict.fromkeys(labels))
    fixed = {label: known[label] for label in labels if label in known}
    taken = {color.lower() for color in fixed.values()}
    free = iter([color for color in _palette(len(labels)) if color.lower() not in taken])
    return {label: fixed[label] if label in fixed else next(free) for label in labels}


def _palette(n: int) -> Sequence[str]:
    if n <= len(DISTINCT):
        return DISTINCT
    around = (colorsys.hls_to_rgb(i / n, (0.45, 0.65)[i % 2], 0.7) for i in range(n))
    return ["#" + "".join(f"{round(255 * c):02x}" for c in color) for color in around]
