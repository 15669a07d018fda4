"""Plots."""

from ._compare import compare
from ._confusion import confusion
from ._embedding import embedding
from ._explain import explain
from ._history import history
from ._rank_genes import rank_genes

__all__ = ["compare", "confusion", "embedding", "explain", "history", "rank_genes"]
