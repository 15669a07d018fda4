"""Keep what actinn-jax 0.3.1 says of cells that scanpy ships, by the model in its wheel.

In an environment of its own:

    python -m venv actinn && actinn/bin/pip install "actinn-jax==0.3.1"
    actinn/bin/python tests/models/golden/make_actinn.py

The cells have 765 of the genes under their symbols, too few for the package. So each symbol stands for a gene of the
model here, and each cell gets counts for those that are left; what comes out are cells of nowhere, of many types.
"""

from __future__ import annotations

from pathlib import Path

import actinn_jax
import numpy as np
import pandas as pd
from anndata import AnnData

HERE = Path(__file__).parent
model = actinn_jax.bundled_reference("panhuman_distill_v1")
genes = list(model.coarse.norm_genes)
#: Most of the genes of the model, in another order, and some that it does not have.
names = [*genes[::-1][: int(0.8 * len(genes))], "ENSG99999999990", "ENSG99999999991"]


def cells(n: int = 120, seed: int = 0) -> AnnData:
    """Return counts with few genes on in each cell, so that the networks are sure of some."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.05, 20.0, (n, len(names))) * rng.gamma(2.0, 0.5, (n, 1))
    return AnnData(rng.poisson(rate).astype(np.float32), var=pd.DataFrame(index=names))


adata = cells()
frame, _ = model.predict_frame(adata)
coarse = model.coarse.predict_proba(adata)
group = frame["coarse"].to_numpy(str)
of_group = coarse[np.arange(len(adata)), [model.coarse.classes.index(g) for g in group]]
single = np.array([isinstance(model.fine[g], str) for g in group])
np.savez_compressed(
    HERE / "actinn.npz",
    counts=adata.X.astype(np.uint16),
    names=np.array(names),
    label=frame["celltype"].to_numpy(str),
    group=group,
    # p(group) p(class given group); of a group of one class the package gives p(group) itself
    probability=of_group * np.where(single, 1, frame["celltype_probability"].to_numpy()),
    coarse=coarse,
    coarse_classes=np.array(model.coarse.classes),
    fine=np.concatenate([model.fine[g].predict_proba(adata) for g in ("Immune cell", "Neuron")], axis=1),
    fine_classes=np.array([*model.fine["Immune cell"].classes, *model.fine["Neuron"].classes]),
)
print(frame["celltype"].value_counts().head(20), frame["celltype_probability"].describe())
