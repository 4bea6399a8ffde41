"""The errors that unusable input raises."""

from __future__ import annotations

from sgurinit._visible import make_visible

_MOST_CHARACTERS = 2000


class InputError(ValueError):
    """Input that cannot be used as it is.

    The message is one line. It names the parameter, or the file, row or field, and says what was
    expected and what to do. Parameters have their Python names. The message begins with the
    parameter at fault (``core is 0, expected 1 or more``), and others appear as arguments
    (``core=0``) or in backticks. The command line replaces them by its options, prints the line and
    exits with code 2.

    Parameters
    ----------
    message : str
        The message. Characters that do not show, such as line breaks and escape sequences of
        terminals in names and ids, are written as in Python. The middle of a message of more than
        2,000 characters is left out.

    See Also
    --------
    sgurinit.SGURInit.fit : Raises it for unusable interactions, features or parameters.

    Examples
    --------
    >>> from sgurinit import InputError, SGURInit
    >>> try:
    ...     SGURInit(n_clusters=0).fit([[0]], {})
    ... except InputError as error:
    ...     print(error)
    n_clusters must be an integer >= 1, got 0
    """

    def __init__(self, message: str) -> None:
        if len(message) > _MOST_CHARACTERS:
            message = f"{message[: _MOST_CHARACTERS // 2]} ... {message[-_MOST_CHARACTERS // 2 :]}"
        super().__init__(make_visible(message))


class MemoryInputError(InputError):
    """Input that is too large for the memory of this machine; another may be able to use it."""
