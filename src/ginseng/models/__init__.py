"""Models that others have trained, by name."""

from ginseng.model.logistic import from_sklearn
from ginseng.models.store import available, fetch, info, load

__all__ = ["available", "fetch", "from_sklearn", "info", "load"]


def __dir__() -> list[str]:
    return __all__
