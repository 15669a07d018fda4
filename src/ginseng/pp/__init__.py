"""Preprocessing: from counts to what a model is trained on."""

from ._genes import select_hvgs

__all__ = ["select_hvgs"]
