from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Self

import numpy as np

from ginseng._logging import say


def _column(label: str, bar: str = "") -> dict[str, str]:
    """Return the names of a column in reports and, if it is shown there, in progress bars."""
    return {"label": label, "bar": bar}


@dataclasses.dataclass
class GinsengLogger:
    """The training history: one value per epoch and column.

    Attributes
    ----------
    epoch
        Number of the epoch, from 1.
    train_loss
        Mean loss over the batches, with dropout and noise.
    holdout_loss, holdout_accuracy, holdout_f1
        Loss, accuracy and macro F1 on the held-out cells, without dropout; NaN without a holdout.
    """

    epoch: list[int] = field(default_factory=list, metadata=_column("Epoch"))
    train_loss: list[float] = field(default_factory=list, metadata=_column("Training loss", "loss"))
    holdout_loss: list[float] = field(default_factory=list, metadata=_column("Holdout loss", "holdout loss"))
    holdout_accuracy: list[float] = field(default_factory=list, metadata=_column("Holdout accuracy", "accuracy"))
    holdout_f1: list[float] = field(default_factory=list, metadata=_column("Holdout macro-F1"))

    def update(self, *values: float, **named: float) -> None:
        """Add an epoch, with values by position or by column name; missing ones become NaN."""
        names = [column.name for column in dataclasses.fields(self)]
        given = dict(zip(names, values, strict=False)) | named
        for name in names:
            getattr(self, name).append(given.get(name, np.nan))

    def report(self, silent: bool = False, flush: bool = True) -> None:
        """Print the latest epoch to standard output, above any progress bar."""
        if silent:
            return
        columns = dataclasses.fields(self)[1:]
        latest = {column.metadata["label"]: getattr(self, column.name)[-1] for column in columns}
        measured = [f"{label}: {value:.3e} |" for label, value in latest.items() if not np.isnan(value)]
        say(f"Epoch {self.epoch[-1]} report |  {' '.join(measured)}", flush=flush)

    def latest(self) -> dict[str, float]:
        """Return the values of the latest epoch that progress bars show: training loss, holdout loss and accuracy."""
        values = {f.metadata["bar"]: getattr(self, f.name)[-1] for f in dataclasses.fields(self) if f.metadata["bar"]}
        return {name: value for name, value in values.items() if not np.isnan(value)}

    def to_dict(self) -> dict[str, np.ndarray]:
        """Return the columns as arrays."""
        return {name: np.asarray(column, float) for name, column in vars(self).items()}

    @classmethod
    def from_dict(cls, columns: Mapping[str, np.ndarray]) -> Self:
        """Invert :meth:`to_dict`."""
        found = cls(**{name: np.asarray(column).tolist() for name, column in columns.items()})
        found.epoch = [int(epoch) for epoch in found.epoch]
        return found
