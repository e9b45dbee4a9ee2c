"""Pages that are one HTML file each.

A page has no script and no address; its Content-Security-Policy forbids both. Text of models and data is escaped by the
template engine, and only figures made here are put in as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from tunalm.reporting import formats


def environment(package: str, **filters: Callable[..., Any]) -> Environment:
    """Where templates are found and what they may use.

    Args:
        package: that holds the templates; `page.css`, to be put into a page, is found from everywhere.
        filters: beside those of `formats`.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("tunalm.reporting", ".")]),
        autoescape=True,
        finalize=formats.visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": formats.number,
        "plain": formats.plain,
        "shown": formats.shown,
        **filters,
    }
    made.globals |= {"significant": formats.SIGNIFICANT, "minus": formats.MINUS}
    return made


def page_text(text: str) -> str:
    """A page without what no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
