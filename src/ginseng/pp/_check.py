from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng._cells.features import Features, features_of, suspected_features
from ginseng._cells.gene_names import id_type, species
from ginseng._cells.genes import align_genes, by_name, named_genes, names_in
from ginseng._cells.labels import coded, in_memory, likely_label_column, without_label
from ginseng._cells.matrix import layers_of
from ginseng._cells.value_kind import SAME, Values, judge, judge_matrix
from ginseng._disk.readers import open_adata
from ginseng._logging import running

if TYPE_CHECKING:
    from ginseng.model.state import GinsengClassifierState


@dataclass(frozen=True)
class Check:
    """What :func:`ginseng.pp.check` found.

    Attributes
    ----------
    n_cells, n_genes
        Size of the data.
    n_looked_at
        Cells whose values were looked at.
    matrices
        What each matrix holds: `"X"`, `"layers['...']"` and `"raw.X"`.
    use
        The one to work with, or None if none will do.
    id_type, species
        Of the names of the genes that were matched; the species is a guess, or None.
    gene_key
        Column of `var` to pass, or None for the index.
    n_duplicated
        Names that more than one gene has.
    other_features
        Rows of `var` that are no genes, by kind.
    n_model_genes, n_found
        Genes of the model, and how many of them the data have; None without a model.
    problems
        What stands in the way. Empty if `call` works.
    notes
        What else is worth knowing.
    call
        What to call.
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
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether `call` works."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, text, lists and dicts, as JSON takes them."""
        matrices = {name: asdict(values) | {"described": values.described} for name, values in self.matrices.items()}
        return asdict(self) | {"matrices": matrices, "ok": self.ok}

    def __repr__(self) -> str:
        rows = [(name, values.described) for name, values in self.matrices.items()]
        if self.use is not None:
            rows = [(name, f"{text}  <- this one" if name == self.use else text) for name, text in rows]
        kind = self.id_type + (f", {self.species} by the look of them" if self.species else "")
        rows.append(("genes", kind + (f", in `var[{self.gene_key!r}]`" if self.gene_key else "")))
        if self.n_model_genes and self.n_found is not None:
            share = self.n_found / self.n_model_genes
            rows.append(("model", f"{self.n_found:,} of its {self.n_model_genes:,} genes are there ({share:.1%})"))
        width = max(len(name) for name, _ in rows)
        lines = [f"{self.n_cells:,} cells x {self.n_genes:,} genes"]
        lines += [f"  {name:<{width}}  {text}" for name, text in rows]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  problem: {problem}" for problem in self.problems]
        lines += ["", *self.call.splitlines()] if self.call else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def check(adata: AnnData | str | Path, model: GinsengClassifierState | AnnData | str | Path | None = None) -> Check:
    """Look at data before they are worked with, and say which call they need.

    Tells counts from log-normalised and scaled values, in `X`, each layer and `raw`; which kind of gene ids there are,
    and of which species; and how many genes of a model are found, under which names. It reads `obs`, `var` and some
    2,000 cells, spread over all, so that it takes as long and as much memory for a million cells as for a thousand.
    :func:`ginseng.tl.train` and :func:`ginseng.tl.classify` judge values and names in the same way. Nothing is written.

    Parameters
    ----------
    adata
        An AnnData (in memory, backed or lazy), or a path or URL that :func:`ginseng.read_adata` reads.
    model
        A trained state, the path of a saved one, or an AnnData trained with :func:`ginseng.tl.train`.

    Returns
    -------
    A report to be printed. Its `problems` are empty if its `call` works; :meth:`to_dict` gives all of it for JSON.

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
        data = adata if isinstance(adata, AnnData) else open_adata(adata)
        try:
            return _check(data, state, *_arguments(adata, model))
        finally:
            if data is not adata and data.isbacked:
                data.file.close()


def _state(model: GinsengClassifierState | AnnData | str | Path) -> GinsengClassifierState:
    from ginseng.model.file import open_model  # needs JAX, which data without a model do not

    return open_model(model)


def _arguments(adata: Any, model: Any) -> tuple[str, str]:
    """How the call names the two."""
    return (
        "adata" if isinstance(adata, AnnData) else repr(str(adata)),
        repr(str(model)) if isinstance(model, str | Path) else "model",
    )


def _check(data: AnnData, state: GinsengClassifierState | None, name: str, model_name: str) -> Check:
    problems: list[str] = []
    notes: list[str] = []
    matrices = _matrices(data)
    use, options, before = _choice(data, matrices, state, name, problems, notes)
    looked = matrices[use] if use else next(iter(matrices.values()), None)

    var = in_memory(data.var)
    features = _features(var, notes)
    gene_key, n_found, names, n_duplicated = _genes(data, state, problems, notes)
    if (n_names := int(data.obs_names.duplicated().sum())) > 0:
        notes.append(f"{n_names:,} names of cells are repeated: results are matched by position")
    if 0 in data.shape:
        problems.append("there are no cells or no genes")
    if looked is not None and looked.n_empty:
        what = " and will be unassigned" if state else ""
        notes.append(f"{looked.n_empty:,} of {looked.n_cells:,} cells looked at have no counts{what}")
    if gene_key:
        options["gene_key"] = gene_key
    given = "".join(f", {key}={value!r}" for key, value in options.items())
    if state is not None:
        call = f"gs.tl.classify({'adata' if before else name}, {model_name}{given})"
    else:
        obs = in_memory(data.obs)
        label = likely_label_column(obs)
        if label is not None and (left_out := without_label(coded(obs[label], label), data.n_obs, label)):
            notes.append(left_out)
        if label is None:
            notes.append(f"which column of `obs` has the cell types? {', '.join(map(str, data.obs.columns)) or 'none'}")
        call = f"gs.tl.train({'adata' if before else name}, {'label_key' if label is None else repr(label)}{given})"
    return Check(
        n_cells=data.n_obs,
        n_genes=data.n_vars,
        n_looked_at=looked.n_cells if looked else 0,
        matrices=matrices,
        use=use,
        id_type=id_type(names),
        species=species(names),
        gene_key=gene_key,
        n_duplicated=n_duplicated,
        other_features=features.others,
        n_model_genes=None if state is None else state.n_genes,
        n_found=n_found,
        call="" if problems else "\n".join([*before, call]),
        problems=problems,
        notes=notes,
    )


def _matrices(data: AnnData) -> dict[str, Values]:
    found = {} if data.X is None else {"X": judge(data)}
    found |= {f"layers[{name!r}]": judge(data, name) for name in layers_of(data)}
    # the `raw` of a view on disk would be loaded whole
    if data.raw is not None and not (data.isbacked and data.is_view):
        found["raw.X"] = judge_matrix(data.raw.X, "adata.raw.X")
    return found


def _choice(
    data: AnnData,
    matrices: dict[str, Values],
    state: GinsengClassifierState | None,
    name: str,
    problems: list[str],
    notes: list[str],
) -> tuple[str | None, dict[str, Any], list[str]]:
    """Return the matrix to work with, the arguments that say so, and what must be run before."""
    wants_counts = state is None or state.normalize
    target = 1e4 if state is None else state.target_sum or state.n_genes
    any_total = state is not None and state.normalize and state.library_size == "model_genes"  # the logarithm is undone
    usable = {key: v for key, v in matrices.items() if not v.n_bad}
    for key, values in matrices.items():
        if values.n_bad:
            notes.append(f"{key} has {values.n_bad:,} values that are NaN or infinite among those looked at")

    def of_kind(kind: str) -> str | None:
        return next((key for key, v in usable.items() if v.kind == kind and (kind != "log1p" or fits(v))), None)

    def fits(values: Values) -> bool:
        if values.base != math.e or values.target_sum is None:
            return False
        return any_total or abs(values.target_sum / target - 1) <= SAME

    counts, log = of_kind("counts"), of_kind("log1p")
    options: dict[str, Any] = {}
    use = counts or log if wants_counts else log or counts
    if use is None and (use := of_kind("normalised")) is None:
        problems.append(
            "no matrix has counts, or what is made of counts for the model. Get the counts from where the data came "
            "from, or say `normalize=False` if the values are log1p of counts per 10,000 though they do not look it"
        )
        return None, options, []
    if use == log and wants_counts:
        options["normalize"] = False
    elif use != log and not wants_counts:
        options["normalize"] = True
    if use == "raw.X":
        if not data.var_names.isin(data.raw.var_names).all():
            problems.append("the counts are in `raw`, which lacks genes of `adata`: work on `adata.raw.to_adata()`")
            return use, options, []
        layer = next(n for n in ("counts", "raw_counts", "counts_of_raw") if n not in layers_of(data))
        read = [] if name == "adata" else [f"adata = gs.read_adata({name})"]
        return use, {"layer": layer} | options, [*read, f"adata.layers[{layer!r}] = adata.raw[:, adata.var_names].X"]
    layers = {f"layers[{layer!r}]": layer for layer in layers_of(data)}
    return use, ({} if use == "X" else {"layer": layers[use]}) | options, []


def _features(var: pd.DataFrame, notes: list[str]) -> Features:
    try:
        found = features_of(var)
    except ValueError:  # which the search for genes says
        return Features(np.ones(len(var), bool))
    if found.others:
        listed = ", ".join(f"{n:,} {kind!r}" for kind, n in found.others.items())
        notes.append(f"{listed} are no genes, and are left out")
    notes.extend(suspected_features(var, found))
    return found


def _genes(
    data: AnnData, state: GinsengClassifierState | None, problems: list[str], notes: list[str]
) -> tuple[str | None, int | None, pd.Index, int]:
    """Return the column of `var` with the genes, how many of the model it has, its names, and how many are repeated."""
    var = in_memory(data.var)
    gene_key: str | None = None
    n_found: int | None = None
    try:
        if state is None:
            genes, gene_key, more = named_genes(var, None)
            notes.extend([*more, *genes.notes()])
        else:
            found = align_genes(data, state.genes)
            gene_key, n_found = found.gene_key, found.n_model - len(found.missing)
            notes.extend(found.notes)
            genes = by_name(names_in(var, gene_key), found.measured)
            if found.advice:
                notes.append(found.advice.strip())
    except ValueError as error:
        problems.append(str(error))
        return None, 0 if state else None, var.index.astype(str), 0
    n_rows = np.bincount(genes.position[genes.position >= 0])
    return gene_key, n_found, pd.Index(genes.names), int((n_rows > 1).sum())
