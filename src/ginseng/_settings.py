from __future__ import annotations

from pathlib import Path

import pooch
from scverse_misc import Settings


class GinsengSettings(Settings):
    """Settings of a session. Each can also be set by an environment variable, such as `GINSENG_VERBOSITY=2`."""

    verbosity: int = 1
    """What is logged: 0 errors, 1 warnings, 2 what runs and what it wrote."""

    progress_bar: bool = True
    """Whether to show progress: a bar at a terminal or in a notebook, one line per epoch elsewhere."""

    autoshow: bool = True
    """Whether to show plots at once, if `show` is not given."""

    cache_dir: Path = Path(pooch.os_cache("ginseng"))
    """Folder for downloaded files and, of the command line, compiled programs."""

    offline: bool = False
    """Whether to use only cached files, and download nothing."""

    models_url: str | None = None
    """Address of a model catalogue, or of the folder with its `models.json`. It also serves as a mirror for files of
    the known catalogues: each is looked up at its original path, or by its name."""

    models_dir: Path | None = None
    """Folder with your own models, which can then be used by name."""


settings = GinsengSettings()
