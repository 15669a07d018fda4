from ginseng._core.registry import names as architectures
from ginseng.model.classifier import GinsengClassifier
from ginseng.model.file import ModelFileError, load_model, save_model
from ginseng.model.state import GinsengClassifierState, classifier_from_state, state_from_classifier_trainer

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
