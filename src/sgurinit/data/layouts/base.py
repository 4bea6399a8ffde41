"""What an on-disk layout is. To add one: write its class here beside and list it in `registry`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from sgurinit.data.dataset import Dataset
from sgurinit.data.layouts.capabilities import Holds
from sgurinit.data.layouts.contents import Contents


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

    def contents(self, folder: Path) -> Contents:
        """Read all that the folder holds; of a layout that holds no more, the data set."""
        return Contents.of(self.read(folder))


class WritableLayout(Layout):
    """A layout that other data can be converted to."""

    holds: ClassVar[Holds]
    """What it can hold."""

    @abstractmethod
    def write(self, contents: Contents, folder: Path) -> None:
        """Write into an empty folder; what `holds` excludes is left out."""

    def advice(self, contents: Contents) -> str:  # noqa: ARG002 - for those that have some
        """Say how its framework is told to read what was written; empty where it needs no word."""
        return ""


class TableLayout(WritableLayout):
    """A layout whose files hold more than models see."""

    @override
    def read(self, folder: Path) -> Dataset:
        return self.contents(folder).dataset(self.name)

    @override
    @abstractmethod
    def contents(self, folder: Path) -> Contents: ...
