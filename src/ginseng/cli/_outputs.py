"""Outputs: checked before any work, and written atomically. Imports nothing slow."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ginseng.cli import _options

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

CELLS = (".h5ad", ".zarr")
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
FIGURES = (".png", ".pdf", ".svg")
MODELS = (".h5", ".hdf5")

#: Standard output.
PIPE = Path("-")


@dataclass
class Outcome:
    """The result of a command.

    Attributes
    ----------
    text
        For people.
    values
        For JSON.
    ok
        Whether the exit code is 0.
    document
        Replaces both on standard output if the output is `-`; a function that writes to a stream.
    """

    text: str
    values: dict[str, Any] = field(default_factory=dict)
    ok: bool = True
    document: Any = None


def add_outputs(parser: argparse.ArgumentParser, suffixes: Sequence[str], *, many: bool = False, **how: Any) -> None:
    """Add the options for the output; with `many` inputs, also those for a folder."""
    tables = bool(set(suffixes) & set(TABLES))
    text = f"{listed(suffixes)}{', or - for standard output' if tables else ''}"
    if CELLS[0] in suffixes:
        text += "; may be DATA itself"
    how = {"help": text, **how}
    if many:
        place = parser.add_mutually_exclusive_group(required=how.pop("required", False))
        _options.add(place, "output", **how)
        _options.add(place, "output_dir")
    else:
        _options.add(parser, "output", **how)
    if tables:
        formats = [suffix.removeprefix(".") for suffix in suffixes]
        text = f"{' | '.join(formats)}: format of files in --output-dir (default: {formats[0]})" if many else ""
        _options.add(
            parser, "format", choices=formats, metavar="FORMAT",
            help=f"{text + ', and ' if text else ''}{'of' if text else 'csv | tsv: format of'} -o - (default: csv)",
        )  # fmt: skip
    _options.add(parser, "overwrite")
    parser.set_defaults(suffixes=tuple(suffixes))


def listed(suffixes: Sequence[str]) -> str:
    """Join suffixes as in a sentence."""
    return " or ".join(filter(None, [", ".join(suffixes[:-1]), suffixes[-1]]))


def suffix_of(path: Path, suffixes: Sequence[str]) -> str | None:
    """Return which of the suffixes a name has, the longest first: .csv.gz before .gz."""
    return next((s for s in sorted(suffixes, key=len, reverse=True) if path.name.endswith(s)), None)


def is_table(path: Path | None) -> bool:
    """Whether the output is a table, rather than cells with results."""
    return path is not None and (path == PIPE or suffix_of(path, TABLES) is not None)


def check(path: Path | None, suffixes: Sequence[str], args: argparse.Namespace, *, option: str = "--output") -> None:
    """Refuse an output before the work begins.

    Raises
    ------
    ValueError
        If its name does not end in one of `suffixes`.
    FileExistsError
        If it exists and may not be replaced, or is a folder instead of a file.
    FileNotFoundError
        If its folder does not exist.
    """
    if path is None or (path == PIPE and set(suffixes) & set(TABLES)):
        return
    suffix = suffix_of(path, suffixes)
    if suffix is None:
        end = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
        found = f"ends in {end}" if end and path != PIPE else "has no such suffix"
        msg = f"{option} {path} {found}: it must end in {listed(suffixes)}, which determines the format."
        raise ValueError(msg)
    if path.is_dir() and suffix != ".zarr":
        msg = f"{option} {path} is a folder, and {suffix} is written to a file."
        raise FileExistsError(msg)
    if path.is_file() and suffix == ".zarr":
        msg = f"{option} {path} is a file, and {suffix} is written to a folder."
        raise FileExistsError(msg)
    if path.exists() and not vars(args).get("overwrite") and not (suffix in CELLS and is_input(path, args)):
        msg = f"{path} exists. Choose another {option}, or pass --overwrite."
        raise FileExistsError(msg)
    if path.exists() and suffix in CELLS:
        from ginseng._disk.writers import check_adata_target

        check_adata_target(path)
    if not path.parent.is_dir() and path.parent != vars(args).get("output_dir"):
        msg = f"There is no folder {path.parent} for {path.name}. Create it first."
        raise FileNotFoundError(msg)


def is_input(path: Path, args: argparse.Namespace) -> bool:
    """Whether an output is the input itself, to which the results are then added."""
    source = Path(str(vars(args).get("data", "")))
    return path.exists() and source.exists() and path.samefile(source)


def write_table(table: pd.DataFrame, args: argparse.Namespace) -> Any:
    """Write a table as text, atomically; if it goes to a pipe, return a function that writes it instead."""
    path: Path = args.output
    if path == PIPE:
        form = vars(args).get("format") or "csv"
        return lambda stream: table.to_csv(stream, sep=_separator(form), lineterminator="\n")
    from ginseng._disk.atomic import replacing

    suffix = suffix_of(path, TABLES) or ".csv"
    packing: Any = {"method": "gzip", "mtime": 1} if suffix.endswith(".gz") else None  # the same bytes each time
    with replacing(path) as partial:
        table.to_csv(partial, sep=_separator(suffix), compression=packing)
    return None


def _separator(form: str) -> str:
    return "\t" if "tsv" in form else ","


def write_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format of its suffix, atomically."""
    from ginseng._disk.atomic import replacing

    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix.removeprefix("."), dpi=150, bbox_inches="tight")


