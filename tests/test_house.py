"""The rules of the house that can be read off its source: what lies where, who imports whom, how long things are."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"jaxtag", "configs", "launch", "tests", "data_prep"}
FILES = {"pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "RESULTS.md", "LICENSE"}
SOURCES = sorted(p for folder in ("jaxtag", "configs", "data_prep") for p in (ROOT / folder).rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 300, 50

# jaxtag's rooms, lowest first: a room imports itself, the rooms on its line and those above it here.
ORDER = (
    ("errors",),
    ("files", "progress", "ending", "arrays"),
    ("documents",),
    ("experiment", "checks"),
    ("parallel",),
    ("layers",),
    ("data", "models", "estimators"),
    ("entries", "systems", "decoded", "fitted", "zero_shot"),
    ("ranking", "recipes"),
    ("training", "building", "evaluation", "runs", "requests", "explain"),
    ("search", "recommend", "report", "plan", "bench", "crossvalidate"),
    ("reproduce", "quickstart"),
    ("verbs",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
# A room of one kind never imports its neighbours on the same line, nor what it must know nothing of.
STRANGERS = {
    "data": {"layers", "models", "estimators"},
    "models": {"data", "parallel", "experiment", "files", "estimators"},
    "layers": {"data", "parallel", "experiment", "files"},
}
MODEL_PACKAGES = {"jax", "flax", "numpy"}
# What jaxtag's modules may import when they are imported; the rest waits for the function that needs it.
EARLY_PACKAGES = {"jax", "flax", "optax", "orbax", "numpy", "tqdm", "jaxtag"}
PROVIDED_BY = {
    "orbax": "orbax-checkpoint",
    "PIL": "pillow",
    "array_record": "array-record",
    "apache_beam": "apache-beam",
    "tensorflow_datasets": "tensorflow-datasets",
    "sklearn": "scikit-learn",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute module name that a file imports, and whether inside a function; typing's own are left out."""

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                assert child.module
                yield child.module, inside
                yield from ((f"{child.module}.{alias.name}", inside) for alias in child.names)
            else:
                yield from visit(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return visit(tree(path), False)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def room_of(module: str) -> str | None:
    """The room of jaxtag that `jaxtag.room.…` is in; None for other modules and for the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "jaxtag" and len(parts) > 1 and parts[1] in LEVEL else None


def test_the_root_holds_nothing_else() -> None:
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    top = {(name.partition("/")[0], "/" in name) for name in listed}
    strange = [name for name, folder in top if not name.startswith(".") and name not in (FOLDERS if folder else FILES)]
    assert not strange


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    long = {f.name: length for f in functions(path) if (length := (f.end_lineno or 0) - f.lineno + 1) > FUNCTION_LINES}
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_names_are_documented(path: Path) -> None:
    assert ast.get_docstring(tree(path)), "the module"
    bare = []

    def visit(node: ast.Module | ast.ClassDef) -> None:
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and child.name[0] != "_":
                overrides = isinstance(node, ast.ClassDef) and node.bases and isinstance(child, ast.FunctionDef)
                if not ast.get_docstring(child) and not overrides:
                    bare.append(child.name)
                if isinstance(child, ast.ClassDef):
                    visit(child)

    visit(tree(path))
    assert not bare


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "jaxtag")], ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    inside = path.relative_to(ROOT / "jaxtag").with_suffix("").parts[0]
    if inside == "__init__":
        assert not list(imports(path))
        return
    assert inside in LEVEL, f"give {inside} its place in ORDER"
    for module, _ in imports(path):
        assert module.partition(".")[0] not in ("data_prep", "jaxtag_prep", "configs"), module
        room = room_of(module)
        if room is None:
            continue
        assert LEVEL[room] <= LEVEL[inside] and room not in STRANGERS.get(inside, ()), f"{inside} imports {module}"


def test_no_imports_go_in_a_circle() -> None:
    files = {name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in SOURCES}
    above: dict[str, set[str]] = {}
    for module, path in files.items():
        above[module] = {found for found, _ in imports(path) if found in files and not module.startswith(f"{found}.")}
    while free := [module for module, names in above.items() if not names & above.keys() - {module}]:
        for module in free:
            del above[module]
    assert not above, "these import each other, or what does"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.parent.name in ("models", "layers") and p.name != "__init__.py"], ids=name_of
)
def test_models_know_of_layers_alone(path: Path) -> None:
    for module, _ in imports(path):
        top = module.partition(".")[0]
        own = room_of(module) in ("layers", "models") or module == "jaxtag"
        assert own if top == "jaxtag" else top in sys.stdlib_module_names or top in MODEL_PACKAGES, module


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_what_is_imported_is_declared(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re_name(requirement) for listed in lists for requirement in listed}
    for module, late in imports(path):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in ("jaxtag", "jaxtag_prep"):
            continue
        assert PROVIDED_BY.get(top, top).lower() in declared, module
        assert late or top in EARLY_PACKAGES or not path.is_relative_to(ROOT / "jaxtag"), f"{module} is imported early"


def re_name(requirement: str) -> str:
    """The package that a requirement names, in lower case."""
    stop = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
    return requirement[:stop].lower()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_unpickled(path: Path) -> None:
    refused = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert not refused & {module.partition(".")[0] for module, _ in imports(path)}
    for call in (n for n in ast.walk(tree(path)) if isinstance(n, ast.Call)):
        for keyword in call.keywords:
            if keyword.arg == "allow_pickle":
                assert isinstance(keyword.value, ast.Constant) and keyword.value.value is False


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    readme, script = ((ROOT / p).read_text(encoding="utf-8") for p in ("README.md", ".ci/run"))
    for command in ("pip install -e . && jaxtag quickstart", "pip install -e '.[test]' && pytest"):
        assert f"\n{command}\n" in readme
        assert command in script
