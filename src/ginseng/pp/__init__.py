"""Preprocessing: input checks, gene selection and binning."""

from ginseng.pp._bin_expression import bin_expression
from ginseng.pp._check import check
from ginseng.pp._map_genes import map_genes
from ginseng.pp._select_hvgs import select_hvgs
from ginseng.pp._select_markers import select_markers

__all__ = ["bin_expression", "check", "map_genes", "select_hvgs", "select_markers"]


def __dir__() -> list[str]:
    return __all__
