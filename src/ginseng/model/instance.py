"""Import path of ginseng 0.2 for the instance network."""

from ginseng._v02.network import (
    nn_annotate,
    nn_annotate_evaluate,
    nn_annotate_init,
    nn_annotate_loss,
    nn_normalize,
)

from .classifier import GinsengClassifier

__all__ = [
    "GinsengClassifier",
    "nn_annotate",
    "nn_annotate_evaluate",
    "nn_annotate_init",
    "nn_annotate_loss",
    "nn_normalize",
]
