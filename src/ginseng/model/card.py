"""What a model says of itself, to `ginseng info`, at a prompt and in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ginseng._repr import Card, Table, listed
from ginseng.model.assessment import assessment, fits

#: Rows of the table of classes.
MOST_CLASSES = 50


def model_card(model: Mapping[str, Any], /, **first: Any) -> Card:
    """Return the card of a model.

    Parameters
    ----------
    model
        The attributes of a :class:`~ginseng.model.GinsengClassifierState`, or what
        :func:`ginseng.model.header.read_summary` reads of a file.
    first
        Rows to show first.
    """
    info, genes, classes = model["info"], list(model["genes"]), list(model["label_keys"])
    size = f" ({first.pop('size')})" if "size" in first else ""
    values = "counts" if model["normalize"] else "log-normalised values"
    rows: dict[str, Any] = {
        **first,
        "network": f"{model['architecture']}, {n_weights(model['params']):,} weights{size}",
        "input": f"{values} of {len(genes):,} genes: {', '.join(map(str, genes[:5]))}, ...",
        "settings": ", ".join(f"{name} {value}" for name, value in sorted(model["config"].items())),
        "classes": f"{len(classes)}: {listed(classes, 100)}",
    }
    if "n_train" in info:
        source = f", labels in {info['label_key']!r}" if info.get("label_key") else ""
        held_out = f", {info['n_holdout']:,} held out" if "n_holdout" in info else ""
        rows["trained on"] = f"{info['n_train']:,} cells{held_out}{source}"
    if info.get("best_epoch"):
        stopped = ", interrupted" if info.get("interrupted") else ""
        rows["epoch"] = f"{info['best_epoch']} of {len(model['history'].get('epoch', ()))}{stopped}"
    if info.get("learned") is False:
        rows["learned"] = "nothing: it is no better than chance on the held-out cells"
    rows |= {name.replace("_", " "): v for name, v in measured(model).items() if math.isfinite(v)}
    known, tables = assessed(model), []
    if known:
        rows["out of fold"] = f"accuracy {known['accuracy']:.3f}, macro F1 {known['macro_f1']:.3f}, calibration error "
        rows["out of fold"] += f"(ECE) {known['ece']:.3f}, of {known['n_cells']:,} cells that were not trained on"
        limits = f"confidence {known['min_confidence']:.2f}, novelty {known['max_novelty']:.2f}"
        rows["thresholds"] = f"{limits}: they give up 5% of the right labels (`min_confidence='auto'`)"
        if known["overlap"]:
            curve = (f"{row['accuracy']:.2f} with {row['weight']:.0%}" for row in known["overlap"])
            rows["missing genes"] = f"accuracy {', '.join(curve)} of the model's weight in the data"
        tables = [_classes(known["classes"])]
    rows |= {name: shown for name, shown in _origin(info).items() if shown}
    versions = info.get("versions", {})
    rows["versions"] = ", ".join(f"{n} {v}" for n, v in versions.items()) or "not recorded"
    return Card(f"GinsengClassifierState: {len(genes):,} genes, {len(classes)} classes", rows, tables)


def assessed(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model says of its errors, see :mod:`ginseng.model.assessment`; nothing if it does not know."""
    found, reference = model.get("calibration"), model.get("reference")
    names = [str(name) for name in model["label_keys"]]
    if found is None or not fits(found, len(names)):
        return {}
    cells = np.asarray(() if reference is None else reference.get("cells", ()))
    return assessment(found, names, cells if cells.shape == (len(names),) else None)


def _classes(rows: list[dict[str, Any]]) -> Table:
    """Return the table of the classes, those of most training cells first; long ones by their beginning."""
    rows = sorted(rows, key=lambda row: -(row["n_trained"] or row["n_cells"]))
    columns = {"class": "label", "training cells": "n_trained", "F1": "f1"}
    title = "with the F1 score out of fold"
    if any(row["novelty_auroc"] is not None for row in rows):
        columns["AUROC if lacking"] = "novelty_auroc"
        title += ", and how well novelty would tell the class if the reference lacked it"
    shown = [["-" if row[name] is None else row[name] for name in columns.values()] for row in rows[:MOST_CLASSES]]
    more = f" ({MOST_CLASSES} of {len(rows):,})" if len(rows) > MOST_CLASSES else ""
    return Table(f"Classes{more}, {title}", list(columns), shown)


def _origin(info: Mapping[str, Any]) -> dict[str, str]:
    """Return where a model is from: what its makers ask for, when and on what it was trained."""
    asked = {**info, **info.get("reference", {})} if isinstance(info.get("reference"), Mapping) else info
    data = info.get("data")
    digests = data if isinstance(data, Mapping) else {}
    return {
        **{name: str(asked[name]) for name in ("licence", "citation", "source") if asked.get(name)},
        "date": str(info.get("date", "")),
        "data": ", ".join(f"{name} {str(digest)[:12]}" for name, digest in digests.items()),
    }


def measured(model: Mapping[str, Any]) -> dict[str, float]:
    """Return the losses and metrics of the epoch that was kept."""
    best, history = model["info"].get("best_epoch"), model["history"]
    if not best or len(history.get("epoch", ())) < best:
        return {}
    return {name: float(values[best - 1]) for name, values in history.items() if name != "epoch"}


def n_weights(params: Mapping[str, Any]) -> int:
    """Return the number of weights and biases."""
    return sum(_sizes(params))


def _sizes(params: Mapping[str, Any]) -> Iterator[int]:
    for value in params.values():
        yield from _sizes(value) if isinstance(value, Mapping) else [int(value.size)]
