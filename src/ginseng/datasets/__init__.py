"""Small real data sets for examples."""

from ginseng.datasets._pbmc68k import pbmc68k

__all__ = ["pbmc68k"]


def __dir__() -> list[str]:
    return __all__
