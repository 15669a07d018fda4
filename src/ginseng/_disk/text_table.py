"""Read counts from text tables, as found in GEO: either orientation, with annotations around the numbers."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ginseng import _logging
from ginseng._disk import packed
from ginseng._disk.tables import repeated_names

#: Lines used to detect the layout, and maximum characters of these, of one line and of one block of the table.
SAMPLE, SAMPLE_CHARACTERS, LINE, PART = 100, 2**22, 2**27, 2**24
#: Maximum number of leading columns and rows that are not counts.
AROUND = 20
#: Separators.
_SEPARATORS = ("\t", ";", ",", "|", " ")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_NOTHING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A")

#: Names that certainly belong to genes: ids, numbered families, and ubiquitous genes.
_GENE = re.compile(
    r"ENS[A-Z]{0,4}[GT]\d{6,}(\.\d+)?|FBgn\d+|WBGene\d+|AT\dG\d{5}|Y[A-P][LR]\d{3}[CW](-[A-Z])?|g(ene)?[-_. ]?\d+"
    r"|mt-\w+|rp[ls]\d+[a-z]?\d*l?|actb|gapdh|malat1|b2m|eef1a1|tpt1|ftl1?|fth1|tmsb4x|hla-\w+|h2-\w+|vim|ptprc|lyz[12]?"
    r"|(znf|zfp|slc|tmem|fam|linc|loc|rp\d+-|a[clp]\d{5}|gm|cct|psm[abcd]|nduf|cox|atp\d|krt|col|ube\d|rab|cd|il|cxcl|ccl)"
    r"\d*[a-z]{0,2}\d*([-.]\w+)*|c\d+orf\d+|\w+rik|ercc-\d+",
    re.IGNORECASE,
)
_CELL = re.compile(
    r"[ACGTN]{8,}|cell|barcode|well|plate|[SED]RR\d{4,}|GSM\d{4,}|^c[-_. ]?\d+$|_[A-P]\d{1,2}$", re.IGNORECASE
)
#: Column names that indicate genes, and cells.
_OF_GENES = re.compile(r"gene|symbol|ensembl|feature|transcript|chr|strand|biotype|description|^name$", re.IGNORECASE)
_OF_CELLS = re.compile(
    r"cell|barcode|cluster|donor|sample|batch|patient|label|tissue|louvain|leiden|umap|tsne|^index$", re.IGNORECASE
)
#: Numeric columns that describe a gene.
_POSITIONS = {"chr", "chromosome", "start", "end", "strand", "length", "gene_length", "entrez", "entrezid", "entrez_id"}


@dataclass(frozen=True)
class Layout:
    """Layout of a table.

    Attributes
    ----------
    sep
        Separator of values.
    header
        Index of the line with the column names.
    names
        Column names, including that of the row names.
    text
        Columns that are not counts; the first holds the row names, if there are any.
    n_text_rows
        Number of rows below the header that describe the columns.
    decimal
        Decimal point.
    """

    sep: str
    header: int
    names: list[str]
    text: list[int]
    values: list[int]
    row_names: int | None
    n_text_rows: int
    decimal: str


class NoTableError(ValueError):
    """The text is not a table, as opposed to a table with errors."""


def is_text_table(head: bytes) -> bool:
    """Whether text starts like a table of numbers."""
    with suppress(NoTableError):
        lines = [line for line in _decoded(head).split("\n") if line.strip()]
        try:
            find_layout(lines[:-1] if len(lines) > 2 and len(head) >= 2**16 else lines, "it")
        except NoTableError:
            raise
        except ValueError:
            return True  # the error is reported when it is read
        return True
    # with very many cells, the header fills the whole sample
    first = head.split(b"\n", 1)[0]
    return len(head) >= 2**16 and any(first.count(sep.encode()) > 100 for sep in _SEPARATORS)


def read_text_table(path: Path, *, transpose: bool | None = None, name: str | None = None) -> AnnData:
    """Read a table of counts.

    Parameters
    ----------
    path
        The table, separated by tabs, commas, semicolons or blanks. It may be compressed.
    transpose
        Whether rows are genes. If None, it is inferred from the names.
    name
        Name of the file in errors.

    Returns
    -------
    Counts in CSR format, cells x genes, float32; text columns and rows are stored in `obs` and `var`.

    Raises
    ------
    ValueError
        If it is not such a table, or the names do not tell cells from genes.
    """
    name = name or repr(str(path))
    try:
        with packed.unpacked(path) as binary:
            head = binary.peek(2**16)
            text = io.TextIOWrapper(binary, _encoding(head), errors="replace", newline=None)
            lines = _lines(text, name)
            sample: list[str] = []
            while len(sample) < 8 or (len(sample) < SAMPLE and sum(map(len, sample)) < SAMPLE_CHARACTERS):
                if (line := next(lines, None)) is None:
                    break
                sample.append(line)
            layout = find_layout(sample, name)
            body = sample[layout.header + 1 :]
            described = [_split(line, layout.sep) for line in body[: layout.n_text_rows]]
            rows = _rows(body[layout.n_text_rows :], lines)
            parts, texts = [], []
            for values, words in _parse(rows, layout, name):
                parts.append(values)
                texts.append(words)
    except packed.ERRORS as error:
        msg = f"{name} is truncated or damaged: {error}. Download or copy it again."
        raise ValueError(msg) from error
    x = sparse.vstack(parts, format="csr")
    about_rows = pd.concat(texts, ignore_index=True)
    columns = [layout.names[i] for i in layout.values]
    about_columns = pd.DataFrame(
        {row[0] or f"row {i + 1}": [row[j] for j in layout.values] for i, row in enumerate(described)}, index=columns
    )
    if layout.row_names is None:
        about_rows.index = pd.Index([str(i) for i in range(len(about_rows))])
    else:
        about_rows = about_rows.set_index(layout.names[layout.row_names]).rename_axis(index=None)
    if transpose is None:
        transpose = _rows_are_genes(about_rows, columns, layout, name)
    with repeated_names():
        if transpose:
            adata = AnnData(sparse.csr_matrix(x.T), obs=about_columns, var=about_rows)
        else:
            adata = AnnData(x, obs=about_rows, var=about_columns)
    adata.obs_names_make_unique()
    adata.var_names_make_unique()
    return adata


def find_layout(sample: Sequence[str], name: str) -> Layout:
    """Infer the layout from the first lines of a table.

    Raises
    ------
    ValueError
        If there are no values or no names.
    """
    best: tuple[int, int, str, list[list[str]]] | None = None
    for sep in _SEPARATORS:
        rows = [_split(line, sep) for line in sample]
        lengths = Counter(len(row) for row in rows[len(rows) // 2 :])
        n = max(lengths, key=lambda length: (lengths[length], length), default=0)
        if n < 2:
            continue
        start = len(rows)
        while start and len(rows[start - 1]) == n:
            start -= 1
        if start and len(rows[start - 1]) == n - 1 and not (rows[start - 1][0].startswith(("#", "!", "%")) and n > 2):
            start -= 1  # R omits the name of the column of row names
        # a decimal comma yields as many columns as the separator, except in the header
        if len(rows) - start >= 2 and (best is None or (n > best[0] and (start <= best[1] or n > 2 * best[0]))):
            best = (n, start, sep, rows)
    if best is None:
        msg = f"{name} is not a table of counts: its first lines have no header with rows of values below it."
        raise NoTableError(msg)
    n, start, sep, rows = best
    header, body = rows[start], rows[start + 1 :]
    decimal = "," if sep in ";\t| " and _is_decimal_comma(body) else "."
    names = ([""] if len(header) < n else []) + [cell.lstrip("#") if i == 0 else cell for i, cell in enumerate(header)]
    n_text_rows = 0
    while n_text_rows < min(AROUND, len(body) - 1) and _share(body[n_text_rows][1:], decimal) < 0.5:
        n_text_rows += 1
    if n_text_rows == min(AROUND, len(body) - 1):
        n_text_rows = 0
    body = body[n_text_rows:]
    columns = list(zip(*body, strict=False))
    numeric = [_is_numeric(column, decimal) for column in columns]
    blank = [i for i, column in enumerate(columns) if not any(column) and not names[i]]
    leading = max((i for i in range(min(AROUND, n)) if not numeric[i]), default=-1)
    text = [i for i in range(n) if i <= leading or not numeric[i] or names[i].lower() in _POSITIONS]
    row_names: int | None = next(iter(text), None)
    if 0 not in text and (
        not names[0] or (len(set(columns[0])) == len(columns[0]) and all(v.isdigit() for v in columns[0]))
    ):
        text, row_names = [0, *text], 0
    elif row_names is not None and len(text) > 1 and _is_count(columns[0]) and not names[0] and not numeric[text[1]]:
        row_names = text[1]  # the first text column has row numbers
        text = text[1:]
        blank.append(0)
    if row_names is not None and row_names > leading and row_names > 0:
        row_names = None  # text beside the values holds labels, not names
    values = [i for i in range(n) if i not in set(text) and i not in set(blank)]
    if not values:
        msg = f"{name} is not a table of counts: none of its {n} columns has only numbers."
        raise NoTableError(msg)
    if len(values) == 1 and len(text) > 1:
        gene = next((names[i] for i in text if _OF_GENES.search(names[i])), None)
        cell = next((names[i] for i in text if names[i] != gene and _OF_CELLS.search(names[i])), None)
        if gene is not None and cell is not None:
            table = f"pandas.read_csv({name}, sep={sep!r}, keep_default_na=False)"  # a gene may be called NA
            pivot = f"pivot_table({names[values[0]]!r}, {cell!r}, {gene!r}, 'sum', fill_value=0)"
            msg = (
                f"{name} is a table with a line for each count, of {cell!r} and {gene!r}: make an AnnData of it in "
                f"Python:\n    import anndata, pandas\n    adata = anndata.AnnData({table}.{pivot})"
            )
            raise ValueError(msg)
    heads = [names[i] for i in values]
    no_heads = all(_is_number(head, decimal) for head in heads) and (len(heads) == 1 or not _is_count(heads))
    if no_heads and row_names is not None and len(heads) > 1:  # unless the heads are numeric ids, as of Entrez
        corner, ids = names[row_names], len(set(heads)) == len(heads) and all(head.isdigit() for head in heads)
        no_heads = not ids or corner.isdigit() or bool(_GENE.fullmatch(corner))
    if no_heads or (row_names is not None and names[row_names] in columns[row_names]):
        msg = f"{name} has no header: its first line has {header[:3]}. Add one with the names of cells or genes."
        raise ValueError(msg)
    return Layout(sep, start, names, [i for i in text if i not in set(blank)], values, row_names, n_text_rows, decimal)


def _parse(rows: Iterator[str], layout: Layout, name: str) -> Iterator[tuple[sparse.csr_matrix, pd.DataFrame]]:
    """Yield numbers and text of consecutive blocks of rows."""
    how: dict[str, Any] = {
        "header": None, "sep": r"\s+" if layout.sep == " " else layout.sep, "decimal": layout.decimal,
        "names": range(len(layout.names)), "index_col": False, "engine": "c", "skip_blank_lines": True,
    }  # fmt: skip
    start = 0
    while True:
        part, size = [], 0
        for line in rows:
            part.append(line)
            size += len(line)
            if size > PART:
                break
        if not part:
            return
        block = "\n".join(part)
        try:
            values = pd.read_csv(
                io.StringIO(block), usecols=layout.values, dtype=np.float32, na_values=list(_NOTHING), **how
            )
        except (ValueError, pd.errors.ParserError) as error:
            msg = f"{name} has something other than numbers in rows {start + 1:,} to {start + len(part):,}: {error}."
            raise ValueError(msg) from error
        if layout.text:
            words = pd.read_csv(io.StringIO(block), usecols=layout.text, dtype=str, na_filter=False, **how)
            words = words[layout.text].set_axis([layout.names[i] for i in layout.text], axis=1)
        else:
            words = pd.DataFrame(index=range(len(values)))
        yield sparse.csr_matrix(values.to_numpy(np.float32)), words
        start += len(part)


def _rows(first: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from rest


def _lines(text: Any, name: str) -> Iterator[str]:
    while line := text.readline(LINE):
        if len(line) >= LINE and not line.endswith("\n"):
            msg = f"{name} has a line of more than {LINE:,} characters: it is not a table of cells and genes."
            raise ValueError(msg)
        if line.strip():
            yield line.rstrip("\n")


def _split(line: str, sep: str) -> list[str]:
    if sep == " ":
        line = " ".join(line.split())
    if '"' not in line:
        return [cell.strip() for cell in line.split(sep)]
    csv.field_size_limit(LINE)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=sep))]


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        head[: head.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _decoded(head: bytes) -> str:
    return head.decode(_encoding(head), errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def _is_number(value: str, decimal: str = ".") -> bool:
    return value in _NOTHING or _NUMBER.fullmatch(value if decimal == "." else value.replace(",", ".", 1)) is not None


def _is_numeric(column: Sequence[str], decimal: str) -> bool:
    """Whether a column holds values. A single invalid value is an error, which is raised when it is read."""
    other = {v for v in set(column) if not _is_number(v, decimal)}
    return not other or (len(column) >= 30 and sum(v in other for v in column) < 0.03 * len(column))


def _share(values: Sequence[str], decimal: str) -> float:
    return float(np.mean([_is_number(v, decimal) for v in values])) if len(values) else 0.0


def _is_decimal_comma(body: Sequence[Sequence[str]]) -> bool:
    values = [v for row in body[:50] for v in row[1:200]]
    return any(re.fullmatch(r"-?\d+,\d+", v) for v in values) and not any(
        re.fullmatch(r"-?\d+\.\d+", v) for v in values
    )


def _is_count(values: Sequence[str]) -> bool:
    """Whether the values are 0, 1, 2, ... or 1, 2, 3, ..."""
    return any(list(values) == [str(i) for i in range(start, start + len(values))] for start in (0, 1))


def _evidence(names: Sequence[str]) -> float:
    """Return the share of names that look like genes, minus the share that look like cells."""
    picked = [str(names[i]) for i in np.unique(np.linspace(0, len(names) - 1, 2000).astype(int))] if len(names) else []
    genes = [bool(_GENE.fullmatch(name)) for name in picked]
    cells = [not gene and bool(_CELL.search(name)) for gene, name in zip(genes, picked, strict=True)]
    return (sum(genes) - sum(cells)) / max(len(picked), 1)


def _rows_are_genes(rows: pd.DataFrame, columns: list[str], layout: Layout, name: str) -> bool:
    evidence = _evidence(list(rows.index)) - _evidence(columns)
    if abs(evidence) < 0.02:
        heads = [layout.names[i] for i in layout.text]
        evidence = sum(bool(_OF_GENES.search(head)) - bool(_OF_CELLS.search(head)) for head in heads)
    if evidence == 0:
        msg = (
            f"The names in {name} do not tell whether the rows ({', '.join(map(str, rows.index[:3]))}, ...) or "
            f"the columns ({', '.join(columns[:3])}, ...) are genes. Specify it: `read_adata(path, transpose=True)` if "
            "the rows are genes, `transpose=False` if they are cells."
        )
        raise ValueError(msg)
    n_genes, n_cells = (len(rows), len(columns)) if evidence > 0 else (len(columns), len(rows))
    _logging.warning(
        f"{name} is read as {n_cells:,} cells x {n_genes:,} genes: judging by the names, its "
        f"{'rows' if evidence > 0 else 'columns'} are genes (`transpose={evidence <= 0}` if not)."
    )
    return evidence > 0
