from .dataset import GinsengDataset

__all__ = ["GinsengDataset"]
