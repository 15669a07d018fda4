"""Errors and warnings that say what was found and what to do."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path

#: Warnings point at the first line outside of this folder.
_PACKAGE = str(Path(__file__).parent)


def warn(message: str) -> None:
    """Warn at the line of the user's code that called ginseng; not at verbosity 0."""
    from ginseng._settings import settings  # which commands that compute nothing do not load

    if settings.verbosity < 1:
        return
    warnings.warn(message, UserWarning, skip_file_prefixes=(_PACKAGE,))


def suggest(name: object, existing: Iterable[object]) -> str:
    """Suggest the entry of `existing` closest to `name`, and list all."""
    names = [str(e) for e in existing]
    close = difflib.get_close_matches(str(name), names, n=1)
    listed = ", ".join(repr(n) for n in names[:20]) + (", ..." if len(names) > 20 else "")
    return (f"Did you mean {close[0]!r}? " if close else "") + (f"There are: {listed}." if names else "There are none.")


class MissingKeyError(KeyError):
    """A column, layer or other entry does not exist."""

    def __str__(self) -> str:  # KeyError would show the message quoted and escaped
        return str(self.args[0]) if self.args else ""


class ForeignError(ValueError):
    """A name to write to holds data that ginseng did not write.

    Parameters
    ----------
    where, name
        The place: `adata.{where}[{name!r}]`.
    elsewhere
        The argument that writes to another name, if there is one.
    """

    def __init__(self, where: str, name: str, elsewhere: str = "") -> None:
        self.where, self.name = where, name
        place = f"adata.{where}[{name!r}]"
        other = f"Write under another name, `{elsewhere}`, drop" if elsewhere else "Drop"
        super().__init__(
            f"`{place}` was not written by ginseng, and is not replaced. {other} it, `del {place}`, or pass "
            "`overwrite=True`."
        )


#: Maximum length of a gene name or label.
MAX_NAME = 256


def check_names(names: Iterable[str], what: str) -> None:
    """Reject names that cannot be displayed or stored in a file.

    Raises
    ------
    ValueError
        If a name is empty, has control characters, or more than 256 characters.
    """
    for name in names:
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            msg = (
                f"{what} has a name that is empty, too long (over {MAX_NAME} characters) or not plain text: "
                f"{name[:40]!r}"
            )
            raise ValueError(msg)


def check_unique_names(names: Collection[str], what: str) -> None:
    """Reject an empty list, repeated names, and names that :func:`check_names` rejects.

    Raises
    ------
    ValueError
        If there are any.
    """
    check_names(names, what)
    if len(names) == 0 or len(set(names)) < len(names):
        msg = f"{what!r} are empty or not unique"
        raise ValueError(msg)
