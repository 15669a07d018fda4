"""Write results into an AnnData or its file; nothing else in the package does.

What each verb writes is declared in :data:`ginseng._keys.OUTPUTS`. It determines what may be replaced, what becomes
stale, and what is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.class_table import class_table, class_values
from ginseng._cells.colors import MISSING, categories, color_key, distinct, known_colors
from ginseng._cells.colors import UNASSIGNED as GREY
from ginseng._cells.entries import check_adata
from ginseng._cells.labels import UNASSIGNED, as_labels, in_memory, obs_column
from ginseng._cells.matrix import copied, make_actual
from ginseng._disk.writers import can_be_added_to, write_adata, write_added
from ginseng._errors import ForeignError


@dataclass
class Results:
    """What a verb writes.

    Attributes
    ----------
    obs, obsm, var, layers
        By name.
    members
        Entries of `uns[key_added]`; existing ones with other names stay.
    entries
        Entries of `uns`; `None` removes one.
    stale
        Columns of `obs` that an earlier call wrote and this one does not.
    classes
        All labels that the columns of cell types can have, in the order in which they take colours.
    truth
        Column of `obs` with the true labels, which share the colours.
    colors
        Colours that labels already have elsewhere.
    unassigned
        Name for cells without a label.
    """

    obs: dict[str, Any] = field(default_factory=dict)
    obsm: dict[str, Any] = field(default_factory=dict)
    var: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Any] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Any] = field(default_factory=dict)
    stale: Sequence[str] = ()
    classes: Sequence[Any] | np.ndarray = ()
    truth: str | None = None
    colors: Mapping[str, str] = field(default_factory=dict)
    unassigned: str = UNASSIGNED


def label_column(
    codes: np.ndarray,
    names: Sequence[Any] | np.ndarray,
    unassigned: str = UNASSIGNED,
    *,
    rows: np.ndarray | None = None,
    n_obs: int = 0,
) -> pd.Categorical:
    """Return a categorical column of labels. Its categories are those that occur, in the order of `names`.

    Parameters
    ----------
    codes
        Indices into `names`, -1 for `unassigned` cells.
    rows
        Indices of these cells among `n_obs`; all other cells have a missing label. All cells if None.
    """
    known = [str(name) for name in names]
    known += [] if unassigned in known else [unassigned]
    codes = np.where(codes < 0, known.index(unassigned), codes)
    if rows is not None:
        codes_of_rows, codes = codes, np.full(n_obs, -1)
        codes[rows] = codes_of_rows
    categories: Any = known
    return pd.Categorical.from_codes(codes.tolist(), categories).remove_unused_categories()


# -- before the work -------------------------------------------------------------------------------------------------


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
        or (not _records(entry) and "format" not in entry and any(name in entry for name in output.members))
    ):
        yield "uns", key
    yield from (
        ("uns", name(key)) for name in output.entries if name(key) in adata.uns and not _ranking(adata, name(key))
    )
    known = _is_known(adata, output, key)
    not_written = _not_written(adata, output, key)
    yield from (
        ("obs", name)
        for name in _columns(output, key)
        if name in adata.obs.columns and (not known or name in not_written)
    )
    for name in (array(key) for array in output.arrays):
        if name in adata.obsm and not (known and _are_ours(adata.obsm[name])):
            yield "obsm", name


def _foreign_levels(adata: AnnData, levels: Iterable[str], key: str) -> Iterator[str]:
    """Yield columns of these levels that ginseng did not write: neither recorded, nor a label with its confidence."""
    recorded = _level_columns(adata, _keys.OUTPUTS["classify"], key)
    for level in levels:
        label, confidence = _keys.level(level)(key), _keys.level_confidence(level)(key)
        there = [name for name in (label, confidence) if name in adata.obs.columns and name not in recorded]
        if there and (len(there) == 1 or not _are_fractions(in_memory(adata.obs[[confidence]])[confidence])):
            yield there[0]


def _level_columns(adata: AnnData, output: _keys.Output, key: str) -> list[str]:
    """Return the columns of the levels that an earlier call recorded."""
    entry: Any = adata.uns.get(key)
    if _keys.LEVELS not in output.members or not isinstance(entry, Mapping) or _keys.LEVELS not in entry:
        return []
    names = [str(level) for level in entry[_keys.LEVELS]]
    return [name(level)(key) for level in names for name in (_keys.level, _keys.level_confidence)]


def _columns(output: _keys.Output, key: str) -> list[str]:
    return [name(key) for name in output.columns]


def _not_written(adata: AnnData, output: _keys.Output, key: str) -> set[str]:
    """Return the columns that are not always written, and were not by the last call under this prefix.

    Where `uns` has no record of that, those of which some are missing that are written together.
    """
    entry: Any = adata.uns.get(key)
    recorded = isinstance(entry, Mapping) and output.record in entry
    groups = {member: {name(key) for name in names} for member, names in output.optional.items()}
    return {
        name
        for member, names in groups.items()
        for name in names
        if not (member in entry if recorded else names <= set(adata.obs.columns))
    }


def _records(entry: Any) -> list[str]:
    """Return the verbs that left a record in an entry of `uns`."""
    if not isinstance(entry, Mapping):
        return []
    kinds = Mapping | pd.DataFrame
    return [verb for verb, o in _keys.OUTPUTS.items() if o.record and isinstance(entry.get(o.record), kinds)]


def _is_known(adata: AnnData, output: _keys.Output, key: str) -> bool:
    """Whether ginseng wrote what is stored under the names of an output.

    Either `uns` has a record of it; or, after merging samples dropped `uns`, all of its columns are present and have
    the dtypes and ranges that ginseng writes.
    """
    records = _records(adata.uns.get(key))
    labels = _keys.OUTPUTS["classify"]
    if not _columns(output, key):  # only arrays
        return bool(records) or _looks_ours(adata, labels, key)
    return any(_keys.OUTPUTS[verb] is output for verb in records) or _looks_ours(adata, output, key)


def _looks_ours(adata: AnnData, output: _keys.Output, key: str) -> bool:
    optional = {name(key) for names in output.optional.values() for name in names}
    missing = optional - set(adata.obs.columns)
    names = [name for name in _columns(output, key) if name not in missing]
    if not (output.fractions or output.counts) or not all(name in adata.obs.columns for name in names):
        return False
    obs = in_memory(adata.obs[names])
    for name in (name for column in output.fractions if (name := column(key)) not in missing):
        if not _are_fractions(obs[name]):
            return False
    if not all(obs[column(key)].dtype == bool for column in output.flags):
        return False
    if not all(_are_numbers(obs[column(key)]) for column in output.counts):
        return False
    text = (name for column in (*output.types, *output.groups) if (name := column(key)) not in missing)
    return all(obs[name].dtype.kind not in "biufc" for name in text)


def _are_fractions(column: pd.Series) -> bool:
    values = column.to_numpy()
    return values.dtype == np.float32 and bool(((values >= 0) & (values <= 1) | np.isnan(values)).all())


def _are_numbers(column: pd.Series) -> bool:
    return column.dtype == np.int32 and bool((column >= 0).all())


def _are_ours(values: Any) -> bool:
    """Whether an array or table has what ginseng writes into `obsm`: float32, or bool."""
    dtypes = set(values.dtypes) if hasattr(values, "columns") else {getattr(values, "dtype", None)}
    return dtypes == {np.dtype(bool)} or _are_float32(values)


def _are_float32(values: Any) -> bool:
    """Whether an array or table is float32, or was before a merge with cells that lack it widened it."""
    if hasattr(values, "dtypes") and hasattr(values, "columns"):  # a table, perhaps lazy
        dtypes = set(values.dtypes)
        return dtypes == {np.dtype(np.float32)} or (
            dtypes <= {np.dtype(np.float32), np.dtype(np.float64)} and _are_float32(class_values(values))
        )
    if getattr(values, "dtype", None) == np.float64 and isinstance(values, np.ndarray):
        return np.array_equal(values, values.astype(np.float32), equal_nan=True)
    return getattr(values, "dtype", None) == np.float32


def _ranking(adata: AnnData, name: str) -> Mapping[str, Any] | None:
    """Return the parameters of a ranking made by :func:`ginseng.tl.rank_genes`, or None."""
    entry: Any = adata.uns[name]
    params = entry.get("params") if isinstance(entry, Mapping) else None
    return params if isinstance(params, Mapping) and params.get("method") == _keys.RANKED_BY else None


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


# -- after the work --------------------------------------------------------------------------------------------------


@dataclass
class _Changes:
    """New values by name; `None` removes."""

    obs: dict[str, Any]
    obsm: dict[str, Any]
    uns: dict[str, Any]


def write(adata: AnnData, verb: str, key_added: str, results: Results, *, copy: bool = False) -> AnnData:
    """Write results into an AnnData or a copy of it, and return that; a view becomes an actual AnnData.

    Results derived from what is replaced are removed; everything else stays.
    """
    adata = copied(adata) if copy else adata
    others = results.members or any(n in adata.uns or v is not None for n, v in results.entries.items())
    if adata.is_view and adata.isbacked and results.var and not others:
        _write_var_of_backed_view(adata, results.var)
        return adata
    make_actual(adata)
    changes = _changes(adata, verb, key_added, results)
    if changes.obs:
        adata.obs = _changed(adata.obs, changes.obs)
    if results.var:
        stale = dict.fromkeys((_keys.GENES, *_keys.STATISTICS)) if _keys.GENES in results.var else {}
        adata.var = _changed(adata.var, stale | results.var)
    for holder, new in ((adata.obsm, changes.obsm), (adata.layers, results.layers), (adata.uns, changes.uns)):
        for name, value in new.items():
            if value is not None:
                holder[name] = value
            elif name in holder:
                del holder[name]
    return adata


def write_file(
    source: Path | None,
    adata: AnnData,
    output: Path,
    verb: str,
    key_added: str,
    results: Results,
    *,
    overwrite: bool = False,
) -> None:
    """Write the cells and results to a file, atomically.

    Parameters
    ----------
    source
        The file that the cells were read from, or None. If it has the format of `output`, it is copied and extended
        without loading it.
    adata
        The cells.
    output
        The file to write, h5ad or zarr; may be `source`.
    overwrite
        Whether another existing file may be replaced.

    Raises
    ------
    FileExistsError
        If `output` appeared while the cells were being labelled and may not be replaced.
    """
    if not overwrite and output.exists() and not (source is not None and output.samefile(source)):
        msg = f"{output} was created by another process while the cells were labelled. It is not replaced."
        raise FileExistsError(msg)
    if source is None or not can_be_added_to(source, output):
        write_adata(write(adata.to_memory(), verb, key_added, results), output)
        return
    changes = _changes(adata, verb, key_added, results)
    write_added(source, output, changes.obs, changes.obsm, changes.uns, obs_names=adata.obs_names)


def _changed(frame: Any, new: Mapping[str, Any]) -> pd.DataFrame:
    frame = in_memory(frame)
    gone = [name for name, values in new.items() if values is None and name in frame.columns]
    return frame.drop(columns=gone).assign(**{name: values for name, values in new.items() if values is not None})


def _write_var_of_backed_view(adata: AnnData, new: Mapping[str, Any]) -> None:
    """Write columns of `var` in place: assigning `var` would make a backed view copy its file."""
    var: Any = adata.var
    for name in var.columns.intersection([_keys.GENES, *_keys.STATISTICS]):
        del var[name]
    for name, values in new.items():
        var.insert(var.shape[1], name, values)


def _changes(adata: AnnData, verb: str, key: str, results: Results) -> _Changes:
    """Return the values to write, and the stale ones to remove."""
    output = _keys.OUTPUTS[verb]
    before = dict(adata.uns)
    uns = dict(before)
    entry = uns.get(key, {})
    earlier = entry.get("classes") if isinstance(entry, Mapping) else None
    obs = {**dict.fromkeys(name for name in results.stale if name in adata.obs.columns), **results.obs}
    obsm = dict(results.obsm)
    replaced = [name for name in obs if name in adata.obs.columns]
    labels_anew = any(name(key) in replaced for name in _keys.OUTPUTS["classify"].types)

    for other in _keys.OUTPUTS.values():
        superseded = any(name(key) in replaced for name in other.types) or (other.of_labels and labels_anew)
        if other is output or (superseded and _is_known(adata, other, key)):
            gone = set(other.members) - (set() if other is output else _keys.SHARED)
            _drop(uns, key, gone)
            written = [name for name in _columns(other, key) if name not in _not_written(adata, other, key)]
            written += _level_columns(adata, other, key)
            columns = [name for name in written if name in adata.obs.columns and name not in obs]
            obs |= dict.fromkeys(columns)
            replaced += columns
            arrays = [array(key) for array in other.arrays]
            obsm = {**dict.fromkeys(n for n in arrays if n in adata.obsm and _are_ours(adata.obsm[n])), **obsm}
    for column in replaced:  # grows: what was derived from votes goes with them
        for columns in _drop_made_from(adata, uns, column):
            obs |= dict.fromkeys(name for name in columns if name not in obs)
            replaced += [name for name in columns if name not in replaced]
        uns.pop(f"dendrogram_{column}", None)  # scanpy's, for the previous categories
    for column in [name for name, values in obs.items() if values is None]:
        uns.pop(color_key(column), None)

    if results.members:
        kept = uns.get(key, {})
        uns[key] = {**(kept if isinstance(kept, Mapping) else {}), **results.members}
    uns |= results.entries
    if earlier is not None and "classes" in results.members and list(earlier) != list(results.members["classes"]):
        by_class = [name(key) for name in _keys.BY_CLASS if name(key) in adata.obsm]
        obsm = {**dict.fromkeys(name for name in by_class if _are_ours(adata.obsm[name])), **obsm}
    for name in (by_class(key) for by_class in _keys.BY_CLASS):
        if isinstance(obsm.get(name), np.ndarray):
            obsm[name] = class_table(obsm[name], results.members["classes"], adata.obs_names)
    types = [name for name, values in results.obs.items() if name not in {group(key) for group in output.groups}]
    uns |= _colors(adata, results, [name for name in types if isinstance(results.obs[name], pd.Categorical)])
    changed = {name: uns.get(name) for name in {**before, **uns} if uns.get(name) is not before.get(name)}
    return _Changes(obs, obsm, changed)


def _drop(uns: dict[str, Any], key: str, members: set[str]) -> None:
    """Remove members of an entry, and the entry itself once it is empty."""
    entry = uns.get(key)
    if not isinstance(entry, Mapping) or not members & set(entry):
        return
    uns[key] = {name: value for name, value in entry.items() if name not in members}
    if not uns[key]:
        del uns[key]


def _drop_made_from(adata: AnnData, uns: dict[str, Any], column: str) -> Iterator[list[str]]:
    """Remove results derived from an `obs` column, whatever their prefix; yield their own `obs` columns."""
    for key, entry in list(uns.items()):
        for verb in _records(entry):
            output = _keys.OUTPUTS[verb]
            if output.source and str(entry[output.record].get(output.source)) == column:
                _drop(uns, key, {output.record})
                yield [name for name in _columns(output, key) if name in adata.obs.columns]
        params = _ranking(adata, key) if key in adata.uns else None
        if params is not None and str(params.get(_keys.OUTPUTS["rank_genes"].source)) == column:
            del uns[key]


def _colors(adata: AnnData, results: Results, columns: list[str]) -> dict[str, list[str]]:
    """Return the colours for columns of cell types, and for the true labels if they have none."""
    classes = [str(name) for name in results.classes]
    if not classes:
        return {}
    truth = results.truth if list(adata.obs.columns).count(results.truth) == 1 else None
    known = {results.unassigned: GREY}
    for column in [name for name in columns if name in adata.obs.columns]:
        known |= known_colors(in_memory(adata.obs[[column]]), adata.uns, column)
    known |= results.colors
    true: list[str] = []
    if truth is not None:
        values = obs_column(adata, truth)
        if values.dtype.kind not in "biufc":
            known |= known_colors(values.to_frame(truth), adata.uns, truth)
            true = categories(values)
    labels = as_labels(pd.Series(true, dtype=object)).tolist()
    said = [str(name) for column in columns for name in results.obs[column].categories]
    color = distinct([*classes, *(label for label in [*said, *labels] if label is not None)], known)
    found = {color_key(name): [color[str(label)] for label in results.obs[name].categories] for name in columns}
    if truth is not None and set(labels) & set(classes) and color_key(truth) not in adata.uns:
        found[color_key(truth)] = [MISSING if label is None else color[label] for label in labels]
    return found
