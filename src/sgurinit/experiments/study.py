"""Studies: comparisons that are described by a YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgurinit.data import Dataset, hold_out_items, load_dataset
from sgurinit.data.shipped import SHIPPED
from sgurinit.errors import InputError
from sgurinit.experiments.comparison import Comparison, resolve_split_data, run_plan
from sgurinit.experiments.events import EventCallback, no_event
from sgurinit.experiments.plan import comparison_settings
from sgurinit.experiments.settings import ComparisonSettings
from sgurinit.experiments.study_file import StudyData, expand_sweeps, read_study_file
from sgurinit.resolve import build
from sgurinit.training import TrainSettings

_BUILT_IN = ("planted", *SHIPPED)


@dataclass(frozen=True)
class Study:
    """A comparison that is described by a YAML file, with an optional search of settings.

    Reading a study checks the whole file and needs no data. `run` loads the data.

    Attributes
    ----------
    file : Path
        The YAML file.
    plan : ComparisonSettings
        Settings of the comparison, with every field written out.
    data : StudyData
        Where the data are (``path``), the share of items held out of training (``cold_items``) and
        the seed of their choice (``seed``).

    See Also
    --------
    compare : The same from Python, without a file and without a search.
    load_comparison : Read the tables of a finished study.

    Examples
    --------
    >>> from pathlib import Path
    >>> from sgurinit.experiments import Study
    >>> text = '''
    ... data: {path: planted}
    ... models:
    ...   lightgcn: {n_layers: 1}
    ... arms:
    ...   random:
    ...   sgurinit: {n_clusters: 4}
    ... seeds: 2
    ... train: {max_epochs: 100}
    ... search: {trials: 3}
    ... '''
    >>> _ = Path("example.yaml").write_text(text)
    >>> study = Study.read("example.yaml")
    >>> list(study.plan.arms), study.plan.count()  # 2 x 3 trials and 2 x 2 runs
    (['random', 'sgurinit'], 10)
    """

    file: Path
    plan: ComparisonSettings
    data: StudyData

    @classmethod
    def read(cls, path: str | Path) -> Study:
        """Read and check a study's file. The data are not loaded.

        Parameters
        ----------
        path : str or Path
            The YAML file. Its fields are ``data``, ``models``, ``arms``, ``seeds``, ``train``,
            ``mask_valid`` and ``search``.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            The file cannot be read, or a field cannot be used; the message names file and field.
        """
        file = Path(path)
        try:
            content = read_study_file(file)
            plan = comparison_settings(
                list(content.models),
                dict(expand_sweeps(content.arms)),
                content.seeds,
                train=build(TrainSettings, content.train, prefix="train"),
                overrides={name: fields or {} for name, fields in content.models.items()},
                mask_valid=content.mask_valid,
                search=None if content.search is None else content.search.model_dump(),
            )
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
        return cls(file, plan, content.data)

    @property
    def source(self) -> str:
        """Path or name of the data. A path in the file is relative to the file."""
        path = self.data.path
        return path if path in _BUILT_IN else str(self.file.parent / path)

    def load_data(self) -> Dataset:
        """Load the data and hold out the cold items.

        Raises
        ------
        InputError
            The data cannot be loaded, or a split is empty; the message names file and folder.
        """
        try:
            dataset = load_dataset(self.source)
            if self.data.cold_items is not None:
                dataset = hold_out_items(dataset, self.data.cold_items, seed=self.data.seed)
            return resolve_split_data(dataset)
        except InputError as error:
            raise InputError(f"{self.file}: {error}") from None

    def run(
        self, out: str | Path | None = None, *, jobs: int = 1, on_event: EventCallback = no_event
    ) -> Comparison:
        """Load the data, search settings if the file says so, then run the comparison.

        Finished runs in `out` are kept and interrupted runs resume.

        Parameters
        ----------
        out : str, Path or None, default None
            Folder of the study, created if missing. None: the name of the file without its suffix.
        jobs : int, default 1
            Runs at a time. With more than one, each runs in a worker process, so a script must call
            `run` under ``if __name__ == "__main__":``.
        on_event : callable, default no_event
            Called with a `RunEvent` whenever a run begins, ends an epoch or is finished.

        Returns
        -------
        Comparison
            The tables, which are also saved in `out`.

        Raises
        ------
        InputError
            The data cannot be loaded, `out` contains another comparison, or another process is
            using it.
        """
        folder = self.file.with_suffix("") if out is None else Path(out)
        if folder.resolve() in {self.file.resolve(), Path(self.source).resolve()}:
            raise InputError(
                f"{folder}: is the study's file or the folder of its data; choose another folder"
            )
        return run_plan(
            self.plan,
            self.load_data(),
            self.source,
            out=folder,
            file=self.file,
            jobs=jobs,
            on_event=on_event,
        )
