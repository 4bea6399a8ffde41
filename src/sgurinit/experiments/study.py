"""Studies: comparisons that are described by a YAML file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sgurinit.arguments import check_callable, check_integer, check_list, check_path
from sgurinit.data import Dataset, hold_out_items, load_dataset
from sgurinit.data.shipped import SHIPPED
from sgurinit.errors import InputError
from sgurinit.experiments.comparison import Comparison, resolve_split_data, run_plan
from sgurinit.experiments.cost import ModelCost, estimate_costs
from sgurinit.experiments.events import EventCallback, no_event
from sgurinit.experiments.plan import comparison_settings
from sgurinit.experiments.settings import ComparisonSettings
from sgurinit.experiments.study_file import StudyData, expand_sweeps, read_study_file
from sgurinit.models import model_resolver
from sgurinit.resolve import build
from sgurinit.training import Machine, TrainSettings
from sgurinit.training.machine import resolve_machine

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
    other_data : str or None
        Path or name of the data that are used instead of those in the file.

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
    other_data: str | None = None

    @classmethod
    def read(cls, path: str | Path, data: str | Path | None = None) -> Study:
        """Read and check a study's file. The data are not loaded.

        Parameters
        ----------
        path : str or Path
            The YAML file. Its fields are ``data``, ``models``, ``arms``, ``seeds``, ``train``,
            ``mask_valid`` and ``search``.
        data : str, Path or None, default None
            Path or name of the data, instead of those in the file. One file can so describe the
            same study of several data sets.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            An argument is not a path, the file cannot be read, or a field cannot be used; the
            message names file and field.
        """
        file = check_path(path, "path")
        other = None if data is None else str(check_path(data, "data"))
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
            if data is None and content.data.path is None:
                raise InputError(
                    "study.data.path is missing, expected the folder or name of the data; or give "
                    "it as `data`"
                )
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
        return cls(file, plan, content.data, other)

    @property
    def source(self) -> str:
        """Path or name of the data. A path in the file is relative to the file."""
        if self.other_data is not None:
            return self.other_data
        path = str(self.data.path)
        return path if path in _BUILT_IN else str(self.file.parent / path)

    @property
    def folder(self) -> Path:
        """Folder of the study, if no other is given: the name of the file without its suffix.

        If the data are not those of the file: inside it, by the name of the data's folder.
        """
        folder = self.file.with_suffix("")
        return folder if self.other_data is None else folder / Path(self.other_data).resolve().name

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
        self,
        out: str | Path | None = None,
        *,
        only: Collection[str] | None = None,
        jobs: int = 1,
        machine: Machine | None = None,
        on_event: EventCallback = no_event,
    ) -> Comparison:
        """Load the data, search settings if the file says so, then run the comparison.

        Finished runs in `out` are kept and interrupted runs resume. So several machines can each
        run some of the models: copy their folders ``trials/MODEL`` and ``runs/MODEL`` into one
        folder, and run the whole study there.

        Parameters
        ----------
        out : str, Path or None, default None
            Folder of the study, created if missing. None: `folder`.
        only : collection of str or None, default None
            Names of the models to search and run. The tables have all models whose runs are
            finished. None: all models.
        jobs : int, default 1
            Runs at a time. With more than one, each runs in a worker process, so a script must call
            `run` under ``if __name__ == "__main__":``.
        machine : Machine or None, default None
            The device of the runs, see `compare`. The study resumes on another.
        on_event : callable, default no_event
            Called with a `RunEvent` whenever a run begins, ends an epoch or is finished.

        Returns
        -------
        Comparison
            The tables, which are also saved in `out`.

        Raises
        ------
        InputError
            An argument or the data cannot be used, the study has no such model, `out` contains
            another comparison or runs with other settings, another process is using it, there is
            too little memory, or this machine has no such device.
        """
        models = None if only is None else self.resolve_models(only)
        folder = self.folder if out is None else check_path(out, "out")
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
            data_option=self.other_data,
            only=models,
            jobs=jobs,
            machine=machine,
            on_event=on_event,
        )

    def resolve_models(self, names: Collection[str]) -> list[str]:
        """Return names of the study's models as the study has them.

        Parameters
        ----------
        names : collection of str
            The names. Upper case, lower case and dashes make no difference.

        Raises
        ------
        InputError
            None is given, or the study has no such model; the message names its models.
        """
        models = ", ".join(self.plan.models)
        names = check_list(names, "only")
        if not names:
            raise InputError(f"only: no model is given, expected some of {models}")
        found = [model_resolver.normalize(str(name)) for name in names]
        for name, model in zip(names, found, strict=True):
            if model not in self.plan.models:
                raise InputError(f"only: {name!r} is not a model of the study, which has {models}")
        return found

    def estimate(
        self,
        out: str | Path | None = None,
        *,
        only: Collection[str] | None = None,
        jobs: int = 1,
        machine: Machine | None = None,
        on_event: EventCallback = no_event,
    ) -> list[ModelCost]:
        """Estimate how long the study takes, without running it.

        Each model is trained for two epochs from random values, unless the folder has finished
        runs of it, whose times and numbers of epochs are used.

        Parameters
        ----------
        out : str, Path or None, default None
            Folder of the study. Nothing is written. None: `folder`.
        only : collection of str or None, default None
            Names of the models. None: all models.
        jobs : int >= 1, default 1
            Runs at a time. Epochs are measured with one run's share of the cores.
        machine : Machine or None, default None
            The device that epochs are measured on.
        on_event : callable, default no_event
            Called with a `RunEvent` when the measurement of a model begins.

        Returns
        -------
        list of ModelCost
            One entry for each model.

        Raises
        ------
        InputError
            An argument or the data cannot be used, the study has no such model, or this machine
            has no such device.
        """
        machine = resolve_machine(machine)
        models = list(self.plan.models) if only is None else self.resolve_models(only)
        folder = self.folder if out is None else check_path(out, "out")
        jobs = check_integer(jobs, "jobs", 1)
        check_callable(on_event, "on_event")
        dataset = self.load_data()
        plan = self.plan.select_models(models)
        return estimate_costs(plan, dataset, folder, jobs, on_event, machine=machine)
