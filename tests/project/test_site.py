"""The documentation as a site: it builds, its links lead somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.test_layout import ROOT

for _package in ("sphinx", "myst_parser", "furo", "latex2mathml"):
    pytest.importorskip(_package, reason="the extra `docs` is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", folder / "trees"]
    done = subprocess.run(
        [str(word) for word in [*command, ROOT / "docs", folder / "html"]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_in_the_navigation_and_in_the_search(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    found = (site / "searchindex.js").read_text(encoding="utf-8")
    index = (site / "index.html").read_text(encoding="utf-8")
    assert pages
    assert all(f'"{page}"' in found for page in pages)
    assert all(f'href="{page}.html"' in index for page in pages - {"index"})


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//', text), path.name


def test_equations_are_set_without_a_script(site: Path) -> None:
    text = (site / "concepts.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<math [^>]*display="block"', text)) == 5
    assert "<mfrac>" in text
    assert "$$" not in text
