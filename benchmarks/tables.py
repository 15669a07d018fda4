"""The rows of `performance.json`, `scaling.json` and `gpu.json` as the Markdown tables of docs/benchmarks.md.

python benchmarks/tables.py FOLDER/CELLS/performance.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from environments import HERE


def title(method: str) -> str:
    """Return a method with its version, such as "actinn-jax 0.3.1, our genes"."""
    name, comma, how = method.partition(",")
    requirements = HERE / f"requirements-{name}.txt"
    known = requirements.read_text().split()[0].replace("==", " ") if requirements.exists() else name
    return known + comma + how


def many(rows: list[dict[str, Any]]) -> str:
    """Return a row for each step: ours, its share of the limit, and peers."""
    if not (rows := [row for row in rows if row["step"] != "few cells"]):
        return ""
    lines = [
        "| step | s | CPU s | of the limit | MB | accuracy | others: CPU s (times ours), MB, accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["method"] != "ginseng" or "seconds" not in row:
            continue
        others = [_other(x) for x in rows if x["step"] == row["step"] and x["method"] != "ginseng"]
        share = f"{row['share_of_cpu_limit']:.0%}" if "share_of_cpu_limit" in row else ""
        shown = [_plain(row["seconds"]), _plain(row["cpu_seconds"]), share, f"{row['peak_mb']:,.0f}", _accuracy(row)]
        lines.append(f"| {' | '.join([row['step'], *shown, '; '.join(others)])} |")
    return "\n".join(lines)


def few(rows: list[dict[str, Any]]) -> str:
    """Return a row for each method on few cells, and what ours spent its time on."""
    if not (rows := [row for row in rows if row["step"] == "few cells"]):
        return ""
    lines = ["| few cells | s | CPU s | times ours | accuracy |", "|---|---|---|---|---|"]
    for row in rows:
        if "seconds" not in row:
            lines.append(f"| {title(row['method'])} | | {_unfinished(row)} | | |")
            continue
        shown = [_plain(row["seconds"]), _plain(row["cpu_seconds"]), _plain(row.get("cpu_seconds_times_ours", 1))]
        lines.append(f"| {' | '.join([title(row['method']), *shown, _accuracy(row)])} |")
    phases = ["import", "train", "train_compile", "classify", "classify_compile"]
    lines += ["", f"| s (CPU s) | {' | '.join(phases)} |", "|---" * 6 + "|"]
    for row in rows:
        if "import_seconds" in row:
            shown = [_plain(row[f"{phase}_seconds"]) for phase in phases]
            shown = [
                f"{x} ({_plain(row[f'{phase}_cpu_seconds'])})" if f"{phase}_cpu_seconds" in row else x
                for x, phase in zip(shown, phases, strict=True)
            ]
            lines.append(f"| {row['method']} | {' | '.join(shown)} |")
    return "\n".join(lines)


def scaling(rows: list[dict[str, Any]]) -> str:
    """Return a row for each way to spread a step, with what differs from the first way."""
    head = ["step", "how", "s (again)", "CPU s (again)", "MB of the largest process", "result"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        if "seconds" in row:
            shown = [_plain(row[name]) + _again(row, name) for name in ("seconds", "cpu_seconds")]
            shown += [f"{row['peak_mb']:,.0f}", row["result"]]
        else:
            shown = ["", _unfinished(row), "", ""]
        lines.append(f"| {' | '.join([row['step'], row['how'], *shown])} |")
    return "\n".join(lines)


def _again(row: dict[str, Any], name: str) -> str:
    return f" ({_plain(row[f'again_{name}'])})" if f"again_{name}" in row else ""


def devices(report: dict[str, Any]) -> str:
    """Return a row for each network and device of `gpu.json`."""
    figures = ["train", "label", "label_in_memory"]
    head = ["training, cells/s (per CPU s)", "labelling", "labelling from memory", "waiting", "holdout", "query"]
    lines = [f"| on {report['cells']:,} cells | device | {' | '.join(head)} |", "|---" * 8 + "|"]
    for row in report["rows"]:
        cores = report["machine"]["cores"]
        device = report["gpu"] if row["on"] == "gpu" else f"{cores} core{'s' * (cores > 1)}"
        shown = [_rates(row, name) for name in figures]
        shown.append(f"{row['share_waiting']:.0%}" if "share_waiting" in row else "")
        shown += [f"{row[name]:.3f}" if name in row else "" for name in ("holdout_accuracy", "accuracy")]
        if "train_cells_per_s" not in row:
            shown[0] = _unfinished(row)
        name = row["network"] if row["method"] == "ginseng" else f"PyTorch {row.get('torch', '')} {row['network']}"
        lines.append(f"| {' | '.join([name, device, *shown])} |")
    tests = report.get("tests")
    return "\n".join(lines) + (f"\n\n{_tests(tests)}" if tests else "")


def _rates(row: dict[str, Any], what: str) -> str:
    per_s, per_cpu_s = (row.get(f"{what}_cells_per_{unit}") for unit in ("s", "cpu_s"))
    return "" if per_s is None else f"{per_s:,.0f} ({per_cpu_s:,.0f})"


def _tests(tests: dict[str, Any]) -> str:
    counts = ", ".join(f"{tests[name]} {name}" for name in ("passed", "failed", "errors", "skipped") if tests.get(name))
    return f"Tests on the GPU: {counts} in {tests['seconds']:.0f} s" + ("" if tests["finished"] else ", not finished")


def _other(row: dict[str, Any]) -> str:
    if "seconds" not in row:
        return f"{title(row['method'])} {_unfinished(row)}"
    times = f" ({_plain(row['cpu_seconds_times_ours'])})" if "cpu_seconds_times_ours" in row else ""
    accuracy = f", {_accuracy(row)}" if _accuracy(row) else ""
    return f"{title(row['method'])} {_plain(row['cpu_seconds'])}{times}, {row['peak_mb']:,.0f}{accuracy}"


def _unfinished(row: dict[str, Any]) -> str:
    limit = row.get("unfinished_cpu_seconds", row.get("unfinished_seconds"))
    return "failed" if limit is None else f"not finished after {limit:.0f}"


def _accuracy(row: dict[str, Any]) -> str:
    return f"{row['accuracy']:.3f}" if "accuracy" in row else ""


def _plain(value: float) -> str:
    """Return a number with two or three digits that count."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text())
    if "gpu" in report:
        print(devices(report))
    elif "ways" in report:
        print(scaling(report["ways"]))
    else:
        print(many(report["rows"]), few(report["rows"]), sep="\n\n")


if __name__ == "__main__":
    main()
