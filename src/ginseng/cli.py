"""The command line: `ginseng demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="ginseng", description="Label the cells of single-cell RNA-seq data.")
    parser.add_argument("--version", action="version", version=f"ginseng {version('ginseng')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train, annotate and measure on bundled cells",
        description="Train on some of the cells that scanpy ships, annotate the others, and show how well it went.",
    )
    demo.add_argument("-o", "--output", type=Path, help="new folder for the results (default: ginseng_demo)")
    demo.add_argument("--seed", type=int, default=0, help="splits the cells and draws the weights (default: 0)")
    demo.set_defaults(run=lambda args: _demo(args.output, args.seed))

    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except (OSError, ValueError, KeyError) as error:
        print(f"ginseng: {error}", file=sys.stderr)
        return 1
    return 0


def _demo(output: Path | None, seed: int) -> None:
    import matplotlib as mpl
    from sklearn.model_selection import train_test_split

    import ginseng as gs

    mpl.use("agg")
    folder = _new_folder(output)
    cells = gs.datasets.pbmc68k()
    train_rows, test_rows = train_test_split(
        range(cells.n_obs), test_size=0.3, stratify=cells.obs["cell_type"], random_state=seed
    )
    train, test = cells[train_rows].copy(), cells[test_rows].copy()
    print(
        f"{cells.n_obs} cells, {cells.n_vars} genes, {cells.obs['cell_type'].nunique()} cell types (Zheng et al. 2017)"
    )

    gs.tl.train(train, "cell_type", layer="counts", settings={"seed": seed})
    gs.save_model(train, folder / "model.h5")
    gs.tl.classify(test, folder / "model.h5", layer="counts")
    gs.tl.evaluate(test, "cell_type")
    test.write_h5ad(folder / "annotated.h5ad")
    figures: dict[str, Any] = {
        "confusion": gs.pl.confusion(test, return_fig=True),
        "history": gs.pl.history(train, return_fig=True),
        "embedding": gs.pl.embedding(test, "umap", "cell_type", return_fig=True),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")

    metrics = test.uns["ginseng"]["metrics"]
    print(f"\nTrained on {train.n_obs} cells; on the other {test.n_obs}:")
    for label, key in {
        "accuracy": "accuracy",
        "balanced accuracy": "balanced_accuracy",
        "macro F1": "macro_f1",
    }.items():
        print(f"  {label:<18} {metrics[key]:.3f}")
    print(f"\nIn {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def _new_folder(path: Path | None) -> Path:
    """Make a folder that was not there before."""
    names = (Path(f"ginseng_demo{'' if i == 1 else f'_{i}'}") for i in count(1)) if path is None else iter([path])
    folder = next(name for name in names if path is not None or not name.exists())
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        msg = f"{folder} exists. Give another `--output`."
        raise FileExistsError(msg) from None
    return folder
