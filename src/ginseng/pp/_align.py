"""Which gene of the data is which gene of the model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng._checks import column
from ginseng._labels import in_memory


@dataclass(frozen=True)
class Alignment:
    """Where the genes of the data go.

    Attributes
    ----------
    position
        (genes of the data,) place among the genes of the model, or -1.
    n_model
        Genes of the model.
    missing
        Genes of the model that the data lack, which count as zero.
    """

    position: np.ndarray
    n_model: int
    missing: np.ndarray

    @property
    def overlap(self) -> float:
        """Share of the genes of the model that the data have."""
        return 1 - len(self.missing) / self.n_model


def align_genes(adata: AnnData, genes: np.ndarray, gene_key: str | None = None) -> Alignment:
    """Match genes by name.

    Parameters
    ----------
    adata
        The data.
    genes
        Names of the genes of the model, unique.
    gene_key
        Column of `var` with the names; the index if None.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If not one gene of the model is found; the message says what would match.
    """
    var = in_memory(adata.var)
    names = pd.Index(np.asarray(var.index if gene_key is None else column(var, gene_key, what="adata.var"))).astype(str)
    position = pd.Index(genes).get_indexer(names)
    missing = genes[np.setdiff1d(np.arange(len(genes)), position)]
    if len(missing) == len(genes):
        where = "`adata.var_names`" if gene_key is None else f"`adata.var[{gene_key!r}]`"
        msg = (
            f"None of the {len(genes):,} genes of the model is in {where}. The model has {_some(genes)}; "
            f"the data have {_some(names)}. {_what_would_match(var, names, genes)}"
        )
        raise ValueError(msg)
    return Alignment(position, len(genes), missing)


def _some(names: Any) -> str:
    return ", ".join(str(n) for n in names[:3]) + (", ..." if len(names) > 3 else "")


def _what_would_match(var: pd.DataFrame, names: pd.Index, genes: np.ndarray) -> str:
    known = set(genes)
    found = {key: int(var[key].astype(str).isin(known).sum()) for key in var.columns}
    if (index := int(var.index.astype(str).isin(known).sum())) > 0:
        return f"The names in `adata.var_names` match {index:,}: leave out `gene_key`."
    if found and (best := max(found, key=lambda key: found[key])) and found[best]:
        return f"Column {best!r} of `adata.var` matches {found[best]:,}: pass `gene_key={best!r}`."
    if names.map(lambda n: re.sub(r"\.\d+$", "", n)).isin(known).any():
        return (
            "They match without the version: "
            "`adata.var_names = adata.var_names.str.replace(r'\\.\\d+$', '', regex=True)`."
        )
    if names.str.upper().isin({g.upper() for g in genes}).any():
        return "They match but for the case of letters: are the data of another species than the model?"
    return "Pass `gene_key=` with the column of `adata.var` that has names like the model's."
