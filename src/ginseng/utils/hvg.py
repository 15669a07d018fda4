"""Import path of ginseng 0.2 for highly variable genes."""

from ginseng._v02.hvg import compute_hvgs, select_hvgs

__all__ = ["compute_hvgs", "select_hvgs"]
