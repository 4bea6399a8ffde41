"""What an on-disk layout is. To add one, write a class in this folder and list it in `registry`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from sgurinit.data.dataset import Dataset
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents


class Layout(ABC):
    """A way to store interactions and features in a folder."""

    name: ClassVar[str]
    """Name of the layout, also in `Dataset.layout`."""

    expected_files: ClassVar[str]
    """The files by which the layout is recognized, for the message when none is."""

    @abstractmethod
    def find_evidence(self, folder: Path) -> str | None:
        """Name the files of this layout in the folder, or return None. At most headers are read."""

    @abstractmethod
    def read(self, folder: Path) -> Dataset:
        """Read and check the data set.

        Raises
        ------
        InputError
            Naming the faulty file, and the row or field.
        """

    def contents(self, folder: Path) -> Contents:
        """Read everything in the folder. By default this is the data set."""
        return Contents.from_dataset(self.read(folder))


class WritableLayout(Layout):
    """A layout that data sets can be converted to."""

    capabilities: ClassVar[Capabilities]
    """What the layout can hold."""

    @abstractmethod
    def write(self, contents: Contents, folder: Path) -> None:
        """Write into an empty folder. What `capabilities` excludes is left out."""

    def advice(self, contents: Contents) -> str:  # noqa: ARG002 - used by subclasses
        """Return the framework's configuration to load the folder, empty if none is needed."""
        return ""


class TableLayout(WritableLayout):
    """A layout whose files hold more than models use, such as ratings, times and titles."""

    @override
    def read(self, folder: Path) -> Dataset:
        return self.contents(folder).to_dataset(self.name)

    @override
    @abstractmethod
    def contents(self, folder: Path) -> Contents: ...
