"""Rules for imports: some packages never import Spark, and there are no circular imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fruits"
WITHOUT_SPARK = ["storage", "images", "sources", "networks", "features", "reduction", "classify"]
WITHOUT_SPARK += ["folds", "tasks", "quality", "report", "predictor", "serve"]


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> dict[str, bool]:
    """Every module that a module imports, and whether it does so as soon as it is imported."""
    found: dict[str, bool] = {}

    def visit(node: ast.AST, at_once: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child, at_once)
            return
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import"
            module = node.module or ""
            # "from fruits import errors" imports a module; "from fruits.errors import X" does not.
            names = [
                full if (full := f"{module}.{alias.name}") in MODULES else module
                for alias in node.names
            ]
        else:
            names = []
        for one in names:
            found[one] = found.get(one, False) or at_once
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, at_once and not inner)

    visit(ast.parse(MODULES[name].read_text()), True)
    return found


IMPORTS = {name: imports(name) for name in MODULES}


def parents(name: str) -> list[str]:
    """The packages that Python imports before a module."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def reached(name: str) -> dict[str, str]:
    """All direct and indirect imports of a module, also those in functions, and their importer."""
    found: dict[str, str] = {}
    pending = [name]
    while pending:
        one = pending.pop()
        for other in [*IMPORTS.get(one, {}), *parents(one)]:
            if other not in found:
                found[other] = one
                pending.append(other)
    return found


def modules_in(package: str) -> list[str]:
    prefix = f"fruits.{package}"
    return [name for name in MODULES if name == prefix or name.startswith(f"{prefix}.")]


@pytest.mark.parametrize("package", WITHOUT_SPARK)
def test_no_import_leads_to_spark(package: str) -> None:
    for name in modules_in(package):
        found = reached(name)
        spark = [one for one in found if one.split(".")[0] in ("pyspark", "py4j")]
        assert not spark, f"{name} leads to {spark[0]}, imported by {found[spark[0]]}"
        assert not [one for one in found if one.startswith("fruits.spark")]


def test_the_search_finds_imports_in_functions_and_in_other_modules() -> None:
    assert "pyspark" in {one.split(".")[0] for one in reached("fruits.runs.pipeline")}
    assert "fruits.storage.s3" in reached("fruits.storage.location")
    assert not IMPORTS["fruits.storage.location"]["fruits.storage.s3"]


def test_none_of_these_modules_loads_spark_when_it_is_imported() -> None:
    names = [name for package in WITHOUT_SPARK for name in modules_in(package)]
    assert len(names) > 20
    code = (
        "import sys, importlib\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'pyspark', 'py4j'}))\n"
        "print(sorted(m for m in sys.modules if m.startswith('fruits.spark')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout == "[]\n[]\n"


def test_there_are_no_circular_imports() -> None:
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise AssertionError(f"a circle of imports: {circle}")
        if name in done:
            return
        for other, at_once in IMPORTS[name].items():
            if other in MODULES and at_once and other != "fruits":
                visit(other, [*path, name])
        done.add(name)

    for name in MODULES:
        visit(name, [])
    assert done == set(MODULES)


def test_there_are_no_circular_imports_in_functions() -> None:
    def leads(start: str, goal: str) -> bool:
        seen, pending = {start}, [start]
        while pending:
            for other in IMPORTS[pending.pop()]:
                if other in MODULES and other not in seen:
                    seen.add(other)
                    pending.append(other)
        return goal in seen

    circles = {
        (name, other)
        for name in MODULES
        for other, at_once in IMPORTS[name].items()
        if other in MODULES and not at_once and leads(other, name)
    }
    assert circles == set()
