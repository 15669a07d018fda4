from ginseng.data.dataset import GinsengDataset

__all__ = ["GinsengDataset"]
