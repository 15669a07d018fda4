from __future__ import annotations

import numpy as np

type SeedLike = int | np.integer | np.random.SeedSequence
type RNGLike = np.random.Generator | np.random.BitGenerator


def generator(rng: SeedLike | RNGLike | None) -> np.random.Generator:
    """Turn a seed, a generator or None into a generator, without touching NumPy's global one."""
    return np.random.default_rng(rng)
