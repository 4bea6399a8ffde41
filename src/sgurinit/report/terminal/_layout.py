"""The two kinds of tables in the terminal: names with values, and columns of numbers."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from sgurinit._visible import make_visible


def pair_table(rows: dict[str, str]) -> Table:
    """Show names and values, one pair per line."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for name, value in rows.items():
        table.add_row(plain_text(name, style="dim"), plain_text(value))
    return table


def number_table(*heads: str) -> Table:
    """Make an empty table with a column of names, followed by columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for number, head in enumerate(heads):
        if number:
            table.add_column(head, justify="right", no_wrap=True)
        else:
            table.add_column(head, overflow="fold")
    return table


def plain_text(value: object, style: str = "") -> Text:
    """Show a value as plain text. Markup and escape sequences in it have no effect."""
    return Text(make_visible(str(value), keep="\n"), style=style)


def plain_cells(*values: object, style: str = "") -> list[Text]:
    """Show values as plain text, see `plain_text`."""
    return [plain_text(value, style) for value in values]
