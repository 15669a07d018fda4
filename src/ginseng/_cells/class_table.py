"""Values per cell and class, as kept in `obsm`: tables with the names of the classes, which every format can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

#: Names that mean something else in HDF5, zarr or AnnData.
_RESERVED = frozenset({"", ".", "..", "_index", "zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
#: Columns are files or folders in zarr, whose names have up to 255 bytes.
_MAX_BYTES = 200


def column_names(classes: Sequence[Any] | np.ndarray, index: Any = None) -> list[str]:
    """Return a name for each class that can be a column in HDF5 and zarr.

    It is the name of the class, but for `"/"`, which becomes `"|"`; reserved names and that of the index, which get an
    underscore; and very long ones, which are cut. Names remain unique.
    """
    names: list[str] = []
    taken = {str(name) for name in classes}
    for name in map(str, classes):
        column = name.replace("/", "|")
        if len(column.encode()) > _MAX_BYTES:
            column = column.encode()[:_MAX_BYTES].decode(errors="ignore") + "…"
        column += "_" if column in _RESERVED or column == index else ""
        new, i = column, 1
        while new in names or (new != name and new in taken):
            i += 1
            new = f"{column}_{i}"
        names.append(new)
    return names


def class_table(values: np.ndarray, classes: Sequence[Any] | np.ndarray, obs_names: pd.Index) -> pd.DataFrame:
    """Return the table of an array (cells, classes), without copying it."""
    columns = pd.Index(column_names(classes, obs_names.name), dtype=object)
    return pd.DataFrame(values, index=obs_names, columns=columns)


def class_values(entry: Any) -> np.ndarray:
    """Return the array of an entry of `obsm`: a table, in memory or lazy, or an array of earlier versions."""
    if hasattr(entry, "to_memory"):  # lazy
        entry = entry.to_memory()
    return entry.to_numpy() if isinstance(entry, pd.DataFrame) else np.asarray(entry)
