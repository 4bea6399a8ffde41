"""Tables in HTML: what names a row stays in sight, buttons sort, a box of its own scrolls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text
        What it shows.
    value
        The exact number behind it, by which it is sorted; None where there is none.
    small
        Shown after the text, smaller.
    mark
        A class of the style sheet.
    key
        Colour of a mark before the text, in the style sheet's words.
    kind
        Numbers go to the right, text to the left and is sorted as such.
    part
        Share of the cell that a bar behind the text fills; None for no bar.
    """

    text: str
    value: float | None = None
    small: str = ""
    mark: str = ""
    key: str = ""
    kind: Literal["number", "text"] = "number"
    part: float | None = None

    def html(self) -> str:
        """Write the cell."""
        kinds = ("left" if self.kind == "text" else "", "bar" if self.part is not None else "")
        classes = " ".join(filter(None, (*kinds, self.mark)))
        attributes = f' class="{classes}"' if classes else ""
        if self.kind == "number":
            exact = "" if self.value is None else repr(self.value)
            attributes += f' data-value="{exact}"'
            attributes += f' title="{exact}"' if exact else ""
        if self.part is not None:
            attributes += f' style="--part:{self.part:.0%}"'
        text = escape(self.text)
        if self.key:
            text = f'<span class="key" style="--key:{self.key}">{text}</span>'
        small = f' <span class="small">{escape(self.small)}</span>' if self.small else ""
        return f"<td{attributes}>{text}{small}</td>"


def text(words: str, key: str = "") -> Cell:
    """Make a cell of text."""
    return Cell(words, kind="text", key=key)


def table(
    name: str,
    label: str,
    heads: Sequence[str],
    rows: Iterable[tuple[str, Sequence[Cell]]],
    *,
    wrap: bool = False,
) -> str:
    """Write a table whose columns can be sorted.

    Parameters
    ----------
    name
        Identifier, unique on the page.
    label
        What the table is, read out to who cannot see it.
    heads
        Of the columns. A column of text is so in its first row.
    rows
        Each its name and its cells. Of neighbours of the same name only the first one's is seen,
        until they are sorted apart.
    wrap
        Break long text into lines rather than let the table scroll.
    """
    body, shown, kinds = [], None, [""] * len(heads)
    for title, cells in rows:
        if shown is None:
            kinds = [" class=left", *(" class=left" * (cell.kind == "text") for cell in cells)]
        first = "" if title == shown else " class=first"
        shown = title
        body.append(
            f'<tr{first}><th scope="row" class="model">{escape(title)}</th>'
            f"{''.join(cell.html() for cell in cells)}</tr>"
        )
    buttons = "".join(
        f'<th scope="col"{kind} aria-sort="none"><button type="button">{escape(head)}</button></th>'
        for head, kind in zip(heads, kinds, strict=True)
    )
    return boxed(
        label,
        f'<table id="{name}" class="sortable{" wrap" * wrap}"><thead><tr>{buttons}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>",
    )


def facts(label: str, rows: Iterable[tuple[str, str]]) -> str:
    """Write names and what is to be said of each."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(said)}</td></tr>'
        for name, said in rows
    )
    return boxed(label, f'<table class="wrap"><tbody>{body}</tbody></table>')


def boxed(label: str, content: str) -> str:
    """Give wide content a box that scrolls, with the keyboard too."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'
        f"{content}</div>\n"
    )


def folded(summary: str, content: str, *, is_open: bool = False) -> str:
    """Fold content away; on paper it is open."""
    begun = "<details open>" if is_open else "<details>"
    return f"{begun}<summary>{escape(summary)}</summary>{content}</details>\n"


def grid(figures: Iterable[str], *, small: bool = False) -> str:
    """Put figures side by side, as many as there is room for: two or, small ones, up to four."""
    return f'<div class="grid{" small" if small else ""}">{"".join(figures)}</div>\n'


def section(name: str, title: str, *parts: str) -> str:
    """Write a section that the page's head can lead to."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>\n{"".join(parts)}</section>\n'


def heading(title: str) -> str:
    """Write the title of a part of a section."""
    return f"<h3>{escape(title)}</h3>\n"


def note(words: str) -> str:
    """Write what there is to know about the figures of a section."""
    return f'<p class="note">{escape(words)}</p>\n'
