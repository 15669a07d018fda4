"""All names that ginseng writes into an AnnData, which verb writes them, and what they are derived from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

type Named = Callable[[str], str]

DEFAULT = "ginseng"

#: `var` column: bool, the selected genes.
GENES = f"{DEFAULT}_genes"

#: `uns` entry: names of the selected genes of `adata.raw`, if `adata.var` lacks some of them.
RAW_GENES = f"{DEFAULT}_raw_genes"

#: Layer: bin of each value within its cell.
BINS = f"{DEFAULT}_bins"


#: `uns` entry: how the names of genes were mapped, what was summed, and what was lost.
GENE_MAP = f"{DEFAULT}_gene_map"


def mapped_genes(kind: str) -> str:
    """`var` column: the name of each gene as `"ensembl"`, `"symbol"` or `"entrez"`, empty where there is none."""
    return f"{DEFAULT}_{kind}"


def cell_type(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the predicted label."""
    return f"{key_added}_cell_type"


def confidence(key_added: str = DEFAULT) -> str:
    """`obs` column: float32 in [0, 1], the probability of the predicted label."""
    return f"{key_added}_confidence"


def novelty(key_added: str = DEFAULT) -> str:
    """`obs` column: float32 in [0, 1], how unlike the reference of the model the cell is."""
    return f"{key_added}_novelty"


def term_of(column: str) -> str:
    """`obs` column: category, the Cell Ontology ids of the labels in another column, or `"unknown"`."""
    return f"{column}_ontology_term_id"


