from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng._cells.accept import is_counts, is_log_for
from ginseng._cells.bad_values import OUTER_JOIN
from ginseng._cells.features import Features, features_of, suspected_features
from ginseng._cells.gene_names import id_type, species
from ginseng._cells.genes import Alignment, align_genes
from ginseng._cells.labels import coded, likely_label_column, without_label
from ginseng._cells.matrix import x_of
from ginseng._cells.named_genes import by_name, named_genes, names_in
from ginseng._cells.open import OpenCells, open_cells
from ginseng._cells.value_kind import Values
from ginseng._docs import document
from ginseng._logging import running
from ginseng._repr import Card

if TYPE_CHECKING:
    from ginseng.model.state import GinsengClassifierState


@dataclass(frozen=True)
class Check:
    """The report of :func:`ginseng.pp.check`.

    Attributes
    ----------
    n_cells, n_genes
        Size of the data.
    n_looked_at
        Number of cells whose values were examined.
    matrices
        Description of each matrix: `"X"`, `"layers['...']"` and `"raw.X"`.
    use
        The matrix to use, or None if there is no suitable one.
    id_type, species
        Of the gene names; the species is a guess, or None.
    gene_key
        Column of `var` to pass, or None for the index.
    n_duplicated
        Number of names shared by several genes.
    other_features
        Number of features that are not genes, by type.
    n_model_genes, n_found
        Number of genes of the model, and of those found in the data; None without a model.
    weight
        Share of what tells the classes of the model apart that is in genes of the data; None where that is not known.
    problems
        What prevents the call. Empty if `call` works.
    notes
        Further remarks.
    call
        The call to make.
    """

    n_cells: int
    n_genes: int
    n_looked_at: int
    matrices: dict[str, Values]
    use: str | None
    id_type: str
    species: str | None
    gene_key: str | None
    n_duplicated: int
    other_features: dict[str, int]
    n_model_genes: int | None
    n_found: int | None
    call: str
    weight: float | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether `call` works."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, text, lists and dicts, ready for JSON."""
        matrices = {name: asdict(values) | {"described": values.described} for name, values in self.matrices.items()}
        return asdict(self) | {"matrices": matrices, "ok": self.ok}

    def _card(self) -> Card:
        rows = [(name, values.described) for name, values in self.matrices.items()]
        if self.use is not None:
            rows = [(name, f"{text}  <- this one" if name == self.use else text) for name, text in rows]
        kind = self.id_type + (f", {self.species} by the look of them" if self.species else "")
        rows.append(("genes", kind + (f", in `var[{self.gene_key!r}]`" if self.gene_key else "")))
        if self.n_model_genes and self.n_found is not None:
            share = self.n_found / self.n_model_genes
            rows.append(
                ("model", f"{self.n_found:,} of its {self.n_model_genes:,} genes are in the data ({share:.1%})")
            )
        return Card(f"{self.n_cells:,} cells x {self.n_genes:,} genes", dict(rows), wrap=False)

    def __repr__(self) -> str:
        lines = [self._card().text()]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  problem: {problem}" for problem in self.problems]
        lines += ["", *self.call.splitlines()] if self.call else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        card = self._card()
        card.rows = {
            **card.rows,
            **({"notes": "\n".join(self.notes)} if self.notes else {}),
            **({"problems": "\n".join(self.problems)} if self.problems else {}),
            **({"call": self.call} if self.call else {}),
        }
        return card.html()


