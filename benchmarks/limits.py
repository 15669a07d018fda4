"""What each step takes at the least on this machine: reading, decoding or multiplying alone.

In seconds, and in seconds of all cores, whose share is the same on a machine that does other work as well.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import programs
from processes import run

BATCH = 128

#: Rates of a product of matrices: floating point operations per second, and per second of a core.
RATES = ["flop_per_s", "flop_per_cpu_s"]
#: The same for seconds, and for seconds of all cores.
KINDS = {"seconds": ("limit_seconds", "share_of_limit"), "cpu_seconds": ("limit_cpu_seconds", "share_of_cpu_limit")}


def multiplies(step: str) -> bool:
    """Return whether the limit of a step is a product of matrices."""
    return step.startswith(("train", "one epoch", "classify"))


def rates(folder: Path, n_cells: int) -> dict[str, float]:
    """Return the rates of a product of matrices now."""
    found = run(sys.executable, programs.PRELUDE + programs.LIMITS["multiply"], folder, n_cells)
    return {name: found[name] for name in RATES}


def add_limits(rows: list[dict[str, Any]], folder: Path, n_cells: int) -> None:
    """Add the limits of our steps to their rows, and the shares that are reached."""

    @functools.cache
    def alone(name: str) -> dict[str, float]:
        return run(sys.executable, programs.PRELUDE + programs.LIMITS[name], folder, n_cells)

    for row in rows:
        if row["method"] != "ginseng" or "seconds" not in row:
            continue
        step = row["step"]
        for (kind, (limit, share)), rate in zip(KINDS.items(), RATES, strict=True):
            least = None
            if step in ("select_hvgs", "store", "store, from dask"):
                least = alone("read")[kind]
            elif step == "stream":
                least = alone("decode")[kind]
            elif rate in row:
                forward = 2 * row["n_parameters"] / row[rate]  # per cell
                if step.startswith("training step"):
                    least = 3 * forward * BATCH
                elif step.startswith("classify"):
                    least = max(alone("read")[kind], forward * n_cells)
                else:
                    least = row["epochs"] * max(alone("decode")[kind], 3 * forward * row["n_train"])
            if least is not None:
                row |= {limit: least, share: least / row[kind]}
