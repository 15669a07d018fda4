"""Labels of cells: what counts as one, and which cells have one."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng._cells.entries import column
from ginseng._errors import MissingKeyError, suggest, warn

#: What stands for "no label".
MISSING = frozenset({"", "nan", "NaN", "None", "NA", "<NA>"})

#: What a cell that gets no label is called, unless the user says otherwise.
UNASSIGNED = "unassigned"


def in_memory(frame: Any) -> pd.DataFrame:
    """Return `adata.obs` as a table, also where the AnnData was read lazily."""
    return frame if isinstance(frame, pd.DataFrame) else frame.to_memory()


def obs_column(adata: AnnData, key: str) -> pd.Series:
    """Return a column of `adata.obs`, and read no other where the AnnData was read lazily.

    Raises
    ------
    KeyError
        If there is none of that name; the message lists the columns and the closest one.
    """
    found: Any = column(adata.obs, key)
    return found if isinstance(found, pd.Series) else in_memory(adata.obs[[key]])[key]


def coded(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as int32 codes, -1 where they are missing or say so, and the sorted names that these stand for.

    One value a cell is held, whatever the length of the names.
    """
    codes, unique = pd.factorize(column)
    stripped = [_text(u).strip() for u in unique]
    names = sorted(set(stripped) - MISSING)
    place = {name: i for i, name in enumerate(names)}
    lookup = np.array([*(place.get(name, -1) for name in stripped), -1], np.int32)  # the last is for -1, missing
    return lookup[codes], np.array(names, str)


def as_labels(column: pd.Series) -> pd.Series:
    """Return labels as strings without blanks around them, and `None` where they are missing or say so."""
    codes, unique = pd.factorize(column)
    names = [_text(u).strip() for u in unique]
    known = np.array([*(None if name in MISSING else name for name in names), None], dtype=object)  # -1 is missing
    return pd.Series(known[codes], index=column.index, dtype=object)


def _text(label: Any) -> str:
    if isinstance(label, bytes):
        return label.decode(errors="replace")
    # integers that stand beside missing ones are floats to pandas
    return str(int(label)) if isinstance(label, float | np.floating) and float(label).is_integer() else str(label)


def look_alikes(names: np.ndarray) -> list[tuple[str, ...]]:
    """Return the names that differ by nothing but the case of letters, blanks, or the way they are encoded."""
    plain = pd.Series([unicodedata.normalize("NFKC", " ".join(str(n).split())).casefold() for n in names])
    return [tuple(map(str, names[rows])) for rows in plain.groupby(plain).indices.values() if len(rows) > 1]


#: What labels say, in lower case, where nobody knew.
UNKNOWN = frozenset(
    {"unknown", "unassigned", "unlabeled", "unlabelled", "unannotated", "undefined", "n/a", "none", "?"}
)


def predicted_labels(adata: AnnData, prediction_key: str) -> pd.Series:
    """Return the predicted label of each cell, `None` where it has none."""
    obs = in_memory(adata.obs)
    if prediction_key not in obs:
        msg = (
            f"`adata.obs` has no predicted labels {prediction_key!r}. Run `gs.tl.classify` first. "
            f"{suggest(prediction_key, obs.columns)}"
        )
        raise MissingKeyError(msg)
    return as_labels(obs[prediction_key])


def paired_labels(adata: AnnData, label_key: str, prediction_key: str) -> tuple[pd.Series, pd.Series]:
    """Return the true and the predicted labels of the cells that have both, and warn of the others."""
    true = as_labels(column(in_memory(adata.obs), label_key))
    predicted = predicted_labels(adata, prediction_key)
    known = true.notna() & predicted.notna()
    if not known.any():
        msg = (
            f"No cell has both labels: {true.notna().sum()} of {len(true)} have one in {label_key!r}, "
            f"{predicted.notna().sum()} in {prediction_key!r}. Check that these are the columns to compare."
        )
        raise ValueError(msg)
    for key, missing in ((label_key, true.isna()), (prediction_key, predicted.isna())):
        if missing.any():
            msg = f"{missing.sum()} of {len(true)} cells have no label in {key!r} and are left out."
            warn(msg)
    return true[known], predicted[known]
