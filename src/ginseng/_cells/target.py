"""What a verb asks before it works: whether its results would replace data that ginseng did not write, or be lost."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.entries import check_adata
from ginseng._cells.labels import in_memory
from ginseng._cells.written import (
    are_fractions,
    are_ours,
    columns_of,
    is_known,
    level_columns,
    not_written,
    ranking,
    records,
)
from ginseng._errors import ForeignError


def check_target(
    adata: AnnData,
    verb: str,
    key_added: Any,
    *,
    overwrite: bool = False,
    columns: Mapping[str, bool] | None = None,
    levels: Iterable[str] = (),
) -> None:
    """Reject a prefix that cannot be stored, or whose names hold data that ginseng did not write.

    Parameters
    ----------
    verb
        Key of :data:`ginseng._keys.OUTPUTS`.
    overwrite
        Whether such data may be replaced.
    columns
        Further prefixes of labels that will be written, and whether an earlier call recorded them.
    levels
        Levels whose labels will be written.

    Raises
    ------
    ValueError
        If the prefix cannot be used; the message says why.
    """
    check_adata(adata)
    if not isinstance(key_added, str) or not key_added.strip(".") or not key_added.isprintable() or "/" in key_added:
        msg = f"`key_added` is {key_added!r}; it must be plain text without '/', as in `key_added='ginseng_2'`."
        raise ValueError(msg)
    if overwrite:
        return
    found = [*_foreign(adata, _keys.OUTPUTS[verb], key_added)]
    for prefix, recorded in (columns or {}).items():
        found += [*_foreign(adata, _keys.OUTPUTS["classify"], prefix)] if not recorded else []
    found += [("obs", name) for name in _foreign_levels(adata, levels, key_added)]
    for where, name in found:
        raise ForeignError(where, name, f"key_added={key_added + '_2'!r}")


def check_genes(adata: AnnData, *, overwrite: bool = False) -> None:
    """Refuse to replace a manual selection of genes, recognised by the absence of statistics."""
    var = adata.var.columns
    if _keys.GENES in var and not overwrite and not any(name in var for name in _keys.STATISTICS):
        raise ForeignError("var", _keys.GENES)


def check_layer(adata: AnnData, name: str, *, overwrite: bool = False) -> None:
    """Refuse to replace a layer that does not hold bins: bins have the same maximum in all cells."""
    if name not in adata.layers or overwrite:
        return
    layer = adata.layers[name]
    if isinstance(getattr(layer, "dtype", None), np.dtype) and layer.dtype in (np.uint8, np.uint16):
        highest = layer.max(axis=1)
        highest = highest.toarray() if hasattr(highest, "toarray") else np.asarray(highest)
        if len(np.unique(highest[highest > 1])) <= 1:
            return
    raise ForeignError("layers", name, f"key_added={name + '_2'!r}")


def check_column(adata: AnnData, name: str, new: pd.Categorical, *, overwrite: bool = False) -> None:
    """Refuse to replace a column of `obs` that a user may have made: one that is not as the new one."""
    if name in adata.obs.columns and not overwrite:
        before = in_memory(adata.obs[[name]])[name].astype(object).to_numpy()
        if not np.array_equal(before, np.asarray(new, object)):
            raise ForeignError("obs", name)


def _foreign(adata: AnnData, output: _keys.Output, key: str) -> Iterator[tuple[str, str]]:
    """Yield the places that would be overwritten and hold data that ginseng did not write."""
    entry: Any = adata.uns.get(key, {})
    if output.members and (
        not isinstance(entry, Mapping)
        # an entry with `format` belongs to a training store
        or (not records(entry) and "format" not in entry and any(name in entry for name in output.members))
    ):
        yield "uns", key
    yield from (
        ("uns", name(key)) for name in output.entries if name(key) in adata.uns and not ranking(adata, name(key))
    )
    known = is_known(adata, output, key)
    absent = not_written(adata, output, key)
    yield from (
        ("obs", name) for name in columns_of(output, key) if name in adata.obs.columns and (not known or name in absent)
    )
    for name in (array(key) for array in output.arrays):
        if name in adata.obsm and not (known and are_ours(adata.obsm[name])):
            yield "obsm", name


def _foreign_levels(adata: AnnData, levels: Iterable[str], key: str) -> Iterator[str]:
    """Yield columns of these levels that ginseng did not write: neither recorded, nor a label with its confidence."""
    recorded = level_columns(adata, _keys.OUTPUTS["classify"], key)
    for level in levels:
        label, confidence = _keys.level(level)(key), _keys.level_confidence(level)(key)
        there = [name for name in (label, confidence) if name in adata.obs.columns and name not in recorded]
        if there and (len(there) == 1 or not are_fractions(in_memory(adata.obs[[confidence]])[confidence])):
            yield there[0]


def refuse_lost_view(adata: Any) -> None:
    """Reject a temporary view, which would take the results with it when the call returns.

    Must be called first in a verb, with its own argument: it counts references.

    Raises
    ------
    ValueError
        If the argument is such a view, as in `train(adata[rows], ...)`.
    """
    if not isinstance(adata, AnnData) or not adata.is_view:
        return
    parent: Any = adata._adata_ref
    like = parent[:1]  # a view with one more reference than the temporary one in the next line
    nobody = _references_of(parent[:1])
    if sys.getrefcount(adata) - 1 <= nobody < _references_of(like):
        msg = (
            "`adata` is a temporary view, such as `adata[rows]` within the call, so the results would be lost. "
            "Assign it first, `part = adata[rows].copy()`, or pass `copy=True`."
        )
        raise ValueError(msg)


def _references_of(adata: AnnData) -> int:
    return sys.getrefcount(adata)
