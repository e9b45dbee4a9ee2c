"""The rules of the house that a program can check."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import tunalm
from tests.project.test_layout import MODULES, ROOT, SOURCE, imports
from tunalm import recipe

SETTINGS = [
    SOURCE / "recipe" / f"{name}.py"
    for name in ("__init__", "base", "engines", "evaluation", "feedback", "instructions", "training")
]
"""Where knobs are declared; a knob must be read elsewhere."""
LEAVES = [SOURCE / "errors.py", SOURCE / "records.py", *sorted((SOURCE / "recipe").glob("*.py"))]
MAY_IMPORT_TORCH = ("training/", "engines/huggingface/", "ranking/proxy.py")
LONGEST_MODULE = 500
LONGEST_README = 180
LONGEST_EXAMPLE = 60


def name_of(module: Path) -> str:
    return module.relative_to(SOURCE).as_posix()


def run_python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_modules_are_short_and_named_for_what_they_hold(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    assert module.stem not in {"utils", "common", "helpers", "misc"}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_torch_is_imported_in_few_places_only(module: Path) -> None:
    name = name_of(module)
    heavy = {found for found in imports(module) if found.split(".")[0] in {"torch", "transformers", "peft"}}
    assert name.startswith(MAY_IMPORT_TORCH) or not heavy


@pytest.mark.parametrize("leaf", LEAVES, ids=name_of)
def test_leaves_import_the_standard_library_and_pydantic_only(leaf: Path) -> None:
    packages = {found.split(".")[0] for found in imports(leaf) if not found.startswith("tunalm.recipe")}
    assert packages <= sys.stdlib_module_names | {"pydantic", "tunalm", "yaml"}


def knobs() -> Iterator[tuple[str, str]]:
    for name, kind in vars(recipe).items():
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from ((name, field) for field in kind.model_fields if field != "kind")


def test_every_knob_has_a_help_text_and_is_read_somewhere() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in MODULES if path not in SETTINGS)
    for owner, knob in knobs():
        field = getattr(recipe, owner).model_fields[knob]
        assert field.description or knob in {"inputs", "stages"}, f"{owner}.{knob} has no help text"
        assert re.search(rf"\.{knob}\b|\"{knob}\"", code), f"nothing reads {owner}.{knob}"


def test_the_command_line_answers_for_help_without_torch() -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'pyarrow', 'matplotlib', 'openai', 'scipy'}"
    code = f"""
import sys
from tunalm.cli.app import app
app(args=['--help'], standalone_mode=False)
print('HEAVY', sorted({heavy} & set(sys.modules)))
"""
    assert run_python("-c", code).splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize(
    "module", ["recipe.loading", "pipeline.running", "engines.endpoint.engine", "ranking", "evaluation", "reporting"]
)
def test_work_without_a_model_in_this_process_needs_no_torch(module: str) -> None:
    code = f"import sys, tunalm.{module}; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert run_python("-c", code).split() == ["False", "False"]


def test_every_public_name_exists() -> None:
    for name in tunalm.__all__:
        assert getattr(tunalm, name) is not None


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < LONGEST_README


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < LONGEST_EXAMPLE


def test_links_of_the_documentation_lead_somewhere() -> None:
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("recipes/*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
