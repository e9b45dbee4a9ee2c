"""Every error that tunalm raises on purpose, as one tree.

    TunaError
    |-- RecipeError       a recipe, an override or a command-line value is wrong
    |-- DataError         a file or a row of the user's data is wrong
    |-- ModelError        a model, tokenizer or template cannot be used
    |-- EngineError       a language model cannot answer what a stage asks of it
    |-- BudgetError       the calls would cost more than the user allows
    |-- StoreError        the run folder cannot be read or written
    |-- HubError          a hub does not take what is sent to it
    `-- TrainingError     training must stop (a non-finite loss, no usable row)

The policy has three parts.

1. An error says *where* it happened, what was *found* and how to *fix* it, on one line; what was *expected* only where
   that adds something. The command line prints that line and exits with code 2. Without `expected`, `found` is a
   clause or a noun phrase that stands after a colon:

       TunaError("stage 'tuna'", found="it has not finished", fix="Run `tunalm run` first.")
       stage 'tuna': it has not finished. Run `tunalm run` first.

   With it, both are noun phrases: "rows.jsonl:3: found an empty instruction; expected some text. Remove the line."
2. One failed reply of a language model is not an error: it is a row with its reason (`Response.failure`,
   `Ranking.failure`), it is counted, and the run goes on and exits with code 3.
3. Anything else that escapes is a defect of tunalm and keeps its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_FAILED_ROWS = 3
EXIT_INTERRUPTED = 130


def spelled_out(text: str) -> str:
    """Text in which what a terminal would obey, or nobody sees, is written as `\\x1b` and the like."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class TunaError(Exception):
    """Base of the tree; `str(error)` is the one line that a user sees."""

    def __init__(self, where: object, *, found: str, expected: str = "", fix: str) -> None:
        self.where = str(where)
        self.found = found
        self.expected = expected
        self.fix = fix
        said = f"found {found}; expected {expected}" if expected else found
        line = f"{self.where}: {said}. {fix}"
        super().__init__(spelled_out(" ".join(line.split())))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.where, self.found, self.expected, self.fix)


def _rebuild(kind: type[TunaError], where: str, found: str, expected: str, fix: str) -> TunaError:
    """Unpickle an error (exceptions with keyword-only arguments need this help)."""
    return kind(where, found=found, expected=expected, fix=fix)


class RecipeError(TunaError):
    """A recipe, an override or a command-line value is wrong."""


class DataError(TunaError):
    """A file or a row of the user's data is wrong."""


class ModelError(TunaError):
    """A model, tokenizer or template cannot be used."""


class EngineError(TunaError):
    """A language model cannot answer what a stage asks of it."""


class BudgetError(TunaError):
    """The calls would cost more than the user allows, or nobody knows what they cost."""


class StoreError(TunaError):
    """The run folder cannot be read or written."""


class HubError(TunaError):
    """A hub does not take what is sent to it."""


class TrainingError(TunaError):
    """Training must stop: a non-finite loss, or no usable row."""


_PATHS = {
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
}
"""What an operating system says of a path or a disk that only a user can mend."""


def of_the_system(error: OSError) -> TunaError | None:
    """What the operating system refuses, as an error for the user; None where that may be a defect of tunalm."""
    if error.errno not in _PATHS or error.filename is None:
        return None
    fix = "Check the path and its permissions, and that the disk has room."
    return StoreError(f"{error.filename!s:.100}", found=str(error.strerror), fix=fix)


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "union_tag_not_found": "needs a {discriminator}",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must have fields, {name: value}",
    "model_type": "must have fields, {name: value}",
    "model_attributes_type": "must have fields, {name: value}",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length}",
    "too_long": "must have at most {max_length}",
    "string_too_short": "must have at least {min_length} characters",
    "string_pattern_mismatch": "must look like {pattern}",
}
"""What is wrong with a value, by pydantic's name for it; in braces what pydantic says of it."""


def complaint(wrong: Mapping[str, Any]) -> str:
    """What is wrong with a value, in our words: one of the entries of `ValidationError.errors()`."""
    words = _WORDS.get(wrong["type"])
    if words is not None:
        told = {
            name: f"{value:g}" if isinstance(value, float) else value for name, value in wrong.get("ctx", {}).items()
        }
        return words if "{name" in words else words.format(**told)
    text = str(wrong["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the nearest of `known`, or a list of them when none is near."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else f"Use one of: {', '.join(names) or 'none here'}."
