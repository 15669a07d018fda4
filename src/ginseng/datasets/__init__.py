"""Small real data to try things on."""

from ginseng.datasets._pbmc68k import pbmc68k

__all__ = ["pbmc68k"]
