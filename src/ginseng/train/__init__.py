from ginseng.train.logger import GinsengLogger
from ginseng.train.settings import GinsengClassifierTrainerSettings
from ginseng.train.trainer import GinsengClassifierTrainer

__all__ = ["GinsengClassifierTrainer", "GinsengClassifierTrainerSettings", "GinsengLogger"]


def __dir__() -> list[str]:
    return __all__
