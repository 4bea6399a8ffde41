"""The package as a whole: its names, its light core, its words."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import polars as pl
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from typer.testing import CliRunner

import sgurinit
from sgurinit import core
from sgurinit.cli import app

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
SOURCE = PROJECT["urls"]["Source"]

EXTRA = {"torch", "lightning", "plotly", "class_resolver", "platformdirs"}

# Stands in for an environment where these modules, such as those of the extra, are not installed.
WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def run_without(missing: set[str], code: str) -> subprocess.CompletedProcess[str]:
    code = f"MISSING = {missing!r}\n{WITHOUT}{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_every_public_name_is_there_and_listed():
    for name in sgurinit.__all__:
        assert hasattr(sgurinit, name)
    assert {*sgurinit.__all__, "__version__"} <= set(dir(sgurinit))
    assert {*core.__all__} <= set(dir(core))
    for module in (sgurinit, core):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = module.nothing


def test_the_version_is_that_of_the_distribution():
    assert sgurinit.__version__ == version("sgurinit")


@pytest.mark.slow
def test_a_fit_loads_numpy_scipy_and_scikit_learn_alone():
    code = """
import sys
import numpy as np
from sgurinit.core import SGURInit, UserStart
start = SGURInit(n_clusters=2, joint_dim=2, random_state=0).fit(
    np.array([[0, 0], [1, 1]]), {"text": np.eye(2)}
).start_
assert start.diagnostics
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"polars", "safetensors", "torch", "pydantic"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.slow
def test_lightning_is_imported_by_training_alone():
    code = """
import sys
import sgurinit.experiments, sgurinit.handover, sgurinit.report.page, sgurinit.training
print(*sorted({"lightning", "torch.distributed.tensor"} & set(sys.modules)))
sgurinit.training.train("planted", settings=sgurinit.training.TrainSettings(max_epochs=1))
assert "lightning" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_reprs_are_a_few_lines_without_matrices():
    data = sgurinit.load_dataset("planted")
    start = sgurinit.SGURInit(joint_dim=8, local_norm="sym", random_state=0).fit(data).start_
    assert repr(data).splitlines() == [
        "Dataset('planted', 2,000 users, 1,000 items)",
        f"  interactions: train {len(data.train):,}, valid {len(data.valid):,}, "
        f"test {len(data.test):,}",
        "  features: image 64-d, text 32-d",
    ]
    assert repr(start).splitlines() == [
        "UserStart(2,000 users, 1,000 items)",
        "  tables: image 64-d, text 32-d, joint 8-d",
        "  parameters: local_norm='sym'",
    ]
    for part in (start.joint(8), start.clusters["text"], data.train, data.features["text"]):
        assert len(repr(part).splitlines()) == 1


@pytest.mark.slow
def test_core_and_data_work_without_the_extra(tmp_path):
    done = run_without(
        EXTRA,
        f"""
from sgurinit import SGURInit, load_dataset
start = SGURInit(joint_dim=16, random_state=0).fit(load_dataset("planted")).start_
start.save({str(tmp_path / "start.safetensors")!r})
start.save({str(tmp_path / "users.parquet")!r})
assert "torch" not in sys.modules
""",
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"start.safetensors", "users.parquet"}


@pytest.mark.parametrize("missing", [EXTRA, {"lightning"}], ids=["extra", "lightning"])
def test_a_missing_extra_names_what_to_install(missing):
    done = run_without(missing, "import sgurinit; sgurinit.train")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: sgurinit.train needs ")
    assert last.endswith("which is not installed: pip install 'sgurinit[train]'")


def test_torch_is_no_dependency_of_the_bare_package():
    plain = [line for line in requires("sgurinit") or [] if "extra ==" not in line]
    assert plain
    assert not any(line.startswith(("torch", "lightning")) for line in plain)


def test_every_dependency_is_pinned_exactly():
    lines = [
        line
        for name in ("constraints.txt", "frameworks.txt")
        for line in (ROOT / name).read_text().splitlines()
    ]
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in line for line in pins)
    names = {line.partition("==")[0].lower().replace("_", "-") for line in pins}
    for line in requires("sgurinit") or []:
        name = line.split(";")[0].split("[")[0].strip()
        for mark in "<>=!~ ":
            name = name.partition(mark)[0]
        assert name.lower().replace("_", "-") in names | {"sgurinit"}, line


def test_ranges_leave_users_their_own_versions():
    """Exact versions are for the locks; a lowest one is what `make lowest` runs with."""
    stated = [*PYPROJECT["build-system"]["requires"], *PROJECT["dependencies"]]
    stated += [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for requirement in map(Requirement, stated):
        if requirement.name != "sgurinit":
            operators = {part.operator for part in requirement.specifier}
            assert ">=" in operators, f"{requirement}: no lowest version"
            assert operators <= {">=", "<", "!="}, f"{requirement}: too narrow"


def test_the_workflows_run_every_python_that_is_stated():
    stated = [line.rpartition(" :: ")[2] for line in PROJECT["classifiers"]]
    pythons = [name for name in stated if re.fullmatch(r"3\.\d+", name)]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons


def test_addresses_are_those_of_the_project():
    assert SOURCE.startswith("https://")
    assert not SOURCE.endswith("/")
    urls = PROJECT["urls"]
    for name in ("Homepage", "Issues", "Changelog"):
        assert urls[name].startswith(SOURCE), name
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    links = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text(encoding="utf-8"))
    assert site["repo_url"] == citation["repository-code"] == SOURCE
    assert site["site_url"] == citation["url"] == urls["Documentation"]
    found = {link["url"] for link in links["contact_links"]}
    assert found == {report := f"{SOURCE}/security/advisories/new", urls["Documentation"]}
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md"):
        assert report in (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]


KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_changelog_has_the_form_that_it_names():
    """Unreleased first, then versions downwards with their days; six kinds of change; links."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *released = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    found = [re.fullmatch(r"\[([\d.]+)\] - \d{4}-\d\d-\d\d", heading) for heading in released]
    assert all(found), released
    versions = [Version(match[1]) for match in found if match]
    assert versions == sorted(versions, reverse=True)
    assert Version(PROJECT["version"]) >= max(versions, default=Version("0"))
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= KINDS
    for name in ("Unreleased", *map(str, versions)):
        assert f"\n[{name}]: {SOURCE}/" in text


