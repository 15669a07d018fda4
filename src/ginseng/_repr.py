"""How objects show themselves: a title and rows, as text at a prompt and as HTML in a notebook."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH = 100


@dataclass(frozen=True)
class Table:
    """A table within a card: a caption, the names of the columns, and rows of text or numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass
class Card:
    """A description of an object.

    Attributes
    ----------
    title
        One line.
    rows
        Names with text or numbers; numbers with fractions are shown with three decimals.
    tables
        Tables below the rows.
    wrap
        Whether long rows are wrapped in text; code in them cannot be.
    """

    title: str
    rows: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    wrap: bool = True

    def text(self) -> str:
        """Return the card as lines of text."""
        width = max(map(len, self.rows), default=0)
        lines = [self.title]
        for name, value in self.rows.items():
            start = f"  {name:<{width}}  "
            lines += _wrapped(start, shown(value)) if self.wrap else [start + shown(value)]
        for table in self.tables:
            cells = [[str(name) for name in table.columns], *([shown(cell) for cell in row] for row in table.rows)]
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            lines += ["", f"  {table.caption}"]
            lines += ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join(lines)

    def html(self) -> str:
        """Return the card as HTML; colours are those of the page, so that it fits dark themes."""
        head = "text-align:left;font-weight:600;padding:.1em 1em .1em 0;vertical-align:top;white-space:nowrap"
        cell = "text-align:left;padding:.1em 1em .1em 0;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere"
        rows = (
            f'<tr><th style="{head}">{html.escape(name)}</th><td style="{cell}">{html.escape(shown(value))}</td></tr>'
            for name, value in self.rows.items()
        )
        parts = [
            f'<div style="font-weight:600;margin-bottom:.3em">{html.escape(self.title)}</div>',
            f"<table>{''.join(rows)}</table>",
        ]
        for table in self.tables:
            names = _row("th", table.columns, head)
            body = "".join(_row("td", row, cell) for row in table.rows)
            caption = f'<caption style="text-align:left">{html.escape(table.caption)}</caption>'
            parts.append(f"<table>{caption}<thead>{names}</thead><tbody>{body}</tbody></table>")
        style = "border-left:3px solid #0072B2;padding:.3em .8em;max-width:60em;overflow-x:auto"
        return f'<div style="{style}">{"".join(parts)}</div>'


def shown(value: Any) -> str:
    """Return a value as it is shown: long lists by their beginning."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def listed(names: Iterable[Any], at_most: int = 20) -> str:
    """Join names, and say how many more there are."""
    names = [str(name) for name in names]
    more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f", and {more:,} more" if more > 0 else "")


def _row(tag: str, cells: Sequence[Any], style: str) -> str:
    return "<tr>" + "".join(f'<{tag} style="{style}">{html.escape(shown(c))}</{tag}>' for c in cells) + "</tr>"


def _wrapped(start: str, text: str) -> list[str]:
    indent = " " * len(start)
    lines: list[str] = []
    for line in text.splitlines() or [""]:
        first = indent if lines else start
        lines += textwrap.wrap(
            line, max(WIDTH, len(start) + 40), initial_indent=first, subsequent_indent=indent, break_on_hyphens=False,
            break_long_words=False,
        ) or [first.rstrip()]  # fmt: skip
    return lines
