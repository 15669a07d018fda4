"""Cell type annotation for single-cell RNA-seq data."""
