"""Cell Ontology: terms, labels that stand for them, how far apart they are, and what is above them."""
