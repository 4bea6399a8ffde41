"""Adapt docstrings and signatures to the site: an extension of griffe, which reads the code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Function, Object

_CALL = re.compile(r"""get_default\(['"](\w+)['"](?:, of=['"](\w+)['"]|, ['"](\w+)['"])?\)""")


class Docstrings(Extension):
    """Show the values of defaults, and Markdown where docstrings have reStructuredText."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Replace defaults that the table of parameters provides."""
        # Here, since the other extensions need no library.
        from sgurinit.core.params import get_default  # noqa: PLC0415

        for parameter in func.parameters:
            if match := _CALL.fullmatch(str(parameter.default)):
                preset = match[2] or match[3] or "published"
                parameter.default = repr(get_default(match[1], preset))

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Turn the double colon before an indented block into a single one."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"::(\n\n? +)", r":\1", obj.docstring.value)
