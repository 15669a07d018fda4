"""Draw the figures of the gallery and the README: `python docs/figures.py FOLDER` runs the examples of `gallery.md`.

FOLDER holds the file that the page names; without it, the cells that ship with scanpy are used.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "gallery.md"
#: Example, and the figure that it draws, where there is one.
EXAMPLE = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n!\[[^\]]*\]\((?P<image>[^)]+)\))?", re.DOTALL | re.MULTILINE)
DPI = 200  # figures are laid out for 100
LIMIT = 60_000  # bytes


def examples() -> dict[str, str]:
    """Return the code of each figure by its name, in the order of the page."""
    found = EXAMPLE.finditer(PAGE.read_text(encoding="utf-8"))
    return {Path(match["image"]).stem: match["code"] for match in found if match["image"]}


def save(figure: object, path: Path) -> None:
    """Save a figure as PNG with a palette, which takes a third of the space."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, bbox_inches="tight", pad_inches=0.05)  # type: ignore[attr-defined]
    image = Image.open(buffer).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    for n_colors in (256, 128, 64):
        image.quantize(n_colors, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True, dpi=(DPI, DPI)
        )
        if path.stat().st_size < LIMIT:
            break
    print(f"{path.relative_to(HERE)}: {path.stat().st_size / 1e3:.0f} kB")


def write_files(folder: Path | None, home: Path) -> None:
    """Write `atlas.h5ad` and `query.h5ad`, the latter with clusters and a UMAP, into a folder."""
    import scanpy as sc

    import ginseng as gs

    if folder is None:
        cells = gs.datasets.pbmc68k()
        cells.obs["donor"] = [f"part {i % 6}" for i in range(cells.n_obs)]  # their donor is not known
    else:
        cells = gs.read_adata(folder / "blood_multilab_10samples.h5ad")
        cells.obs["donor"] = cells.obs["batch"]
    cells.layers["counts"] = cells.X.copy()
    known = cells.obs["donor"].isin(sorted(cells.obs["donor"].unique())[::2])
    atlas, query = cells[known].copy(), cells[~known].copy()
    drawn = query.copy()
    sc.pp.normalize_total(drawn, target_sum=1e4)
    sc.pp.log1p(drawn)
    sc.pp.highly_variable_genes(drawn, n_top_genes=min(2000, drawn.n_vars // 2), batch_key="donor")
    drawn = drawn[:, drawn.var["highly_variable"]].copy()
    drawn.obs["donor"] = drawn.obs["donor"].astype(str).astype("category")
    sc.pp.combat(drawn, key="donor")  # for clusters and UMAP alone: samples of several laboratories
    sc.pp.pca(drawn, n_comps=30, random_state=0)
    sc.pp.neighbors(drawn, random_state=0)
    sc.tl.umap(drawn, min_dist=1.0, spread=2.0, random_state=0)
    sc.tl.leiden(drawn, flavor="igraph", n_iterations=2, random_state=0)
    query.obsm["X_umap"], query.obs["leiden"] = drawn.obsm["X_umap"], drawn.obs["leiden"]
    atlas.write_h5ad(home / "atlas.h5ad")
    query.write_h5ad(home / "query.h5ad")


def main(folder: Path | None) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    with tempfile.TemporaryDirectory() as home, contextlib.chdir(home):
        write_files(folder, Path(home))
        names: dict[str, object] = {}
        for match in EXAMPLE.finditer(PAGE.read_text(encoding="utf-8")):
            plt.close("all")
            exec(compile(match["code"], PAGE.name, "exec"), names)
            if match["image"]:
                save(plt.gcf(), HERE / match["image"])


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None)
