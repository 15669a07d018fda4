"""Every name that ginseng writes into an AnnData."""

DEFAULT = "ginseng"

#: `var` column: bool, the selected genes.
GENES = f"{DEFAULT}_genes"

#: `uns` entry: names of the selected genes of `adata.raw`, where `adata.var` lacks some of them.
RAW_GENES = f"{DEFAULT}_raw_genes"

#: Layer: the bin of each value within its cell.
BINS = f"{DEFAULT}_bins"


def cell_type(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the predicted label."""
    return f"{key_added}_cell_type"


def confidence(key_added: str = DEFAULT) -> str:
    """`obs` column: float32 in [0, 1], the probability of the predicted label."""
    return f"{key_added}_confidence"


def probs(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x classes, rows sum to 1."""
    return f"{key_added}_probs"


def gene_weights(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x model genes, the weight that the model gives each gene in each cell."""
    return f"{key_added}_gene_weights"


def embedding(key_added: str = DEFAULT) -> str:
    """`obsm` entry: cells x width, what the last layer of the model reads."""
    return f"X_{key_added}"


def rank_genes(key_added: str = DEFAULT) -> str:
    """`uns` entry: genes by what they contribute to the labels, as scanpy lays out its ranked genes."""
    return f"{key_added}_rank_genes"


#: `uns[key_added]` entry: the genes for and against the labels of some cells.
EXPLANATION = "explanation"


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


#: Prefix of what :func:`ginseng.tl.cross_validate` writes.
CROSS_VALIDATION = f"{DEFAULT}_cv"


def of_model(model: str, key_added: str = DEFAULT) -> str:
    """Prefix of what one of the models that are compared says of the cells."""
    return f"{key_added}_{model}"


def split(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the part of the cells of a comparison, `"train"`, `"validation"` or `"test"`."""
    return f"{key_added}_split"


def fold(key_added: str = CROSS_VALIDATION) -> str:
    """`obs` column: category, the fold in which a cell was predicted."""
    return f"{key_added}_fold"


def vote(key_added: str = DEFAULT) -> str:
    """`obs` column: category, the label that most cells of the same cluster have."""
    return f"{key_added}_vote"


def vote_fraction(key_added: str = DEFAULT) -> str:
    """`obs` column: float32 in [0, 1], the fraction of the cluster with that label."""
    return f"{key_added}_vote_fraction"


#: `var` columns: the statistics by which genes were selected. Which ones are written depends on the flavor.
MEANS = f"{DEFAULT}_means"
VARIANCES = f"{DEFAULT}_variances"
VARIANCES_NORM = f"{DEFAULT}_variances_norm"
DISPERSIONS = f"{DEFAULT}_dispersions"
DISPERSIONS_NORM = f"{DEFAULT}_dispersions_norm"
RANK = f"{DEFAULT}_rank"
N_BATCHES = f"{DEFAULT}_n_batches"
MARKER_T, MARKER_RANK = f"{DEFAULT}_t", f"{DEFAULT}_rank"