@document
def check(adata: AnnData | str | Path, model: GinsengClassifierState | AnnData | str | Path | None = None) -> Check:
    """Inspect data before an analysis, and suggest the call to make.

    Tells counts from log-normalised and scaled values, in `X`, each layer and `raw`; identifies the kind of gene ids
    and the species; and counts how many genes of a model are found, under which names. It reads `obs`, `var` and about
    2,000 cells, so time and memory do not grow with the number of cells. :func:`ginseng.tl.train` and
    :func:`ginseng.tl.classify` judge values and names in the same way. For a model that was calibrated, it says how
    many labels to expect to be right with the genes that are there, and which types need those that are not. Nothing
    is written.

    Parameters
    ----------
    adata
        An AnnData (in memory, backed or lazy), or a path or URL that :func:`ginseng.read_adata` reads.
    %(model)s

    Returns
    -------
    A printable report. Its `problems` are empty if its `call` works; :meth:`to_dict` returns everything for JSON.

    Examples
    --------
    >>> import ginseng as gs
    >>> gs.pp.check(gs.datasets.pbmc68k())
    700 cells x 765 genes
      X                 counts (whole numbers up to 259)  <- this one
      layers['counts']  counts (whole numbers up to 259)
      genes             symbols, human by the look of them
    <BLANKLINE>
    gs.tl.train(adata, 'cell_type')
    """
    with running("check"):
        state = None if model is None else _state(model)
        cells = open_cells(adata)
        try:
            return _check(cells, state, _name(model, "model"))
        finally:
            if cells.path is not None and cells.adata.isbacked:
                cells.adata.file.close()


def _state(model: GinsengClassifierState | AnnData | str | Path) -> GinsengClassifierState:
    from ginseng.models.store import open_model  # needs JAX, unlike checks without a model

    return open_model(model)


def _name(given: Any, otherwise: str) -> str:
    """Return the name of the model for the suggested call."""
    return repr(str(given)) if isinstance(given, str | Path) else otherwise


def _check(first: OpenCells, state: GinsengClassifierState | None, model_name: str) -> Check:
    problems: list[str] = []
    notes: list[str] = []
    matrices = {
        _matrix_name(cells): cells for cells in [*([] if x_of(first.adata) is None else [first]), *first.others()]
    }
    use, options = _choice(matrices, state, problems, notes)
    cells = matrices[use] if use else next(iter(matrices.values()), first)

    features = _features(cells.var, notes)
    gene_key, n_found, weight, names, n_duplicated = _genes(cells, state, problems, notes)
    if (n_names := int(cells.adata.obs_names.duplicated().sum())) > 0:
        notes.append(f"{n_names:,} cell names are repeated: results are matched by position")
    if 0 in (cells.n_obs, cells.n_vars):
        problems.append("there are no cells or no genes")
    n_empty = cells.values.n_empty if matrices else 0
    if n_empty:
        what = " and will be unassigned" if state else ""
        notes.append(f"{n_empty:,} of {cells.values.n_cells:,} examined cells have no counts{what}")
    if gene_key:
        options["gene_key"] = gene_key
    given = "".join(f", {key}={value!r}" for key, value in options.items())
    name = _name(first.path, "adata")
    if state is not None:
        call = f"gs.tl.classify({name}, {model_name}{given})"
    else:
        label = likely_label_column(cells.obs)
        if label is not None and (left_out := without_label(coded(cells.obs[label], label), cells.n_obs, label)):
            notes.append(left_out)
        if label is None:
            notes.append(
                f"which column of `obs` has the cell types? {', '.join(map(str, cells.obs.columns)) or 'none'}"
            )
        call = f"gs.tl.train({name}, {'label_key' if label is None else repr(label)}{given})"
    return Check(
        n_cells=cells.n_obs,
        n_genes=first.n_vars,
        n_looked_at=cells.values.n_cells if matrices else 0,
        matrices={name: cells.values for name, cells in matrices.items()},
        use=use,
        id_type=id_type(names),
        species=species(names),
        gene_key=gene_key,
        n_duplicated=n_duplicated,
        other_features=features.others,
        n_model_genes=None if state is None else state.n_genes,
        n_found=n_found,
        call="" if problems else call,
        weight=weight,
        problems=problems,
        notes=notes,
    )


def _matrix_name(cells: OpenCells) -> str:
    return cells.where.removeprefix("adata.")


