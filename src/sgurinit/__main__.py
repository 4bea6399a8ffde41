"""The command ``sgurinit``, also as ``python -m sgurinit``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from sgurinit.cli import main as run  # noqa: PLC0415 - Ctrl-C can arrive during imports
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; nothing was written\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
