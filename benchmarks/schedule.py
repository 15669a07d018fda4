"""Replay the order in which training reads a store of many cells: memory of the sampler, and how well it shuffles.

    python benchmarks/schedule.py [--cells 100000000] [--epochs 1]

No counts are read: the sampler of `GinsengDataset.stream` and its random numbers are those of training, the labels are
drawn. In a store, as written, cells are in random order; the other orders show what the windows alone can do. Runs of
equal labels in the stream are counted and compared with those of a random order of the same cells, and so are the
classes that a batch lacks.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np

from ginseng.data._batches import BLOCK_ROWS, BLOCKS_PER_WINDOW, WHOLE, _BlockSampler

#: Shares of the cells of the 40 classes: from 20 % to 1 in 25,000, as in an atlas.
SHARES = np.geomspace(1, 1 / 5000, 40) / np.geomspace(1, 1 / 5000, 40).sum()
BATCH = 128


def labels_of(n: int, order: str, rng: np.random.Generator) -> np.ndarray:
    """Return the label of each row of a store, (n,) uint8."""
    sizes = np.floor(SHARES * n).astype(int)
    sizes[0] += n - sizes.sum()
    labels = np.repeat(np.arange(len(sizes), dtype=np.uint8), sizes)
    if order == "as written":
        rng.shuffle(labels)
    return labels


def stream(n: int, *, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Yield the rows of each window in the order of training."""
    keep = np.ones(n, bool)
    sampler = _BlockSampler(keep, np.random.default_rng([seed, epoch]), lambda blocks: None, WHOLE)
    del keep
    for i, window in enumerate(sampler._sample(n)):
        rows = np.concatenate([np.arange(block.start, block.stop) for block in window["requests"]])
        yield rows[np.random.default_rng([seed, epoch, i, 1]).permutation(len(rows))]


def replay(labels: np.ndarray, *, seed: int, epoch: int) -> dict[str, float]:
    """Return what the stream of an epoch is like."""
    n, n_seen, n_runs, n_absent, n_batches, last = len(labels), 0, 0, 0, 0, -1
    size = np.bincount(labels, minlength=len(SHARES)) / n
    visits = np.zeros(n, np.uint8)
    for rows in stream(n, seed=seed, epoch=epoch):
        y = labels[rows]
        visits[rows] += 1
        n_seen += len(y)
        n_runs += int((y[1:] != y[:-1]).sum()) + int(y[0] != last)
        last = int(y[-1])
        whole = y[: len(y) // BATCH * BATCH].reshape(-1, BATCH).astype(np.int64)
        of_batch = np.arange(len(whole))[:, None] * len(SHARES) + whole
        counts = np.bincount(of_batch.ravel(), minlength=len(whole) * len(SHARES))
        n_absent += int((counts == 0).sum())
        n_batches += len(whole)
    expected, by_chance = (n - 1) * (1 - (size**2).sum()) + 1, float(((1 - size) ** BATCH).sum())
    assert n_seen == n
    assert (visits == 1).all()  # each cell once
    return {
        "runs": n_runs,
        "runs_of_a_random_order": expected,
        "ratio": n_runs / expected,
        "classes_absent_per_batch": n_absent / n_batches,
        "classes_absent_by_chance": by_chance,
    }


def memory(n: int) -> dict[str, float]:
    """Return what the sampler itself takes, MB, and what a dataset keeps of each cell."""
    keep = np.ones(n, bool)
    tracemalloc.start()
    sampler = _BlockSampler(keep, np.random.default_rng(0), lambda blocks: None, WHOLE)
    kept, peak = tracemalloc.get_traced_memory()
    next(iter(sampler._sample(n)))
    tracemalloc.stop()
    # label, library size, offset of its counts, split; and the mask of the cells to train on
    of_cell = sum(np.dtype(dtype).itemsize for dtype in ("int32", "float32", "int64", "uint8", "bool"))
    return {"sampler_mb": kept / 1e6, "sampler_peak_mb": peak / 1e6, "dataset_mb": of_cell * n / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000_000)
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    found: dict[str, Any] = {
        "cells": args.cells, "block_rows": BLOCK_ROWS, "blocks_per_window": BLOCKS_PER_WINDOW, **memory(args.cells)
    }  # fmt: skip
    for order in ("as written", "sorted by label"):
        labels = labels_of(args.cells, order, np.random.default_rng(1))
        for epoch in range(args.epochs):
            start = time.perf_counter()
            found[f"{order}, epoch {epoch}"] = replay(labels, seed=0, epoch=epoch)
            found[f"{order}, epoch {epoch}"]["seconds"] = time.perf_counter() - start
        del labels
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
