"""What a model says of itself, to `ginseng info`, at a prompt and in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ginseng._repr import Card, listed


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
    rows |= {name: info[name] for name in ("licence", "citation", "source") if info.get(name)}
    versions = info.get("versions", {})
    rows["versions"] = ", ".join(f"{n} {v}" for n, v in versions.items()) or "not recorded"
    return Card(f"GinsengClassifierState: {len(genes):,} genes, {len(classes)} classes", rows)


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
