"""HTML of sections, notes and sortable tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as escape_markup
from typing import Literal

from sgurinit._visible import make_visible


def escape(text: str) -> str:
    """Write text as HTML that shows it, with every character that would not show or act on it."""
    return escape_markup(make_visible(text, keep="\n"))


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text : str
        Text that is shown.
    value : float or None, default None
        Exact number, used for sorting and shown on hover. None if it is unknown.
    small : str, default ""
        Text shown after it in a smaller font.
    mark : str, default ""
        Class of the style sheet.
    key : str, default ""
        Color of a dot before the text, as a variable of the style sheet.
    kind : {"number", "text"}, default "number"
        Numbers are aligned to the right, text to the left. Text is sorted alphabetically.
    part : float or None, default None
        Share of the cell, from 0 to 1, that is filled by a bar behind the text. None: no bar.
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


def text_cell(text: str, key: str = "") -> Cell:
    """Make a cell of text."""
    return Cell(text, kind="text", key=key)


def sortable_table(
    name: str,
    label: str,
    heads: Sequence[str],
    rows: Iterable[tuple[str, Sequence[Cell]]],
    *,
    wrap: bool = False,
) -> str:
    """Write a table that can be sorted by each column.

    Parameters
    ----------
    name : str
        Identifier, unique on the page.
    label : str
        Description of the table for screen readers.
    heads : sequence of str
        Titles of the columns. The first row decides which columns are text.
    rows : iterable of tuple
        Name and cells of each row. If neighbors have the same name, only the first name is
        visible, until the table is sorted.
    wrap : bool, default False
        Break long text into lines instead of scrolling the table.
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
    return scroll_box(
        label,
        f'<table id="{name}" class="sortable{" wrap" * wrap}"><thead><tr>{buttons}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>",
    )


def fact_table(label: str, rows: Iterable[tuple[str, str]]) -> str:
    """Write a table of names and values."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return scroll_box(label, f'<table class="wrap"><tbody>{body}</tbody></table>')


def scroll_box(label: str, content: str) -> str:
    """Put wide content into a box that scrolls, also with the keyboard."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'
        f"{content}</div>\n"
    )


def fold(summary: str, content: str, *, is_open: bool = False) -> str:
    """Put content into a box that can be opened and closed. It is open when printed."""
    tag = "<details open>" if is_open else "<details>"
    return f"{tag}<summary>{escape(summary)}</summary>{content}</details>\n"


def figure_grid(figures: Iterable[str], *, small: bool = False) -> str:
    """Put figures side by side, up to two or, if they are small, up to four."""
    return f'<div class="grid{" small" if small else ""}">{"".join(figures)}</div>\n'


def heading(title: str) -> str:
    """Write the title of a part of a section."""
    return f"<h3>{escape(title)}</h3>\n"


def note(text: str) -> str:
    """Write an explanation of figures and tables."""
    return f'<p class="note">{escape(text)}</p>\n'


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes
    ----------
    name : str
        Identifier, unique on the page.
    title : str
        Title of the section.
    parts : tuple of str
        HTML of the content.
    link : str, default ""
        Text of the link to the section at the top of the page. Empty: no link.
    """

    name: str
    title: str
    parts: tuple[str, ...]
    link: str = ""

    def html(self) -> str:
        """Write the section."""
        content = "".join(self.parts)
        return f'<section id="{self.name}"><h2>{escape(self.title)}</h2>\n{content}</section>\n'


def navigation(sections: Iterable[Section]) -> str:
    """Write links to sections."""
    links = (f'<a href="#{part.name}">{escape(part.link)}</a>' for part in sections if part.link)
    return f'<nav aria-label="Sections">{" ".join(links)}</nav>\n'
