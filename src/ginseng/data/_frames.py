"""Read `obs` and `var`, their names in parts: read at once, a million names pass through memory three times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata.io import read_elem

#: Names that are read at a time.
PART = 65_536


def read_frame(group: Any) -> pd.DataFrame:
    """Read a table of an h5ad file or a zarr store, as :func:`anndata.io.read_elem` does."""
    attrs = group.attrs
    if attrs.get("encoding-type") != "dataframe" or attrs.get("encoding-version") != "0.2.0":
        table: Any = read_elem(group)  # as older versions of anndata wrote it
        return table
    columns = [str(name) for name in attrs["column-order"]]
    index = str(attrs["_index"])
    return pd.DataFrame(
        {name: read_elem(group[name]) for name in columns},
        index=pd.Index(_names(group[index]), name=None if index == "_index" else index),
        columns=pd.Index(columns) if columns else None,
    )


def _names(element: Any) -> Any:
    values = element
    if element.attrs.get("encoding-type") == "nullable-string-array":
        if np.asarray(element["mask"][:]).any():
            return read_elem(element)
        values = element["values"]
    if values.attrs.get("encoding-type") != "string-array" or len(values.shape) != 1:
        return read_elem(element)
    # h5py makes bytes of the names, and strings of these; zarr decodes a chunk at the least
    text = values.asstr() if hasattr(values, "asstr") else values
    size = PART if values.chunks is None else -(-PART // values.chunks[0]) * values.chunks[0]
    names = np.empty(values.shape, object)
    for start in range(0, len(names), size):
        names[start : start + size] = text[start : start + size]
    return names
