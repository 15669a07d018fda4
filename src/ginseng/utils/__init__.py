"""Names of the ginseng 0.2 documentation that have moved."""

from ginseng.utils.hvg import compute_hvgs, select_hvgs

__all__ = ["compute_hvgs", "select_hvgs"]


def __dir__() -> list[str]:
    return __all__
