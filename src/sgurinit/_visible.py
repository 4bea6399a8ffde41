"""Text of others, such as ids and names, written so that every character shows."""

from __future__ import annotations


def make_visible(text: str, keep: str = "") -> str:
    r"""Write characters that do not show as in Python, such as ``\x1b``.

    These are line breaks, escape sequences of terminals, and marks that change the direction in
    which text is read.

    Parameters
    ----------
    text : str
        Any text.
    keep : str, default ""
        Characters that stay as they are.
    """
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)
