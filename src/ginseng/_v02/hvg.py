"""Highly variable genes; see :func:`ginseng.pp.select_hvgs`."""

from __future__ import annotations

from typing import Any

from anndata import AnnData

from ginseng.pp import select_hvgs

__all__ = ["compute_hvgs", "select_hvgs"]


def compute_hvgs(data: AnnData, n_top_genes: int = 2000, **kwargs: Any) -> AnnData | None:
    """:func:`ginseng.pp.select_hvgs` by the name that it had in the first generation."""
    return select_hvgs(data, n_top_genes, **kwargs)