def _choice(
    matrices: dict[str, OpenCells], state: GinsengClassifierState | None, problems: list[str], notes: list[str]
) -> tuple[str | None, dict[str, Any]]:
    """Return the matrix to use, and the arguments that select it."""
    wants_counts = state is None or state.normalize
    target = 1e4 if state is None else state.target_sum or float(state.n_genes)
    any_total = state is not None and state.normalize and state.library_size == "model_genes"  # the logarithm is undone
    for name, cells in matrices.items():
        if n_bad := cells.values.n_bad:
            what = f" {OUTER_JOIN}" if cells.values.outer_join else ""
            notes.append(f"{name} has {n_bad:,} NaN or infinite values among those examined.{what}")
    usable = {name: cells.values for name, cells in matrices.items() if not cells.values.n_bad}
    counts = [name for name, found in usable.items() if found.kind == "counts"]
    log = [name for name, found in usable.items() if is_log_for(found, target, any_total=any_total)]
    like_counts = [name for name, found in usable.items() if is_counts(found) and not found.mixed]
    like_counts.sort(key=lambda name: usable[name].kind == "normalised")
    if not (fit := [*counts, *log, *like_counts] if wants_counts else [*log, *counts, *like_counts]):
        problems.append(
            "no matrix has counts, or values that the model would compute from counts. Restore the counts from the "
            "original data, or pass `normalize=False` if the values are log1p of counts per 10,000 but do not look it"
        )
        return None, {}
    use = fit[0]
    options: dict[str, Any] = {} if matrices[use].layer is None else {"layer": matrices[use].layer}
    if wants_counts == (use in log):
        options["normalize"] = not wants_counts
    if usable[use].kind == "fractional":
        notes.append(f"{use} has non-integer counts, as if estimated or corrected; they are used")
    return use, options


def _features(var: pd.DataFrame, notes: list[str]) -> Features:
    try:
        found = features_of(var)
    except ValueError:  # reported by the search for genes
        return Features(np.ones(len(var), bool))
    if found.others:
        listed = ", ".join(f"{n:,} {kind!r}" for kind, n in found.others.items())
        notes.append(f"{listed} are not genes, and are left out")
    notes.extend(suspected_features(var, found))
    return found


def _genes(
    cells: OpenCells, state: GinsengClassifierState | None, problems: list[str], notes: list[str]
) -> tuple[str | None, int | None, float | None, pd.Index, int]:
    """Return the `var` column of the genes, number and weight of the model genes found, names, number of repeats."""
    gene_key: str | None = None
    n_found: int | None = None
    weight: float | None = None
    try:
        if state is None:
            genes, gene_key, more = named_genes(cells.var, None)
            notes.extend([*more, *genes.notes()])
        else:
            found = align_genes(cells.holder, state.genes, other_names=state.other_names)
            gene_key, n_found = found.gene_key, found.n_model - len(found.missing)
            notes.extend(found.notes)
            genes = by_name(names_in(cells.var, gene_key), found.measured)
            if found.advice:
                notes.append(found.advice.strip())
            weight = _weight(state, found, notes)
    except ValueError as error:
        problems.append(str(error))
        return None, 0 if state else None, None, cells.var.index.astype(str), 0
    n_rows = np.bincount(genes.position[genes.position >= 0])
    return gene_key, n_found, weight, pd.Index(genes.names), int((n_rows > 1).sum())


def _weight(state: GinsengClassifierState, genes: Alignment, notes: list[str]) -> float | None:
    """Return the share of the model's weight that is on genes of the data, and note what the others cost."""
    from ginseng.model.overlap import collapsing, expectation, measured_weight  # needs JAX

    weight = measured_weight(state, np.isin(np.arange(genes.n_model), genes.position))
    if said := expectation(state, weight):
        lost = collapsing(state, weight)
        notes.append(said + (f"; hardly any of {', '.join(map(repr, lost))}" if lost else ""))
    return weight
