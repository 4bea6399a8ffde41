"""Results of the stages of a fit, kept so that Spark does not compute them again."""

from __future__ import annotations

from pathlib import PurePosixPath

from pyspark.sql import DataFrame


class Stages:
    """Keeps data frames, as Parquet in a folder or persisted by the executors.

    Parameters
    ----------
    folder : str or None
        Folder that driver and executors share. A lost executor then costs only its running stage.
        If None, executors keep the frames, and Spark computes a lost part again from the
        interactions.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._persisted: list[DataFrame] = []

    def keep(self, frame: DataFrame, name: str) -> DataFrame:
        """Keep a frame under a name, and return a frame that reads the kept rows."""
        if self._folder is None:
            persisted = frame.persist()
            self._persisted.append(persisted)
            return persisted
        if "://" in self._folder:
            path = f"{self._folder.rstrip('/')}/{name}"
        else:
            path = str(PurePosixPath(self._folder) / name)
        frame.write.mode("overwrite").parquet(path)
        return frame.sparkSession.read.schema(frame.schema).parquet(path)

    def release(self) -> None:
        """Unpersist all frames that executors keep. Files remain."""
        for frame in self._persisted:
            frame.unpersist()
        self._persisted.clear()
