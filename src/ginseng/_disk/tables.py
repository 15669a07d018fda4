"""Read `obs` and `var` with their names in blocks: read at once, a million names pass through memory three times."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from anndata.io import read_elem

#: Number of names per block.
PART = 65_536


def read_frame(group: Any) -> pd.DataFrame:
    """Read a table of an h5ad file or a zarr store, as :func:`anndata.io.read_elem` does."""
    attrs = group.attrs
    if attrs.get("encoding-type") != "dataframe" or attrs.get("encoding-version") != "0.2.0":
        table: Any = read_elem(group)  # as written by older versions of anndata
        table.index = pd.Index(_as_text(table.index), name=table.index.name)
        return table
    columns = [str(name) for name in attrs["column-order"]]
    index = str(attrs["_index"])
    return pd.DataFrame(
        {name: read_elem(group[name]) for name in columns},
        index=pd.Index(_names(group[index]), name=None if index == "_index" else index),
        columns=pd.Index(columns) if columns else None,
    )


def _names(element: Any) -> Any:
    if not _in_parts(element):
        return _as_text(_values(element))
    values = _text_of(element)
    names = np.empty(values.shape, object)
    start = 0
    for part in _parts(values):
        names[start : start + len(part)] = part
        start += len(part)
    return names


def name_parts(element: Any) -> Iterator[np.ndarray]:
    """Yield consecutive blocks of names from the index of a table."""
    if not _in_parts(element):
        yield _as_text(_values(element))
        return
    yield from _parts(_text_of(element))


def _values(element: Any) -> Any:
    # arrays not written by anndata have no encoding metadata
    return read_elem(element) if "encoding-type" in element.attrs else element[...]


def _as_text(values: Any) -> np.ndarray:
    """Return names as text, whether stored as numbers, bytes or categories."""
    index = pd.Index(values)
    if index.dtype == object or isinstance(index.dtype, np.dtype):
        index = pd.Index(
            [v.decode(errors="replace") if isinstance(v, bytes) else v for v in np.asarray(values).tolist()]
        )
    return index.astype(str).to_numpy(object)


def _parts(values: Any) -> Iterator[np.ndarray]:
    # h5py creates bytes objects first, then strings; zarr decodes at least one chunk
    text = values.asstr() if hasattr(values, "asstr") else values
    size = PART if values.chunks is None else -(-PART // values.chunks[0]) * values.chunks[0]
    for start in range(0, values.shape[0], size):
        yield text[start : start + size]


def _in_parts(element: Any) -> bool:
    if element.attrs.get("encoding-type") == "nullable-string-array" and np.asarray(element["mask"][:]).any():
        return False
    values = _text_of(element)
    return values.attrs.get("encoding-type") == "string-array" and len(values.shape) == 1


def _text_of(element: Any) -> Any:
    return element["values"] if element.attrs.get("encoding-type") == "nullable-string-array" else element


@contextmanager
def repeated_names() -> Iterator[None]:
    """Silence anndata's warnings about repeated names; the caller decides what to do about them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*names are not unique", UserWarning)
        yield
