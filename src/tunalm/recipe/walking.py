"""The one walk over settings: everything nested in them, with its path, and copies in which some of it is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic.fields import FieldInfo

from tunalm.recipe.base import Settings, Source

Kind = TypeVar("Kind")
Whole = TypeVar("Whole")


@dataclass(frozen=True)
class Found:
    """Nested settings, or the text of a field that is marked as a `Source`."""

    path: str
    """For instance `stages.tuna.rankings[0].source`."""
    value: Any
    source: Source | None = None
    """The mark of the field; None for settings."""


def walk(value: Any, path: str = "") -> Iterator[Found]:
    """Yield all settings that are nested in `value`, itself included, and every marked text; inner ones come first."""
    found: list[Found] = []

    def note(each: Found) -> Any:
        found.append(each)
        return each.value

    replaced(value, note, path)
    return iter(found)


def settings_in(value: Any, kind: type[Kind]) -> list[Kind]:
    """All nested settings of a kind."""
    return [each.value for each in walk(value) if isinstance(each.value, kind) and each.source is None]


def sources_in(value: Any) -> list[str]:
    """Names of stages, and whatever else stands where one could."""
    return [each.value for each in walk(value) if each.source is not None]


def map_sources(value: Whole, change: Callable[[str, Source, str], str], path: str) -> Whole:
    """Return a copy of settings in which `change(text, source, path)` has replaced every marked text."""

    def only_sources(each: Found) -> Any:
        return each.value if each.source is None else change(each.value, each.source, each.path)

    copy: Whole = replaced(value, only_sources, path)
    return copy


def replaced(value: Any, change: Callable[[Found], Any], path: str = "") -> Any:
    """Return a copy of settings in which `change` has replaced whatever the walk finds, from the inside out.

    What `change` returns as it is stays the same object.
    """
    if isinstance(value, Settings):
        updates = {}
        for name, info in type(value).model_fields.items():
            current, mark, place = getattr(value, name), _mark(info), f"{path}.{name}".removeprefix(".")
            marked = mark is not None and isinstance(current, str)
            new = change(Found(place, current, mark)) if marked else replaced(current, change, place)
            if new is not current:
                updates[name] = new
        return change(Found(path, value.model_copy(update=updates) if updates else value))
    if isinstance(value, dict):
        return {key: replaced(item, change, f"{path}.{key}".removeprefix(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, change, f"{path}[{number}]") for number, item in enumerate(value)]
    return value


def _mark(info: FieldInfo) -> Source | None:
    """The mark of a field, also of one that may be null."""
    optional = [part.__metadata__ for part in get_args(info.annotation) if get_origin(part) is Annotated]
    marks = [mark for metadata in (info.metadata, *optional) for mark in metadata]
    return next((mark for mark in marks if isinstance(mark, Source)), None)
