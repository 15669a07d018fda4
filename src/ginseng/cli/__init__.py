"""The command line: `ginseng train atlas.h5ad --labels cell_type -o atlas.h5`, and the like."""

from ginseng.cli._main import main

__all__ = ["main"]
