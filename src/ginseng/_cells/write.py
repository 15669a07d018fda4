"""Write results into an AnnData or its file; nothing else in the package does.

What each verb writes is declared in :data:`ginseng._keys.OUTPUTS`. It determines what may be replaced, what becomes
stale, and what is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.class_table import class_table
from ginseng._cells.colors import MISSING, categories, color_key, distinct, known_colors
from ginseng._cells.colors import UNASSIGNED as GREY
from ginseng._cells.labels import UNASSIGNED, as_labels, in_memory, obs_column
from ginseng._cells.matrix import copied, make_actual
from ginseng._cells.written import are_ours, columns_of, is_known, level_columns, not_written, ranking, records
from ginseng._disk.writers import can_be_added_to, write_adata, write_added


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
        if other is output or (superseded and is_known(adata, other, key)):
            gone = set(other.members) - (set() if other is output else _keys.SHARED)
            _drop(uns, key, gone)
            written = [name for name in columns_of(other, key) if name not in not_written(adata, other, key)]
            written += level_columns(adata, other, key)
            columns = [name for name in written if name in adata.obs.columns and name not in obs]
            obs |= dict.fromkeys(columns)
            replaced += columns
            arrays = [array(key) for array in other.arrays]
            obsm = {**dict.fromkeys(n for n in arrays if n in adata.obsm and are_ours(adata.obsm[n])), **obsm}
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
        obsm = {**dict.fromkeys(name for name in by_class if are_ours(adata.obsm[name])), **obsm}
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
        for verb in records(entry):
            output = _keys.OUTPUTS[verb]
            if output.source and str(entry[output.record].get(output.source)) == column:
                _drop(uns, key, {output.record})
                yield [name for name in columns_of(output, key) if name in adata.obs.columns]
        params = ranking(adata, key) if key in adata.uns else None
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
