from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._checks import check_values
from ginseng._core.steps import Normalization
from ginseng._logging import progress, running
from ginseng._matrix import matrix_of, row_blocks, row_sums, take_columns
from ginseng.data._batches import prefetch
from ginseng.data._readers import read_adata
from ginseng.model._forward import Rows, predict
from ginseng.model._hdf5 import is_model_file, load_model, model_of
from ginseng.model.state import GinsengClassifierState
from ginseng.pp._align import Alignment, align_genes

#: What a cell without counts is called.
UNASSIGNED = "unassigned"
#: Rows that are read at a time.
ROWS = 8192


def classify(
    adata: AnnData | str | Path,
    model: GinsengClassifierState | AnnData | str | Path,
    gene_key: str | None = None,
    *,
    layer: str | None = None,
    backed: bool = True,
    normalize: bool | None = None,
    target_sum: float | None = None,
    randomness: bool = False,
    batch_size: int = 1024,
    copy: bool = False,
    store_probs: bool = False,
    store_gene_weights: bool = False,
    return_table: bool = False,
    seed: int = 123,
    silent: bool = False,
    key_added: str = _keys.DEFAULT,
) -> AnnData | pd.DataFrame | None:
    """Label each cell with its most probable cell type.

    Genes are matched by name; genes that the model knows and the data lack count as zero. Counts are scaled by the
    sum over all genes of the data, as in training. Data and model may change places in the call.

    Parameters
    ----------
    adata
        Counts: an AnnData (in memory, backed or lazy), or a path or URL that :func:`ginseng.read_adata` reads.
    model
        A trained state, the path of a saved one, or an AnnData trained with :func:`ginseng.tl.train`.
    gene_key
        Column of `var` with names like those of the model; the index if None.
    layer
        Layer with the counts; `X` if None.
    backed
        Whether an h5ad path is read part by part, rather than loaded.
    normalize
        Overrides the model: whether the data are counts still to be log-normalised.
    target_sum
        Overrides the model: counts a cell after scaling.
    randomness
        Whether dropout acts, so that repeated calls with other seeds show how sure the model is (Monte-Carlo
        dropout, Gal and Ghahramani 2016).
    batch_size
        Cells a forward pass. Changes memory, never the result.
    copy
        Whether to write to a copy of `adata` and return that.
    store_probs
        Whether to write the probabilities of all classes.
    store_gene_weights
        Whether to write the weight of each gene of the model in each cell: cells x genes, dense.
    return_table
        Whether to return a table and write nothing.
    seed
        Draws dropout.
    silent
        Whether to show neither progress nor the warning of missing genes.
    key_added
        Prefix of what is written.

    Returns
    -------
    `None`; the copy if `copy=True`; a table with `cell_type` and `confidence` a cell (and a column for each class
    with `store_probs`) if `return_table=True`. For a path, which nothing can be written into, the table, or with
    `copy=True` the AnnData. Sets:

    `adata.obs['ginseng_cell_type']` : :class:`pandas.Series` (dtype ``category``)
        Predicted cell type; `"unassigned"` for cells without counts.
    `adata.obs['ginseng_confidence']` : :class:`pandas.Series` (dtype ``float32``)
        Probability of that type; 0 for cells without counts.
    `adata.obsm['ginseng_probs']` : :class:`numpy.ndarray`
        (cells, classes) float32, in the order of `uns["ginseng"]["classes"]`, if `store_probs`.
    `adata.obsm['ginseng_gene_weights']` : :class:`numpy.ndarray`
        (cells, genes) float32, in the order of `uns["ginseng"]["genes"]`, if `store_gene_weights`.
    `adata.uns['ginseng']` : :class:`dict`
        `classes`, and in `overlap` how many genes of the model were found.

    Raises
    ------
    KeyError
        If a layer or column is not there.
    ValueError
        If no gene matches, or values cannot be counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata[::2].copy(), "cell_type", epochs=1, silent=True, copy=True)  # doctest: +ELLIPSIS
    AnnData object with n_obs × n_vars = 350 × 765...
    """
    adata, model = _in_order(adata, model)
    from_path = not isinstance(adata, AnnData)
    state = model if isinstance(model, GinsengClassifierState) else _load(model)
    data = adata if isinstance(adata, AnnData) else read_adata(adata, backed=backed and not copy)
    if store_gene_weights and not state.network.has_gene_weights:
        msg = f"A model of architecture {state.architecture!r} has no gene weights: leave out `store_gene_weights`."
        raise ValueError(msg)
    matrix_of(data, layer)
    genes = align_genes(data, state.genes, gene_key)
    if len(genes.missing) and not silent:
        _warn_of_missing(genes)

    with running(f"classification of {data.n_obs:,} cells") as report:
        result = _predict(
            data, state, genes, layer,
            normalization=Normalization(
                state.normalize if normalize is None else normalize,
                state.target_sum if target_sum is None else target_sum,
            ),
            batch_size=batch_size,
            seed=seed if randomness else None,
            gene_weights=store_gene_weights,
            store_probs=store_probs,
            silent=silent,
        )  # fmt: skip
        if return_table or (from_path and not copy):
            table = pd.DataFrame({"cell_type": result.cell_type, "confidence": result.confidence}, index=data.obs_names)
            if result.probs is not None:
                table[[f"{label}" for label in state.label_keys]] = result.probs
            return table
        data = data.copy() if copy and not from_path else data
        result.write(data, state, genes, key_added)
        report(f"added `.obs[{_keys.cell_type(key_added)!r}]` and `.obs[{_keys.confidence(key_added)!r}]`")
    return data if copy else None


