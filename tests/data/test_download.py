"""Downloads are complete or fail, from a server that cuts connections."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.data.catalog import CATALOG, PublishedDataset, PublishedFile
from sgurinit.data.download import download
from sgurinit.errors import InputError

BODY = np.random.default_rng(0).bytes(300_000)
SHA = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves `files`, and cuts each connection after the next number of bytes in `cuts`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {"/a.bin": BODY}
        self.cuts: list[int] = []
        self.asked: list[tuple[str, str | None]] = []
        self.tags = True

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if self.path not in self.server.files:
            self.send_error(503 if self.path == "/busy" else 404)
            return
        body = self.server.files[self.path]
        tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        first = 0
        if wanted and self.headers.get("If-Range") == tag and self.server.tags:
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        if self.server.tags:
            self.send_header("ETag", tag)
        self.end_headers()
        part = body[first:]
        if self.server.cuts:
            part = part[: self.server.cuts.pop(0)]
        self.wfile.write(part)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("sgurinit.data.download._PAUSE", 0.0)
    serving = Server()
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def published(server: Server, *paths: str, checksum: str | None = SHA) -> PublishedDataset:
    file = PublishedFile("a.bin", tuple(map(server.url, paths or ("/a.bin",))), checksum)
    return PublishedDataset("small", "free", "http://example.org", (file,))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_a_file_is_downloaded_once(server, tmp_path):
    shown: list[tuple[str, int, int]] = []
    folder = download(published(server), tmp_path / "d", lambda *news: shown.append(news))
    assert (folder / "a.bin").read_bytes() == BODY
    assert names(folder) == {"a.bin"}
    assert shown[-1] == ("a.bin", len(BODY), len(BODY))
    download(published(server), tmp_path / "d")
    assert server.asked == [("/a.bin", None)]


def test_the_cache_folder_is_the_default(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SGURINIT_CACHE", str(tmp_path / "c"))
    assert download(published(server)) == tmp_path / "c/datasets/small"


def test_a_cut_connection_is_resumed(server, tmp_path):
    server.cuts = [100_000, 50_000]
    folder = download(published(server), tmp_path)
    assert (folder / "a.bin").read_bytes() == BODY
    assert [range_ for _, range_ in server.asked] == [None, "bytes=98304-", "bytes=147456-"]


def test_the_next_call_resumes_the_partial_file(server, tmp_path):
    server.cuts = [100_000, 0, 0]
    with pytest.raises(InputError, match="the connection was cut; 98304 bytes are kept"):
        download(published(server), tmp_path)
    assert not (tmp_path / "a.bin").exists()
    download(published(server), tmp_path)
    assert server.asked[-1] == ("/a.bin", "bytes=98304-")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert names(tmp_path) == {"a.bin"}


def test_a_changed_file_is_downloaded_from_the_beginning(server, tmp_path):
    server.cuts = [100_000, 0, 0]
    with pytest.raises(InputError):
        download(published(server, checksum=None), tmp_path)
    server.files["/a.bin"] = BODY[::-1]
    download(published(server, checksum=None), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY[::-1]


def test_without_a_version_the_download_begins_again(server, tmp_path):
    server.tags, server.cuts = False, [100_000]
    download(published(server), tmp_path)
    assert [range_ for _, range_ in server.asked] == [None, None]
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_wrong_checksum_is_refused_and_leaves_no_file(server, tmp_path):
    server.files["/a.bin"] = b"something else"
    with pytest.raises(InputError, match="the checksum is not sha256:") as e:
        download(published(server), tmp_path)
    assert "\n" not in str(e.value)
    assert names(tmp_path) == set()


def test_the_next_address_is_tried(server, tmp_path):
    server.files["/wrong"] = b"something else"
    download(published(server, "/gone", "/busy", "/wrong", "/a.bin"), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    paths = [path for path, _ in server.asked]
    assert paths == ["/gone", "/busy", "/busy", "/busy", "/wrong", "/a.bin"]


def test_all_failed_addresses_are_named(server, tmp_path):
    with pytest.raises(InputError) as error:
        download(published(server, "/gone", "/busy"), tmp_path)
    assert "/gone: HTTP 404; " in str(error.value)
    assert "/busy: HTTP 503. Try again" in str(error.value)
    server.shutdown()
    nobody = PublishedFile("a.bin", ("http://127.0.0.1:9/a.bin",))
    with pytest.raises(InputError, match="no connection"):
        download(replace(published(server), files=(nobody,)), tmp_path)


def test_an_unknown_checksum_is_recorded_and_checked_later(server, tmp_path):
    without = published(server, checksum=None)
    download(without, tmp_path)
    assert json.loads((tmp_path / "checksums.json").read_text()) == {"a.bin": SHA}
    (tmp_path / "a.bin").write_bytes(b"changed on disk")
    download(without, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    (tmp_path / "a.bin").unlink()
    server.files["/a.bin"] = b"changed at its source"
    with pytest.raises(InputError, match=r"the checksum is not .*checksums\.json"):
        download(without, tmp_path)


def archive(**files: str) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(name.replace("__", "/"), text)
    return memory.getvalue()


def test_an_archive_is_unpacked_and_prepare_reads_it(server, tmp_path, monkeypatch):
    log = "".join(f"{u}\t{i}\t5\t88125094{i}\n" for u in range(9) for i in range(5))
    server.files["/ml.zip"] = archive(**{"ml__u.data": log})
    file = PublishedFile("ml.zip", (server.url("/ml.zip"),))
    entry = PublishedDataset(
        "ml", "research only", "http://example.org", (file,), "ml/ml", "sgurinit prepare {folder}"
    )
    monkeypatch.setitem(CATALOG, "ml", entry)
    words = ["datasets", "get", "ml", "--out", str(tmp_path / "d")]
    for _ in range(2):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert len(server.asked) == 1
    output = " ".join(done.output.split())
    assert "license: research only" in output
    assert "to read it: sgurinit prepare" in output
    words = ["prepare", str(tmp_path / "d/ml/ml"), "--out", str(tmp_path / "made")]
    assert CliRunner().invoke(app, words).exit_code == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-9],
        lambda data: data[:60] + bytes(20) + data[80:],
        lambda data: data.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01").replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
        ),
    ],
    ids=["cut", "changed", "encrypted"],
)
def test_a_broken_archive_gives_a_one_line_error(server, tmp_path, damage):
    server.files["/ml.zip"] = damage(archive(a="b" * 999 + "c"))
    entry = PublishedDataset("ml", "", "", (PublishedFile("ml.zip", (server.url("/ml.zip"),)),))
    with pytest.raises(InputError, match="not a complete archive"):
        download(entry, tmp_path)
    assert not (tmp_path / "ml").exists()


def test_an_archive_that_holds_far_more_than_its_size_is_refused(server, tmp_path):
    server.files["/ml.zip"] = archive(a="0" * 20_000_000)
    entry = PublishedDataset("ml", "", "", (PublishedFile("ml.zip", (server.url("/ml.zip"),)),))
    with pytest.raises(InputError, match=r"says that it holds 20,000,000 bytes") as error:
        download(entry, tmp_path)
    assert "not a complete archive" not in str(error.value)
    assert not (tmp_path / "ml").exists()
    (tmp_path / "ml").mkdir()  # unpacked by hand
    assert download(entry, tmp_path) == tmp_path


def test_an_archive_that_understates_its_size_is_refused(server, tmp_path):
    size = (20_000_000).to_bytes(4, "little")
    server.files["/ml.zip"] = archive(a="0" * 20_000_000).replace(size, (99).to_bytes(4, "little"))
    entry = PublishedDataset("ml", "", "", (PublishedFile("ml.zip", (server.url("/ml.zip"),)),))
    with pytest.raises(InputError, match="not a complete archive"):
        download(entry, tmp_path)
    assert not (tmp_path / "ml").exists()


def test_names_are_listed_and_similar_ones_suggested():
    def run(*words: str):
        return CliRunner().invoke(app, ["datasets", *words])

    shown = run("list")
    assert shown.exit_code == 0
    for name in ("tiktok", "ml-100k", "microlens-50k", "amazon-2014-baby", "amazon-2023-software"):
        assert name in shown.output
    listed = json.loads(run("list", "ml-32m", "--json").stdout)["datasets"]
    assert [entry["name"] for entry in listed] == ["ml-32m"]
    wrong = run("get", "ml-100m")
    assert wrong.exit_code == 2
    assert "no data set of this name; ml-100k" in wrong.stderr
    assert run("list", "nothing-like-it").exit_code == 2


def test_catalog_entries_have_a_license_unique_addresses_and_valid_digests():
    urls = [url for entry in CATALOG.values() for file in entry.files for url in file.urls]
    assert len(set(urls)) == len(urls)
    for entry in CATALOG.values():
        assert entry.license
        for file in entry.files:
            digest = (file.checksum or "sha256:" + "0" * 64).partition(":")
            assert len(digest[2]) == {"md5": 32, "sha256": 64}[digest[0]]


def test_checksums_are_those_of_the_real_files(tiktok_path):
    for file in CATALOG["tiktok"].files:
        path = tiktok_path / file.name
        if path.is_file() and file.checksum:
            assert file.checksum == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
