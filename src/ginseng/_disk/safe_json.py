"""JSON in files of others."""

from __future__ import annotations

import json
from typing import Any

#: Maximum number of brackets and commas in a JSON text: parsed objects take many times the memory of the text.
MAX_PARTS = 300_000


def check_parts(text: str, name: str) -> None:
    """Reject JSON that would take many times the memory of its text.

    Raises
    ------
    ValueError
        If it has more than 300,000 brackets and commas.
    """
    if sum(map(text.count, "[{,")) > MAX_PARTS:
        msg = f"{name!r} has over {MAX_PARTS:,} brackets and commas"
        raise ValueError(msg)


def parsed(text: Any, name: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    ValueError
        If it is not a JSON object, or :func:`check_parts` rejects it.
    """
    text = str(text)
    check_parts(text, name)
    value = json.loads(text)
    if not isinstance(value, dict):
        msg = f"{name!r} must be a JSON object"
        raise ValueError(msg)
    return value
