"""A multilayer perceptron in PyTorch with as many parameters, batches and steps as ours.

    python torch_mlp.py CELLS.npz DEVICE HOW N_PARAMETERS BATCH STEPS

`gpu.py` runs it in an environment that needs PyTorch, NumPy and SciPy only. Cells are held in memory as a sparse matrix
of counts, and each batch is log1p of counts per 10,000 in dense float32. HOW is "batches", which are made as they come,
or "resident", where all cells lie dense on the device beforehand. On a GPU, products are in bfloat16 (autocast), and in
TF32 elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from typing import Any

import numpy as np
from scipy import sparse

#: Dropout of genes and hidden units, learning rate, weight decay: those of `gated`.
DROPOUT, LR, WEIGHT_DECAY = 0.4, 1e-3, 0.01
#: Steps before the time is taken, and cells that are labelled at a time.
WARM_UP, BLOCK = 20, 4096


def width(n_parameters: int, n_genes: int, n_classes: int) -> int:
    """Return the hidden units of two layers that make so many parameters: h² + (G + C + 2) h + C."""
    b = n_genes + n_classes + 2
    return round((math.sqrt(b * b + 4 * (n_parameters - n_classes)) - b) / 2)


def normalized(counts: sparse.csr_matrix) -> np.ndarray:
    """Return log1p of counts per 10,000, dense."""
    x = counts.astype(np.float32)
    total = np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1)
    x.data = np.log1p(x.data * np.repeat(np.float32(1e4) / total.astype(np.float32), np.diff(x.indptr)))
    return x.toarray()


def csr(arrays: Any, name: str) -> sparse.csr_matrix:
    """Return a matrix that was saved as three arrays and its shape."""
    parts = [arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")]
    return sparse.csr_matrix(tuple(parts), shape=tuple(arrays[f"{name}_shape"]))


def main() -> None:
    import torch
    from torch import nn

    path, device, how = sys.argv[1:4]
    n_parameters, batch_size, n_steps = map(int, sys.argv[4:])
    arrays = np.load(path)
    cells, query, y, true = csr(arrays, "cells"), csr(arrays, "query"), arrays["y"], arrays["query_y"]
    n_classes, keep = int(y.max()) + 1, np.flatnonzero(~arrays["holdout"])
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    h = width(n_parameters, cells.shape[1], n_classes)
    layers = [nn.Dropout(DROPOUT)]
    for a, b in ((cells.shape[1], h), (h, h)):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(DROPOUT)]
    model = nn.Sequential(*layers, nn.Linear(h, n_classes)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    labels = torch.from_numpy(y.astype(np.int64)).to(device)
    resident = torch.from_numpy(normalized(cells)).to(device) if how == "resident" else None

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def precision() -> Any:
        return torch.autocast("cuda", torch.bfloat16) if device == "cuda" else contextlib.nullcontext()

    def sent(counts: sparse.csr_matrix) -> Any:
        x = torch.from_numpy(normalized(counts))
        return x.pin_memory().to(device, non_blocking=True) if device == "cuda" else x

    def now() -> np.ndarray:
        wait()
        return np.array([time.perf_counter(), time.process_time()])

    rng, order, making, start = np.random.default_rng(0), np.empty(0, np.int64), 0.0, now()
    for step in range(WARM_UP + n_steps):
        if step == WARM_UP:
            start = now()
        if len(order) < batch_size:
            order = rng.permutation(keep)
        rows, order = order[:batch_size], order[batch_size:]
        began = time.perf_counter()
        at = torch.from_numpy(rows).to(device)
        x = sent(cells[rows]) if resident is None else resident[at]
        making += (time.perf_counter() - began) * (step >= WARM_UP)
        optimizer.zero_grad(set_to_none=True)
        with precision():
            loss = nn.functional.cross_entropy(model(x), labels[at])
        loss.backward()
        optimizer.step()
    trained = now() - start
    model.eval()

    def predict(counts: sparse.csr_matrix) -> np.ndarray:
        with torch.no_grad(), precision():
            said = [
                model(sent(counts[i : i + BLOCK])).argmax(1).cpu().numpy() for i in range(0, counts.shape[0], BLOCK)
            ]
        return np.concatenate(said)

    predict(query[:BLOCK])
    start = now()
    said, out = predict(query), arrays["holdout"]
    labelled = now() - start
    found = {
        "torch": torch.__version__, "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "n_parameters": sum(p.numel() for p in model.parameters()), "batch_size": batch_size, "steps": n_steps,
        **{f"train_cells_per_{k}": n_steps * batch_size / trained[i] for i, k in enumerate(("s", "cpu_s"))},
        **{f"label_in_memory_cells_per_{k}": query.shape[0] / labelled[i] for i, k in enumerate(("s", "cpu_s"))},
        "share_making_batches": making / trained[0], "accuracy": (said == true).mean(),
        "holdout_accuracy": (predict(cells[out]) == y[out]).mean(),
    }  # fmt: skip
    print("RESULT", json.dumps(found, default=float))


if __name__ == "__main__":
    main()
