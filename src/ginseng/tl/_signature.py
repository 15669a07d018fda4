"""Training settings of the verbs that take them by name: in their signatures, and from what was passed."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Unpack

from ginseng._errors import suggest
from ginseng.train.settings import GinsengClassifierTrainerSettings, SettingsByName

_PLACE = re.compile(r"^( *)%\(settings_by_name\)s$", re.MULTILINE)


def takes_settings[**P, R](verb: Callable[P, R]) -> Callable[P, R]:
    """Show each training setting as a keyword of a verb with `**kwargs`, and list them at `%(settings_by_name)s`.

    Their defaults are those of :class:`~ginseng.train.GinsengClassifierTrainerSettings`, which says what they mean.
    """
    signature = inspect.signature(verb)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shown = [
        field
        for field in dataclasses.fields(GinsengClassifierTrainerSettings)
        if field.name not in {p.name for p in own}
    ]
    more = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=field.type)
        for field in shown
    ]
    documented: Any = verb
    documented.__signature__ = signature.replace(parameters=[*own, *more])

    def names(place: re.Match[str]) -> str:
        text = "They are " + ", ".join(f"`{field.name}`" for field in shown) + "."
        return textwrap.fill(text, 120, initial_indent=place[1], subsequent_indent=place[1])

    if verb.__doc__:  # None with `python -OO`
        documented.__doc__ = _PLACE.sub(names, verb.__doc__)
    return verb


def settings_of(
    settings: GinsengClassifierTrainerSettings | Mapping[str, Any] | None, **single: Unpack[SettingsByName]
) -> GinsengClassifierTrainerSettings:
    """Return settings, with those that were passed by name.

    Raises
    ------
    TypeError
        If there is no setting of a name.
    """
    given = {**settings, **single} if isinstance(settings, Mapping) else single
    known = [field.name for field in dataclasses.fields(GinsengClassifierTrainerSettings)]
    if unknown := sorted(given.keys() - set(known)):
        msg = f"There is no setting {', '.join(map(repr, unknown))}. {suggest(unknown[0], known)}"
        raise TypeError(msg)
    if isinstance(settings, GinsengClassifierTrainerSettings):
        return dataclasses.replace(settings, **single)
    if settings is None:
        return GinsengClassifierTrainerSettings(**single)  # spelt so that jedi completes the verbs, too
    return GinsengClassifierTrainerSettings(**{**settings, **single})


def says_normalize(
    settings: GinsengClassifierTrainerSettings | Mapping[str, Any] | None, single: Mapping[str, Any]
) -> bool:
    """Whether the user has set `normalize`."""
    return isinstance(settings, GinsengClassifierTrainerSettings) or "normalize" in {**(settings or {}), **single}


def _default(setting: dataclasses.Field[Any]) -> Any:
    made = setting.default_factory
    return setting.default if made is dataclasses.MISSING else made()
