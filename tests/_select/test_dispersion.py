from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import sparse

from ginseng._select import dispersion, kernels  # noqa: F401, so that the kernels are never loaded twice
from ginseng._select.dispersion import Moments


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_few_values_and_many_have_the_same_sums(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = sparse.csr_matrix(rng.poisson(0.3, (500, 40)) * rng.lognormal(0, 2, (500, 40)) * 5)
    x.data = np.minimum(x.data, 255).astype(dtype)
    batch = rng.integers(0, 3, 500).astype(np.int32)
    found = []
    for many in (0, x.nnz // 2, 10**9):  # kernels alone; both; NumPy alone
        monkeypatch.setattr(dispersion, "MANY", many)
        monkeypatch.delitem(sys.modules, "numba", raising=False)  # as if the kernels were not loaded yet
        moments = Moments(3, 40)
        for start in range(0, 500, 90):
            moments.add(x[start : start + 90], batch[start : start + 90])
        found.append((moments.total.tobytes(), moments.squares.tobytes(), moments.n_cells.tolist()))
    assert found[0] == found[1] == found[2]
    dense = x.toarray().astype(float)
    np.testing.assert_allclose(moments.total, [dense[batch == i].sum(axis=0) for i in range(3)], rtol=1e-6)
    np.testing.assert_allclose(moments.squares, [(dense[batch == i] ** 2).sum(axis=0) for i in range(3)], rtol=1e-6)


def test_selecting_genes_of_few_cells_loads_no_compiler() -> None:
    import subprocess
    import sys

    code = """
import sys, anndata as ad, numpy as np, ginseng as gs
adata = ad.AnnData(np.random.default_rng(0).poisson(1.0, (60, 30)).astype(np.float32))
adata.obs["cell_type"] = np.resize(["a", "b"], 60)
gs.pp.select_markers(adata, "cell_type", 5)
assert "numba" not in sys.modules and "sklearn" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