def write_cells(adata: AnnData, args: argparse.Namespace) -> None:
    """Write cells with results: into a copy of their file if the format is the same."""
    from ginseng._disk.readers import open_adata
    from ginseng._disk.writers import can_be_added_to, write_adata, write_added

    source, path = Path(str(args.data)).expanduser(), args.output
    if not (source.exists() and suffix_of(path, CELLS) == source.suffix and can_be_added_to(source, path)):
        write_adata(adata.to_memory() if adata.isbacked or vars(args).get("dask") else adata, path)
        return
    before = open_adata(source)
    new: Any = {name: _new(getattr(before, name), getattr(adata, name)) for name in ("obs", "var", "obsm", "uns")}
    write_added(source, path, new["obs"], new["obsm"], new["uns"], obs_names=adata.obs_names, var=new["var"])


def _new(before: Any, after: Any) -> dict[str, Any]:
    """Return the members that changed, with None for those that were removed."""
    changed = {name: after[name] for name in after if name not in before or not _same(before[name], after[name])}
    changed = {name: _plain(value) for name, value in changed.items()}
    return changed | {name: None for name in before if name not in after}


def _plain(value: Any) -> Any:
    """Return a column in the form in which it is written."""
    if not hasattr(value, "array"):
        return value
    return value.array if value.dtype == "category" else value.to_numpy()


def _same(a: Any, b: Any) -> bool:
    import numpy as np

    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(_same(a[name], b[name]) for name in a)
    if hasattr(a, "equals"):
        return bool(type(a) is type(b) and a.equals(b))
    return type(a) is type(b) and np.shape(a) == np.shape(b) and bool(np.all(a == b))


def write_result(adata: AnnData, table: pd.DataFrame, args: argparse.Namespace) -> Any:
    """Write the cells or the table, depending on the output; return what :func:`write_table` does."""
    if args.output is None:
        return None
    if is_table(args.output):
        return write_table(table, args)
    write_cells(adata, args)
    return None


def number(value: float) -> float | None:
    """Return a number, or None if it is NaN or infinite, which JSON cannot represent."""
    return float(value) if math.isfinite(value) else None


def lines(values: dict[str, Any], indent: str = "") -> str:
    """Return one line per entry, with the values aligned."""
    width = max(map(len, values), default=0)
    shown = {name: f"{v:.3f}" if isinstance(v, float) else v for name, v in values.items()}
    return "\n".join(f"{indent}{name:<{width}}  {value}" for name, value in shown.items())


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table in a form that JSON can represent."""
    rows: Any = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows
