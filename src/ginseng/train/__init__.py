from .logger import GinsengLogger
from .settings import GinsengClassifierTrainerSettings
from .trainer import GinsengClassifierTrainer

__all__ = ["GinsengClassifierTrainer", "GinsengClassifierTrainerSettings", "GinsengLogger"]
