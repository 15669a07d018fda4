"""Results as tables."""

from ginseng.get._probabilities import probabilities, top

__all__ = ["probabilities", "top"]


def __dir__() -> list[str]:
    return __all__
