from ginseng.data.dataset import GinsengDataset

__all__ = ["GinsengDataset"]


def __dir__() -> list[str]:
    return __all__
