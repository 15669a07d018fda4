"""Every name that ginseng writes into an AnnData."""

DEFAULT = "ginseng"

#: `var` column: bool, the selected genes.
GENES = f"{DEFAULT}_genes"


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
