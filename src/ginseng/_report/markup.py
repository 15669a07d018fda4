"""HTML that cannot be broken by what is put into it: text is escaped unless it is markup already."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


class Markup(str):
    """Text that is HTML, made by this module only."""

    __slots__ = ()


type Content = Any  # text, a number, markup, None, or any nesting of lists of these

#: Elements without an end tag; those of SVG need one.
_VOID = frozenset({"br", "img", "meta"})


def tag(name: str, /, *content: Content, **attributes: Any) -> Markup:
    """Return an element; `class_` stands for `class`, and `_` for `-` in names of attributes."""
    given = (
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    start = f"<{name}{''.join(given)}>"
    return Markup(start if name in _VOID else f"{start}{join(content)}</{name}>")


def join(content: Content) -> Markup:
    """Return content as HTML."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(html.escape(content))
    if isinstance(content, Iterable):
        return Markup("".join(map(join, content)))
    return Markup(html.escape(str(content)))


def table(columns: Sequence[Content], rows: Iterable[Sequence[Content]], *, numbers: Sequence[int] = ()) -> Markup:
    """Return a table that scrolls sideways where it is too wide; columns of `numbers` are aligned to the right."""

    def row(kind: str, cells: Sequence[Content]) -> Markup:
        return tag("tr", [tag(kind, c, class_="n" if i in numbers else None) for i, c in enumerate(cells)])

    inner = tag("thead", row("th", columns)), tag("tbody", [row("td", cells) for cells in rows])
    return tag("div", tag("table", inner), class_="scroll", tabindex="0")


def pairs(rows: Iterable[tuple[str, Content]]) -> Markup:
    """Return names with their values."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows])


def section(title: str, *content: Content, name: str) -> Markup:
    """Return a part of the page with its heading."""
    return tag("section", tag("h2", title), *content, id=name)


def copyable(text: str, label: str) -> Markup:
    """Return text in a box with a button that copies it."""
    return tag("div", tag("button", "Copy", type="button", aria_label=f"Copy {label}"), tag("pre", text), class_="copy")
