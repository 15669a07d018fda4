"""From cells to labels: the cells that are asked about, the forward pass, and what becomes of its result."""
