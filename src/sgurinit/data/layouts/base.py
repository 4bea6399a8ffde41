"""What an on-disk layout is. To add one: write its class here beside and list it in `registry`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from sgurinit.data.dataset import Dataset


class Layout(ABC):
    """A way in which interactions and features lie in a folder."""

    name: ClassVar[str]
    """The name that `Dataset.layout` carries."""

    sought: ClassVar[str]
    """What the layout is recognised by, for the message that says that nothing was."""

    @abstractmethod
    def sees(self, folder: Path) -> str | None:
        """Say what in the folder belongs to this layout, or None. Looks, reads next to nothing."""

    @abstractmethod
    def read(self, folder: Path) -> Dataset:
        """Read and check the data set.

        Raises
        ------
        InputError
            Naming the file, and the row or field, that is at fault.
        """
