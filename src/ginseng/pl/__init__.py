"""Plots."""

from ._compare import compare
from ._composition import composition
from ._confidence import confidence
from ._confusion import confusion
from ._embedding import embedding
from ._explain import explain
from ._highly_variable_genes import highly_variable_genes
from ._history import history
from ._rank_genes import rank_genes
from ._vote import vote

__all__ = [
    "compare",
    "composition",
    "confidence",
    "confusion",
    "embedding",
    "explain",
    "highly_variable_genes",
    "history",
    "rank_genes",
    "vote",
]
