"""Blocks of rows of a store, read by annbatch: apart from the rest, as it takes long to import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annbatch import Loader
from annbatch.abc import Sampler


class _Requests(Sampler):
    """What annbatch asks of a sampler, answered by one of this package."""

    batch_size = None
    shuffle = False

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def validate(self, n_obs: int) -> None:
        self.sampler.validate(n_obs)

    def n_batches(self, n_obs: int) -> int:
        return int(self.sampler.n_batches(n_obs))

    def _sample(self, n_obs: int) -> Iterator[Any]:
        return self.sampler._sample(n_obs)


def loaded(on_disk: Any, sampler: Any) -> Iterator[Any]:
    """Return an iterator over the rows that a sampler requests of a sparse matrix, and their indices."""
    return iter(Loader(batch_sampler=_Requests(sampler), return_index=True, preload_to_gpu=False).add_dataset(on_disk))
