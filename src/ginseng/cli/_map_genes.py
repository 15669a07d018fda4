"""Convert gene names: Ensembl ids to symbols, old symbols to current ones, mouse genes to human orthologs.

With --rename, the new names become the names of the genes, and rows that become one gene are summed.
"""

from __future__ import annotations

import argparse
from typing import Any

from ginseng.cli import _options
from ginseng.cli._outputs import CELLS, TABLES, Outcome, add_outputs, check, lines, write_result

HELP = "map gene names to other ids, or to another species"
VERBS = ("pp.map_genes",)
EXAMPLES = """  ginseng map-genes query.h5ad -o query.h5ad
  ginseng map-genes query.h5ad --to symbol --rename -o renamed.h5ad
  ginseng map-genes mouse.h5ad --to symbol --to-species human -o genes.csv"""

PARAMETERS = ("to", "species", "from_", "to_species", "table", "gene_key", "rename", "overwrite")
COUNTS = ("n_genes", "n_mapped", "n_changed", "n_summed", "n_lost", "n_ambiguous")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    _options.add_data(parser)
    add_outputs(parser, (*CELLS, *TABLES))
    _options.add(parser, *PARAMETERS[:-1])
    _options.add(parser, "key_added", help="column of var for the new names (default: ginseng_ensembl and so on)")


def run(args: argparse.Namespace) -> Outcome:
    """Map the genes."""
    check(args.output, CELLS if args.rename else (*CELLS, *TABLES), args)
    import ginseng as gs
    from ginseng import _keys
    from ginseng._disk.readers import open_adata
    from ginseng._disk.writers import write_adata

    adata: Any = open_adata(args.data)
    if args.rename and adata.isbacked:
        adata = adata.to_memory()
    gs.pp.map_genes(adata, **_options.given(args, *PARAMETERS, "key_added"))
    found, document = adata.uns[_keys.GENE_MAP], None
    if not args.rename:
        document = write_result(adata, adata.var[[found["key"]]].rename_axis("gene"), args)
    elif args.output is not None:
        write_adata(adata, args.output)
    counts = {name: found[name] for name in COUNTS}
    species = found["species"] + (f" to {found['to_species']}" if found["to_species"] != found["species"] else "")
    shown = {"names": found["to"], "species": species, **{n.removeprefix("n_"): f"{v:,}" for n, v in counts.items()}}
    values = {"to": found["to"], "species": found["species"], "to_species": found["to_species"], **counts}
    return Outcome(lines(shown), values | {"lost": found["lost"]}, document=document)
