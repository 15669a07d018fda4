from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._cells.open import AnnDataOrPath
from ginseng._cells.target import check_target
from ginseng._cells.write import Results, write
from ginseng._docs import document
from ginseng._errors import MissingKeyError, suggest
from ginseng._logging import progress, running
from ginseng._predict.inspect import Attributed, attribute
from ginseng._predict.query import model_rows, open_query
from ginseng.model.file import ModelLike
from ginseng.model.state import GinsengClassifierState


@document
def explain(
    adata: AnnDataOrPath,
    model: ModelLike,
    cells: str | Sequence[str] | np.ndarray | pd.Index,
    *,
    versus: str | None = None,
    n_genes: int | None = 10,
    gene_key: str | None = None,
    layer: str | None = None,
    normalize: bool | None = None,
    n_steps: int = 64,
    batch_size: int = 128,
    key_added: str = _keys.DEFAULT,
    return_table: bool = False,
    overwrite: bool = False,
    copy: bool = False,
    silent: bool = False,
) -> AnnData | pd.DataFrame | None:
    """Explain the labels of single cells by the contributions of the genes.

    The quantity explained is the difference of the logits of the label and the runner-up, the log ratio of their
    probabilities, relative to a baseline. The baseline is the mean of the training data or, for architectures without a
    mean or with tokens, an empty cell. The contribution of a gene is its part of the change on a straight path from the
    baseline to the cell (integrated gradients, Sundararajan et al. 2017). A gene can therefore support a label by its
    absence.

    The contributions of all genes plus the difference at the baseline equal the difference in the cell: exactly for
    `linear`, and up to the integration error, which decreases with `n_steps`, for other architectures.

    Parameters
    ----------
    %(adata_or_path)s
    %(model)s
    cells
        Name or names of cells, as in `adata.obs_names`.
    versus
        Label to compare with; the second most probable label of each cell if None.
    n_genes
        Number of genes with the largest contributions for, and against, the label; all genes of the model if None.
    %(query_gene_key)s
    %(layer)s
    %(query_normalize)s
    n_steps
        Number of gradients per cell on the path from the baseline. Linear models need, and use, only one.
    %(batch_size)s
    key_added
        Entry of `adata.uns` for the table.
    %(return_table)s
    %(overwrite)s
    %(copy)s
    %(query_silent)s

    Returns
    -------
    `None`; the copy if `copy=True`; the table if `return_table=True`. For a path, the table. Sets
    `adata.uns['ginseng']['explanation']`, a table with one row per gene and cell, sorted by contribution, and columns:

    `cell`, `label`, `versus`, `gene`
        Names.
    `contribution`
        Contribution of the gene to the difference of the logits.
    `direction`
        `"for"` the label or `"against"` it.
    `expression`, `baseline`
        Expression of the gene in the cell and in the baseline: log1p counts per 10,000, or the unit that the model was
        trained on.
    `measured`
        Whether the data have the gene; the others count as zero.
    `difference`, `difference_at_baseline`
        Difference of the logits, in the cell and in the baseline.

    Raises
    ------
    KeyError
        If a cell, layer or column does not exist, or the model does not know `versus`.
    ValueError
        If a cell has no counts in the genes of the model, several cells have its name, no gene matches, or the values
        cannot be counts.

    Examples
    --------
    >>> import ginseng as gs
    >>> adata = gs.datasets.pbmc68k()
    >>> gs.tl.train(adata, "cell_type", layer="counts", architecture="linear", epochs=5, silent=True)
    >>> b_cell = adata.obs_names[adata.obs["cell_type"] == "CD19+ B"][0]
    >>> table = gs.tl.explain(adata, adata, b_cell, layer="counts", n_genes=3, return_table=True, silent=True)
    >>> table.groupby("direction")["gene"].count().to_dict()
    {'against': 3, 'for': 3}
    """
    query = open_query(adata, model, gene_key, layer, normalize=normalize, silent=silent)
    check_target(query.adata, "explain", key_added, overwrite=overwrite)
    place = _places(query.adata.obs_names, [cells] if isinstance(cells, str) else [str(cell) for cell in cells])
    other = None if versus is None else _class(query.state, versus)
    if n_genes is not None and n_genes < 1:
        msg = f"`n_genes` must be at least 1, or None for all, not {n_genes}."
        raise ValueError(msg)
    given, place = np.argsort(np.argsort(place)), np.sort(place)  # read in the order of the file
    names = query.adata.obs_names[place]

    def against_runner_up(start: int, stop: int, logits: np.ndarray) -> np.ndarray:
        first, second = _pair(logits, query.state, other)
        one_of_each = np.eye(logits.shape[1], dtype=logits.dtype)
        return one_of_each[first] - one_of_each[second]

    with running(f"explanation of {len(names):,} cells", silent=silent) as report:
        measured = np.isin(np.arange(query.state.n_genes), query.genes.position)
        parts = attribute(
            query.state,
            model_rows(query.cells.take(place).blocks(), query.genes),
            against_runner_up,
            n_steps=n_steps,
            batch_size=min(batch_size, len(names)),
            normalization=query.normalization,
            correction=query.correction,
        )
        tables = []
        with progress(desc="Explaining", total=len(names), unit="cells", silent=silent) as bar:
            for part in parts:
                tables += _tables(query.state, part, names, other, measured, n_genes)
                bar.update(part.stop - part.start)
        table = pd.concat([tables[i] for i in given], ignore_index=True)
        table.index = table.index.astype(str)  # as read back from a file
        report.done = f"{len(names):,} cell{'s' if len(names) > 1 else ''} explained"
        if return_table or not (isinstance(adata, AnnData) or copy):
            return table
        target = write(query.adata, "explain", key_added, Results(members={_keys.EXPLANATION: table}), copy=copy)
        report(f"added `.uns[{key_added!r}][{_keys.EXPLANATION!r}]`")
    return target if copy else None


