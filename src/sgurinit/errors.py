"""The one error that bad input raises."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used as it is.

    The message is one line for the person who supplied the input: it names the file, the row or
    the field, says what was expected and what to do. The command line prints it as it stands and
    exits with code 2.
    """
