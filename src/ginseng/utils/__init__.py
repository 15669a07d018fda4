"""Names of the reference documentation that live elsewhere now."""

from ginseng.utils.hvg import compute_hvgs, select_hvgs

__all__ = ["compute_hvgs", "select_hvgs"]
