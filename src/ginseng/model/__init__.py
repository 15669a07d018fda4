from ginseng._core.registry import names as architectures

from ._hdf5 import ModelFileError, load_model, save_model
from .classifier import GinsengClassifier
from .state import GinsengClassifierState, classifier_from_state, state_from_classifier_trainer

__all__ = [
    "GinsengClassifier",
    "GinsengClassifierState",
    "ModelFileError",
    "architectures",
    "classifier_from_state",
    "load_model",
    "save_model",
    "state_from_classifier_trainer",
]
