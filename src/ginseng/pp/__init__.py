"""Preprocessing: from counts to what a model is trained on."""

from ._bins import bin_expression
from ._check import check
from ._genes import select_hvgs
from ._markers import select_markers

__all__ = ["bin_expression", "check", "select_hvgs", "select_markers"]
