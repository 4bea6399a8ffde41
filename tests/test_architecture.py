"""The package's structure: who imports whom, what a name means, what its docstring says."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"

# From the ground up: a room imports only those before it.
ROOMS = [
    "_visible", "errors", "arguments", "progress", "runtime", "locks", "_parquet_pages", "files",
    "_top_k", "_device_top_k", "core", "spark", "seeds", "random_bits", "fields", "data",
    "evaluation", "models", "handover", "arms", "resolve", "training", "recommendations", "testing",
    "experiments", "report", "integrations", "cli", "__main__",
]  # fmt: skip

# Packages whose `__all__` is public.
PUBLIC = [
    "sgurinit", "sgurinit.core", "sgurinit.spark", "sgurinit.data", "sgurinit.evaluation",
    "sgurinit.models", "sgurinit.training", "sgurinit.testing", "sgurinit.experiments",
    "sgurinit.report.page",
]  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted((SRC / "sgurinit").rglob("*.py"))}
FACES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> dict[str, str]:
    """Modules of the package that a module imports, each with the line that does.

    Wherever in the module the import is: inside functions too, and those for types alone, for a
    module that names another's type cannot be understood without it.
    """
    found: dict[str, str] = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}, line {node.lineno}: a relative import"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in full]
        else:
            continue
        found |= {name: f"line {node.lineno}" for name in names if name in MODULES}
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_its_place():
    assert {room(module) for module in MODULES} - {""} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_rooms_import_only_what_lies_before_them(name):
    later = ROOMS[ROOMS.index(name) + 1 :]
    wrong = [
        f"{module}, {where}: imports {imported}"
        for module in MODULES
        if room(module) == name
        for imported, where in imports(module).items()
        if room(imported) in later
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_a_detour():
    try:
        TopologicalSorter({module: set(imports(module)) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(f"an import circle: {' <- '.join(error.args[1])}")


def is_face_statement(node: ast.stmt) -> bool:
    """Whether a statement only says what a package shows: imports, `__all__`, a lazy lookup."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return all(map(is_face_statement, node.body))
        case ast.Try(orelse=[], finalbody=[]):  # a missing extra is named
            raised = [item for handler in node.handlers for item in handler.body]
            return all(isinstance(item, ast.Raise) for item in raised) and all(
                map(is_face_statement, node.body)
            )
        case ast.FunctionDef(name="__getattr__" | "__dir__"):
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name.startswith("_") and ast.unparse(value) in {"list(_MODULES)", literal(value)}
    return False


def literal(node: ast.expr) -> str:
    """Source of a value without a call or a name in it, else nothing."""
    try:
        return repr(ast.literal_eval(node))
    except ValueError:
        return ""


@pytest.mark.parametrize("face", FACES)
def test_an_init_only_shows_what_others_define(face):
    wrong = [node for node in tree(face).body if not is_face_statement(node)]
    shown = [f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}" for node in wrong]
    assert not shown, "\n".join(["", *shown])


def statements(module: str) -> Iterator[ast.stmt]:
    """A module's statements, with those inside a top-level `if` or `try`."""
    waiting: list[ast.stmt] = list(tree(module).body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If | ast.Try):
            waiting[:0] = node.body + node.orelse


def defined(module: str) -> dict[str, ast.stmt]:
    """What a module defines at its top level."""
    found: dict[str, ast.stmt] = {}
    for node in statements(module):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
            case _ if type(node).__name__ == "TypeAlias":  # Python 3.12
                found[node.name.id] = node  # type: ignore[attr-defined]
    return found


def test_no_class_alias_or_constant_has_the_name_of_another():
    places: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for name in defined(module):
            if re.match(r"[A-Z]", name):
                places[name].append(module)
    twice = [f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1]
    assert not twice, "\n".join(["", *sorted(twice)])


class Public(NamedTuple):
    """A public name, and the function or class that it is."""

    name: str
    node: ast.FunctionDef | ast.ClassDef


@cache
def resolve(module: str, name: str) -> ast.stmt | None:
    """Definition of a name that a module defines or passes on."""
    if name in defined(module):
        return defined(module)[name]
    for node in statements(module):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name == (alias.asname or alias.name) and node.module in MODULES:
                    return resolve(str(node.module), alias.name)
    return None


