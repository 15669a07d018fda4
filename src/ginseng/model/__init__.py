from typing import TYPE_CHECKING

from ginseng._lazy import lazy

if TYPE_CHECKING:
    from ginseng._core.registry import names as architectures
    from ginseng._disk.strict_hdf5 import ModelFileError
    from ginseng.model.classifier import GinsengClassifier
    from ginseng.model.file import load_model, save_model
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

# lazy, so that `ginseng info` does not load JAX
__getattr__, __dir__ = lazy(
    globals(),
    {
        "GinsengClassifier": "ginseng.model.classifier",
        "architectures": "ginseng._core.registry:names",
        "ModelFileError": "ginseng._disk.strict_hdf5",
        "load_model": "ginseng.model.file",
        "save_model": "ginseng.model.file",
        "GinsengClassifierState": "ginseng.model.state",
        "classifier_from_state": "ginseng.model.state",
        "state_from_classifier_trainer": "ginseng.model.state",
    },
)
