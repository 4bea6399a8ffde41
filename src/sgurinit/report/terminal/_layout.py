"""The two kinds of tables in the terminal: names with values, and columns of numbers."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text


def pair_table(rows: dict[str, str]) -> Table:
    """Show names and values, one pair per line."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for name, value in rows.items():
        table.add_row(Text(name, style="dim"), Text(value))
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


def plain_cells(*values: object) -> list[Text]:
    """Show values as plain text. Markup in them has no effect."""
    return [Text(str(value)) for value in values]
