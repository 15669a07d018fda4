"""Plots."""

from ._confusion import confusion
from ._embedding import embedding
from ._history import history

__all__ = ["confusion", "embedding", "history"]
