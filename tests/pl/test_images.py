"""Each plot compared with a baseline image, small and blurred, so that fonts and single pixels do not matter.

To draw the pictures anew, delete those in `baseline` and run the tests: they are written, and the tests fail once.
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import matplotlib

matplotlib.use("Agg")
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ginseng import pl
from ginseng.tl._vote import vote

BASELINE = Path(__file__).parent / "baseline"
SIZE = 64, 48  # pixels
#: Root mean square of the differences, of 255. Plots that differ in their data lie above it, as a test shows.
TOLERANCE = 6


def small(fig, path: Path) -> np.ndarray:
    fig.savefig(path, dpi=60)
    return np.asarray(Image.open(path).convert("RGB").resize(SIZE, Image.Resampling.BOX), dtype=float)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a - b) ** 2).mean()))


PLOTS = {
    "clusters": lambda adata: pl.clusters(adata, return_fig=True),
    "metrics": lambda adata: pl.metrics(adata, "cell_type", return_fig=True),
    "conditions": lambda adata: pl.composition(adata, "condition", sample_key="donor", return_fig=True),
    "composition": lambda adata: pl.composition(adata, "donor", return_fig=True),
    "confidence": lambda adata: pl.confidence(adata, "cell_type", return_fig=True),
    "confusion": lambda adata: pl.confusion(adata, "cell_type", return_fig=True),
    "embedding": lambda adata: pl.embedding(adata, "umap", "cell_type", return_fig=True),
    "highly_variable_genes": lambda adata: pl.highly_variable_genes(adata, return_fig=True),
    "history": lambda adata: pl.history(adata, return_fig=True),
    "vote": lambda adata: pl.vote(adata, return_fig=True),
}


@pytest.fixture
def drawn(labelled):
    def make(seed: int):
        adata = labelled(6, unassigned=True)
        rng = np.random.default_rng(seed)
        adata = adata[rng.permutation(adata.n_obs)[: 400 - 150 * seed]].copy()
        adata.obs["donor"] = pd.Categorical([f"donor {i}" for i in rng.integers(5, size=adata.n_obs)])
        adata.obs["condition"] = np.where(adata.obs["donor"].isin(["donor 0", "donor 1"]), "healthy", "ill")
        adata.obs["leiden"] = (adata.obs["cell_type"].cat.codes // (1 + seed)).astype("category")
        vote(adata)
        curve = np.linspace(1, 0.2 + 0.5 * seed, 8)
        scores = {"holdout_loss": curve[::-1] if seed else curve, "holdout_accuracy": 1 - curve / 2}
        adata.uns["ginseng"]["history"] = {"epoch": np.arange(8), "train_loss": curve**2, **scores}
        genes = pd.DataFrame(
            {"ginseng_means": rng.gamma(1, 1, 300), "ginseng_dispersions": rng.normal(size=300) + seed}
        )
        genes["ginseng_dispersions_norm"] = genes["ginseng_dispersions"] * (1 - 2 * seed)
        genes["ginseng_genes"] = genes["ginseng_dispersions"] > 0.5
        return with_genes(adata, genes)

    return make


def with_genes(adata, genes):
    genes.index = genes.index.astype(str)
    x = np.zeros((adata.n_obs, len(genes)), np.float32)
    return ad.AnnData(x, obs=adata.obs, var=genes, uns=adata.uns, obsm=dict(adata.obsm))


@pytest.mark.parametrize("name", PLOTS)
def test_looks_as_it_did(drawn, tmp_path, name):
    found = small(PLOTS[name](drawn(0)), tmp_path / "found.png")
    baseline = BASELINE / f"{name}.png"
    if not baseline.exists():
        Image.fromarray(found.astype(np.uint8)).save(baseline, optimize=True)
        pytest.fail(f"{baseline} was not there and is now. Look at it.")
    expected = np.asarray(Image.open(baseline), dtype=float)
    assert distance(found, expected) < TOLERANCE
    other = small(PLOTS[name](drawn(1)), tmp_path / "other.png")
    assert distance(other, expected) > TOLERANCE, "the tolerance lets anything pass"
