# /// script
# requires-python = ">=3.11"
# dependencies = ["ginseng"]
# ///
"""Write a model of each architecture, a store, and what the models say of some cells, with a release of ginseng.

Run once a release, and keep what it writes:

    uv run --no-project --with ginseng==0.2.1 tests/releases/make.py
"""

from importlib.metadata import version
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent


def cells() -> ad.AnnData:
    """Return the same cells whatever the versions: this generator of NumPy is frozen."""
    rng = np.random.RandomState(0)
    y = np.arange(90) % 3
    x = rng.poisson(np.where(np.arange(30) // 5 == y[:, None], 5.0, 0.4)).astype(np.float32)
    obs = {"cell_type": pd.Categorical(np.array(["B cell", "NK", "T cell"])[y]), "donor": [f"d{i % 4}" for i in y]}
    return ad.AnnData(
        x, pd.DataFrame(obs, index=[f"cell{i}" for i in range(90)]), pd.DataFrame(index=[f"GENE{i}" for i in range(30)])
    )


def make_first(folder: Path) -> None:
    """As ginseng 0.2 does it."""
    from ginseng import classify
    from ginseng.data.dataset import GinsengDataset
    from ginseng.data.io import save_model
    from ginseng.model.state import state_from_classifier_trainer
    from ginseng.train.trainer import GinsengClassifierTrainer, GinsengClassifierTrainerSettings

    dataset = GinsengDataset.create(folder / "store.zarr", cells(), "cell_type", group_key="donor")
    trainer = GinsengClassifierTrainer(dataset, GinsengClassifierTrainerSettings(hidden_dim=8))
    trainer.fit(epochs=5, silent=True)
    save_model(state_from_classifier_trainer(trainer), folder / "instance.h5")
    table = classify(folder / "instance.h5", cells(), store_probs=True, return_table=True, silent=True)
    table.to_csv(folder / "instance.csv")


def make(folder: Path) -> None:
    """As later versions do it."""
    import ginseng as gs
    from ginseng.data import GinsengDataset

    path = folder / "store.zarr"
    dataset = GinsengDataset.create(path, cells(), "cell_type", group_key="donor", silent=True)
    dataset.make_split(0.2)
    for name in gs.model.architectures():
        state = gs.tl.train(path, architecture=name, hidden_dim=8, epochs=3, batch_size=16, silent=True)
        gs.save_model(state, folder / f"{name}.h5")
        table = gs.classify(folder / f"{name}.h5", cells(), store_probs=True, return_table=True, silent=True)
        table.to_csv(folder / f"{name}.csv")


if __name__ == "__main__":
    release = version("ginseng")
    (FOLDER / release).mkdir()
    (make_first if release.startswith("0.2.") else make)(FOLDER / release)
