"""Items on a terminal: one a screen, or one after the other where nobody can turn pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from tunalm.reporting.formats import visible
from tunalm.reporting.showing.items import Entry, Item

KEYS = "Enter: next   b: back   q: quit"
DIFFERS = "bold underline"


def print_items(items: Sequence[Item], screen: Console) -> None:
    """All items, one after the other."""
    for number, item in enumerate(items):
        screen.print(_shown(item, f"{number + 1}/{len(items)}"), soft_wrap=True)


def browse(items: Sequence[Item], screen: Console, key: Callable[[], str]) -> None:
    """One item a screen, as `key` says: what it returns is a key that was pressed."""
    place = 0
    while 0 <= place < len(items):
        screen.clear()
        screen.print(_shown(items[place], f"{place + 1}/{len(items)}"), soft_wrap=True)
        screen.print(Text(KEYS, style="dim"))
        pressed = key()
        if pressed in ("q", "Q", "\x03", "\x04", "\x1b"):
            return
        place = max(0, place - 1) if pressed in ("b", "B", "k", "\x1b[A", "\x1b[D") else place + 1


def _shown(item: Item, count: str) -> RenderableType:
    heading = " · ".join(filter(None, [count, item.id, item.about]))
    parts: list[RenderableType] = [Rule(_text(heading), align="left")]
    if item.question:
        parts += [_text(item.question), Text()]
    for reference in item.references:
        parts += [Text("reference", style="dim"), _text(reference, "green"), Text()]
    for candidate in item.candidates:
        parts += [*_candidate(item, candidate), Text()]
    parts += [_text(note, "dim") for note in item.notes]
    if item.failure is not None:
        parts.append(_text(f"failed: {item.failure}", "red"))
    return Group(*parts)


def _candidate(item: Item, candidate: Entry) -> list[RenderableType]:
    heading = _text(" · ".join(candidate.facts), "bold cyan")
    if candidate.failure is not None:
        heading.append(visible(f"  failed: {candidate.failure}"), style="red")
    body = Text()
    for text, differs in item.marked(candidate):
        body.append(visible(text), style=DIFFERS if differs else "")
    return [heading, body]


def _text(text: str, style: str = "") -> Text:
    """A text of somebody else's, whose control characters can be seen and do nothing."""
    return Text(visible(text), style=style)
