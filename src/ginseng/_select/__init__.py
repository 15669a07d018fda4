"""Gene selection, by variability or by differences between cell types; computed in blocks."""
