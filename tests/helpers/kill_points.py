"""Runs a piece of code again and again, killed before each of its changes to the disk.

Read from stdin: ``{"setup": code, "code": code, "points": most to try, "imports": modules,
"folder": path}``. The setup makes the input in an empty folder. Printed: one JSON line per kill,
with the names of all files afterwards and the exit code of a second, undisturbed run. Every run is
a fork of this process, which has imported everything and run nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import traceback
from pathlib import Path

KILLED = 9
CHANGES = {
    "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate",
    "shutil.rmtree",
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def kill_before(number: int, folder: str) -> list[int]:
    """End this process before its change `number` of files in the folder; count the changes."""
    seen = [0]

    def hook(event: str, arguments: tuple) -> None:
        is_change = event in CHANGES or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        )
        if not is_change or not isinstance(arguments[0], str | os.PathLike):
            return
        if os.path.abspath(arguments[0]).startswith(folder):  # noqa: PTH100
            seen[0] += 1
            if seen[0] == number:
                os._exit(KILLED)

    sys.addaudithook(hook)
    return seen


def fork(code: str, folder: Path, kill_at: int) -> tuple[int, int]:
    """Run code in a fork in the folder; return its exit code and how many changes it made."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        with os.fdopen(ours) as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), int(said or 0)
    os.chdir(folder)
    seen = kill_before(kill_at, str(folder))
    code_of_exit = 0
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            exec(code, {"cli": cli})  # noqa: S102 - the test's own
    except SystemExit as stop:
        code_of_exit = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code_of_exit = 1
    os.write(theirs, str(seen[0]).encode())
    os._exit(code_of_exit)


def cli(*words: str) -> None:
    """Run a command."""
    from sgurinit.cli import app  # noqa: PLC0415

    app(list(words))


def read(folder: Path) -> dict[str, str]:
    """Digest of every file in the folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def choose(n_changes: int, most: int) -> list[int]:
    """All changes, or evenly spread ones and the last, which clean up."""
    if n_changes <= most:
        return list(range(1, n_changes + 1))
    last = range(n_changes - most // 3, n_changes + 1)
    step = (last.start - 1) / (most - len(last))
    return [1 + int(step * k) for k in range(most - len(last))] + list(last)


def main() -> None:
    """Try every chosen point."""
    request = json.load(sys.stdin)
    for module in request["imports"]:
        __import__(module)
    place = Path(request["folder"])

    def begin(name: str) -> Path:
        folder = place / name
        folder.mkdir()
        assert fork(request["setup"], folder, 0)[0] == 0
        return folder

    whole = begin("whole")
    code, n_changes = fork(request["code"], whole, 0)
    print(json.dumps({"exit": code, "changes": n_changes, "files": read(whole)}), flush=True)  # noqa: T201
    for number in choose(n_changes, request["points"]):
        folder = begin(f"at-{number}")
        killed, _ = fork(request["code"], folder, number)
        after = read(folder)
        again, _ = fork(request["code"], folder, 0)
        result = {"at": number, "killed": killed, "after": after, "exit": again}
        print(json.dumps(result | {"files": read(folder)}), flush=True)  # noqa: T201


main()
