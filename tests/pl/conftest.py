from __future__ import annotations

import anndata as ad
import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def labelled():
    """Return a factory of AnnData with `n` true labels, mostly correct predictions and an embedding."""

    def make(n=4, length=12, n_obs=600, unassigned=False):
        rng = np.random.default_rng(n)
        names = np.array([f"{i:02} γδ/".ljust(length, "x") for i in range(n)], dtype=object)
        true = np.concatenate([np.arange(n), rng.integers(n, size=n_obs - n)])
        predicted = np.where(rng.random(n_obs) < 0.8, true, rng.integers(n, size=n_obs))
        labels = names[predicted]
        if unassigned:
            labels[-5:] = "unassigned"
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical(names[true]),
                "ginseng_cell_type": pd.Categorical(labels),
                "ginseng_confidence": rng.random(n_obs, dtype=np.float32),
            },
            index=[f"cell{i}" for i in range(n_obs)],
        )
        adata = ad.AnnData(np.zeros((n_obs, 1), dtype=np.float32), obs=obs)
        adata.obsm["X_umap"] = rng.normal(size=(n_obs, 3)) + 4 * rng.normal(size=(n, 3))[true]
        return adata

    return make


@pytest.fixture
def readable():
    """Return a check that nothing is drawn outside the figure, and that no two of `texts` overlap."""

    def check(fig, texts):
        fig.draw_without_rendering()
        box = fig.get_tightbbox()  # inches
        width, height = fig.get_size_inches()
        assert box.x0 > -0.01
        assert box.y0 > -0.01
        assert box.x1 < width + 0.01
        assert box.y1 < height + 0.01
        boxes = [text.get_window_extent() for text in texts]
        for i, one in enumerate(boxes):
            for other in boxes[:i]:
                overlap = matplotlib.transforms.Bbox.intersection(one, other)
                assert overlap is None or min(overlap.width, overlap.height) < 0.5  # pixels

    return check
