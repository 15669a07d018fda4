"""Types shared by the modules of the core."""

from __future__ import annotations

from typing import Any

#: Weights and biases: a nested dict of float32 arrays, `params[layer][name]`.
type Params = dict[str, Any]
