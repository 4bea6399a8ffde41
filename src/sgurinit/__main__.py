"""``python -m sgurinit`` is the command line."""

from sgurinit.cli import main

if __name__ == "__main__":
    main()
