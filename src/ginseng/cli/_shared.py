"""What several commands take and do. Nothing slow is imported here, nor at the top of a command."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Outcome:
    """What a command has to say.

    Attributes
    ----------
    text
        For people.
    values
        For JSON.
    ok
        Whether the exit code is that of success.
    """

    text: str
    values: dict[str, Any] = field(default_factory=dict)
    ok: bool = True


def add_data(parser: argparse.ArgumentParser, *, labels: bool | None) -> None:
    """Add the arguments that say where the counts are; `labels`: whether labels must be named, or None for none."""
    parser.add_argument("data", metavar="DATA", help="h5ad, AnnData zarr, 10x h5 or 10x folder, or a URL")
    if labels is not None:
        parser.add_argument(
            "-l", "--labels", metavar="COLUMN", required=labels, help="column of obs with the cell types"
        )
    parser.add_argument("--layer", help="layer with the counts (default: X)")
    parser.add_argument("--gene-key", metavar="COLUMN", help="column of var with the gene names (default: its index)")


def add_output(parser: argparse.ArgumentParser, what: str, *, required: bool = True) -> None:
    """Add the arguments that say where the result goes."""
    parser.add_argument("-o", "--output", metavar="PATH", type=Path, required=required, help=what)
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it is there")


def check_output(path: Path | None, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Refuse an output before the work begins.

    Raises
    ------
    ValueError
        If its name does not end in one of `suffixes`.
    FileExistsError
        If it is there and may not be replaced, or is a folder where a file is due.
    FileNotFoundError
        If its folder is not there.
    """
    if path is None:
        return
    if path.suffix not in suffixes:
        msg = f"--output {path} must end in {' or '.join(suffixes)}."
        raise ValueError(msg)
    if path.is_dir() and path.suffix != ".zarr":
        msg = f"{path} is a folder. Choose another --output."
        raise FileExistsError(msg)
    if path.exists() and not overwrite:
        msg = f"{path} exists. Choose another --output, or pass --overwrite."
        raise FileExistsError(msg)
    if not path.parent.is_dir():
        msg = f"There is no folder {path.parent} for {path.name}. Make it first."
        raise FileNotFoundError(msg)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as text, whole or not at all; the suffix says what stands between columns."""
    from ginseng._disk.atomic import replacing

    with replacing(path) as partial:
        table.to_csv(partial, sep="," if path.suffix == ".csv" else "\t")


def write_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format of its suffix, whole or not at all."""
    from ginseng._disk.atomic import replacing

    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix.removeprefix("."), dpi=150, bbox_inches="tight")


def number(value: float) -> float | None:
    """Return a number, or None if it is NaN or infinite, which JSON does not have."""
    return float(value) if math.isfinite(value) else None


def lines(values: dict[str, Any], indent: str = "") -> str:
    """Return a line an entry, the values under one another."""
    width = max(map(len, values), default=0)
    shown = {name: f"{v:.3f}" if isinstance(v, float) else v for name, v in values.items()}
    return "\n".join(f"{indent}{name:<{width}}  {value}" for name, value in shown.items())
