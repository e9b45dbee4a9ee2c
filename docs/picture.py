"""The picture of the README: the report of a run, in both schemes. Usage: python docs/picture.py RUN"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1000, 720
"""Pixels of the page that are shown."""


def main(run: Path) -> None:
    """Take the pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            page.goto((run / "report.html").resolve().as_uri())
            page.screenshot(path=Path(__file__).parent / "static" / f"report-{scheme}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
