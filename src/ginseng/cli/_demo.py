"""Train on some of the cells that ship with scanpy, annotate the others, and evaluate the labels.

Then annotate them without any training, with the packaged model of human cells.
"""

from __future__ import annotations

import argparse
from itertools import count
from pathlib import Path
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import Outcome, lines, write_figure

HELP = "train, annotate and evaluate on bundled cells"
EXAMPLES = """  ginseng demo
  ginseng demo --output first_try --seed 1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add(parser, "output", metavar="FOLDER", help="new folder for the results (default: ginseng_demo)")
    _options.add(parser, "seed", default=0)


def run(args: argparse.Namespace) -> Outcome:
    """Run the demo."""
    from sklearn.model_selection import train_test_split

    import ginseng as gs

    folder = _new_folder(args.output)
    cells = gs.datasets.pbmc68k()
    train_rows, test_rows = train_test_split(
        range(cells.n_obs), test_size=0.3, stratify=cells.obs["cell_type"], random_state=args.seed
    )
    train, test = cells[train_rows].copy(), cells[test_rows].copy()

    gs.tl.train(train, "cell_type", layer="counts", settings={"seed": args.seed})
    gs.save_model(train, folder / "model.h5")
    gs.tl.classify(test, folder / "model.h5", layer="counts")
    gs.tl.evaluate(test, "cell_type")
    # scanpy ships 765 genes of these cells, few of which the model knows
    gs.tl.classify(test, "human", layer="counts", key_added="human", min_overlap=0.02, silent=True)
    test.write_h5ad(folder / "annotated.h5ad")
    figures: dict[str, Any] = {
        "confusion": gs.pl.confusion(test, return_fig=True),
        "history": gs.pl.history(train, return_fig=True),
        "embedding": gs.pl.embedding(test, "umap", "cell_type", return_fig=True),
    }
    for name, figure in figures.items():
        write_figure(figure, folder / f"{name}.png")

    metrics = test.uns["ginseng"]["metrics"]
    shown = {
        "accuracy": metrics["accuracy"],
        "balanced accuracy": metrics["balanced_accuracy"],
        "macro F1": metrics["macro_f1"],
    }
    by_type = test.obs.groupby("cell_type", observed=True)["human_cell_type"]
    named = {str(name): str(labels.value_counts().index[0]) for name, labels in by_type}
    overlap = test.uns["human"]["overlap"]
    files = sorted(path.name for path in folder.iterdir())
    text = (
        f"{cells.n_obs} cells, {cells.n_vars} genes, {cells.obs['cell_type'].nunique()} cell types "
        f"(Zheng et al. 2017)\n\nTrained on {train.n_obs} cells; on the other {test.n_obs}:\n{lines(shown, '  ')}\n\n"
        f"With no training, by the model 'human' and the {overlap['n_found']} of its {overlap['n_genes']:,} genes that "
        f"are here, the most frequent label of each type:\n{lines(named, '  ')}\n\n"
        f"In {folder}: {', '.join(files)}"
    )
    numbers = {k: v for k, v in metrics.items() if isinstance(v, float | int)}
    return Outcome(text, {**numbers, "n_train": train.n_obs, "output": str(folder), "files": files})


def _new_folder(path: Path | None) -> Path:
    """Create a new folder."""
    names = (Path(f"ginseng_demo{'' if i == 1 else f'_{i}'}") for i in count(1)) if path is None else iter([path])
    folder = next(name for name in names if path is not None or not name.exists())
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        msg = f"{folder} exists. Choose another --output."
        raise FileExistsError(msg) from None
    return folder
