"""Write the table of the method's parameters into its page, from the table in the code.

    python docs/tools/parameters.py

The table goes between two marks in ``docs/reference/parameters.md``. A test compares the two.
"""

from __future__ import annotations

from pathlib import Path

from sgurinit.core.params import PARAMS

PAGE = Path(__file__).parents[1] / "reference" / "parameters.md"
BEGIN, END = "<!-- parameters -->\n", "<!-- end -->\n"


def table() -> str:
    """Return the rows of the table as Markdown."""
    rows = [
        f"| `{name}` | {param.values.replace('|', ', ')} | `{param.default!r}` | {param.text} |"
        for name, param in PARAMS.items()
    ]
    random_state = "| `random_state` | int, RandomState or None | `None` | Seed of K-means. |"
    threads = "Threads for the users' sums: None is 1, -1 all cores."
    jobs = f"| `n_jobs` | int or None | `None` | {threads} |"
    device = (
        "| `device` | str | `'cpu'` | What computes: NumPy (`cpu`), or torch on a card (`cuda`, "
        "`cuda:N`, or `auto` where there is one). |"
    )
    head = ["| parameter | values | default | what it does |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, random_state, jobs, device]) + "\n"


def page(text: str) -> str:
    """Return the page with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