def listed(module: str) -> list[str]:
    """Names in `__all__`, else those that the module defines without an underscore."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            value = node.value
            if ast.unparse(value) == "list(_MODULES)":
                value = defined(module)["_MODULES"].value  # type: ignore[attr-defined]
            return list(ast.literal_eval(value))
    return [name for name in defined(module) if not name.startswith("_")]


def names_in_the_reference() -> Iterator[tuple[str, str]]:
    """Module and name of all that the site's reference shows."""
    for page in (SRC.parent / "docs").rglob("*.md"):
        for shown in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            module, _, name = shown.rpartition(".")
            if shown in MODULES:
                yield from ((shown, name) for name in listed(shown))
            elif module in MODULES:
                yield module, name


def public() -> list[Public]:
    """Every public function and class, once; constants and aliases need no sections."""
    frameworks = [
        module for module in MODULES if re.fullmatch(r"sgurinit\.integrations\.[a-z]\w*", module)
    ]
    shown = [(module, name) for module in PUBLIC + frameworks for name in listed(module)]
    found: dict[int, Public] = {}
    for module, name in [*shown, *names_in_the_reference()]:
        node = resolve(module, name)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.setdefault(id(node), Public(f"{module}.{name}", node))
    return list(found.values())


def test_the_reference_shows_what_there_is():
    for module, name in names_in_the_reference():
        assert resolve(module, name), f"{module} has no {name}"


def sections(text: str) -> dict[str, str]:
    """Sections of a docstring in NumPy's style."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(text: str) -> dict[str, bool]:
    """Names that a section describes, and whether each has a type."""
    found = {}
    for line in re.findall(r"^(\S.*)$", text, re.MULTILINE):
        names, _, kind = line.partition(" : ")
        found |= {name.strip(" *`"): bool(kind.strip()) for name in names.split(",")}
    return found


def arguments(node: ast.FunctionDef) -> list[str]:
    every = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    more = [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
    names = [argument.arg for argument in every + more]
    return [name for name in names if name not in {"self", "cls"} and not name.startswith("_")]


def is_record(node: ast.ClassDef) -> bool:
    kinds = {ast.unparse(base).partition("[")[0] for base in node.bases}
    wrapped = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    return wrapped or bool(kinds & {"NamedTuple", "TypedDict"})


def undescribed_fields(node: ast.ClassDef) -> list[str]:
    """Fields of a record with neither a `description` nor a docstring below them."""
    names = []
    for item, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item.annotation):
            below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if not below and "description=" not in ast.unparse(item):
                names.append(ast.unparse(item.target))
    return [name for name in names if not name.startswith("_")]


def lacks(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    """What a docstring does not say though it should."""
    text = ast.get_docstring(node)
    if not text:
        return ["a docstring"]
    found = sections(text)
    required = {"See Also"}
    if isinstance(node, ast.FunctionDef):
        required |= {"Examples"}
        names = arguments(node)
        result = ast.unparse(node.returns) if node.returns else "None"
        if result.startswith(("Iterator", "Generator", "AbstractContextManager")):
            required |= set() if {"Yields", "Returns"} & set(found) else {"Yields"}
        elif result not in {"None", "Self"}:
            required |= {"Returns"}
    else:
        made = [item for item in node.body if isinstance(item, ast.FunctionDef)]
        names = [name for item in made if item.name == "__init__" for name in arguments(item)]
        if names:  # a record or a protocol is not made by hand
            required |= {"Examples"}
        if is_record(node):
            names += undescribed_fields(node)
    typed = described(found.get("Parameters", "")) | described(found.get("Attributes", ""))
    missing = [f"section {name}" for name in sorted(required - set(found))]
    missing += [f"parameter {name}" for name in names if name not in typed]
    missing += [f"type of {name}" for name, has in typed.items() if not has]
    return missing


@pytest.mark.parametrize("shown", public(), ids=lambda shown: shown.name)
def test_public_names_say_what_they_take_give_and_go_with(shown):
    missing = lacks(shown.node)
    assert not missing, f"the docstring lacks {', '.join(missing)}"
