from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

import numpy as np

from ginseng._logging import say


@dataclasses.dataclass
class GinsengLogger:
    """What happened in each epoch.

    Attributes
    ----------
    epoch
        Number of the epoch, from 1.
    train_loss
        Mean loss of its batches, with dropout and noise.
    holdout_loss, holdout_accuracy, holdout_f1
        Loss, accuracy and macro-F1 on the held-out cells, without dropout; NaN if none are held out.
    """

    epoch: list[int] = dataclasses.field(default_factory=list)
    train_loss: list[float] = dataclasses.field(default_factory=list)
    holdout_loss: list[float] = dataclasses.field(default_factory=list)
    holdout_accuracy: list[float] = dataclasses.field(default_factory=list)
    holdout_f1: list[float] = dataclasses.field(default_factory=list)

    def update(
        self,
        epoch: int,
        train_loss: float,
        holdout_loss: float = np.nan,
        holdout_accuracy: float = np.nan,
        holdout_f1: float = np.nan,
    ) -> None:
        """Add an epoch."""
        self.epoch.append(epoch)
        self.train_loss.append(train_loss)
        self.holdout_loss.append(holdout_loss)
        self.holdout_accuracy.append(holdout_accuracy)
        self.holdout_f1.append(holdout_f1)

    def report(self, silent: bool = False, flush: bool = True) -> None:
        """Print the latest epoch to standard output, above a progress bar if there is one."""
        if silent:
            return
        line = f"Epoch {self.epoch[-1]} report |  Training loss: {self.train_loss[-1]:.3e} |"
        if not np.isnan(self.holdout_loss[-1]):
            line += (
                f" Holdout loss: {self.holdout_loss[-1]:.3e} | Holdout accuracy: {self.holdout_accuracy[-1]:.3e} |"
                f" Holdout macro-F1: {self.holdout_f1[-1]:.3e} |"
            )
        say(line, flush=flush)

    def latest(self) -> dict[str, float]:
        """Return training loss, holdout loss and accuracy of the latest epoch, those there are."""
        values = {"loss": self.train_loss, "holdout loss": self.holdout_loss, "accuracy": self.holdout_accuracy}
        return {name: column[-1] for name, column in values.items() if not np.isnan(column[-1])}

    def to_dict(self) -> dict[str, np.ndarray]:
        """Return the columns as arrays."""
        return {field.name: np.asarray(getattr(self, field.name), float) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, columns: Mapping[str, np.ndarray]) -> Self:
        """Return the logger that :meth:`to_dict` turned into this."""
        found = cls(**{name: np.asarray(column).tolist() for name, column in columns.items()})
        found.epoch = [int(epoch) for epoch in found.epoch]
        return found
