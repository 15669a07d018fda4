from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ginseng import _keys
from ginseng._cells.accept import is_counts
from ginseng._cells.features import look_like_others
from ginseng._cells.gene_map import GeneTable, Mapped, NameKind, map_names
from ginseng._cells.gene_names import are_row_numbers, missing_names
from ginseng._cells.matrix import copied, layers_of, make_actual, take_columns
from ginseng._cells.named_genes import names_in
from ginseng._cells.open import OpenCells, open_cells
from ginseng._cells.write import Results, write
from ginseng._docs import document
from ginseng._errors import ForeignError
from ginseng._logging import running

#: Names of lost genes that are kept in `uns`, and pairs of names that became one.
MAX_KEPT = 100_000


@document
def map_genes(
    adata: AnnData,
    to: NameKind = "ensembl",
    species: str | None = None,
    *,
    from_: NameKind | None = None,
    to_species: str | None = None,
    table: Mapping[str, str] | pd.DataFrame | str | Path | None = None,
    gene_key: str | None = None,
    key_added: str | None = None,
    rename: bool = False,
    overwrite: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Convert gene names: Ensembl ids to symbols, old symbols to current ones, mouse genes to human orthologs.

    Recognises symbols, previous symbols and aliases (of HGNC, for human genes), Ensembl ids with and without version,
    and Entrez ids. Ambiguous names are not mapped; a name that is the current symbol of a gene is never ambiguous.
    Blanks, genome prefixes and the like are removed first, as in :func:`ginseng.tl.classify`. That function converts
    names by itself if more genes of the model match, except for orthologs.

    Parameters
    ----------
    adata
        Cells x genes.
    to
        Target names: `"ensembl"` (ids without version), `"symbol"` or `"entrez"`.
    species
        `"human"` or `"mouse"`; inferred from the names if None.
    from_
        Current names: `"symbol"` (including aliases and previous symbols), `"ensembl"` or `"entrez"`; inferred from the
        form of each name if None.
    to_species
        Species to map to by one-to-one orthologs; that of the data if None.
    table
        Replaces the packaged tables: a mapping from old to new names, or a table (or the path of a CSV or TSV file)
        with one row per gene. Its columns are those of HGNC's complete set, `symbol`, `prev_symbol`, `alias_symbol`,
        `ensembl_gene_id`, `entrez_id`, or `ensembl`, `entrez`, `other`; several names in a field are separated by `|`.
    gene_key
        Column of `adata.var` with the names; the index if None.
    key_added
        Column of `adata.var` to write; `ginseng_` and `to` if None, such as `ginseng_ensembl`.
    rename
        Whether to replace `adata.var_names` by the new names. Rows that map to the same gene are merged: their counts
        in `X` and all layers are summed, and `adata.var` and `adata.varm` keep the first row. Genes without a new name
        keep the old one. `adata.raw` is not changed.
    overwrite
        Whether to replace a column of that name that this function did not write.
    %(copy)s

    Returns
    -------
    `None`, or the copy if `copy=True`. Sets:

    `adata.var['ginseng_ensembl']` : :class:`pandas.Series` (dtype ``object``)
        The new name of each gene, empty if there is none. Pass the column as `gene_key` to :func:`ginseng.tl.train` and
        :func:`ginseng.tl.classify`, which sum the counts of genes with the same name.
    `adata.uns['ginseng_gene_map']` : :class:`dict`
        `to`, `species`, `to_species`, `key`; `n_genes`, `n_mapped` (rows with a new name), `n_changed` (rows whose name
        differs), `n_summed` (rows that share a name), `n_lost` (rows without a new name) and `n_ambiguous` (of these,
        rows whose name stands for several genes); the names that were `lost`, those that are `ambiguous`, and those
        that were `summed`, as `name` and `gene`.

    Raises
    ------
    KeyError
        If the column does not exist.
    ValueError
        If the names are row numbers or belong to a species without a table, none of them is known, `key_added` is a
        column that this function did not write, or rows would have to be summed that are not counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.pp.map_genes(adata, "ensembl")
    >>> adata.var.loc["CD3D", "ginseng_ensembl"]
    'ENSG00000167286'
    """
    cells = open_cells(adata, gene_key=gene_key, in_place=True)
    key = _keys.mapped_genes(to) if key_added is None else key_added
    _check_key(adata, key, overwrite=overwrite)
    names = names_in(cells.var, gene_key)
    if from_ != "entrez" and are_row_numbers(names):
        msg = f"The names are row numbers ({', '.join(names[:3])}), not gene names: pass `gene_key=`."
        raise ValueError(msg)
    with running(f"map_genes to {to}") as report:
        known = cells.measured & ~missing_names(names) & ~look_like_others(names)
        if not known.any():
            msg = "No gene has a name: pass `gene_key=` with the column of `adata.var` that has them."
            raise ValueError(msg)
        old = names.fillna("").to_numpy(object)
        found = map_names(
            old[known].tolist(), to, species=species, from_=from_, to_species=to_species, table=_table(table)
        )
        if not (found.names != "").any():
            some = ", ".join(old[known][:3])
            what = f"the {found.species} table" if found.species else "`table`"
            msg = f"None of the {known.sum():,} names ({some}) is in {what}: are they of another species (`species=`)?"
            raise ValueError(msg)
        new = np.full(len(old), "", object)
        new[known] = found.names
        result = _record(old, new, known, found) | {
            "to": to,
            "to_species": to_species or found.species or "",
            "key": key,
        }
        if rename:
            position, labels = _renamed(adata.var_names.to_numpy(object), new)
            _check_sums(cells, position)
        out = copied(adata) if copy else adata
        if rename:
            _rename(out, position, labels)
            out.uns[_keys.GENE_MAP] = result
        else:
            out = write(out, "map_genes", key, Results(var={key: new}, entries={_keys.GENE_MAP: result}))
        lost = f"{result['n_lost']:,} lost ({result['n_ambiguous']:,} ambiguous)"
        report.done = (
            f"{result['n_mapped']:,} of {result['n_genes']:,} genes have {to} names, {result['n_summed']:,} of them "
            f"share one and are summed, {lost}"
        )
        report("changed `.var_names`" if rename else f"added `.var[{key!r}]`")
    return out if copy else None


def _check_key(adata: AnnData, key: str, *, overwrite: bool) -> None:
    if not isinstance(key, str) or not key or not key.isprintable() or "/" in key:
        msg = f"`key_added` is {key!r}; it must be plain text without '/'."
        raise ValueError(msg)
    before = adata.uns.get(_keys.GENE_MAP)
    ours = {_keys.mapped_genes("ensembl"), _keys.mapped_genes("symbol"), _keys.mapped_genes("entrez")}
    ours |= {str(before.get("key"))} if isinstance(before, Mapping) else set()
    if key in adata.var.columns and not overwrite and not (key in ours and isinstance(before, Mapping)):
        raise ForeignError("var", key, f"key_added={key + '_2'!r}")


def _table(table: Any) -> GeneTable | Mapping[str, str] | None:
    if table is None or isinstance(table, Mapping):
        return table
    if isinstance(table, pd.Series):
        return {str(name): str(gene) for name, gene in table.dropna().items()}
    return GeneTable.read(table)


def _record(old: np.ndarray, new: np.ndarray, known: np.ndarray, found: Mapped) -> dict[str, Any]:
    lost = known & (new == "")
    ambiguous = np.zeros(len(old), bool)
    ambiguous[known] = found.ambiguous
    ambiguous &= lost
    shared = (new != "") & pd.Series(new).duplicated(keep=False).to_numpy()
    order = np.flatnonzero(shared)[np.argsort(new[shared], kind="stable")][:MAX_KEPT]
    return {
        "species": found.species or "",
        "n_genes": int(known.sum()),
        "n_mapped": int((new != "").sum()),
        "n_changed": int(((new != "") & (new != old)).sum()),
        "n_summed": int(shared.sum()),
        "n_lost": int(lost.sum()),
        "n_ambiguous": int(ambiguous.sum()),
        "lost": old[lost][:MAX_KEPT],
        "ambiguous": old[ambiguous][:MAX_KEPT],
        "summed": pd.DataFrame({"name": old[order], "gene": new[order]}, index=pd.RangeIndex(len(order)).astype(str)),
    }


def _renamed(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each row among the rows that will be, and the names of these."""
    # what has no new name stays a row of its own, whatever it is called
    keys = [("new", gene) if gene else ("old", str(i)) for i, gene in enumerate(new)]
    position, _ = pd.factorize(pd.Series(keys, dtype=object))
    first = np.unique(position, return_index=True)[1]
    return position, np.array([new[i] or str(old[i]) for i in first], object)


def _check_sums(cells: OpenCells, position: np.ndarray) -> None:
    """Refuse to sum what are no counts: the logarithm of a sum is no sum of logarithms."""
    if len(np.unique(position)) == len(position):
        return
    for matrix in [
        *([cells] if cells.adata.X is not None else []),
        *(other for other in cells.others() if not other.is_raw),
    ]:
        if not is_counts(matrix.values) and matrix.values.kind != "empty":
            n = len(position) - len(np.unique(position))
            msg = (
                f"{n:,} rows would be summed into others, and `{matrix.where}` has {matrix.values.described}, which "
                "cannot be summed. Map the genes before the counts are normalised, or leave out `rename`."
            )
            raise ValueError(msg)


def _rename(adata: AnnData, position: np.ndarray, names: np.ndarray) -> None:
    """Give the genes their new names, in place; rows that have one become one."""
    if len(names) < len(position):
        if adata.isbacked:
            msg = "Rows of a file on disk cannot be summed: read it into memory, or leave out `rename`."
            raise ValueError(msg)
        make_actual(adata)
        summed = {name: _summed(adata.layers[name], position, len(names)) for name in layers_of(adata)}
        x = None if adata.X is None else _summed(adata.X, position, len(names))
        adata._inplace_subset_var(np.unique(position, return_index=True)[1])
        if x is not None:
            adata.X = x
        for name, layer in summed.items():
            adata.layers[name] = layer
    adata.var_names = pd.Index(names)


def _summed(x: Any, position: np.ndarray, n_genes: int) -> Any:
    kept = getattr(x, "format", None)
    out: Any = take_columns(sparse.csr_matrix(x) if kept else np.asarray(x), position, n_genes)
    return out.asformat(kept) if kept and kept != "csr" else out
