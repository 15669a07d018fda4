from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import sparse

from ginseng._cells.open import OpenCells
from ginseng._cells.training_set import TrainingSet
from ginseng.data._batches import MemorySource


@dataclass(frozen=True)
class MemoryDataset:
    """Labelled cells in memory, with those parts of :class:`ginseng.data.GinsengDataset` that training uses.

    `holdout` is (cells,) bool, or None if training chooses which cells to hold out.
    """

    source: MemorySource
    labels: np.ndarray
    label_names: list[str]
    gene_names: list[str]
    groups: np.ndarray | None
    group_names: list[str] | None
    holdout: np.ndarray | None = None
    other_names: np.ndarray | None = None
    levels: dict[str, list[str]] | None = None

    @property
    def has_split(self) -> bool:
        """Whether the holdout has been chosen."""
        return self.holdout is not None

    def in_split(self, split: Literal["train", "test"]) -> np.ndarray:
        """Return a mask of the cells in this part: (cells,) bool."""
        assert self.holdout is not None
        return self.holdout if split == "test" else ~self.holdout

    def take(self, rows: np.ndarray, holdout: np.ndarray | None = None) -> MemoryDataset:
        """Return a dataset with a subset of the cells."""
        source = MemorySource(self.source.counts[rows], self.labels[rows], self.source.totals[rows])
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, source=source, labels=self.labels[rows], groups=groups, holdout=holdout)

    @classmethod
    def read(cls, cells: OpenCells, chosen: TrainingSet, *, size: int = 16_384) -> MemoryDataset:
        """Read the chosen cells and genes into memory.

        Raises
        ------
        ValueError
            If a value is negative, NaN or infinite.
        """
        counts, totals = [], []
        for _, block, total in chosen.blocks(cells, size=size):
            counts.append(block)
            totals.append(total)
        return cls(
            source=MemorySource(
                sparse.vstack(counts, format="csr"), chosen.labels, np.concatenate(totals).astype(np.float32)
            ),
            labels=chosen.labels,
            label_names=[str(name) for name in chosen.label_names],
            gene_names=[str(name) for name in chosen.gene_names],
            groups=chosen.groups,
            group_names=None if chosen.group_names is None else [str(name) for name in chosen.group_names],
            other_names=chosen.other_names,
            levels=chosen.levels,
        )
