"""The layout of the package: who may import whom, what is named how often, where the documentation points."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tunalm"
MODULES = sorted(SOURCE.rglob("*.py"))
STAGES = ("instructing", "sampling", "ranking", "training", "evaluation")
MOST_FILES_AT_THE_TOP = 10
MOST_LINES = {"src": 35_300, "tests": 28_500}
"""What there is, and no more. Lower them when something goes; aims are 23,500 and 19,500 without the newer rooms."""


def dotted(module: Path) -> str:
    return ".".join(module.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(module): module for module in MODULES}


def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def imports(module: Path) -> Iterator[str]:
    """What a module imports, inside functions too; `from a import b` is `a.b` where that is a module."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from (full & NAMES.keys()) or {node.module}


def within(*rooms: str) -> list[Path]:
    return [module for room in rooms for module in sorted((SOURCE / room).rglob("*.py"))]


def test_few_single_files_stand_at_the_top() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= MOST_FILES_AT_THE_TOP


def test_no_two_public_classes_share_a_name() -> None:
    defined = defaultdict(list)
    for module in MODULES:
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[node.name].append(dotted(module))
    assert {name: places for name, places in defined.items() if len(places) > 1} == {}


def test_every_room_stands_in_the_layers_of_the_import_linter() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    named = {
        name.strip()
        for each in contract
        if each["type"] == "layers"
        for row in each["layers"]
        for name in row.split("|")
    }
    rooms = {
        f"tunalm.{path.stem}" for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"tunalm.__init__", "tunalm.__main__"} == named


def test_engines_know_no_money_and_calls_know_no_http() -> None:
    assert not [
        dotted(module) for module in within("engines") if any("tunalm.calls" in name for name in imports(module))
    ]
    http = (
        "aiohttp",
        "http.",
        "urllib.request",
        "requests",
        "httpx",
        "tunalm.engines.endpoint",
        "tunalm.engines.batch",
    )
    assert not [dotted(module) for module in within("calls") if any(name.startswith(http) for name in imports(module))]


def test_imports_go_in_no_circle() -> None:
    graph = {name: {found for found in imports(module) if found in NAMES} - {name} for name, module in NAMES.items()}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_exports_what_it_asks_and_how_it_runs(stage: str) -> None:
    assert {"requests", "run"} <= set(dir(import_module(f"tunalm.{stage}")))


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_opens_with_a_drawing_of_its_data_flow(stage: str) -> None:
    text = ast.get_docstring(tree(SOURCE / stage / "__init__.py")) or ""
    assert len(text.splitlines()) >= 4
    assert re.search(r"->|─►|-->|→", text)


def test_reporting_knows_the_type_of_what_it_reads() -> None:
    loose = [dotted(module) for module in within("reporting") if "dict[str, Any]" in module.read_text(encoding="utf-8")]
    assert loose == []


@pytest.mark.parametrize("folder", MOST_LINES)
def test_the_house_does_not_grow(folder: str) -> None:
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py"))
    assert lines <= MOST_LINES[folder]


TABLES = {"ENGINES": "recipe", "RANKERS": "recipe", "BENCHMARKS": "recipe"}
"""One row in each adds an engine, a ranker, a benchmark."""


def test_the_documentation_points_to_the_one_table_of_each_kind() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for table, room in TABLES.items():
        places = [
            module for module in MODULES if re.search(rf"^{table}\b.*= \{{", module.read_text(encoding="utf-8"), re.M)
        ]
        assert [place.relative_to(SOURCE).parts[0] for place in places] == [room], table
        assert places[0].relative_to(SOURCE).as_posix() in page, f"CONTRIBUTING.md does not say where {table} is"


def test_source_files_that_the_documentation_names_exist() -> None:
    files = [f"/{path.relative_to(ROOT).as_posix()}" for path in [*MODULES, *(ROOT / "tests").rglob("*.py")]]
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", page.read_text(encoding="utf-8")):
            assert any(path.endswith(f"/{name}") for path in files), f"{page.name} names {name}"
