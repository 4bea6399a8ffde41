"""The documents are true: their code runs, their commands parse, their links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

import sgurinit
from sgurinit import load_dataset
from sgurinit.cli import app
from sgurinit.models import model_resolver

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), ROOT / "studies/README.md"]
# Pages whose code other tests run, because it needs more than this library.
TESTED_ELSEWHERE = {
    "CONTRIBUTING.md": "tests/test_contributing.py",
    "docs/how-to/frameworks.md": "tests/integrations/test_docs.py",
    "docs/how-to/spark.md": "tests/spark/test_model.py",
}
# Pages whose code must run without any preparation.
FIRST_PAGES = {"README.md", "docs/index.md"}
# Packages that a page needs and that may be absent.
NEEDS = {"docs/how-to/production.md": "faiss"}
# Pages whose code reads what their own `stream` command wrote.
READS_STREAM = {"docs/index.md", "docs/how-to/large-data.md"}
COLUMN = 84


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(name: str) -> list[str]:
    """Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


def tool(name: str) -> ModuleType:
    """A script of ``docs/tools``."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def given() -> dict[str, object]:
    """Names that the pages take as given."""
    data = load_dataset("planted")
    text = data.features["text"].values
    model = SimpleNamespace(
        user_embedding=nn.Embedding(data.n_users, 16),
        item_embedding=nn.Embedding(data.n_items, 16),
        user_text=nn.Embedding(data.n_users, 8),
        text_projection=nn.Linear(text.shape[1], 8),
    )
    return {
        "model": model,
        "interactions": data.train_matrix(),
        "image": data.features["image"].values,
        "text": text,
        "item_vectors": np.random.default_rng(0).normal(size=(data.n_items, 8)),
        "text_tensor": torch.tensor(text),
    }


@pytest.fixture(autouse=True)
def models_as_before(monkeypatch):
    """A page that compares its class registers it for the whole process."""
    monkeypatch.setattr(model_resolver, "lookup_dict", dict(model_resolver.lookup_dict))


CODE = [name_of(page) for page in PAGES if blocks(name_of(page))]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CODE if name not in TESTED_ELSEWHERE])
def test_python_blocks_run(name, given, tmp_path, monkeypatch):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.chdir(tmp_path)
    if name in READS_STREAM:
        write_log_and_items()
        run_first_command(name, "stream")
    space = {}
    for code in blocks(name):
        space |= {} if name in FIRST_PAGES else given
        exec(code, space)  # noqa: S102 - our own documents


@pytest.mark.parametrize("name", TESTED_ELSEWHERE)
def test_code_that_needs_more_is_run_by_the_named_test(name):
    test = (ROOT / TESTED_ELSEWHERE[name]).read_text(encoding="utf-8")
    assert Path(name).name in test


def test_the_readmes_examples_print_what_they_show(capsys):
    recommending, initializing = blocks("README.md")
    space = {}
    exec(recommending, space)  # noqa: S102 - our own documents
    assert f"# {capsys.readouterr().out}" in recommending
    exec(initializing, space)  # noqa: S102 - our own documents
    (printed,) = re.findall(r"Recall@20[^:\n]*: (0\.\d+)", capsys.readouterr().out)
    (shown,) = re.findall(r"# (0\.\d+)", initializing)
    assert float(printed) == pytest.approx(float(shown), abs=0.002)


@pytest.mark.slow
def test_the_readmes_first_example_needs_no_torch():
    code = f"{blocks('README.md')[0]}\nimport sys\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_readme_fits_a_screen_or_two():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_own_tables_are_filled():
    space = {}
    for code in blocks("docs/how-to/own-model.md")[:2]:
        exec(code, space)  # noqa: S102 - our own documents
    model = space["model"]
    projected = model.user_text.weight.norm(dim=1).mean().item()
    for table in (model.user, model.item):
        assert table.weight.norm(dim=1).mean().item() > 3 * 32**0.5
    assert projected > 3 * 32**0.5


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_fits_the_column(page):
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    limit = 100 if page.name == "CONTRIBUTING.md" else COLUMN  # that of the code itself
    long = [line for code in fenced for line in code.splitlines() if len(line) > limit]
    indented = re.findall(r"^ {4}((?:sgurinit|python|pip|make) .*)$", text, re.MULTILINE)
    long += [line for line in indented if len(line) > limit]
    assert not long


# Tables and pictures


def test_the_table_of_parameters_is_that_of_the_code():
    page = DOCS / "reference" / "parameters.md"
    text = page.read_text(encoding="utf-8")
    assert tool("parameters").page(text) == text, "run: python docs/tools/parameters.py"


def test_the_picture_is_what_its_script_draws():
    drawn = tool("picture").picture()
    assert (DOCS / "images/method.svg").read_text(encoding="utf-8") == drawn


def test_the_reference_describes_every_option_of_every_command():
    commands = tool("commands")
    sections = commands.sections()
    for name, command in commands.commands():
        assert f"## `{name}`" in sections
        own = commands.section(name, command)
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.opts[0] not in commands.COMMON:
                assert f"`{parameter.opts[0]}`" in own, (name, parameter.opts)


def test_the_overview_of_commands_is_complete():
    overview = (DOCS / "reference/command-line.md").read_text(encoding="utf-8")
    for name, _ in tool("commands").commands():
        group, _, rest = name.partition(" ")
        assert f"sgurinit {group}" in overview
        assert rest in overview


def test_the_reference_has_every_field_of_every_model():
    settings = tool("settings")
    text = settings.model_settings()
    for kind in model_resolver:
        assert f"### {kind.__name__}" in text
        for field in kind.Config.search_space:
            assert f"`{field}`" in text


# The API reference


def public_names() -> set[str]:
    """Everything that a public module exports."""
    found = set()
    for info in pkgutil.walk_packages(sgurinit.__path__, "sgurinit."):
        parts = info.name.split(".")
        if not info.ispkg or any(part.startswith("_") for part in parts):
            continue
        if parts[1] in {"spark", "cli", "testing"}:  # Spark may be absent; commands; pytest
            continue
        module = importlib.import_module(info.name)
        found |= {f"{info.name}.{name}" for name in getattr(module, "__all__", ())}
    return found | {f"sgurinit.{name}" for name in sgurinit.__all__}


def resolve(path: str) -> object:
    """The object that a dotted path names."""
    first, *rest = path.split(".")
    found: object = importlib.import_module(first)
    at = first
    for part in rest:
        at = f"{at}.{part}"
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(at)
    return found


def test_every_public_name_is_in_the_reference():
    text = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference/api").glob("*.md"))
    listed = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    shown = [resolve(path) for path in listed if not path.startswith("sgurinit.spark")]
    for module in [found for found in shown if isinstance(found, ModuleType)]:
        shown += [value for name, value in vars(module).items() if not name.startswith("_")]
    missing = {
        name
        for name in public_names() - set(listed)
        if not any(resolve(name) is other for other in shown)
    }
    assert not missing


WITH_EXAMPLES = [
    path
    for path in sorted((ROOT / "src" / "sgurinit").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8") and "spark" not in path.parts
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", WITH_EXAMPLES, ids=lambda path: path.relative_to(ROOT / "src/sgurinit").as_posix()
)
def test_examples_of_docstrings_run(path, tmp_path, monkeypatch):
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    try:
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    except ModuleNotFoundError as error:
        if (error.name or "sgurinit").startswith("sgurinit"):
            raise
        pytest.skip(f"{error.name} is not installed")
    examples = [found for found in doctest.DocTestFinder().find(module) if found.examples]
    assert examples
    for number, example in enumerate(examples):  # each in its own folder
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert not doctest.DocTestRunner().run(example).failed, example.name


# Commands


def shown_commands(name: str, program: str) -> list[list[str]]:
    """Words of every command of a program that a page shows, without its comment."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(rf"^(?: {{4}}|\$ ){program} (.*)$", text, re.MULTILINE)
    return [shlex.split(re.split(r" +\| | && ", line)[0], comments=True) for line in lines]


