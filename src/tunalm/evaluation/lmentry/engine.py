"""Judges answers by the tables of the tasks; equal to the published scorer in every row.

Forms are compiled once for a task and not once for a question, because compiling is what makes such scoring slow: the
words of the question travel in front of the answer, each closed by `BORDER`, and forms refer back to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from tunalm.evaluation.lmentry.grammar import anchor, mirror, numeral, to_regex
from tunalm.evaluation.lmentry.tasks import RUN, SHARED, TASKS, Example, LMentryTask, normalise

BORDER = "\0"
_UNUSUAL = re.compile("[\0\u0131\u017f]")
"""What an answer may hold for which forms must be compiled with the words in them: the border itself, and letters that
equal i and s when case is ignored, but not in a reference."""
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_FULL_STOP = r"\.?$"

Items = tuple[tuple[str, str], ...]


def judge(
    name: str, prediction: str, example: Example, *, truncate: bool = False, strict: bool = False
) -> tuple[int, int]:
    """Score an answer.

    Args:
        name: of a task, a key of `TASKS`.
        prediction: what the model said.
        example: `input` and `metadata` of the question.
        truncate: keep the first line of the answer, and of that what stands before the first full stop; for models that
            go on and on.
        strict: an answer without any word in a-z and 0-9 repeats nothing, and so is not right for that.

    Returns:
        Score and certainty, 0 or 1 each.
    """
    task = TASKS[name]
    prediction = normalise(prediction).replace("_", " ")
    if truncate:
        prediction = prediction.split("\n")[0].split(".")[0]
    if task.own is not None:
        return task.own(prediction, example)
    words = task.words(example)
    fixed = tuple(task.fixed(example).items())
    if _UNUSUAL.search(prediction) or any(_is_mirrored(word, task) for word in words.values()):
        rules, header = _rules(name, fixed, tuple(words), tuple(words.items())), ""
    else:
        rules, header = _rules(name, fixed, tuple(words), None), "".join(f"{word}{BORDER}" for word in words.values())
    return rules.judge(task, header, prediction, example, strict)


def _is_mirrored(word: str, task: LMentryTask) -> bool:
    """Whether mirroring changes a word of the question, as it does `anymore` when `more` becomes `fewer`."""
    return any(old and old in word for old, _ in task.mirrors)


@dataclass(frozen=True)
class CompiledTask:
    """The compiled forms of a task. Every pattern reads the words of the question first."""

    needs: re.Pattern[str] | None
    denials: re.Pattern[str] | None
    misstated: tuple[re.Pattern[str], ...]
    difference: str
    exact: re.Pattern[str]
    answer: re.Pattern[str]
    whole: re.Pattern[str] | None
    part: re.Pattern[str] | None
    anchors: tuple[str, ...]
    """Without one of these in it no answer has an accepted form as a part."""

    def judge(self, task: LMentryTask, header: str, prediction: str, example: Example, strict: bool) -> tuple[int, int]:
        """Score a normalised answer; see `judge`."""
        subject = header + prediction
        if self._is_wrong(task, subject, prediction, example):
            return 0, 1
        if self._is_right(task, header, prediction, strict):
            return 1, 1
        if self.whole is None or self.part is None or not any(text in prediction for text in self.anchors):
            return 0, 0
        if self.whole.match(subject):
            return 1, 1
        return int(self.part.match(subject) is not None), 0

    def _is_wrong(self, task: LMentryTask, subject: str, prediction: str, example: Example) -> bool:
        if self.needs is not None and not self.needs.match(subject):
            return True
        if task.refused is not None and task.refused(prediction, example):
            return True
        if self.denials is not None and self.denials.match(subject):
            return True
        found = (pattern.match(subject) for pattern in self.misstated)
        return any(match and not re.match(self.difference, match["count"]) for match in found)

    def _is_right(self, task: LMentryTask, header: str, prediction: str, strict: bool) -> bool:
        if not _LETTER_OR_DIGIT.search(prediction):
            return False
        if self.exact.match(header + prediction):
            return True
        if not task.repeats:
            return False
        runs = RUN.findall(prediction)
        return bool(runs or not strict) and all(self.answer.match(header + run) for run in runs)


@lru_cache(maxsize=1024)
def _rules(name: str, fixed: Items, places: tuple[str, ...], literal: Items | None) -> CompiledTask:
    """Compile the forms of a task.

    Args:
        name: of the task.
        fixed: the expressions of its fixed places.
        places: names of the words of a question, in order.
        literal: the words themselves, to be compiled into the forms; None leaves references.
    """
    task = TASKS[name]
    spelled = dict(literal or ())
    references = {place: re.escape(spelled[place]) if literal else f"(?P={place})" for place in places}
    expressions = {**_by_kind(task, references), **dict(fixed)}
    header = "" if literal else "".join(f"(?P<{place}>[^{BORDER}]*){BORDER}" for place in places)

    def spell(form: str) -> str:
        """Write a word into its places if mirroring must see it: the published scorer mirrors the word as well."""
        for place, word in spelled.items():
            if _is_mirrored(word, task):
                form = form.replace(f"{{{place}}}", f"{{{place}={word}}}")
        return form

    def one_of(lines: list[str]) -> str:
        return "(?:" + "|".join(to_regex(line, task.places, expressions) for line in lines) + ")"

    def compiled(*parts: str, flags: int = 0) -> re.Pattern[str]:
        return re.compile(header + "".join(parts), flags)

    accepted = [spell(form) for form in task.accepted]
    exchanged = (spell(f"{{{task.mirrored[0]}}}"), spell(f"{{{task.mirrored[1]}}}"))
    for old, new in task.mirrors:
        accepted += mirror(accepted, exchanged, old, new)
    if task.shared:
        accepted += [form.replace("ANSWER", task.shared) for form in SHARED]
    before, after = one_of(list(task.prefixes)), one_of(list(task.suffixes))
    bare = "" in task.prefixes and "" in task.suffixes
    part = one_of(accepted) if bare else before + one_of(accepted) + after
    return CompiledTask(
        needs=compiled("(?s:.*?)", one_of([task.needs])) if task.needs else None,
        denials=compiled(one_of(list(task.denials)), _FULL_STOP) if task.denials else None,
        misstated=tuple(compiled(one_of([form])) for form in task.misstated),
        difference=dict(fixed).get("difference", ""),
        exact=compiled(one_of(list(task.exact)), _FULL_STOP, flags=re.IGNORECASE),
        answer=compiled(one_of([task.exact[0]]), "$"),
        whole=compiled(before, one_of(accepted), after, _FULL_STOP) if accepted else None,
        part=compiled("(?s:.*?)", part) if accepted else None,
        anchors=tuple(sorted({anchor(form) for form in accepted})),
    )


def _by_kind(task: LMentryTask, references: Mapping[str, str]) -> dict[str, str]:
    """Expressions of all places with words of the question; a numeral and a list are made of several words."""
    expressions = dict(references)
    for place, kind in task.places.items():
        if kind == "number":
            expressions[place] = numeral(*(references[f"{place}{part}"] for part in ("", "_words", "_spaced")))
        elif kind == "list":
            words = [word for name, word in references.items() if name.startswith(place)]
            joined = "[^a-z0-9_]+".join(words[:-1])
            expressions[place] = f"[^a-z0-9_]*{joined}[^a-z0-9_]+(?:and[^a-z0-9_]+)?{words[-1]}[^a-z0-9_]+"
    return expressions
