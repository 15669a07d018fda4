"""Highly variable genes; see :func:`ginseng.pp.select_hvgs`."""

from __future__ import annotations

from typing import Any

from anndata import AnnData

from ginseng.pp import select_hvgs

__all__ = ["compute_hvgs", "select_hvgs"]


def compute_hvgs(data: AnnData, n_top_genes: int = 2000, **kwargs: Any) -> AnnData | None:
    """Select highly variable genes; the name of :func:`ginseng.pp.select_hvgs` in ginseng 0.2."""
    return select_hvgs(data, n_top_genes, **kwargs)
