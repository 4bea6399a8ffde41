"""Install the distributions as a user does, in empty environments, and use them.

``python tools/smoke.py dist [PYTHON]`` takes the wheel and the source distribution in ``dist/``.
Each is installed without extras, with the lowest allowed and the newest versions of what it needs.
Then the wheel is installed with the extra ``train``, next to the torch of ``constraints.txt``.
`PYTHON` is the interpreter of the environments; by default the one that runs this script.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).parent / "uv"

WITHOUT_TRAIN = """
import sys
import numpy as np
import sgurinit
from sgurinit import SGURInit, UserStart, load_dataset

data = load_dataset("xwines")
start = SGURInit(random_state=0).fit(data).start_
assert start.users["text"].shape[0] == data.n_users
start.save("start.safetensors")
assert np.array_equal(UserStart.load("start.safetensors").users["text"], start.users["text"])
start.save("start.parquet")
assert "torch" not in sys.modules
try:
    sgurinit.train
except ImportError as error:
    assert "pip install 'sgurinit[train]'" in str(error), error
else:
    raise AssertionError("sgurinit.train is there without the extra")
print(sgurinit.__version__)
"""

WITH_TRAIN = """
import torch
from sgurinit import SGURInit, initialize_, load_dataset

data = load_dataset("xwines")
users = torch.nn.Embedding(data.n_users, 16)
before = users.weight.detach().clone()
initialize_(users, SGURInit(random_state=0).fit(data).start_)
assert not torch.equal(before, users.weight)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Output of a command; where it fails, its output is shown and this program ends."""
    done = subprocess.run(  # noqa: S603 - our own words
        command, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout + done.stderr)
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return done.stdout.strip()


def make_environment(folder: Path, python: str) -> Path:
    """An empty virtual environment; returns its folder of programs."""
    run(UV, "venv", "--quiet", "--python", python, "--seed", folder, cwd=folder.parent)
    return folder / "bin"


def install(programs: Path, *what: str | Path) -> None:
    """Install with uv, which alone can choose the lowest versions."""
    run(UV, "pip", "install", "--quiet", "--python", programs / "python", *what, cwd=programs)


def use_without_train(programs: Path, folder: Path, version: str) -> None:
    """What a user without torch does first."""
    python, command = programs / "python", programs / "sgurinit"
    found = run(python, "-I", "-c", WITHOUT_TRAIN, cwd=folder)
    assert found == version, f"version {found}, expected {version}"
    assert version in run(command, "--version", cwd=folder)
    assert "init" in run(command, "--help", cwd=folder)
    assert "8,524" in run(command, "inspect", "xwines", cwd=folder)
    run(command, "init", "xwines", "--out", "users.parquet", "--quiet", cwd=folder)
    assert (folder / "users.parquet").is_file()


def use_with_train(programs: Path, folder: Path) -> None:
    """What a user with torch does first."""
    run(programs / "python", "-I", "-c", WITH_TRAIN, cwd=folder)
    options = ["--max-epochs", "1", "--out", "run", "--quiet"]
    run(programs / "sgurinit", "train", "bprmf", "xwines", *options, cwd=folder)
    assert (folder / "run").is_dir()


def main(dist: Path, python: str) -> None:
    """Install and use what is in `dist`."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    version = wheel.name.split("-")[1]
    for file in (wheel, sdist):
        for resolution in ("lowest-direct", "highest"):
            with TemporaryDirectory() as name:
                folder = Path(name).resolve()
                programs = make_environment(folder / "venv", python)
                install(programs, "--resolution", resolution, file)
                use_without_train(programs, folder, version)
            print(f"{file.name}, {resolution} versions: works")
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        programs = make_environment(folder / "venv", python)
        # With pip, whose configuration says where a torch without CUDA is.
        torch = ["--no-deps", "--constraint", ROOT / "constraints.txt", "torch"]
        run(programs / "python", "-m", "pip", "install", "--quiet", *torch, cwd=folder)
        install(programs, f"sgurinit[train] @ {wheel.as_uri()}")
        use_with_train(programs, folder)
    print(f"{wheel.name}, with the extra train: works")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else sys.executable)
