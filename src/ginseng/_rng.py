from __future__ import annotations

import numpy as np

type SeedLike = int | np.integer | np.random.SeedSequence
type RNGLike = np.random.Generator | np.random.BitGenerator


def generator(rng: SeedLike | RNGLike | None) -> np.random.Generator:
    """Return a generator from a seed, a generator or None; NumPy's global state is not used."""
    return np.random.default_rng(rng)