def ontology_term_id(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the Cell Ontology id of the predicted label, or `"unknown"`."""
    return term_of(cell_type(key_added))


def best_class(key_added: str = DEFAULT) -> str:
    """`obs` column: category, with back-off: the most probable class, however sure the model is of it."""
    return f"{key_added}_class"


def class_confidence(key_added: str = DEFAULT) -> str:
    """`obs` column: float32 in [0, 1], with back-off: the probability of the most probable class."""
    return f"{key_added}_class_confidence"


#: `uns[key_added]` entry: names of the levels whose labels are in `obs`, the broadest first.
LEVELS = "levels"


def level(name: str) -> Named:
    """`obs` column: category, the predicted label of a level.

    It is named after the level, unless that is the name of another result, as `cell_type` is.
    """
    taken = {
        name_of("")
        for verb in OUTPUTS.values()
        for name_of in (*verb.types, *verb.groups, *verb.fractions, *verb.counts)
    }
    named = f"_{name}_level" if {f"_{name}", f"_{name}_confidence"} & taken else f"_{name}"

    def of(key_added: str = DEFAULT) -> str:
        return f"{key_added}{named}"

    return of


def level_confidence(name: str) -> Named:
    """`obs` column: float32 in [0, 1], the sum of the probabilities of the classes within that label."""

    def of(key_added: str = DEFAULT) -> str:
        return f"{level(name)(key_added)}_confidence"

    return of


def probs(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x classes, rows sum to 1."""
    return f"{key_added}_probs"


def gene_weights(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x model genes, the weight of each gene in each cell."""
    return f"{key_added}_gene_weights"


def embedding(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x width, the input of the model's last layer."""
    return f"X_{key_added}"


def rank_genes(key_added: str = DEFAULT) -> str:
    """`uns` entry: genes ranked by their contribution to the labels, in scanpy's layout."""
    return f"{key_added}_rank_genes"


#: `method` in the parameters written by :func:`ginseng.tl.rank_genes`, which distinguishes its results from scanpy's.
RANKED_BY = "contributions"

#: `uns[key_added]` entry: the genes for and against the labels of some cells.
EXPLANATION = "explanation"


def prediction_set(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the types of a prediction set, separated by `" | "`."""
    return f"{key_added}_set"


def set_size(key_added: str = DEFAULT) -> str:
    """`obs` column: int32, the number of types in the prediction set."""
    return f"{key_added}_set_size"


def set_ancestor(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the label that takes in all types of the prediction set."""
    return f"{key_added}_set_ancestor"


def sets(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x classes, bool, the types in the prediction sets."""
    return f"{key_added}_sets"


def uncertainty(key_added: str = DEFAULT) -> str:
    """`obs` column: float32 in [0, 1], entropy of the mean probabilities over passes with dropout."""
    return f"{key_added}_uncertainty"


def spread(key_added: str = DEFAULT) -> str:
    """`obs` column: float32, standard deviation of the probability of the label over passes with dropout."""
    return f"{key_added}_spread"


def mean_probs(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x classes, mean probabilities over passes with dropout."""
    return f"{key_added}_probs_mean"


def std_probs(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x classes, standard deviations of the probabilities over passes with dropout."""
    return f"{key_added}_probs_std"


#: Default prefix of :func:`ginseng.tl.cross_validate`.
CROSS_VALIDATION = f"{DEFAULT}_cv"


#: Default prefix of :func:`ginseng.tl.audit_labels`.
AUDIT = f"{DEFAULT}_audit"


def audit_label(key_added: str = AUDIT) -> str:
    """`obs` column: category, the label of each cell, or the likely one where it is probably wrong."""
    return f"{key_added}_label"


def audit_score(key_added: str = AUDIT) -> str:
    """`obs` column: float32 in [0, 1], the probability that the label is wrong."""
    return f"{key_added}_score"


def audit_wrong(key_added: str = AUDIT) -> str:
    """`obs` column: bool, whether the label is probably wrong."""
    return f"{key_added}_wrong"


def of_model(model: str, key_added: str = DEFAULT) -> str:
    """Prefix for the results of one of the compared models."""
    return f"{key_added}_{model}"


def split(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the part of each cell in a comparison, `"train"`, `"validation"` or `"test"`."""
    return f"{key_added}_split"


def fold(key_added: str = CROSS_VALIDATION) -> str:
    """`obs` column: category, the fold in which a cell was predicted."""
    return f"{key_added}_fold"


def vote(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the majority label of the cluster."""
    return f"{key_added}_vote"


def vote_fraction(key_added: str = DEFAULT) -> str:
    """`obs` column: float32 in [0, 1], the share of the cluster with that label."""
    return f"{key_added}_vote_fraction"


#: `var` columns: statistics of the selection. Which ones are written depends on the flavor.
MEANS = f"{DEFAULT}_means"
VARIANCES = f"{DEFAULT}_variances"
VARIANCES_NORM = f"{DEFAULT}_variances_norm"
DISPERSIONS = f"{DEFAULT}_dispersions"
DISPERSIONS_NORM = f"{DEFAULT}_dispersions_norm"
RANK = f"{DEFAULT}_rank"
N_BATCHES = f"{DEFAULT}_n_batches"
MARKER_T, MARKER_RANK = f"{DEFAULT}_t", f"{DEFAULT}_rank"
#: All statistics, without the selected genes themselves.
STATISTICS = (MEANS, VARIANCES, VARIANCES_NORM, DISPERSIONS, DISPERSIONS_NORM, RANK, N_BATCHES, MARKER_T)


@dataclass(frozen=True)
class Output:
    """What a verb writes. Names that depend on the prefix are functions of it."""

    #: `obs` columns: category, cell types.
    types: tuple[Named, ...] = ()
    #: `obs` columns: category, other groups.
    groups: tuple[Named, ...] = ()
    #: `obs` columns: float32 in [0, 1].
    fractions: tuple[Named, ...] = ()
    #: `obs` columns: bool.
    flags: tuple[Named, ...] = ()
    #: `obs` columns: int32, 0 or more.
    counts: tuple[Named, ...] = ()
    #: `obsm` entries: float32, or bool.
    arrays: tuple[Named, ...] = ()
    #: Entries of `uns[key_added]`.
    members: tuple[str, ...] = ()
    #: The member that only this verb writes, a dictionary or table.
    record: str = ""
    #: `uns` entries, besides `uns[key_added]`.
    entries: tuple[Named, ...] = ()
    #: Parameter in the record that names the `obs` column from which the results were derived.
    source: str = ""
    #: Whether the results depend on the labels with the same prefix, and are removed with them.
    of_labels: bool = False
    #: Columns among these that are not always written, by the member that is there if they are.
    optional: Mapping[str, tuple[Named, ...]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[Named, ...]:
        """All `obs` columns."""
        return (*self.types, *self.groups, *self.fractions, *self.flags, *self.counts)


#: What each verb writes. Verbs that are not listed cannot write; names that are not listed are not protected.
OUTPUTS = {
    "train": Output(members=("model", "params", "classes", "history", "versions"), record="model"),
    "classify": Output(
        types=(cell_type, best_class),
        groups=(ontology_term_id,),
        fractions=(confidence, novelty, class_confidence),
        optional={
            "calibration": (novelty,),
            "ontology": (ontology_term_id,),
            "backoff": (best_class, class_confidence),
        },
        arrays=(probs, gene_weights),
        # a store has a `format`
        members=(
            "classes",
            "overlap",
            "unassigned",
            "restriction",
            "adaptation",
            "genes",
            "ontology",
            "backoff",
            LEVELS,
            "calibration",
            "composition",
            "reference",
            "run",
            "format",
        ),
        record="overlap",
    ),
    "prediction_sets": Output(
        groups=(prediction_set, set_ancestor),
        counts=(set_size,),
        optional={"ancestors": (set_ancestor,)},
        arrays=(sets,),
        members=("classes", "sets", "ancestors"),
        record="sets",
        of_labels=True,
    ),
    "uncertainty": Output(
        fractions=(uncertainty, spread),
        arrays=(mean_probs, std_probs),
        members=("classes", "uncertainty"),
        record="uncertainty",
        of_labels=True,
    ),
    "vote": Output(
        types=(vote,), fractions=(vote_fraction,), members=("vote",), record="vote", source="prediction_key"
    ),
    "novel": Output(members=("novel",), record="novel", source="novelty_key"),
    "evaluate": Output(members=("metrics",), record="metrics", source="prediction_key"),
    "explain": Output(members=(EXPLANATION,), record=EXPLANATION, of_labels=True),
    "rank_genes": Output(entries=(rank_genes,), source="groupby"),
    "embed": Output(arrays=(embedding,), members=("embedding",), record="embedding"),
    "compare": Output(groups=(split,), members=("comparison",), record="comparison"),
    # genes and layers, whose names have no prefix
    "pp": Output(),
    "map_genes": Output(),
    "map_labels": Output(),
    "cross_validate": Output(
        types=(cell_type,),
        groups=(fold,),
        fractions=(confidence,),
        arrays=(probs,),
        members=("folds", "metrics", "classes", "params"),
        record="folds",
    ),
    "audit_labels": Output(
        types=(audit_label,),
        fractions=(audit_score,),
        flags=(audit_wrong,),
        members=("types", "pairs", "summary", "classes", "params"),
        record="types",
    ),
}
#: Members of `uns[key_added]` that several verbs write independently.
SHARED = frozenset({"classes", "params"})
#: Entries of `obsm` whose columns are the `classes` of `uns[key_added]`.
BY_CLASS = (probs, mean_probs, std_probs, sets)
