"""Replies to the paper's prompt, read as any reader would: the five parts, however they are set out.

Upper case, bold, blank lines, commas, remarks before and after, `4.0` and `4/5` change nothing. Nothing is guessed: a
part that stands twice or is missing, a mark that is none, and an order that is not that of the marks are failures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunalm.ranking.judge.prompts import CRITERIA, HIGHEST_MARK, own_label
from tunalm.ranking.judge.replies import JudgeReading, after_thoughts

_PARTS = ("kind", "reference", "duplicates", "marks", "rank")
_DECORATION = r"[\s*_`#|]*"
_HEADING = re.compile(
    rf"^{_DECORATION}-?{_DECORATION}(kind|reference|duplicates?|marks|scores|rank|ranking){_DECORATION}:[*_`]*",
    re.MULTILINE | re.IGNORECASE,
)
_KIND = re.compile(r"(open|closed?)(?:[- ]?ended)?\.?", re.IGNORECASE)
_NONE = re.compile(r"(?:none|no|no duplicates|n/a|-)?\.?", re.IGNORECASE)
_PAIR = re.compile(r"(R\d+)\s*=\s*(R\d+)", re.IGNORECASE | re.ASCII)
_LINE = re.compile(r"-?\s*(?:response\s+)?(R\d+)\s*[:=|-]?\s*(.+)", re.IGNORECASE | re.ASCII)
_MARK = re.compile(rf"([0-{HIGHEST_MARK}])(?:\.0+)?(?:/{HIGHEST_MARK})?", re.ASCII)
_TOTAL = re.compile(r"[(=]?\s*(?:total|sum)?\s*[:=]?\s*(\d+)\s*(?:/15)?\s*\)?", re.IGNORECASE | re.ASCII)
_ORDER = re.compile(r"R\d+(?:\s*[>,]\s*R\d+)+", re.IGNORECASE | re.ASCII)


def read_paper(text: str, labels: Sequence[str]) -> JudgeReading:
    """Read a reply to the paper's prompt; the judge's own response has the mark and the place of `own_label(labels)`.

    Raises:
        ValueError: it is not a ranking of exactly these responses, or its order is not that of its marks.
    """
    parts = _parts(after_thoughts(text))
    kind = _KIND.fullmatch(_plain(parts["kind"]))
    if kind is None or not parts["reference"].strip():
        raise ValueError("the judge's reply is not in the form asked for")
    duplicates = _duplicates(parts.get("duplicates", ""), labels)
    expected = [label for label in (*labels, own_label(labels)) if label not in duplicates]
    rows = [_marks(line) for line in parts["marks"].splitlines() if _plain(line)]
    marks = dict(rows)
    if len(marks) != len(rows) or sorted(marks) != sorted(expected):
        raise ValueError("the judge's reply does not mark every response once")
    reading = JudgeReading(
        kind="open-ended" if kind[1].lower() == "open" else "close-ended",
        reference=parts["reference"].strip(),
        marks={label: dict(zip(CRITERIA, marks[label], strict=True)) for label in expected},
        ranking=_ranking(parts["rank"]),
        duplicates=duplicates,
    )
    if sorted(reading.ranking) != sorted(expected):
        raise ValueError("the judge's reply does not rank every response once")
    if not reading.agrees:
        raise ValueError("the judge's reply states an order that is not that of its marks")
    return reading


def _parts(text: str) -> dict[str, str]:
    """What stands behind each heading, up to the next one."""
    found = list(_HEADING.finditer(text))
    names = [_name(each[1]) for each in found]
    if names != [part for part in _PARTS if part in names or part != "duplicates"]:
        raise ValueError("the judge's reply is not in the form asked for")
    ends = [*(each.start() for each in found[1:]), len(text)]
    return {name: text[each.end() : end] for name, each, end in zip(names, found, ends, strict=True)}


def _name(heading: str) -> str:
    return {"duplicate": "duplicates", "scores": "marks", "ranking": "rank"}.get(heading.lower(), heading.lower())


def _plain(text: str) -> str:
    """A text without bold, code signs and blanks around it."""
    return re.sub(r"[*_`]+", "", text).strip().strip("|").strip()


def _duplicates(text: str, labels: Sequence[str]) -> dict[str, str]:
    """Label left out -> label of the first response that says the same."""
    plain = _plain(text)
    pairs = [(one.upper(), kept.upper()) for one, kept in _PAIR.findall(plain)]
    rest = re.sub(r"[\s,;.]+|\band\b", "", _PAIR.sub("", plain))
    if (rest and not _NONE.fullmatch(plain)) or (plain and not pairs and not _NONE.fullmatch(plain)):
        raise ValueError("the judge's reply is not in the form asked for")
    duplicates = dict(pairs)
    if len(duplicates) != len(pairs) or not all(_keeps_first(one, kept, labels, duplicates) for one, kept in pairs):
        raise ValueError("the judge's reply names duplicates that are none")
    return duplicates


def _keeps_first(left_out: str, kept: str, labels: Sequence[str], duplicates: dict[str, str]) -> bool:
    known = left_out in labels and kept in labels and kept not in duplicates
    return known and labels.index(kept) < labels.index(left_out)


def _marks(line: str) -> tuple[str, list[int]]:
    """Label and marks of a line; a total behind them must be their sum."""
    found = _LINE.fullmatch(_plain(line))
    words = re.split(r"[\s,;|]+", found[2], maxsplit=len(CRITERIA)) if found else []
    read = [_MARK.fullmatch(word) for word in words[: len(CRITERIA)]]
    marks = [int(mark[1]) for mark in read if mark]
    rest = words[len(CRITERIA)].strip() if len(words) > len(CRITERIA) else ""
    total = _TOTAL.fullmatch(rest)
    if found is None or len(marks) != len(CRITERIA) or (rest and (total is None or int(total[1]) != sum(marks))):
        raise ValueError("the judge's reply does not mark every response once")
    return found[1].upper(), marks


def _ranking(text: str) -> tuple[str, ...]:
    """The labels of the order; a remark may follow on other lines, but no second order."""
    first, _, remark = text.strip().partition("\n")
    if not _ORDER.fullmatch(_plain(first).rstrip(".")) or re.search(r"R\d+\s*[>=<]\s*R\d+", remark, re.IGNORECASE):
        raise ValueError("the judge's reply does not rank every response once")
    return tuple(label.upper() for label in re.findall(r"R\d+", first, re.IGNORECASE))
