"""What the pages show can be typed: code parses, YAML and JSON can be read, commands have their options."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from tests.project.test_layout import ROOT
from tunalm.cli.app import app

PAGES = [ROOT / "README.md", *(ROOT / "recipes").glob("*.md"), *(ROOT / "docs").rglob("*.md")]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACES = {page.relative_to(ROOT).as_posix(): page for page in PAGES if page.name != "reference.md"}


def blocks(page: Path, *languages: str) -> list[str]:
    found = FENCED.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def test_every_page_stands_in_the_navigation() -> None:
    listed = set((ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines())
    pages = {page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("decisions/")} - {"index"} <= listed
    assert "decisions/index" in listed


@pytest.mark.parametrize("name", PLACES)
def test_snippets_of_a_page_can_be_read(name: str) -> None:
    for text in blocks(PLACES[name], "python"):
        ast.parse(text)
    for text in blocks(PLACES[name], "yaml"):
        yaml.safe_load(text)
    for text in blocks(PLACES[name], "json"):
        json.loads(text)


@pytest.mark.parametrize("name", PLACES)
def test_commands_of_a_page_are_accepted_as_they_are_typed(name: str) -> None:
    for text in blocks(PLACES[name], "sh", "console"):
        joined = text.replace("\\\n", " ")
        for line in joined.splitlines():
            words = shlex.split(re.sub(r"(^|\s)#.*", "", line.removeprefix("$ ")))
            if words[:1] == ["tunalm"] and "..." not in words:
                accept(words[1:])


def accept(words: list[str]) -> None:
    """Parse a command as click does, its subcommands too."""
    group = get_command(app)
    context = group.make_context("tunalm", list(words), resilient_parsing=False)
    while hasattr(group, "commands"):
        name, group, words = group.resolve_command(context, [*context._protected_args, *context.args])  # type: ignore[attr-defined]
        context = group.make_context(name, list(words), parent=context)
