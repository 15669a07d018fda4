"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: dict[str, Any], homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package.

    Parameters
    ----------
    package
        Its `globals()`.
    homes
        Where each name is: a module, or `module:name` if it has another name there. A module of that name is meant
        itself.
    """

    def get(name: str) -> Any:
        if name not in homes:
            msg = f"module {package['__name__']!r} has no attribute {name!r}"
            raise AttributeError(msg)
        home, _, there = homes[name].partition(":")
        module = import_module(home)
        found = module if home == f"{package['__name__']}.{name}" else getattr(module, there or name)
        package[name] = found
        return found

    return get, lambda: sorted({*homes, *(name for name in package if name.startswith("__"))})