class _Result:
    """What is found out about each cell, filled in as it comes."""

    def __init__(self, n_cells: int, state: GinsengClassifierState, *, probs: bool, gene_weights: bool) -> None:
        self.code = np.zeros(n_cells, np.int64)
        self.confidence = np.zeros(n_cells, np.float32)
        self.labels = state.label_keys
        self.probs = np.zeros((n_cells, state.n_classes), np.float32) if probs else None
        self.gene_weights = np.zeros((n_cells, state.n_genes), np.float32) if gene_weights else None

    @property
    def cell_type(self) -> pd.Categorical:
        names: Any = self.labels.astype(object)
        if (self.code < 0).any():
            names = np.append(names[names != UNASSIGNED], UNASSIGNED)
            code = np.where(self.code < 0, len(names) - 1, self.code)
            return pd.Categorical.from_codes(code.tolist(), names)
        return pd.Categorical.from_codes(self.code.tolist(), names)

    def write(self, adata: AnnData, state: GinsengClassifierState, genes: Alignment, key_added: str) -> None:
        if adata.is_view:
            adata._init_as_actual(adata.copy())
        adata.obs[_keys.cell_type(key_added)] = self.cell_type
        adata.obs[_keys.confidence(key_added)] = self.confidence
        found: dict[str, Any] = {
            "classes": state.label_keys.astype(object),
            "overlap": {
                "n_genes": genes.n_model,
                "n_found": genes.n_model - len(genes.missing),
                "share": genes.overlap,
            },
        }
        if self.probs is not None:
            adata.obsm[_keys.probs(key_added)] = self.probs
        if self.gene_weights is not None:
            adata.obsm[_keys.gene_weights(key_added)] = self.gene_weights
            found["genes"] = state.genes.astype(object)
        adata.uns[key_added] = {**adata.uns.get(key_added, {}), **found}


def _predict(
    adata: AnnData,
    state: GinsengClassifierState,
    genes: Alignment,
    layer: str | None,
    *,
    normalization: Normalization,
    batch_size: int,
    seed: int | None,
    gene_weights: bool,
    store_probs: bool,
    silent: bool,
) -> _Result:
    result = _Result(adata.n_obs, state, probs=store_probs, gene_weights=gene_weights)
    predicted = predict(
        state, prefetch(model_rows(adata, genes, layer)),
        batch_size=batch_size, normalization=normalization, seed=seed, gene_weights=gene_weights,
    )  # fmt: skip
    n_empty = 0
    with progress(desc="Classifying", total=adata.n_obs, unit="cells", silent=silent) as bar:
        for part in predicted:
            here = slice(part.start, part.stop)
            result.code[here] = part.probs.argmax(axis=1)
            result.confidence[here] = part.probs.max(axis=1)
            result.code[here][part.empty] = -1
            result.confidence[here][part.empty] = 0
            n_empty += int(part.empty.sum())
            if result.probs is not None:
                result.probs[here] = part.probs
            if result.gene_weights is not None:
                result.gene_weights[here] = part.gene_weights
            bar.update(part.stop - part.start)
    if n_empty:
        msg = f"{n_empty:,} of {adata.n_obs:,} cells have no counts and are {UNASSIGNED!r}."
        warnings.warn(msg, UserWarning, stacklevel=3)
    return result


def model_rows(adata: AnnData, genes: Alignment, layer: str | None, *, size: int = ROWS) -> Iterator[Rows]:
    """Yield the counts of consecutive cells, with the genes of the model in its order.

    Raises
    ------
    ValueError
        If a value is negative, NaN or infinite.
    """
    for start, stop, block in row_blocks(adata, layer, size=size):
        check_values(block, layer)
        yield Rows(start, stop, take_columns(block, genes.position, genes.n_model), row_sums(block))


def _in_order(adata: Any, model: Any) -> tuple[Any, Any]:
    """Return data and model, whichever came first."""
    if isinstance(adata, GinsengClassifierState) or (isinstance(adata, str | Path) and is_model_file(adata)):
        return model, adata
    return adata, model


def _load(model: AnnData | str | Path) -> GinsengClassifierState:
    return load_model(model) if isinstance(model, str | Path) else model_of(model)


def _warn_of_missing(genes: Alignment) -> None:
    some = ", ".join(map(str, genes.missing[:5])) + (", ..." if len(genes.missing) > 5 else "")
    warnings.warn(
        f"Partial gene overlap detected: {genes.overlap:.2%}. {len(genes.missing):,} of the {genes.n_model:,} genes of "
        f"the model are not in the data and count as zero ({some}).",
        UserWarning,
        stacklevel=3,
    )
