from __future__ import annotations

from pathlib import Path

import pooch
from scverse_misc import Settings

from ginseng._repr import Card


class GinsengSettings(Settings):
    """Settings of a session. Each can also be set by an environment variable, such as `GINSENG_VERBOSITY=2`."""

    verbosity: int = 1
    """What is said: 0 errors, 1 also warnings and one line per call, 2 also what runs and what it wrote."""

    progress_bar: bool = True
    """Whether to show progress: a bar at a terminal or in a notebook, one line per epoch elsewhere."""

    autoshow: bool = True
    """Whether to show plots at once, if `show` is not given."""

    cache_dir: Path = Path(pooch.os_cache("ginseng"))
    """Folder for downloaded files, and for the programs that JAX compiles, which later processes need not compile
    again. JAX keeps them elsewhere if `JAX_COMPILATION_CACHE_DIR` says so, and nowhere with
    `JAX_ENABLE_COMPILATION_CACHE=false`."""

    offline: bool = False
    """Whether to use only cached files, and download nothing."""

    models_url: str | None = None
    """Address of a model catalogue, or of the folder with its `models.json`. It also serves as a mirror for files of
    the known catalogues: each is looked up at its original path, or by its name."""

    models_dir: Path | None = None
    """Folder with your own models, which can then be used by name."""

    def _card(self) -> Card:
        fields = type(self).model_fields
        about = [(name, str(getattr(self, name)), fields[name].description or "") for name in fields]
        return Card("ginseng.settings", {name: f"{value:<10}  {text}" for name, value, text in about})

    def __repr__(self) -> str:
        return self._card().text()

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return self._card().html()

    def __dir__(self) -> list[str]:
        # pydantic has some forty names of its own
        return [*type(self).model_fields, "override", "reset"]


settings = GinsengSettings()
