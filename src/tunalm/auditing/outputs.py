"""Where an audit goes: tables on the terminal, and a folder with its numbers, its figures and one page."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from tunalm.auditing.audit import Audit
from tunalm.auditing.sections import sections
from tunalm.reporting.formats import visible
from tunalm.reporting.pages import environment, page_text
from tunalm.reporting.plots import interval_plot
from tunalm.reporting.svg import to_png, to_svg
from tunalm.store import replacing, write_json, write_text


def audit_table(audit: Audit) -> Table:
    """The figures of an audit, within 80 columns."""
    table = Table(box=SIMPLE, pad_edge=False, caption_justify="left")
    table.add_column("", max_width=40, overflow="fold")
    for heading in ("value", "95 %", "lists"):
        table.add_column(heading, justify="right", no_wrap=True)
    for section in sections(audit):
        table.add_row(Text(section.title, style="bold"))
        for line in section.lines:
            table.add_row(*(Text(visible(text)) for text in line))
        table.add_section()
    samples = audit["settings"]["bootstrap_samples"]
    table.caption = Text(f"95 %: bootstrap interval over lists ({samples} resamples).")
    return table


def write_audit(audit: Audit, folder: Path) -> list[Path]:
    """Write `audit.json`, a PNG for every figure and `audit.html`, which needs none of the others.

    Returns:
        The files, the page last.

    Raises:
        StoreError: a file cannot be written.
    """
    found = list(sections(audit))
    written = [folder / "audit.json"]
    write_json(written[0], audit)
    figures = {}
    for section in found:
        if section.plot:
            figure = interval_plot(section.plot, section.axis)
            figures[section.name] = to_svg(figure, f"{section.title}; the table has the numbers")
            written.append(folder / f"{section.name}.png")
            with replacing(written[-1]) as temporary:
                temporary.write_bytes(to_png(figure))
    page = environment("tunalm.auditing").get_template("audit.html.j2")
    written.append(folder / "audit.html")
    write_text(written[-1], page_text(page.render(audit=audit, sections=found, figures=figures)))
    return written
