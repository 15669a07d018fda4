"""Every name that ginseng writes into an AnnData."""

DEFAULT = "ginseng"

#: `var` column: bool, the selected genes.
GENES = f"{DEFAULT}_genes"

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


#: `var` columns: the statistics by which genes were selected. Which ones are written depends on the flavor.
MEANS = f"{DEFAULT}_means"
VARIANCES = f"{DEFAULT}_variances"
VARIANCES_NORM = f"{DEFAULT}_variances_norm"
DISPERSIONS = f"{DEFAULT}_dispersions"
DISPERSIONS_NORM = f"{DEFAULT}_dispersions_norm"
RANK = f"{DEFAULT}_rank"
N_BATCHES = f"{DEFAULT}_n_batches"
