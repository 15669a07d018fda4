"""Tools: each is imported when it is first used, as what one needs takes seconds to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ginseng._lazy import lazy

if TYPE_CHECKING:
    from ginseng.tl._audit_labels import audit_labels
    from ginseng.tl._classify import classify
    from ginseng.tl._compare import compare
    from ginseng.tl._cross_validate import cross_validate
    from ginseng.tl._embed import embed
    from ginseng.tl._evaluate import evaluate
    from ginseng.tl._explain import explain
    from ginseng.tl._map_labels import map_labels
    from ginseng.tl._novel import novel
    from ginseng.tl._prediction_sets import prediction_sets
    from ginseng.tl._rank_genes import rank_genes
    from ginseng.tl._train import train
    from ginseng.tl._uncertainty import uncertainty
    from ginseng.tl._vote import vote

__all__ = [
    "audit_labels",
    "classify",
    "compare",
    "cross_validate",
    "embed",
    "evaluate",
    "explain",
    "map_labels",
    "novel",
    "prediction_sets",
    "rank_genes",
    "train",
    "uncertainty",
    "vote",
]

__getattr__, __dir__ = lazy(globals(), {name: f"{__name__}._{name}" for name in __all__})