def write_log_and_items() -> None:
    """The two Parquet files that the commands of the pages read."""
    draw = np.random.default_rng(0)
    log = [(f"c{u}", f"p{i}") for u in range(30) for i in draw.choice(20, 8, replace=False)]
    pl.DataFrame(log, schema=["user", "item"], orient="row").write_parquet("log.parquet")
    items = {"item": [f"p{i}" for i in range(20)], "text": draw.normal(size=(20, 4)).tolist()}
    pl.DataFrame(items).write_parquet("items.parquet")


def run_first_command(name: str, command: str) -> None:
    """Run a page's first command of this name."""
    words = next(words for words in shown_commands(name, "sgurinit") if words[0] == command)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output


def pages_that_show(program: str) -> list[str]:
    return [name_of(page) for page in PAGES if shown_commands(name_of(page), program)]


@pytest.mark.parametrize("name", pages_that_show("sgurinit"))
def test_every_command_shown_is_one(name):
    """Parsed, not run: its options exist and have values of the right kind."""
    root = typer.main.get_command(app)
    for words in shown_commands(name, "sgurinit"):
        command, rest = root, list(words)
        with root.make_context("sgurinit", [], resilient_parsing=True) as context:
            while isinstance(command, typer.core.TyperGroup) and not rest[0].startswith("-"):
                command = command.commands[rest.pop(0)]
            if not rest or not rest[0].endswith("-completion"):
                command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize("name", pages_that_show("python"))
def test_every_script_shown_exists(name):
    for words in shown_commands(name, "python"):
        if words[0] != "-m":
            assert (ROOT / words[0]).is_file(), words


@pytest.mark.parametrize("name", pages_that_show("make"))
def test_every_make_target_shown_exists(name):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in shown_commands(name, "make"):
        assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_extra_shown_exists(page):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"sgurinit\[([\w,]+)\]", page.read_text(encoding="utf-8")):
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_the_readme_leads_from_parquet_files_to_starts_and_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_log_and_items()
    for command in ("stream", "prepare"):
        run_first_command("README.md", command)
    columns = pl.read_parquet("users/users/part-00000.parquet").columns
    assert columns == ["user", "text", "joint"]
    assert load_dataset("data").n_users == 30


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_documents_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"