def test_a_log_becomes_a_data_set_and_starts(tmp_path, monkeypatch):
    """The first commands of a practitioner: they need the lowest versions to be high enough."""
    monkeypatch.chdir(tmp_path)
    pairs = [(user, item) for user in range(4) for item in range(10)]
    log = pl.DataFrame(pairs, schema=["user", "item"], orient="row").cast(pl.String)
    log.write_csv("log.csv")
    log.write_parquet("log.parquet")
    vectors = [[1.0, 0.5 * item] for item in range(10)]
    items = pl.DataFrame({"item": list(map(str, range(10))), "text": vectors})
    items.write_parquet("items.parquet")
    starts = "stream log.parquet --features text=items.parquet --n-clusters 2 --layout parquet"
    for words in (
        "--help",
        "prepare log.csv --core 1 --out data --quiet",
        f"{starts} --dtype float16 --out users --quiet",
    ):
        result = CliRunner().invoke(app, words.split())
        assert result.exit_code == 0, result.output
    (part,) = (tmp_path / "users" / "users").glob("*.parquet")
    found = pl.read_parquet(part)
    # Every user touched every item, so all have one start: the mean of items and of centroids.
    assert found["text"].dtype.inner == pl.Float16
    assert found["text"].to_list() == [[1.0, 2.25]] * 4


def tracked() -> set[str]:
    """Files of the repository, as git has them."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git repository")
    command = ["git", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if (ROOT / name).is_file()}


def test_git_has_no_file_that_an_example_wrote():
    data = {".npy", ".npz", ".safetensors", ".parquet", ".ckpt", ".gz"}
    kept = ("src/sgurinit/data/shipped/", "studies/")
    written = {name for name in tracked() if Path(name).suffix in data}
    assert not {name for name in written if not name.startswith(kept)}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` builds, from a copy in which a run has left its files."""
    pytest.importorskip("build.__main__")  # a folder build/ is importable too
    project, out = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    for name in LEFT_BEHIND:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    command = [sys.executable, project / "tools/make_dist.py", out, "--no-isolation"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


LEFT_BEHIND = [
    "studies/archive/tiktok/runs/a/results.csv",
    "studies/archive/tiktok/report.html",
    "studies/new/trials/a.json",
    "src/sgurinit/__pycache__/arms.cpython-311.pyc",
    "demo-out/summary.csv",
    "dist/old.whl",
    "site/index.html",
]


@pytest.mark.slow
def test_the_source_distribution_is_the_repository(distributions):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {file.name.partition("/")[2] for file in archive if file.isfile()}
    made = {name for name in files if name in {"PKG-INFO", "setup.cfg"} or ".egg-info/" in name}
    assert files - made == tracked()


@pytest.mark.slow
def test_the_wheel_has_the_package_and_its_data_and_nothing_else(distributions):
    (path,) = distributions.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(path) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {name.removeprefix("src/") for name in tracked() if name.startswith("src/")}
    assert files == package
    assert {"sgurinit/py.typed", "sgurinit/report/page/assets/page.css"} < files


@pytest.mark.slow
def test_away_from_the_repository_the_readme_has_no_relative_link(distributions):
    (path,) = distributions.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(name).decode()
    tag = f"v{PROJECT['version']}"
    shown = re.findall(r'\]\(([^)]+)\)|(?:src|href)="([^"]+)"', text)
    links = {markdown or html for markdown, html in shown}
    assert all(link.startswith(("https://", "#")) for link in links)
    assert f"{SOURCE}/raw/{tag}/docs/images/method.svg" in links
    assert f"{SOURCE}/blob/{tag}/CONTRIBUTING.md" in links
