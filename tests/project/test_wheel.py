"""What is installed where there is no repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.project.test_layout import ROOT

SOURCE = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.*") if path.is_file()}
RECIPES = {f"tunalm/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "recipes").rglob("*.*")}


def test_the_wheel_has_all_of_the_package_and_the_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("tunalm/")}
        assert packed == {name for name in SOURCE if "__pycache__" not in name} | RECIPES
        (commands,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
        assert "tunalm = tunalm.cli.app:main" in wheel.read(commands).decode()


def test_the_sdist_can_build_the_same_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    with tarfile.open(tmp_path / build.build_sdist(str(tmp_path))) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    made = []
    for place in (ROOT, unpacked):
        monkeypatch.chdir(place)
        with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
            made.append(sorted(wheel.namelist()))
    assert made[0] == made[1]


def test_an_installation_finds_its_recipes_without_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
        wheel.extractall(tmp_path / "site")
    for words, said in (
        ("recipes", str(tmp_path / "site" / "tunalm")),
        ("run quickstart --dry-run", "Nothing was sent"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "tunalm", *words.split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert said in done.stdout


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
