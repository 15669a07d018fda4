"""Compute time, memory and cost of 10 and 100 million cells from the rates that `performance.py` measures.

    python benchmarks/capacity.py [performance.json] [--gpu gpu.json]

Without a file, the rates are those of docs/benchmarks.md. `gpu.json` (from `gpu.py`) has those of a GPU: without
it, machines with GPUs have lower bounds. The assumptions are the constants below; docs/capacity.md has the tables and
says what they leave out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CELLS = (10_000_000, 100_000_000)
#: Steps, and the seconds of a core that each takes for a million cells, with compiling; of training, an epoch.
MEASURED = {"select_hvgs": 5.73, "store": 7.53, "stream": 1.97, "train": 84.38, "classify": 43.96}
MEASURED_CELLS = 1_000_000
#: Epochs by default, from 400,000 cells on.
EPOCHS = 3
#: Nonzero counts per cell in the genes of the model, in the cells that were measured.
NONZERO = 41
#: What further cores do, of what the first does: they share memory and disk.
EFFICIENCY = 0.7
#: Threads beyond which gene selection by dask is no faster, as sums are added in the order of the cells.
SEQUENTIAL = 16
#: MB per million cells: names and labels in `obs`; and what training keeps of each cell (label, library size, offset,
#: split, mask: 18 bytes). And what a process takes whatever the number of cells.
OBS_MB, TRAIN_MB, PROCESS_MB = 100, 18, 1_100


@dataclass(frozen=True)
class Machine:
    """What computes; prices are of the order of those on demand, USD per hour."""

    name: str
    cores: int
    price: float
    gpus: int = 0
    is_cluster: bool = False


MACHINES = (
    Machine("laptop, 8 cores", 8, 0.0),
    Machine("one GPU, 16 cores", 16, 4.0, gpus=1),
    Machine("eight GPUs, 128 cores", 128, 32.0, gpus=8),
    Machine("dask, 25 workers of 4 cores", 100, 5.0, is_cluster=True),
)


def speedup(cores: float) -> float:
    """Return how many times as fast as one core so many are."""
    return 1 + EFFICIENCY * (cores - 1)


def hours(
    step: str, n_cells: int, machine: Machine, seconds: dict[str, float], on_gpu: dict[str, float]
) -> tuple[float, bool]:
    """Return the hours that a step takes, and whether that is only a lower bound; `seconds` are those per cell.

    With a GPU, training and labelling take what they took on one (`on_gpu`, seconds per cell).
    Where that was not measured, and with several GPUs, the matrix products are not counted: what remains is to read the
    cells. One process on one machine reads and selects genes; dask divides that between workers, but does not train.
    """
    once = seconds[step] * n_cells / 3600
    if machine.gpus == 1 and step in on_gpu:
        return (EPOCHS if step == "train" else 1) * on_gpu[step] * n_cells / 3600, False
    if step == "train":
        if machine.gpus:
            reads = 1 if n_cells * NONZERO < 2**31 else EPOCHS  # counts stay on the GPU if they fit, see docs/gpu.md
            return reads * seconds["stream"] * n_cells / speedup(machine.cores) / 3600, True
        return EPOCHS * once / speedup(4 if machine.is_cluster else machine.cores), False
    if step == "classify":
        if machine.gpus:  # reads the same matrix as the gene selection does
            return seconds["select_hvgs"] * n_cells / 3600, True
        return once / speedup(machine.cores), False
    if machine.is_cluster and step == "select_hvgs":
        return once / speedup(min(machine.cores, SEQUENTIAL)), False
    return once, False  # one process reads and writes


def measured_on_gpu(report: dict[str, Any]) -> dict[str, float]:
    """Return the seconds per cell of the default network on the GPU of a `gpu.json`, if it has any."""
    rates = {"train": "train_cells_per_s", "classify": "label_cells_per_s"}
    rows = [row for row in report["rows"] if (row["network"], row["on"]) == ("gated", "gpu")]
    return {step: 1 / row[rate] for row in rows for step, rate in rates.items() if rate in row}


def table(n_cells: int, seconds: dict[str, float], on_gpu: dict[str, float] | None = None) -> str:
    """Return the rows of all machines as Markdown."""
    names = {"select_hvgs": "genes", "store": "store", "train": f"training, {EPOCHS} epochs", "classify": "labels"}
    head = ["", *names.values(), "USD", "memory of the client or trainer"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    millions = n_cells / 1e6
    memory = PROCESS_MB + millions * (OBS_MB + TRAIN_MB)
    for machine in MACHINES:
        found = [hours(step, n_cells, machine, seconds, on_gpu or {}) for step in names]
        cost = sum(h for h, _ in found) * machine.price
        lower = any(bound for _, bound in found)
        cells = [f"{'> ' if bound else ''}{shown(h)}" for h, bound in found]
        price = "" if not machine.price else f"{'> ' if lower else ''}{cost:,.{0 if cost >= 10 else 1}f}"
        lines.append(f"| {' | '.join([machine.name, *cells, price, f'{memory / 1000:.1f} GB'])} |")
    return "\n".join(lines)


def shown(h: float) -> str:
    """Return hours in the unit that fits."""
    if h >= 1:
        return f"{h:.1f} h"
    return f"{h * 60:.0f} min" if h >= 1 / 60 else f"{h * 3600:.{0 if h >= 1 / 3600 else 1}f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, nargs="?", help="performance.json")
    parser.add_argument("--gpu", type=Path, help="gpu.json")
    args = parser.parse_args()
    seconds = {step: value / MEASURED_CELLS for step, value in MEASURED.items()}
    if args.report is not None:
        report = json.loads(args.report.read_text())
        ours = {row["step"]: row for row in report["rows"] if row["method"] == "ginseng"}
        spent = {step: ours[step]["cpu_seconds"] / ours[step].get("epochs", 1) for step in MEASURED}
        print({step: round(value / report["cells"] * MEASURED_CELLS, 2) for step, value in spent.items()})
        seconds = {step: value / report["cells"] for step, value in spent.items()}
    on_gpu = {} if args.gpu is None else measured_on_gpu(json.loads(args.gpu.read_text()))
    for n_cells in CELLS:
        print(f"{n_cells:,} cells\n\n{table(n_cells, seconds, on_gpu)}\n")


if __name__ == "__main__":
    main()
