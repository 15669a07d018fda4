"""The notebooks and the Python examples of the documentation run, from top to bottom."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np
import pytest
import scipy.io
from sklearn.cluster import KMeans

import ginseng as gs
from ginseng._core import registry

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: The notebook that takes seconds.
QUICK = {"quickstart"}
#: Pages whose examples train much.
SLOW = {"gallery", "reference", "index", "quality", "extending", "training", "comparing", "explaining", "measuring"}
SLOW |= {"annotating", "trust", "command_line"}
PAGES = [
    page
    for page in [
        ROOT / "README.md",
        *(page for folder in ("docs", "docs/guide", "docs/api") for page in sorted((ROOT / folder).glob("*.md"))),
    ]
    if "```python" in page.read_text()
]


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool) -> Iterator[dict[str, object]]:
    """Return an empty module's names; the current folder is empty too, and what is drawn is not shown."""
    import matplotlib.pyplot as plt

    if not long:  # a default training is short
        monkeypatch.setattr("ginseng.train.trainer.MOST_EPOCHS", 3)

    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GINSENG_COMPARE_EPOCHS", "2")
    monkeypatch.setenv("GINSENG_MEMORY_CELLS", "980")
    gs.model.architectures()  # all are registered, before what a page registers is forgotten
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)  # where dataclasses look up their annotations
    with gs.settings.override(progress_bar=False, cache_dir=tmp_path / "cache"):
        yield vars(module)
    plt.close("all")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the pages speak of."""
    home = tmp_path_factory.mktemp("files")
    cells = gs.datasets.pbmc68k()
    cells.obs["donor"] = [f"d{i % 5}" for i in range(cells.n_obs)]
    cells.obs["condition"] = ["healthy" if i % 5 < 3 else "ill" for i in range(cells.n_obs)]
    cells.obs["leiden"] = KMeans(12, random_state=0).fit_predict(cells.obsm["X_umap"]).astype(str)
    cells.obs["other_method"] = np.roll(cells.obs["cell_type"].astype(str), 1)
    cells.var["gene_symbols"] = cells.var_names
    cells.layers["lognorm"] = cells.layers["counts"].log1p()
    rows = np.random.default_rng(0).permutation(cells.n_obs)
    atlas, query = cells[rows[:450]].copy(), cells[rows[450:]].copy()
    atlas.write_h5ad(home / "atlas.h5ad")
    atlas.write_zarr(home / "atlas_anndata.zarr")
    query.write_h5ad(home / "query.h5ad")
    query.write_h5ad(home / "labelled.h5ad")
    atlas.raw = atlas.copy()
    atlas.write_h5ad(home / "raw_in_raw.h5ad")
    gs.tl.train(atlas, "cell_type", layer="counts", epochs=3, silent=True)
    gs.save_model(atlas, home / "atlas.h5")

    folder = home / "filtered_feature_bc_matrix"
    folder.mkdir()
    counts, genes, barcodes = query.layers["counts"].tocsr(), list(query.var_names), list(query.obs_names)
    with gzip.open(folder / "matrix.mtx.gz", "wb") as file:
        scipy.io.mmwrite(file, counts.T.astype(int))
    features = "".join(f"ENSG{i}\t{gene}\tGene Expression\n" for i, gene in enumerate(genes))
    (folder / "features.tsv.gz").write_bytes(gzip.compress(features.encode()))
    (folder / "barcodes.tsv.gz").write_bytes(gzip.compress("\n".join(barcodes).encode()))
    with h5py.File(home / "filtered_feature_bc_matrix.h5", "w") as file:
        matrix = file.create_group("matrix")
        matrix["barcodes"] = np.array(barcodes, "S")
        matrix["data"], matrix["indices"], matrix["indptr"] = counts.data.astype("i4"), counts.indices, counts.indptr
        matrix["shape"] = np.array(counts.T.shape, "i4")
        matrix["features/id"] = np.array([f"ENSG{i}" for i in range(len(genes))], "S")
        matrix["features/name"] = np.array(genes, "S")
        matrix["features/feature_type"] = np.array(["Gene Expression"] * len(genes), "S")
        matrix["features/genome"] = np.array(["GRCh38"] * len(genes), "S")
    return home


def run(blocks: list[str], name: str, namespace: dict[str, object]) -> None:
    for i, block in enumerate(blocks):
        exec(compile(block, f"{name}, example {i}", "exec"), namespace)


def code_of(notebook: Path) -> list[str]:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] or cell["execution_count"] for cell in cells), "run the notebook and keep its outputs"
    return ["".join(cell["source"]) for cell in cells]


@pytest.mark.parametrize(
    "path",
    [path if path.stem in QUICK else pytest.param(path, marks=pytest.mark.slow) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path: Path, namespace: dict[str, object]) -> None:
    run(code_of(path), path.name, namespace)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*n_top_genes=2")  # there are fewer genes than in the uterus
def test_tissue_is_read_from_files(namespace: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """As CELLxGENE has them: X is log-normalised, and the counts are in raw."""
    cells = gs.datasets.pbmc68k()
    del cells.layers["counts"]
    cells.raw = cells.copy()
    cells.X = np.log1p(cells.X.multiply(1e4 / cells.X.sum(axis=1)).tocsr())
    for name, first in {"train": 0, "test": 1}.items():
        cells[first::2].copy().write_h5ad(f"{name}.h5ad")
        monkeypatch.setenv(f"GINSENG_TUTORIAL_{name.upper()}", f"{name}.h5ad")
    path = ROOT / "notebooks/uterine_tissue.ipynb"
    run(code_of(path), path.name, namespace)
    assert namespace["train"].raw is not None


@pytest.mark.filterwarnings("ignore:.*n_top_genes=2")  # the files have fewer genes than an atlas
@pytest.mark.filterwarnings("ignore:.*genes vary between cells")
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow) if path.stem in SLOW else path for path in PAGES],
    ids=lambda path: path.stem,
)
def test_examples_run(path: Path, files: Path, namespace: dict[str, object]) -> None:
    shutil.copytree(files, Path.cwd(), dirs_exist_ok=True)
    run(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE), path.name, namespace)
