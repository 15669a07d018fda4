from __future__ import annotations

from pathlib import Path

import pooch
from scverse_misc import Settings


class GinsengSettings(Settings):
    """What holds for a whole session. Each can also be set by an environment variable, as `GINSENG_VERBOSITY=2`."""

    verbosity: int = 1
    """What is logged: 0 errors, 1 warnings, 2 what runs and what it wrote."""

    progress_bar: bool = True
    """Whether long work shows its progress: a bar at a terminal or in a notebook, elsewhere a line per epoch."""

    autoshow: bool = True
    """Whether plots are shown at once, where `show` is not given."""

    cache_dir: Path = Path(pooch.os_cache("ginseng"))
    """Folder for downloaded files."""

    offline: bool = False
    """Whether nothing is downloaded: only what is in the cache is found."""

    models_url: str | None = None
    """Address of a catalogue of models, or of the folder with its `models.json`. Files of the known catalogues are
    taken from there as well, as from a mirror: each is at the path that it has at home, or found by its name."""

    models_dir: Path | None = None
    """Folder with models of your own, which are then known by their names."""


settings = GinsengSettings()
