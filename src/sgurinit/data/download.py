"""Files of others are fetched once, checked, and kept; a transfer that stops goes on later."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path
from typing import Any

import pooch
import requests

from sgurinit.data.catalog import File, Published
from sgurinit.errors import InputError
from sgurinit.files import new_folder, read_json, write_json
from sgurinit.progress import ProgressCallback, no_progress
from sgurinit.runtime import cache_folder

_TRIES = 3  # per address
_PAUSE = 1.0  # seconds before the second, twice as long before the third
_SERVER_FAULT = 500  # and more: may pass
_CHUNK = 1 << 14  # what a cut connection loses at the most
_TIMEOUT = (15, 60)  # seconds to connect, and between two pieces
_RECORDS = "checksums.json"


def download(
    published: Published, folder: str | Path | None = None, progress: ProgressCallback = no_progress
) -> Path:
    """Get a data set; what is there already and whole is not fetched again.

    The checksum of a file for which nobody published one is recorded when it is first fetched, and
    holds from then on.

    Parameters
    ----------
    published : Published
        Such as ``CATALOG["ml-100k"]``.
    folder : str or Path, optional
        Where the files go; ``datasets/<name>`` in the cache folder without it.
    progress : callable, optional
        Called with ``(file, bytes done, bytes in all)``; 0 in all is not known.

    Returns
    -------
    Path
        The folder with the data, unpacked.

    Raises
    ------
    InputError
        If a file cannot be got from any of its addresses, or is not the one that was published.
    """
    pooch.get_logger().setLevel("WARNING")
    place = cache_folder() / "datasets" / published.name if folder is None else Path(folder)
    records = read_json(place / _RECORDS) if (place / _RECORDS).is_file() else {}
    try:
        place.mkdir(parents=True, exist_ok=True)
        for file in published.files:
            known = file.checksum or records.get(file.name)
            _fetch(file, place, known, progress)
            if known is None:
                records[file.name] = f"sha256:{pooch.file_hash(str(place / file.name))}"
                write_json(place / _RECORDS, records)
            if file.name.endswith(".zip"):
                _unpack(place / file.name)
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror or error})") from error
    return place / published.folder


def _fetch(file: File, place: Path, known: str | None, progress: ProgressCallback) -> None:
    """Try every address, each a few times, going on where the one before was cut."""
    faults = []
    told = (
        "" if file.checksum else f" (recorded in {_RECORDS}; remove it to take what is there now)"
    )
    for url in file.urls:
        resuming = _Resuming(place / f".{file.name}.partial", file.name, progress)
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE * attempt)
            try:
                pooch.retrieve(url, known, fname=file.name, path=place, downloader=resuming)
                return
            except ValueError as error:
                if "hash" not in str(error):
                    raise
                faults.append(f"{url}: not the file that is expected, which has {known}{told}")
                break
            except requests.HTTPError as error:
                code = 0 if error.response is None else error.response.status_code
                faults.append(f"{url}: HTTP {code}")
                if code < _SERVER_FAULT:
                    break
            except requests.RequestException as error:
                faults.append(f"{url}: {_brief(error)}")
    kept = f"; {resuming.kept()} bytes of it are kept for the next try" if resuming.kept() else ""
    raise InputError(
        f"{file.name}: could not be downloaded: {'; '.join(dict.fromkeys(faults))}{kept}. "
        f"Try again, or put the file into {place}"
    )


class _Resuming:
    """Downloads into a file of its own that outlives it, and asks for what is missing there."""

    def __init__(self, partial: Path, name: str, progress: ProgressCallback) -> None:
        self.partial, self.name, self.progress = partial, name, progress
        self.notes = partial.with_suffix(".json")

    def kept(self) -> int:
        """Return how many bytes are there."""
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def __call__(self, url: str, output_file: Any, _pooch: Any) -> None:
        """Download `url`; pooch calls this and checks the file after."""
        version = self._version(url)
        headers = {"Accept-Encoding": "identity"}
        if version and self.kept():
            headers |= {"Range": f"bytes={self.kept()}-", "If-Range": version}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self.partial.unlink()
                raise requests.ConnectionError("what was kept is no part of the file any more")
            answer.raise_for_status()
            resumed = answer.status_code == requests.codes.partial_content
            done = self.kept() if resumed else 0
            total = done + int(answer.headers.get("Content-Length", 0))
            write_json(self.notes, {"url": url, "version": _strong(answer)})
            with self.partial.open("ab" if resumed else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    self.progress(self.name, done, max(total, done) if total else 0)
        os.replace(self.partial, output_file)  # noqa: PTH105 - into the place that pooch checks
        self.notes.unlink()

    def _version(self, url: str) -> str:
        """Return what tells that the file at `url` is still the one that was begun."""
        if not (self.notes.is_file() and self.partial.is_file()):
            return ""
        notes = read_json(self.notes)
        return str(notes["version"]) if notes.get("url") == url else ""


def _strong(answer: requests.Response) -> str:
    """Return a name of the version that a server goes on from, or none."""
    tag = str(answer.headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _brief(error: Exception) -> str:
    known: dict[type[Exception], str] = {
        requests.ConnectionError: "no connection",
        requests.exceptions.ChunkedEncodingError: "the connection was cut",
        requests.ConnectTimeout: "no answer",
        requests.ReadTimeout: "no answer any more",
    }
    return known.get(type(error), type(error).__name__)


def _unpack(archive: Path) -> None:
    folder = archive.with_suffix("")
    if folder.is_dir():
        return
    try:
        with zipfile.ZipFile(archive) as packed, new_folder(folder) as whole:
            packed.extractall(whole)
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{archive}: not a whole archive ({error}); remove it, get it again"
        ) from None
