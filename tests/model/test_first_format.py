"""Files of ginseng 0.2.x, which have no `format`."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from anndata import AnnData
from scipy.special import expit, softmax

from ginseng import classify, load_model
from ginseng.model import ModelFileError, classifier_from_state

G, C, H = 14, 3, 5
LABELS = ["B", "T/NK", "γδ T"]
rng = np.random.default_rng(0)
SHAPES = {"features1": (G, G), "features2": (G, G), "attn1": (G, H), "attn2": (H, G), "head": (G, C)}
PARAMS = {
    layer: {"W": rng.normal(0, 0.4, shape).astype("f4"), "b": rng.normal(0, 0.4, shape[1]).astype("f4")}
    for layer, shape in SHAPES.items()
}
ATTRIBUTES = {
    "n_genes": G, "n_classes": C, "hidden_dim": H, "normalize": True, "target_sum": 1e4, "dropout_rate": 0.2,
    "training": False,
}  # fmt: skip
COUNTS = rng.poisson(2, (20, G)).astype(np.float32)


def write(path: Path, attributes: dict[str, Any] | None = None, **storage: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update(ATTRIBUTES | (attributes or {}))
        file.create_dataset("genes", data=np.array([f"gene{i}" for i in range(G)], "S"), **storage)
        file.create_dataset("label_keys", data=np.char.encode(LABELS, "utf-8"), **storage)
        file.create_dataset("label_values", data=np.arange(C, dtype=np.int64), **storage)
        for layer, members in PARAMS.items():
            for name, values in members.items():
                file.create_dataset(f"params/{layer}/{name}", data=values, **storage)
    return path


def expected(counts: np.ndarray, total: np.ndarray | None = None) -> np.ndarray:
    layer = lambda name, x: x @ PARAMS[name]["W"].astype(float) + PARAMS[name]["b"]  # noqa: E731
    total = counts.sum(axis=1) if total is None else total
    x = np.log1p(counts * 1e4 / total[:, None])
    f = layer("features2", np.maximum(layer("features1", x), 0))
    a = expit(layer("attn2", np.tanh(layer("attn1", f))))
    return softmax(layer("head", f * a), axis=1)


@pytest.mark.parametrize("storage", [{}, {"compression": "gzip", "compression_opts": 4}], ids=["plain", "gzip"])
def test_loads_as_instance(tmp_path: Path, storage: dict[str, Any]) -> None:
    state = load_model(write(tmp_path / "old.h5", **storage))
    assert (state.architecture, state.library_size) == ("instance", "model_genes")
    assert (state.n_genes, state.n_classes, state.hidden_dim, state.dropout_rate) == (G, C, H, 0.2)
    assert (state.normalize, state.target_sum, state.training) == (True, 1e4, False)
    assert list(state.label_keys) == LABELS
    for layer, members in PARAMS.items():
        for name, values in members.items():
            np.testing.assert_array_equal(state.params[layer][name], values)
    logits = classifier_from_state(state).predict(COUNTS)
    np.testing.assert_allclose(softmax(logits, axis=1), expected(COUNTS), atol=1e-5)


def test_cells_are_scaled_by_the_counts_of_the_model_genes(tmp_path: Path) -> None:
    """Also for a query with other genes that lacks some of the model's."""
    path = write(tmp_path / "old.h5")
    adata = AnnData(np.hstack([COUNTS[:, 2:], np.full((20, 3), 50.0, np.float32)]))
    adata.var_names = [f"gene{i}" for i in range(2, G)] + ["other1", "other2", "other3"]
    classify(path, adata, store_probs=True, silent=True)
    counts = COUNTS.copy()
    counts[:, :2] = 0
    probs = expected(counts)
    np.testing.assert_allclose(adata.obsm["ginseng_probs"], probs, atol=1e-5)
    assert not np.allclose(probs, expected(counts, counts.sum(axis=1) + 150), atol=1e-2)
    assert list(adata.obs["ginseng_cell_type"]) == [LABELS[i] for i in probs.argmax(axis=1)]
    np.testing.assert_allclose(adata.obs["ginseng_confidence"], probs.max(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_genes", G + 1), ("n_genes", -5), ("n_classes", 10**12), ("n_classes", 2), ("hidden_dim", 0),
        ("hidden_dim", 10**9), ("hidden_dim", H + 1), ("hidden_dim", np.nan), ("dropout_rate", 1.0),
        ("dropout_rate", np.nan), ("target_sum", -1.0), ("target_sum", np.inf), ("target_sum", np.nan),
        ("n_genes", "14"), ("n_genes", np.arange(3)), ("normalize", "yes"),
    ],
)  # fmt: skip
def test_attributes_that_lie(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ModelFileError):
        load_model(write(tmp_path / "old.h5", {name: value}))


@pytest.mark.parametrize("name", [n for n in ATTRIBUTES if n != "target_sum"])
def test_missing_attributes(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "old.h5")
    with h5py.File(path, "a") as file:
        del file.attrs[name]
    with pytest.raises(ModelFileError, match=f"'{name}'"):
        load_model(path)
