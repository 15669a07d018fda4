"""The parts of the page, each a function that returns it or None where nothing is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ginseng import _keys
from ginseng._report import facts as _facts
from ginseng._report import figures
from ginseng._report.facts import NO_TYPE, Facts, member
from ginseng._report.markup import Content, Markup, copyable, join, pairs, section, table, tag

#: Types listed at most in a table or legend.
MOST = 200

#: Headings in the list of sections.
NAMES = {
    "distrust": "Types to check",
    "types": "Cell types",
    "groups": "Composition",
    "embedding": "Embedding",
    "certainty": "Confidence",
    "metrics": "True labels",
    "genes": "Genes",
    "model": "Model",
    "checks": "Input",
    "methods": "Methods",
    "citation": "Citation",
}
#: Packages whose versions a methods section states.
PACKAGES = ("ginseng", "jax", "anndata", "scanpy", "numpy", "scipy", "pandas")


def summary(adata: AnnData, facts: Facts) -> Markup:
    """Return the figures at the top."""
    tiles: list[tuple[str, str]] = [
        (f"{adata.n_obs:,}", "cells"),
        (f"{adata.n_vars:,}", "genes"),
        (f"{facts.n_types:,}", "cell types found"),
    ]
    if "confidence" in facts.obs:
        tiles.append((_number(facts.obs["confidence"].median()), "median confidence"))
    if "novelty" in facts.obs:
        tiles.append((_number(facts.obs["novelty"].median()), "median novelty"))
    if facts.n_without:
        tiles.append((f"{facts.n_without:,}", "cells without a label"))
    if "accuracy" in (metrics := member(facts.entry, "metrics")):
        tiles.append((_number(metrics["accuracy"]), "accuracy"))
    return tag("div", [tag("div", tag("b", n), tag("span", what), class_="tile") for n, what in tiles], class_="tiles")


def distrust(facts: Facts) -> Markup:
    """Return the types whose labels need a second look."""
    found = _facts.distrusted(facts)
    if not found:
        known = [name for name in ("confidence", "novelty", "agreement", "f1") if name in facts.types]
        text = f"No type stands out by its {', '.join([*known, 'number of cells'])}."
        return section("Types to check first", tag("p", text), name="distrust")
    rows = [
        [
            _label(facts, name),
            f"{facts.types['n'][name]:,}",
            tag("ul", [tag("li", w) for w in why], class_="why"),
        ]
        for name, why in found[:MOST]
    ]
    text = (
        "These labels need a second look, at the marker genes of the cells for example. Confidence says how sure the "
        "model is among the types that it knows; a type that it does not know can get a confident label."
    )
    return section(
        "Types to check first", tag("p", text), table(["type", "cells", "why"], rows, numbers=[1]), name="distrust"
    )


def types(facts: Facts) -> Markup:
    """Return the table of types."""
    given = facts.types
    columns: list[Content] = ["type", "cells", "share", ""]
    optional = [name for name in ("confidence", "novelty", "agreement", "f1") if name in given]
    heads = {"confidence": "median confidence", "novelty": "median novelty", "agreement": "agrees with vote"}
    heads["f1"] = "F1"
    for column in optional:
        columns += [heads[column], *(["quartiles"] if column == "confidence" else [])]
    largest = max(float(given["share"].max()), 1e-9)
    rows = []
    for name, row in given.head(MOST).iterrows():
        bar = figures.share_bar(row["share"] / largest, facts.colors[str(name)])
        cells: list[Content] = [_label(facts, str(name)), f"{int(row['n']):,}", f"{row['share']:.1%}", bar]
        for column in optional:
            cells.append(_number(row[column]))
            if column == "confidence":
                cells.append(figures.range_bar(row["low"], row["confidence"], row["high"]))
        rows.append(cells)
    numbers = [i for i, head in enumerate(columns) if i in (1, 2) or head in heads.values()]
    more = tag("p", f"And {len(given) - MOST:,} more types.", class_="note") if len(given) > MOST else None
    return section("Cell types", table(columns, rows, numbers=numbers), more, name="types")


def groups(facts: Facts) -> Markup | None:
    """Return the composition of each group."""
    if "group" not in facts.obs:
        return None
    counts = _facts.composition(facts)
    shares = counts.div(counts.sum(axis=1), axis=0)
    bars = []
    sizes = counts.sum(axis=1).to_numpy()
    for size, (name, row) in list(zip(sizes, shares.iterrows(), strict=True))[:MOST]:
        stack = [
            tag(
                "span", style=f"width:{share:.3%};background:{facts.colors[str(label)]}", title=f"{label}: {share:.1%}"
            )
            for label, share in row.items()
            if share > 0
        ]  # fmt: skip
        text = f"{name} ({int(size):,} cells)"
        bars.append(
            [tag("div", text), tag("div", stack, class_="stack", role="img", aria_label=f"Composition of {name}")]
        )
    more = tag("p", f"And {len(shares) - MOST:,} more.", class_="note") if len(shares) > MOST else None
    title = f"Composition by {facts.names['group']}"
    return section(title, bars, more, _legend(facts, [str(name) for name in counts.columns]), name="groups")


def embedding(adata: AnnData, facts: Facts, basis: str | None) -> Markup | None:
    """Return labels, confidence and novelty on an embedding."""
    found = _facts.coordinates(adata, basis)
    if found is None:
        return None
    xy, name = found
    rows = figures.sample(len(xy))
    cells, xy = facts.obs.iloc[rows], xy[rows]
    panels = []
    for column, title in (("label", "Predicted label"), ("true", "True label")):
        if column in cells:
            # cells without a label lie beneath
            order = np.argsort(~cells[column].isin([facts.without, NO_TYPE]).to_numpy(), kind="stable")
            shades = [facts.colors.get(label, _facts.MISSING) for label in cells[column].to_numpy()[order]]
            image = figures.dots(xy[order], shades, f"{title} on {name}")
            panels.append(tag("figure", tag("h3", title), image))
    for column, title in (("confidence", "Confidence"), ("novelty", "Novelty")):
        if column in cells:
            image = figures.dots(xy, figures.shades(cells[column].to_numpy(float)), f"{title} on {name}")
            ends = tag("div", tag("span", "0"), tag("span", "1"), class_="ends")
            bar = tag("div", class_="ramp", style=f"background:{figures.ramp()}")
            panels.append(tag("figure", tag("h3", title), image, bar, ends))
    shown = [str(label) for label in facts.types.index]
    if "true" in cells:
        shown += [label for label in dict.fromkeys(facts.obs["true"]) if label not in shown]
    drawn = "" if len(rows) == adata.n_obs else f" A random sample of {len(rows):,} cells is drawn."
    note = tag("p", f"Coordinates: {name if len(name) > 5 else name.upper()}.{drawn}", class_="note")
    return section("Embedding", tag("div", panels, class_="panels"), _legend(facts, shown), note, name="embedding")


def certainty(facts: Facts) -> Markup | None:
    """Return the distributions of confidence and novelty."""
    inner = []
    given = member(facts.entry, "unassigned")
    lines = {"confidence": float(given.get("min_confidence", 0) or 0), "novelty": float(given.get("max_novelty", 0))}
    for name, title in (("confidence", "Confidence"), ("novelty", "Novelty")):
        if name not in facts.obs:
            continue
        values = facts.obs[name].to_numpy(float)
        line = lines[name]
        told = {
            "confidence": "The probability of the label among the types that the model knows.",
            "novelty": "How unlike the reference the cell is, whatever its label.",
        }[name]
        if line:
            beyond, side = (values < line, "below") if name == "confidence" else (values > line, "above")
            told += f" {beyond.sum():,} cells are {side} {line:.2g}, the dashed line, and have no label of their own."
        image = figures.histogram(values, line, f"Histogram of the {name} of all cells")
        inner.append(tag("figure", tag("h3", title), tag("p", told), image))
    if not inner:
        return None
    return section("Confidence" + (" and novelty" if len(inner) > 1 else ""), inner, name="certainty")


def metrics(facts: Facts) -> Markup | None:
    """Return the comparison with true labels."""
    found = member(facts.entry, "metrics")
    if "accuracy" not in found:
        return None
    names = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
    rows: list[tuple[str, Content]] = [
        (n.replace("_", " ").replace("f1", "F1"), _number(found[n])) for n in names if n in found
    ]
    text = (
        f"Labels were compared with the column {found.get('label_key', '')!r}, {int(found.get('n_cells', 0)):,} cells."
    )
    per_class = found.get("per_class")
    inner = None
    if isinstance(per_class, pd.DataFrame):
        wanted = [c for c in ("precision", "recall", "f1", "support") if c in per_class]
        lines = [
            [_label(facts, str(name)), *(f"{int(row[c]):,}" if c == "support" else _number(row[c]) for c in wanted)]
            for name, row in per_class.head(MOST).iterrows()
        ]
        inner = table(["type", *(c.replace("f1", "F1") for c in wanted)], lines, numbers=range(1, len(wanted) + 1))
    return section("Against true labels", tag("p", text), pairs(rows), inner, name="metrics")


def genes(adata: AnnData, key: str, state: Any) -> Markup | None:
    """Return the genes of each type."""
    found, source = _facts.top_genes(adata, key)
    text = {
        "ginseng.tl.rank_genes": "Genes that drive the label of each type in these cells and are higher in it.",
        "scanpy": "Genes that scanpy ranked for each group of these cells and that are higher in it.",
    }.get(source, "")
    if not found and state is not None:
        found = _facts.genes_of_reference(state)
        text = "Genes that are highest in each type relative to the others, in the cells the model was trained on."
    if not found:
        return None
    rows = [[name, [[tag("code", gene), " "] for gene in listed]] for name, listed in list(found.items())[:MOST]]
    content = tag("div", table(["type", "genes"], rows), class_="genes")
    return section("Genes of each type", tag("p", text), content, name="genes")


def model(facts: Facts, state: Any) -> Markup | None:
    """Return what is known of the model."""
    run, overlap = member(facts.entry, "run"), member(facts.entry, "overlap")
    rows: list[tuple[str, Content]] = []
    if run.get("model"):
        rows.append(("name", str(run["model"])))
    if state is not None:
        from ginseng.model.card import model_card

        rows += [(name, str(value)) for name, value in _shown(model_card(vars(state)).rows).items()]
    elif run:
        rows += _pairs_of_run(run)
    classes = facts.entry.get("classes")
    if state is None and classes is not None:
        names = [str(name) for name in np.asarray(classes).tolist()]
        rows.append(("classes", f"{len(names)}: {', '.join(names[:MOST])}"))
    if overlap:
        rows.append(("genes found in these data", _overlap(overlap)))
    reference = member(facts.entry, "reference")
    rows += [(name, str(reference[name])) for name in ("licence", "citation") if reference.get(name)]
    return section("Model", pairs(rows), name="model") if rows else None


def checks(adata: AnnData, facts: Facts, state: Any) -> Markup:
    """Return what the data look like."""
    from ginseng.pp import check

    try:
        found = check(adata, state)
    except (ValueError, KeyError, OSError) as error:
        return section("Input", tag("p", f"The data could not be checked: {error}"), name="checks")
    rows: list[tuple[str, Content]] = [("size", f"{found.n_cells:,} cells x {found.n_genes:,} genes")]
    rows += [(name, values.described) for name, values in found.matrices.items()]
    kind = found.id_type + (f", {found.species} by the look of them" if found.species else "")
    rows.append(("names of genes", kind))
    if found.n_model_genes and found.n_found is not None:
        share = found.n_found / found.n_model_genes
        rows.append(("genes of the model", f"{found.n_found:,} of {found.n_model_genes:,} are there ({share:.1%})"))
    rows += [("note", note) for note in found.notes if "which column of `obs`" not in note]
    # a file of labels may have no counts any more, which is no problem of the labels
    rows += [("to note" if state is None else "problem", problem) for problem in found.problems]
    return section("Input", pairs(rows), name="checks")


def methods(adata: AnnData, key: str, facts: Facts, state: Any) -> Markup:
    """Return how the labels were made, for a methods section, and with which versions."""
    text = " ".join(_sentences(adata, key, facts, state))
    run = member(facts.entry, "run")
    recorded = member(run, "versions")
    rows: list[tuple[str, Content]] = [("parameters", _parameters(run))] if run.get("parameters") else []
    if recorded:
        rows.append(("versions when labelled", _versions(recorded)))
    rows.append(("versions when this page was written", _versions({p: version_of(p) for p in PACKAGES})))
    columns = [column for name, column in facts.names.items() if name not in ("true", "group")]
    rows.append(("where the results are", f"obs: {', '.join(columns)}; uns[{key!r}]"))
    return section("How it was done", copyable(text, "the methods"), pairs(rows), name="methods")


def citation(facts: Facts) -> Markup:
    """Return what to cite."""
    number = str(member(member(facts.entry, "run"), "versions").get("ginseng") or version_of("ginseng"))
    own = (
        "@software{ginseng,\n"
        "  title   = {ginseng: cell type annotation for single-cell RNA-seq data},\n"
        "  author  = {{The ginseng developers}},\n"
        f"  version = {{{number}}},\n"
        "  license = {BSD-3-Clause}\n"
        "}"
    )
    asked = member(facts.entry, "reference").get("citation")
    more = (
        [tag("p", "The makers of the model ask to be cited:"), copyable(str(asked), "the citation")] if asked else None
    )
    return section("Citation", copyable(own, "the citation"), more, name="citation")


# -- words -----------------------------------------------------------------------------------------------------------


def _sentences(adata: AnnData, key: str, facts: Facts, state: Any) -> list[str]:
    entry = facts.entry
    run, overlap, adaptation = (member(entry, name) for name in ("run", "overlap", "adaptation"))
    number = member(run, "versions").get("ginseng") or version_of("ginseng")
    name = f" and the model {run['model']!r}" if run.get("model") else ""
    said = [f"Cell types of {adata.n_obs:,} cells were predicted by ginseng {number}{name}."]
    about = _about_model(run, state)
    if about:
        said.append(about)
    if overlap:
        n_found, n_genes = int(overlap["n_found"]), int(overlap["n_genes"])
        text = f"The data have {n_found:,} of the {n_genes:,} genes of the model ({float(overlap['share']):.1%})"
        weight = (
            f", which carry {float(overlap['weight']):.0%} of what tells its types apart" if "weight" in overlap else ""
        )
        said.append(f"{text}{weight}.")
    if adaptation and len(adaptation["shift"]):
        said.append(
            "Expression was adapted to the reference by the shift of each gene that "
            f"{int(adaptation['n_classes'])} cell types share."
        )
    if own := float(adaptation.get("own_classes", 0)):
        said.append(
            "As the cells are of another study, the types as they lie in them (linear discriminant analysis of "
            f"principal components) had a weight of {own:.0%} in the probabilities."
        )
    given = member(entry, "unassigned")
    if threshold := float(given.get("min_confidence", 0) or 0):
        novelty = f" or a novelty above {given['max_novelty']:.2g}" if "max_novelty" in given else ""
        n = f"{int(given.get('n_low_confidence', 0)):,} cells"
        said.append(f"Cells with a confidence below {threshold:.2g}{novelty} ({n}) were left {facts.without!r}.")
    if restriction := member(entry, "restriction"):
        said.append(f"Predictions were restricted to {len(restriction['allowed'])} classes.")
    if backoff := member(entry, "backoff"):
        said.append(
            f"Cells below {float(backoff['threshold']):g} got a broader term of the Cell Ontology where its summed "
            f"probability reached that ({int(backoff['n_broader']):,} cells)."
        )
    if vote := member(entry, "vote"):
        said.append(
            f"Clusters ({vote['groupby']!r}) were given their most frequent label where at least "
            f"{float(vote['min_fraction']):.0%} of their cells had it."
        )
    ranks: Any = adata.uns.get(_keys.rank_genes(key))
    if isinstance(ranks, Mapping):
        said.append("Genes were ranked by their contribution to the labels (integrated gradients).")
    found = member(entry, "metrics")
    if "accuracy" in found:
        said.append(
            f"Against the labels in {found.get('label_key')!r}, accuracy was {float(found['accuracy']):.3f} and macro "
            f"F1 {float(found['macro_f1']):.3f}."
        )
    return said


def _about_model(run: Mapping[str, Any], state: Any) -> str:
    if state is not None:
        info = state.info
        about = {
            "architecture": state.architecture, "n_genes": state.n_genes, "n_classes": state.n_classes,
            "n_train": info.get("n_train"), "label_key": info.get("label_key"),
        }  # fmt: skip
    elif run:
        about = dict(run)
    else:
        return ""
    said = (
        f"The model is a network of architecture {str(about['architecture'])!r} that reads "
        f"{int(about['n_genes']):,} genes and knows {int(about['n_classes']):,} cell types"
    )
    if about.get("n_train"):
        said += f", trained on {int(about['n_train']):,} cells"
        said += f" with the labels in {str(about['label_key'])!r}" if about.get("label_key") else ""
    return said + "."


def _pairs_of_run(run: Mapping[str, Any]) -> list[tuple[str, Content]]:
    rows: list[tuple[str, Content]] = [("network", str(run.get("architecture", "")))]
    rows.append(("size", f"{int(run.get('n_genes', 0)):,} genes, {int(run.get('n_classes', 0)):,} classes"))
    if run.get("n_train"):
        source = f", labels in {str(run['label_key'])!r}" if run.get("label_key") else ""
        rows.append(("trained on", f"{int(run['n_train']):,} cells{source}"))
    if run.get("model_version"):
        rows.append(("trained with", f"ginseng {run['model_version']}"))
    return rows


def _parameters(run: Mapping[str, Any]) -> str:
    try:
        given = json.loads(str(run["parameters"]))
    except ValueError:
        return str(run["parameters"])
    return ", ".join(f"{name}={value!r}" for name, value in given.items()) or "all by default"


def _overlap(overlap: Mapping[str, Any]) -> str:
    text = f"{int(overlap['n_found']):,} of {int(overlap['n_genes']):,} ({float(overlap['share']):.1%})"
    if "weight" in overlap:
        text += f", which carry {float(overlap['weight']):.0%} of what tells its types apart"
    return text


def _versions(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items() if number)


def version_of(package: str) -> str:
    """Return the version of an installed package; empty if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _shown(rows: Mapping[str, Any]) -> dict[str, str]:
    from ginseng._repr import shown

    return {name: shown(value) for name, value in rows.items()}


def _label(facts: Facts, name: str) -> Markup:
    color = facts.colors.get(name)
    return join([figures.swatch(color) if color else None, name])


def _legend(facts: Facts, names: list[str]) -> Markup:
    items = [tag("li", _label(facts, name)) for name in names[:MOST]]
    more = [tag("li", f"and {len(names) - MOST:,} more")] if len(names) > MOST else []
    return tag("ul", items, more, class_="legend")


def _number(value: Any) -> str:
    return f"{float(value):.2f}" if np.isfinite(float(value)) else ""
