"""Between AnnData and arrays: matrices, gene names, labels and value kinds."""
