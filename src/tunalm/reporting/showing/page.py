"""All items on one page that filters and sorts: one file, without addresses, whose only script is the one written here.

The Content-Security-Policy allows that script by its hash and nothing else; texts are escaped by the template engine.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from tunalm.reporting.pages import environment, page_text
from tunalm.reporting.showing.items import Item
from tunalm.store import write_text

SCRIPT = Path(__file__).with_name("show.js")


def write_items(path: Path, title: str, items: Sequence[Item]) -> None:
    """Write the page.

    Args:
        path: of the page.
        title: what the items are.
        items: in the order of the file.

    Raises:
        StoreError: it cannot be written.
    """
    script = SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment("tunalm.reporting.showing").get_template("show.html.j2")
    text = template.render(title=title, items=items, script=Markup(script), script_hash=f"sha256-{digest}")
    write_text(path, page_text(text))
