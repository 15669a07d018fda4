from ginseng.tl._classify import classify
from ginseng.tl._evaluate import evaluate
from ginseng.tl._train import train

__all__ = ["classify", "evaluate", "train"]
