"""Between AnnData and arrays: matrices, gene names, labels, and what their values are."""
