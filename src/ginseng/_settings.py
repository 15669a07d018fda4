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


settings = GinsengSettings()
