"""Download public data sets once, check them, and resume interrupted downloads."""

from __future__ import annotations

import os
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pooch
import requests

from sgurinit.data.catalog import PublishedDataset, PublishedFile
from sgurinit.data.packed import MOST_RATIO, count_most_bytes
from sgurinit.errors import InputError
from sgurinit.files import explain_write_errors, new_folder, read_json, write_json
from sgurinit.locks import claim_folder
from sgurinit.progress import ProgressCallback, no_progress
from sgurinit.runtime import get_cache_folder

_TRIES = 3  # for each address
_PAUSE = 1.0  # seconds before the second, twice as long before the third
_SERVER_FAULT = 500  # status codes from here on may be temporary
_CHUNK = 1 << 14  # bytes; a cut connection loses at most one chunk
_TIMEOUT = (15, 60)  # seconds to connect, and between two chunks
_RECORDS = "checksums.json"


def download(
    published: PublishedDataset,
    folder: str | Path | None = None,
    progress: ProgressCallback = no_progress,
) -> Path:
    """Download a data set, unless it is already there.

    Interrupted downloads are resumed. A file without a published checksum is recorded with its
    checksum at the first download, and later downloads must match it.

    Parameters
    ----------
    published : PublishedDataset
        The data set, such as ``CATALOG["ml-100k"]``.
    folder : str or Path, optional
        Folder for the files. Default: ``datasets/<name>`` in the cache folder.
    progress : callable, optional
        Called with ``(file, done, total)`` in bytes. A total of 0 means unknown.

    Returns
    -------
    Path
        The folder with the data, with all archives unpacked.

    Raises
    ------
    InputError
        If a file cannot be downloaded from any of its addresses, or does not match its checksum.

    See Also
    --------
    sgurinit.data.catalog.CATALOG : All public data sets.
    load_dataset : Load a data set from a folder.
    sgurinit.data.prepare.prepare : Make a data set from a raw log.

    Examples
    --------
    >>> from sgurinit.data.catalog import CATALOG
    >>> from sgurinit.data.download import download
    >>> folder = download(CATALOG["ml-100k"])  # doctest: +SKIP
    """
    pooch.get_logger().setLevel("WARNING")
    place = get_cache_folder() / "datasets" / published.name if folder is None else Path(folder)
    with claim_folder(place), explain_write_errors(place):
        records = read_json(place / _RECORDS) if (place / _RECORDS).is_file() else {}
        for file in published.files:
            known = file.checksum or records.get(file.name)
            _download_file(file, place, known, progress)
            if known is None:
                records[file.name] = f"sha256:{pooch.file_hash(str(place / file.name))}"
                write_json(place / _RECORDS, records)
            if file.name.endswith(".zip"):
                _unpack(place / file.name)
    return place / published.folder


def _download_file(
    file: PublishedFile, place: Path, known: str | None, progress: ProgressCallback
) -> None:
    """Try every address a few times. Each try resumes the one before."""
    faults = []
    hint = "" if file.checksum else f" (recorded in {_RECORDS}; remove it to accept the new file)"
    for url in file.urls:
        resuming = _ResumingDownloader(place / f".{file.name}.partial", file.name, progress)
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE * attempt)
            try:
                pooch.retrieve(url, known, fname=file.name, path=place, downloader=resuming)
                return
            except ValueError as error:
                if "hash" not in str(error):
                    raise
                faults.append(f"{url}: the checksum is not {known}{hint}")
                break
            except requests.HTTPError as error:
                code = 0 if error.response is None else error.response.status_code
                faults.append(f"{url}: HTTP {code}")
                if code < _SERVER_FAULT:
                    break
            except requests.RequestException as error:
                faults.append(f"{url}: {_brief(error)}")
    kept = f"; {resuming.size()} bytes are kept for the next try" if resuming.size() else ""
    raise InputError(
        f"{file.name}: could not be downloaded: {'; '.join(dict.fromkeys(faults))}{kept}. "
        f"Try again, or put the file into {place}"
    )


class _ResumingDownloader:
    """Downloads into a partial file, and later requests only the missing part."""

    def __init__(self, partial: Path, name: str, progress: ProgressCallback) -> None:
        self.partial, self.name, self.progress = partial, name, progress
        self.notes = partial.with_suffix(".json")

    def size(self) -> int:
        """Return the number of bytes in the partial file."""
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def __call__(self, url: str, output_file: Any, _pooch: Any) -> None:
        """Download `url`. pooch calls this, and then checks the file."""
        version = self._version(url)
        headers = {"Accept-Encoding": "identity"}
        if version and self.size():
            headers |= {"Range": f"bytes={self.size()}-", "If-Range": version}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self.partial.unlink()
                raise requests.ConnectionError("the partial file does not match the server's file")
            answer.raise_for_status()
            resumed = answer.status_code == requests.codes.partial_content
            done = self.size() if resumed else 0
            total = done + int(answer.headers.get("Content-Length", 0))
            write_json(self.notes, {"url": url, "version": _version_of(answer)})
            with self.partial.open("ab" if resumed else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    self.progress(self.name, done, max(total, done) if total else 0)
        os.replace(self.partial, output_file)  # noqa: PTH105 - pooch checks this file
        self.notes.unlink()

    def _version(self, url: str) -> str:
        """Return the version of the partial file, empty if it is from another address."""
        if not (self.notes.is_file() and self.partial.is_file()):
            return ""
        notes = read_json(self.notes)
        return str(notes["version"]) if notes.get("url") == url else ""


def _version_of(answer: requests.Response) -> str:
    """Return the version of a file for resuming: a strong ETag, or the date of modification."""
    tag = str(answer.headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _brief(error: Exception) -> str:
    known: dict[type[Exception], str] = {
        requests.ConnectionError: "no connection",
        requests.exceptions.ChunkedEncodingError: "the connection was cut",
        requests.ConnectTimeout: "no answer",
        requests.ReadTimeout: "the server stopped answering",
    }
    return known.get(type(error), type(error).__name__)


def _unpack(archive: Path) -> None:
    folder = archive.with_suffix("")
    if folder.is_dir():
        return
    try:
        with zipfile.ZipFile(archive) as packed:
            # No member gives more than the size that it says.
            size = sum(member.file_size for member in packed.infolist())
            if size > count_most_bytes(archive):
                raise InputError(
                    f"{archive}: says that it holds {size:,} bytes, more than {MOST_RATIO} times "
                    f"its own size; unpack it into {folder}, if that is right"
                )
            with new_folder(folder) as whole:
                packed.extractall(whole)
    except InputError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        LookupError,
        RuntimeError,
        ValueError,
    ) as error:
        raise InputError(
            f"{archive}: not a complete archive ({error}); remove it, then download it again"
        ) from None
