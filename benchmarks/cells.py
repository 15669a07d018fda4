"""Many cells, resampled from few real ones, written as h5ad part by part.

A new cell takes its class and its depth from a real cell drawn at random, and its molecules from eight real cells of
that class, that one among them: as sparse and as skewed as real data, and no two cells alike.
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

#: Real cells that a new one draws from, mean counts of a cell, cells made at a time.
POOL, COUNTS, BLOCK = 8, 806, 20_000
#: Genes of the default data, most of them made up: scanpy ships 765 of its genes.
N_GENES = 20_670


def pbmc68k() -> ad.AnnData:
    """Return the cells of :func:`ginseng.datasets.pbmc68k`, with the counts that the file lacks on other genes.

    The means of these are spread over four orders of magnitude, and the same in all classes.
    """
    import ginseng as gs

    adata, rng = gs.datasets.pbmc68k(), np.random.default_rng(0)
    rest = adata.obs["n_counts"].to_numpy() - np.asarray(adata.X.sum(axis=1)).ravel()
    profile = rng.lognormal(0, 2, N_GENES - adata.n_vars)
    other = rng.poisson(np.outer(np.maximum(rest, 0), profile / profile.sum()))
    x = sparse.hstack([adata.X, sparse.csr_matrix(other)], format="csr")
    var = pd.DataFrame(index=[*adata.var_names, *(f"other{i}" for i in range(other.shape[1]))])
    return ad.AnnData(x, obs=adata.obs[["cell_type"]], var=var)


def resample(real: ad.AnnData, path: Path, n_cells: int, seed: int = 0) -> None:
    """Write `n_cells` cells drawn from `real`, counts with `obs["cell_type"]`."""
    rng = np.random.default_rng(seed)
    x = sparse.csr_matrix(real.X)
    molecules = np.repeat(x.indices, x.data.astype(np.int64))  # the gene of each
    depth = np.bincount(np.repeat(np.arange(x.shape[0]), np.diff(x.indptr)), x.data, x.shape[0]).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(depth)[:-1]])
    kind = pd.Categorical(real.obs["cell_type"])
    usable = np.flatnonzero(depth > 0)
    by_class = usable[np.argsort(kind.codes[usable], kind="stable")]
    size = np.bincount(kind.codes[usable], minlength=len(kind.categories))
    begin = np.cumsum(size) - size
    codes, partial = [], path.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for start in range(0, n_cells, BLOCK):
            n = min(BLOCK, n_cells - start)
            model = rng.choice(usable, n)
            of = kind.codes[model]
            pool = by_class[begin[of][:, None] + (rng.random((n, POOL)) * size[of][:, None]).astype(np.int64)]
            pool[:, 0] = model
            length = np.maximum(np.rint(depth[model] * COUNTS / depth[usable].mean()).astype(np.int64), 1)
            cell = np.repeat(np.arange(n), length)
            donor = pool[cell, rng.integers(0, POOL, len(cell))]
            gene = molecules[first[donor] + (rng.random(len(cell)) * depth[donor]).astype(np.int64)]
            block = sparse.csr_matrix((np.ones(len(cell), np.float32), (cell, gene)), shape=(n, x.shape[1]))
            if start:
                sparse_dataset(file["X"]).append(block)
            else:
                write_elem(file, "X", block)
            codes.append(of)
        # barcodes as of a sequencer, since names take their part of memory and disk
        bases = rng.integers(0, 4, (n_cells, 16), dtype=np.uint8)
        barcodes = np.frombuffer(b"ACGT", "S1")[bases].view("S16").ravel().astype(str)
        names = [f"{barcode}-{i}" for i, barcode in enumerate(barcodes)]
        cell_type = pd.Categorical.from_codes(np.concatenate(codes), kind.categories)
        write_elem(file, "obs", pd.DataFrame({"cell_type": cell_type}, index=names))
        write_elem(file, "var", pd.DataFrame(index=real.var_names))
        for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            write_elem(file, name, {})
    partial.rename(path)
