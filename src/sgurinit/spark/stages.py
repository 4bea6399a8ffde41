"""What is kept between the stages of a fit, so that what is lost later is not computed anew."""

from __future__ import annotations

from pathlib import PurePosixPath

from pyspark.sql import DataFrame


class Stages:
    """Keeps data frames, in Parquet where there is a folder, else by the executors.

    Parameters
    ----------
    folder : str or None
        Folder that driver and executors share. An executor that is lost then costs its running
        stage. Without, Spark computes the lost part again from the interactions.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._held: list[DataFrame] = []

    def keep(self, frame: DataFrame, name: str) -> DataFrame:
        """Return the frame as it is read from where it is kept."""
        if self._folder is None:
            held = frame.persist()
            self._held.append(held)
            return held
        path = (
            str(PurePosixPath(self._folder) / name)
            if "://" not in self._folder
            else (f"{self._folder.rstrip('/')}/{name}")
        )
        frame.write.mode("overwrite").parquet(path)
        return frame.sparkSession.read.schema(frame.schema).parquet(path)

    def release(self) -> None:
        """Let executors forget what they hold; files stay."""
        for frame in self._held:
            frame.unpersist()
        self._held.clear()
