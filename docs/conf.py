"""How sphinx makes the pages in this folder a site; `make docs` runs it. No page needs a network, to be built or read.

Equations become MathML when the site is built, so that browsers set them without a script.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

project = "tunalm"
html_title = "tunalm"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
exclude_patterns = ["site"]
root_doc = "index"
pygments_style = "tango"
suppress_warnings = ["misc.highlighting_failure"]


def _math(translator: Any, node: nodes.Element, display: str) -> None:
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def _inline(translator: Any, node: nodes.Element) -> None:
    _math(translator, node, "inline")


def _block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math" tabindex="0" aria-label="{escape(node.astext())}">')
    translator.body.append(convert(node.astext(), display="block"))
    translator.body.append("</div>")
    raise nodes.SkipNode


def _places(app: Sphinx, name: str, source: list[str]) -> None:
    """Links to files of the repository become their places in it: the site holds pages only."""
    out = re.escape("../" * (name.count("/") + 1))
    source[0] = re.sub(rf"\[([^\]]*)\]\({out}([^)#\s]+)[^)]*\)", _place, source[0])


def _place(found: re.Match[str]) -> str:
    label, path = found[1], found[2]
    return f"`{path}`" if path.endswith(label.strip("`")) else f"{label} (`{path}`)"


def setup(app: Sphinx) -> None:
    """Called by sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("source-read", _places)


html_math_renderer = "mathml"
