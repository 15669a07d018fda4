"""Training settings in the signatures of the verbs that take them by name, for completion and help."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

from ginseng.train.settings import GinsengClassifierTrainerSettings

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


def _default(setting: dataclasses.Field[Any]) -> Any:
    made = setting.default_factory
    return setting.default if made is dataclasses.MISSING else made()
