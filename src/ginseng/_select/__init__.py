"""Which genes to work with: those that vary most, or that tell cell types apart; read in parts."""
