"""Read Matrix Market files with their gene and cell names, in the layouts of counting programs and GEO."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.io import mminfo

from ginseng._disk import packed
from ginseng._disk.atomic import check_readable
from ginseng._errors import suggest

#: File names of matrices; the first group is the prefix that the files of a sample share.
_NAMED = re.compile(r"(.*?)(?:matrix|DGE|count_matrix|cells_x_genes(?:\.total)?|quants_mat)\.mtx(?:\.gz)?")
_ANY = re.compile(r"(.*?)\.mtx(?:\.gz)?")
#: Stems of the `.tsv`, `.csv` or `.txt` files beside a matrix; the first that exists is used.
_FEATURES = ("features", "genes", "all_genes", "gene_names", "gene", "symbols", "var", "quants_mat_cols")
_CELLS = ("barcodes", "cell_metadata", "cells", "cell_names", "metadata", "annotation", "obs", "quants_mat_rows")
_TABLE = r"\.(?:tsv|csv|txt)(?:\.gz)?"

#: Where counting programs put the called cells, below the folder of a run, the likeliest first.
_BELOW = (
    "filtered_feature_bc_matrix", "sample_filtered_feature_bc_matrix", "filtered_gene_bc_matrices/*",
    "per_sample_outs/*/count/sample_filtered_feature_bc_matrix", "per_sample_outs/*/sample_filtered_feature_bc_matrix",
    "count/sample_filtered_feature_bc_matrix", "*/count/sample_filtered_feature_bc_matrix",
    "Gene/filtered", "GeneFull/filtered", "filtered", "DGE_filtered", "*/DGE_filtered", "counts_filtered",
    "counts_unfiltered", "alevin", "af_quant/alevin",
)  # fmt: skip
_RUNS = ("", "outs/", "Solo.out/", "*Solo.out/", "all-sample/")
#: Column names in files that have a header.
_IDS = ("gene_id", "gene_ids", "geneid", "ensembl_id", "ensembl", "id", "feature_id")
_SYMBOLS = ("gene_name", "gene_names", "gene_symbol", "gene_symbols", "symbol", "name", "feature_name", "gene")
_KINDS = ("feature_type", "feature_types")


@dataclass(frozen=True)
class Files:
    """The files of one sample."""

    matrix: Path
    features: Path
    cells: Path


def has_matrix(names: Any) -> bool:
    """Whether a folder contains a Matrix Market file."""
    return any(map(_ANY.fullmatch, names))


def folders_below(path: Path) -> dict[str, Path]:
    """Find the count folders of a counting program below `path`, by sample name."""
    for run in _RUNS:
        for below in _BELOW:
            found = [
                p for p in sorted(path.glob(run + below)) if p.is_dir() and has_matrix(f.name for f in p.iterdir())
            ]
            # Parse has a folder with all samples, beside one per sample
            found = [p for p in found if any(part.startswith("all-") for part in p.parts[len(path.parts) :])] or found
            if found:
                star = [i for i, part in enumerate(f"{run}{below}".split("/")) if "*" in part]
                depth = len(path.parts) + (star[0] if star else 0)
                return {p.parts[depth]: p for p in found}
    return {}


def files_of(path: Path, prefix: str | None = None) -> Files:
    """Find the matrix, the features and the cells of one sample.

    Raises
    ------
    FileNotFoundError
        If one is missing.
    ValueError
        If there are several samples and `prefix` selects none.
    """
    if path.is_file():
        matrix = path
        named = _NAMED.fullmatch(path.name)
        own = prefix or (named[1] if named else "")
    else:
        samples = samples_of(path)
        if prefix is None and len(samples) > 1:
            listed = ", ".join(map(repr, sorted(samples)))
            msg = f"{str(path)!r} has several samples. Choose one: `read_10x_mtx(path, prefix=...)`: {listed}. "
            some = ", ".join(repr(str(p)) for p in sorted(samples.values())[:2])
            msg += f"Or read several together: `read_adata([{some}, ...])`."
            raise ValueError(msg)
        own = next(iter(samples)) if prefix is None else prefix
        if own not in samples:
            msg = f"{str(path)!r} has no sample with prefix {own!r}. {suggest(own, sorted(samples))}"
            raise ValueError(msg)
        matrix = samples[own]
    check_readable(matrix)
    return Files(matrix, _beside(matrix, own, _FEATURES), _beside(matrix, own, _CELLS))


def samples_of(folder: Path) -> dict[str, Path]:
    """List the matrices in a folder by the prefix of their sample."""
    files = sorted((p for p in folder.iterdir() if not p.is_dir()), reverse=True)
    samples = {m[1]: p for p in files if (m := _NAMED.fullmatch(p.name))}
    return samples or {m[1]: p for p in files if (m := _ANY.fullmatch(p.name))}


def _beside(matrix: Path, prefix: str, words: tuple[str, ...]) -> Path:
    """Find the file of names for a matrix: that of the same sample, or else the only one for all samples."""
    files = sorted(p for p in matrix.parent.iterdir() if p.is_file() and p != matrix)
    others = {own for own in samples_of(matrix.parent) if own != prefix and own not in prefix and own}
    found: list[tuple[int, int, str, Path]] = []
    for order, word in enumerate(words):
        for file in files:
            if not (m := re.fullmatch(rf"(.*?){word}{_TABLE}", file.name, re.IGNORECASE)):
                continue
            start = m[1]
            # the stem of the matrix comes first: `a_counts.mtx` and `a_counts_genes.csv`
            same = matrix.name.startswith(start.rstrip("._-")) or start == prefix
            if (same or not any(start.startswith(own) for own in others)) and not start.endswith(("_x_", "-x-")):
                found.append((0 if start == prefix else 1 if same else 2, order, start, file))
    if found:
        best = min(rank for rank, *_ in found)
        chosen = min((f for f in found if f[0] == best), key=lambda f: (-len(f[2]), f[1]) if best == 1 else (0, f[1]))
        alike = [f for f in found if f[:2] == chosen[:2]]
        if best < 2 or len({f[2] for f in alike}) == 1:
            return chosen[3]
    usual = [f"{prefix}{word}.tsv{gz}" for word in words[: 2 if words is _FEATURES else 1] for gz in ("", ".gz")]
    msg = f"{str(matrix)!r} needs a missing file beside it: {' or '.join(usual)}."
    raise FileNotFoundError(msg)


def read_mtx(path: Path, prefix: str | None = None, *, transpose: bool | None = None) -> AnnData:
    """Read a sample: ids in `var["gene_ids"]`, symbols as names, types in `var["feature_types"]`, where present.

    Parameters
    ----------
    path
        The matrix file, or its folder.
    prefix
        Common prefix of the files of the sample.
    transpose
        Whether the matrix is genes x cells. If None, it is inferred from the lengths of the other files.

    Raises
    ------
    ValueError
        If a file is damaged or does not fit the others.
    """
    files = files_of(path, prefix)
    try:
        n_rows, n_columns, n_values, *_ = mminfo(files.matrix)
        genes, cells = _table(files.features), _table(files.cells)
    except (ValueError, StopIteration, *packed.ERRORS) as error:
        raise _damaged(path, error) from error
    by_genes = _fits(files, (n_rows, n_columns), genes, cells) if transpose is None else transpose
    n_genes, n_cells = (n_rows, n_columns) if by_genes else (n_columns, n_rows)
    if not (_rows(genes, n_genes) and _rows(cells, n_cells)):
        raise _unfit(files, (n_rows, n_columns), genes, cells)
    size = files.matrix.stat().st_size
    if n_values * 4 > size * (packed.RATIO * 2 if files.matrix.suffix == ".gz" else 1):  # at least four bytes per line
        raise _damaged(path, f"it declares {n_values:,} values, and has {size:,} bytes")
    try:
        x: Any = anndata.io.read_mtx(files.matrix).X
    except (ValueError, *packed.ERRORS) as error:
        raise _damaged(path, error) from error
    genes, cells = _without_header(genes, n_genes), _without_header(cells, n_cells)
    obs = pd.DataFrame(index=cells.iloc[:, 0].array)
    if len(cells) and list(cells.columns) != list(range(cells.shape[1])):
        obs = cells.set_index(cells.columns[0]).rename_axis(index=None)
        obs.columns = obs.columns.astype(str)
    return AnnData(sparse.csr_matrix(x.T if by_genes else x, dtype="float32"), obs=obs, var=_var(genes, files))


def _table(file: Path) -> pd.DataFrame:
    with packed.unpacked(file) as stream:
        first = stream.peek(2**16).split(b"\n", 1)[0]
        sep = "," if b"\t" not in first and b"," in first and ".csv" in file.suffixes else "\t"
        # as text, without missing values: a gene may be called NA
        return pd.read_csv(stream, sep=sep, header=None, dtype=str, na_filter=False, encoding_errors="replace")


def _rows(table: pd.DataFrame, n: int) -> bool:
    return len(table) == n or (len(table) == n + 1)


def _fits(files: Files, shape: tuple[int, int], genes: pd.DataFrame, cells: pd.DataFrame) -> bool:
    """Whether rows are genes, judged by the lengths of the files of names; each may have a header."""
    upright = _rows(genes, shape[0]) and _rows(cells, shape[1])
    turned = _rows(genes, shape[1]) and _rows(cells, shape[0])
    if not upright and not turned:
        raise _unfit(files, shape, genes, cells)
    if upright and turned:  # about as many genes as cells: assume the usual orientation of the program
        return re.search(r"DGE|count_matrix|cells_x_genes|quants_mat", files.matrix.name) is None
    return upright


def _without_header(table: pd.DataFrame, n: int) -> pd.DataFrame:
    if len(table) > n:
        names = [str(name).strip() or f"column {i}" for i, name in enumerate(table.iloc[0])]
        table = table.iloc[1:].set_axis(pd.Index(names), axis=1).reset_index(drop=True)
    if table.shape[1] > 1 and any(list(table.iloc[:, 0]) == [str(i + start) for i in range(n)] for start in (0, 1)):
        headed = len(table.columns) and table.columns.dtype != np.int64
        table = table.iloc[:, 1:]  # row numbers, as written by R and pandas
        return table if headed else table.set_axis(range(table.shape[1]), axis=1)
    return table


def _var(genes: pd.DataFrame, files: Files) -> pd.DataFrame:
    """Return ids, names and types of the features, by the header if there is one, or by column order."""
    heads = {str(name).lower(): i for i, name in enumerate(genes.columns)}
    columns = [genes.iloc[:, i].array for i in range(genes.shape[1])]
    ids, names, kinds = 0, min(1, len(columns) - 1), 2 if len(columns) > 2 else None
    if list(genes.columns) != list(range(len(columns))):
        ids = next((heads[name] for name in _IDS if name in heads), 0)
        names = next((heads[name] for name in _SYMBOLS if name in heads), names)
        kinds = next((heads[name] for name in _KINDS if name in heads), None)
    index = columns[names]
    more = files.features.with_name(re.sub(r"genes(?=\.txt)", "genes.names", files.features.name))
    if len(columns) == 1 and more != files.features and more.is_file():  # kb-python keeps the symbols in another file
        symbols = _table(more)
        index = symbols.iloc[:, 0].array if len(symbols) == len(genes) else index
    var = pd.DataFrame({"gene_ids": columns[ids]}, index=pd.Index(index))
    if kinds is not None:
        var["feature_types"] = columns[kinds]
    if "genome" in heads:
        var["genome"] = columns[heads["genome"]]
    return var


def _damaged(path: Path, why: object) -> ValueError:
    return ValueError(f"The 10x files at {str(path)!r} are truncated or damaged: {why}. Download or copy them again.")


def _unfit(files: Files, shape: tuple[int, int], genes: pd.DataFrame, cells: pd.DataFrame) -> ValueError:
    return ValueError(
        f"{files.matrix.name!r} has {shape[0]} rows and {shape[1]} columns, but {files.features.name!r} has "
        f"{len(genes)} lines and {files.cells.name!r} {len(cells)}. The matrix must be genes x cells or cells x genes, "
        "and each of the other files may have one line more, a header."
    )
