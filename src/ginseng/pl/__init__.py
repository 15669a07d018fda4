"""Plots."""

from ginseng.pl._clusters import clusters
from ginseng.pl._compare import compare
from ginseng.pl._composition import composition
from ginseng.pl._confidence import confidence
from ginseng.pl._confusion import confusion
from ginseng.pl._cross_validate import cross_validate
from ginseng.pl._embedding import embedding
from ginseng.pl._explain import explain
from ginseng.pl._highly_variable_genes import highly_variable_genes
from ginseng.pl._history import history
from ginseng.pl._metrics import metrics
from ginseng.pl._rank_genes import rank_genes
from ginseng.pl._uncertainty import uncertainty
from ginseng.pl._vote import vote

__all__ = [
    "clusters",
    "compare",
    "composition",
    "confidence",
    "confusion",
    "cross_validate",
    "embedding",
    "explain",
    "highly_variable_genes",
    "history",
    "metrics",
    "rank_genes",
    "uncertainty",
    "vote",
]
