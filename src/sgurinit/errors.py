"""The one error that bad input raises."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used as it is.

    The message is one line for the person who supplied the input: it names the file, the row or
    the field, says what was expected and what to do. It names parameters as Python does: it begins
    with the one at fault (``core is 0, expected 1 or more``), and further ones stand as arguments
    (``core=0``) or in backticks. The command line puts its options in their place, prints the line
    and exits with code 2.
    """
