"""Cell labels: which values count as labels, and which cells have one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.entries import column
from ginseng._errors import MissingKeyError, check_names, suggest, warn

#: What stands for "no label".
MISSING = frozenset({"", "nan", "NaN", "None", "NA", "<NA>"})

#: Words for unknown types, in lower case; "cell", "type" or the like may follow.
UNKNOWN = frozenset(
    {
        "unknown", "unk", "not known", "unassigned", "not assigned", "unlabeled", "unlabelled", "not labeled",
        "not labelled", "no label", "untyped", "not typed", "no type", "no cell type", "unannotated", "not annotated",
        "no annotation", "unclassified", "not classified", "undefined", "undef", "not defined", "undetermined",
        "not determined", "unidentified", "not identified", "unspecified", "not specified",
        "not available", "not applicable", "missing", "n/a", "n a", "na", "nan", "none", "null", "?", "??", "???",
        "tbd", "tba", "todo", "to be determined", "to be annotated",
    }
)  # fmt: skip

#: More than this many numbers, most with several decimals, are measurements even as text, not subclusters.
MANY_LABELS = 20
_FRACTION = re.compile(r"-?\d*\.(\d+)(?:e[-+]?\d+)?", re.IGNORECASE)

#: What users pass as names for "no label"; see :func:`stand_for_none`.
type Unlabeled = str | int | Iterable[str | int] | None

#: Default label of cells that get none.
UNASSIGNED = "unassigned"


def in_memory(frame: Any) -> pd.DataFrame:
    """Return `adata.obs` in memory, also if the AnnData was read lazily."""
    return frame if isinstance(frame, pd.DataFrame) else frame.to_memory()


def obs_column(adata: AnnData, key: str) -> pd.Series:
    """Return a column of `adata.obs`; of a lazy AnnData no other column is read.

    Raises
    ------
    KeyError
        If there is no such column; the message lists the columns and the closest name.
    """
    found: Any = column(adata.obs, key)
    return found if isinstance(found, pd.Series) else in_memory(adata.obs[[key]])[key]


@dataclass(frozen=True)
class Coded:
    """Labels as integer codes.

    Attributes
    ----------
    codes
        (cells,) int32, index into `names`, or -1 for cells without a label.
    names
        The labels, sorted.
    without
        Number of cells without a label, by the word found instead; `"missing"` for missing values.
    """

    codes: np.ndarray
    names: np.ndarray
    without: dict[str, int]


def coded(column: pd.Series, key: str, unlabeled: Unlabeled = None) -> Coded:
    """Encode labels as integers and find the cells without one.

    Uses one integer per cell, whatever the length of the names.

    Parameters
    ----------
    column
        One label per cell.
    key
        Name of the column, for messages.
    unlabeled
        See :func:`stand_for_none`.

    Raises
    ------
    ValueError
        If `unlabeled` contains a name that does not occur.
    """
    codes, unique = pd.factorize(column)
    stripped = [_text(u).strip() for u in unique]
    no_label = stand_for_none(stripped, key, unlabeled)
    names = sorted(set(stripped) - no_label)
    place = {name: i for i, name in enumerate(names)}
    lookup = np.array([*(place.get(name, -1) for name in stripped), -1], np.int32)  # the last is for missing, code -1
    said = np.array([*(name or "missing" for name in stripped), "missing"], object)
    found = lookup[codes]
    without = pd.Series(said[codes[found < 0]]).value_counts()
    return Coded(found, np.array(names, str), {str(name): int(n) for name, n in without.items()})


def stand_for_none(names: Iterable[str], key: str, unlabeled: Unlabeled = None) -> frozenset[str]:
    """Return the names in the data that mean "no label".

    Parameters
    ----------
    names
        Names in the data.
    key
        Name of the column.
    unlabeled
        One or more names that mean "no label", besides the usual words (unknown, unassigned, n/a, ...). If None, only
        the usual words do; if an empty list, every name is a label.

    Raises
    ------
    ValueError
        If a given name does not occur in the data.
    """
    there = set(names)
    if unlabeled is None or isinstance(unlabeled, str) or not isinstance(unlabeled, Iterable):
        given: list[Any] = [] if unlabeled is None else [unlabeled]
    else:
        given = list(unlabeled)
    wanted = {_text(name).strip() for name in given}
    if wanted and not wanted & (there | MISSING):
        lost = min(wanted)
        msg = f"`unlabeled` has {lost!r}, which is not in {key!r}. {suggest(lost, sorted(there))}"
        raise ValueError(msg)
    if unlabeled is not None and not given:
        return MISSING
    usual = {name for name in there if _means_no_label(name)}
    if "+" in there:
        usual.discard("-")
    return MISSING | wanted | usual


def _means_no_label(name: str) -> bool:
    words = re.sub(r"[^a-z0-9?/]+", " ", name.casefold()).strip()
    words = re.sub(r"^un ", "un", words)
    without_noun = re.sub(r" (cells?|cell ?types?|types?|labels?)$", "", words)
    return words in UNKNOWN or without_noun in UNKNOWN or name in ("-", "--", "---", ".", "_", "...")


def without_label(coded: Coded, n_cells: int, key: str) -> str:
    """Say which cells are left out; empty if none are."""
    if not coded.without:
        return ""
    listed = ", ".join(f"{n:,} {name if name == 'missing' else repr(name)}" for name, n in coded.without.items())
    msg = f"{sum(coded.without.values()):,} of {n_cells:,} cells have no label in {key!r} and are left out ({listed})."
    if not coded.without.keys() <= MISSING | {"missing"}:
        msg += " If one of these words is a cell type here, pass `unlabeled=[]`."
    return msg


def as_labels(column: pd.Series) -> pd.Series:
    """Return labels as strings without surrounding blanks; missing ones are `None`."""
    codes, unique = pd.factorize(column)
    names = [_text(u).strip() for u in unique]
    known = np.array([*(None if name in MISSING else name for name in names), None], dtype=object)  # code -1 is missing
    return pd.Series(known[codes], index=column.index, dtype=object)


def _text(label: Any) -> str:
    if isinstance(label, bytes):
        return label.decode(errors="replace")
    # pandas stores integers as floats if some are missing
    return str(int(label)) if isinstance(label, float | np.floating) and float(label).is_integer() else str(label)


def look_alikes(names: np.ndarray) -> list[tuple[str, ...]]:
    """Return groups of names that differ only by case, blanks or Unicode form."""
    plain = pd.Series([unicodedata.normalize("NFKC", " ".join(str(n).split())).casefold() for n in names])
    return [tuple(map(str, names[rows])) for rows in plain.groupby(plain).indices.values() if len(rows) > 1]


def labels_of(values: pd.Series, key: str, unlabeled: Unlabeled = None, *, obs: pd.DataFrame | None = None) -> Coded:
    """Check labels, encode them as integers and warn of cells without one.

    Parameters
    ----------
    values
        One label per cell.
    key
        Name of the column, for messages.
    unlabeled
        See :func:`stand_for_none`.
    obs
        If `key` is one of its columns, searched for better ones.

    Raises
    ------
    ValueError
        If these are not labels, or `unlabeled` contains a name that does not occur.
    """
    found = coded(values, key, unlabeled)
    check_labels(found.names, values, int((found.codes >= 0).sum()), key, obs)
    check_names(found.names, f"{key!r}")
    if found.without and len(found.names):
        warn(without_label(found, len(values), key))
    return found


def check_labels(names: np.ndarray, values: pd.Series, n_labelled: int, key: str, obs: pd.DataFrame | None) -> None:
    """Reject values that cannot be labels: fractional numbers, or nearly one name per cell.

    Parameters
    ----------
    names
        The distinct labels.
    values
        The values that they come from.
    n_labelled
        Number of cells with a label.
    key
        Name of the column.
    obs
        If `key` is one of its columns, searched for better ones.

    Raises
    ------
    ValueError
        If they are not labels; the message suggests other columns.
    """
    unique = values.dropna().unique()
    floats = [float(v) for v in unique if isinstance(v, float | np.floating)]
    numbers = len(unique) > 0 and all(
        isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in unique
    )
    if not floats and len(names) > MANY_LABELS and all(isinstance(v, str) for v in unique):
        fractions = [m for name in names if (m := _FRACTION.fullmatch(str(name)))]
        if sum(len(m[1]) > 1 for m in fractions) > len(names) / 2:
            floats = [float(m[0]) for m in fractions]
    if any(not v.is_integer() for v in floats):
        found = f"has fractional numbers ({', '.join(f'{v:g}' for v in floats[:3])}, ...)"
    elif len(names) > 10 and len(names) > n_labelled / 2:
        some = ", ".join(map(repr, names[:3].tolist()))
        found = f"has {len(names):,} different labels for {n_labelled:,} cells ({some}, ...)"
    elif numbers and len(names) > max(100, n_labelled / 20):
        found = f"has {len(names):,} different numbers for {n_labelled:,} cells"
    else:
        return
    msg = f"{key!r} {found}; these are not cell types."
    if obs is not None:
        better = [name for name in label_columns(obs) if name != key]
        msg += (
            f" Pass a column in which many cells share a label: {', '.join(map(repr, better[:8])) or 'there is none'}."
        )
    raise ValueError(msg)


#: Columns of `obs` that often hold cell types, the likeliest first; in lower case, without underscores.
_USUAL_COLUMNS = ("celltype", "celltypes", "cellontologyclass", "annotation", "annotations", "labels", "label")


def _rank(key: str) -> tuple[int, bool]:
    plain = re.sub(r"[-_. ]", "", key.casefold())
    usual = _USUAL_COLUMNS.index(plain) if plain in _USUAL_COLUMNS else len(_USUAL_COLUMNS)
    return usual, re.search("type|label|annot", plain) is None


def label_columns(obs: pd.DataFrame) -> list[str]:
    """Return the columns of `obs` that may hold cell types, the likeliest first."""

    def may(key: Any) -> bool:
        values: Any = obs[key]
        if not isinstance(key, str) or isinstance(values, pd.DataFrame) or pd.api.types.is_float_dtype(values.dtype):
            return False
        n = values.nunique()
        return 1 < n <= max(10, len(values) / 2)

    return sorted((key for key in obs.columns if may(key)), key=_rank)


def likely_label_column(obs: pd.DataFrame) -> str | None:
    """Return the column of `obs` whose name says that it holds cell types, if there is one."""
    return next((key for key in label_columns(obs) if _rank(key)[0] < len(_USUAL_COLUMNS)), None)


def predicted_labels(adata: AnnData, prediction_key: str) -> pd.Series:
    """Return the predicted label of each cell; `None` for cells without one."""
    obs = in_memory(adata.obs)
    if prediction_key not in obs:
        prefixes = [name.removesuffix(_keys.cell_type("")) for name in map(str, obs.columns)]
        others = [name for name in prefixes if {_keys.cell_type(name), _keys.confidence(name)} <= set(obs.columns)]
        there = f", or use those that it wrote before: `key={others[0]!r}`" if others else ""
        msg = (
            f"`adata.obs` has no predicted labels {prediction_key!r}. Run `gs.tl.classify` first{there}. "
            f"{suggest(prediction_key, obs.columns)}"
        )
        raise MissingKeyError(msg)
    return as_labels(obs[prediction_key])


def paired_labels(
    adata: AnnData, label_key: str, prediction_key: str, unlabeled: Unlabeled = None
) -> tuple[pd.Series, pd.Series]:
    """Return true and predicted labels of the cells that have both, and warn of the others."""
    given = column(in_memory(adata.obs), label_key)
    truth = coded(given, label_key, unlabeled)
    predicted = predicted_labels(adata, prediction_key)
    names = np.array([*truth.names, None], dtype=object)
    true = pd.Series(names[truth.codes], index=given.index, dtype=object)
    known = true.notna() & predicted.notna()
    if not known.any():
        msg = (
            f"No cell has both labels: {true.notna().sum()} of {len(true)} have one in {label_key!r}, "
            f"{predicted.notna().sum()} in {prediction_key!r}. Check that these are the right columns."
        )
        raise ValueError(msg)
    if truth.without:
        warn(without_label(truth, len(true), label_key))
    if predicted.isna().any():
        warn(f"{predicted.isna().sum():,} of {len(true):,} cells have no label in {prediction_key!r} and are left out.")
    return true[known], predicted[known]


def compare_names(true: pd.Series, predicted: pd.Series, known: Iterable[str], label_key: str) -> str:
    """Say that true and predicted labels share few or no names; empty if they share enough.

    Parameters
    ----------
    true, predicted
        Labels of the same cells.
    known
        Labels that could have been predicted, besides those that were.
    label_key
        Column of the true labels.
    """
    possible = {*map(str, known), *predicted.unique()}
    sizes = true.value_counts()
    lost = sizes[~sizes.index.isin(possible)]
    if lost.empty:
        return ""
    alike = [names for names in look_alikes(np.array([*lost.index, *possible])) if len({*names} - {*lost.index}) > 0]
    if lost.sum() <= len(true) / 2 and not alike:
        return ""
    listed = ", ".join(repr(str(name)) for name in lost.index[:5]) + (", ..." if len(lost) > 5 else "")
    predictable = ", ".join(map(repr, sorted(possible)[:5])) + (", ..." if len(possible) > 5 else "")
    n_shared = len(sizes) - len(lost)
    msg = (
        f"{label_key!r} and the predicted labels share {n_shared or 'none'} of {len(sizes)} names: {lost.sum():,} of "
        f"{len(true):,} cells have a label that is never predicted ({listed}), and count as wrong. "
        f"Predicted are {predictable}."
    )
    if alike:
        msg += f" {' and '.join(map(repr, sorted(alike[0])))} differ only by case, blanks or encoding."
    return msg + f" Give both the same names: `adata.obs[{label_key!r}] = adata.obs[{label_key!r}].replace({{...}})`."