def _places(obs_names: pd.Index, cells: list[str]) -> np.ndarray:
    if not cells:
        msg = "`cells` is empty. Pass one or more of `adata.obs_names`."
        raise ValueError(msg)
    names = obs_names.astype(str)
    for cell in dict.fromkeys(cells):
        found = int((names == cell).sum())
        if found == 0:
            msg = f"`adata.obs_names` has no {cell!r}. {suggest(cell, names)}"
            raise MissingKeyError(msg)
        if found > 1:
            msg = f"{found} cells are called {cell!r}. Make their names unique first: `adata.obs_names_make_unique()`."
            raise ValueError(msg)
    return np.array([names.get_loc(cell) for cell in dict.fromkeys(cells)])


def _class(state: GinsengClassifierState, label: str) -> int:
    names = state.label_keys.tolist()
    if label not in names:
        msg = f"The model knows no {label!r}. {suggest(label, names)}"
        raise MissingKeyError(msg)
    return names.index(label)


def _pair(logits: np.ndarray, state: GinsengClassifierState, other: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the label of each cell, and the label that it is compared with."""
    first = state.network.probability.labels_of(logits)
    if other is not None:
        return first, np.full(len(logits), other)
    others = np.where(np.arange(logits.shape[1]) == first[:, None], -np.inf, logits)
    return first, others.argmax(axis=1)


def _tables(
    state: GinsengClassifierState,
    part: Attributed,
    names: pd.Index,
    other: int | None,
    measured: np.ndarray,
    n_genes: int | None,
) -> list[pd.DataFrame]:
    first, second = _pair(part.logits, state, other)
    tables = []
    for i, cell in enumerate(names[part.start : part.stop]):
        if part.empty[i]:
            msg = f"Cell {cell!r} has no counts in the genes of the model, so it has no label to explain."
            raise ValueError(msg)
        if first[i] == second[i]:
            msg = f"The label of cell {cell!r} is {state.label_keys[first[i]]!r} itself. Choose another `versus`."
            raise ValueError(msg)
        share = part.contributions.genes[i]
        order = np.argsort(-share, kind="stable")
        if n_genes is not None:
            speaks = order[share[order] > 0][:n_genes], order[share[order] < 0][-n_genes:]
            order = np.concatenate(speaks)
        columns = {
            "cell": str(cell),
            "label": str(state.label_keys[first[i]]),
            "versus": str(state.label_keys[second[i]]),
            "gene": state.genes[order].astype(object),
            "contribution": share[order],
            "direction": np.where(share[order] < 0, "against", "for").astype(object),
            "expression": part.contributions.x[i, order],
            "baseline": part.contributions.baseline[i, order],
            "measured": measured[order],
            "difference": part.contributions.difference[i],
            "difference_at_baseline": part.contributions.at_baseline[i],
        }
        tables.append(pd.DataFrame(columns))
    return tables
