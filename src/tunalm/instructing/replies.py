"""Reading what the model wrote: every piece is taken as it is meant, or left with a reason; nothing is guessed.

Published stop sequences (an empty line, number 16, the next task) are applied to the text that came: what a model wrote
beyond them is not read, and a reply that reached one was not cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Pair = tuple[str, str]
"""Input, which may be empty, and output."""
Read = tuple[list[Pair], list[tuple[str, str]]]
"""What is kept, and the texts that are left out, each with the reason."""

NUMBER = re.compile(r"^[^\w\n]*\d+[^\w\n]*?(?:[.)]\**(?=\s)|[\uff0e\u3002\u3001\uff09])", re.MULTILINE)
"""Before an item of a list, in Latin or East Asian print."""
BOLD = re.compile(r"\*\*(.+?)\*\*")
NEXT_TASK = re.compile(r"^[^\w\n]*Task\s*\d*\s*:", re.MULTILINE)
EXAMPLE = re.compile(r"^[^\w\n]*Example\s*\d+\b[^\w\n]*", re.MULTILINE)
OUTPUT = re.compile(r"^[^\w\n]*Output\s*\d*[^\w\n]*:\**", re.MULTILINE)
INPUT = re.compile(r"^[^\w\n]*Input\s*\d*[^\w\n]*:\**", re.MULTILINE)
NAMED = re.compile(r"[^\w\n]*[^\W\d][^\n:\uff1a]{0,40}[:\uff1a]")
"""How an input begins that has another name, such as `Paragraph:`."""
LABEL = re.compile(r"^[^\w\n]*Class label\s*\d*[^\w\n]*:\**", re.MULTILINE)
ANSWER = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)

NO_LIST = "unreadable: no numbered list"
CUT_LIST = "cut: the list did not end"
NO_ANSWER = "unreadable: neither yes nor no"
NO_EXAMPLES = "unreadable: no input and output in the form that was asked for"


class UnreadableError(Exception):
    """A reply of which nothing can be used; its text is the reason."""


def tasks(text: str, *, count: int, cut: bool, continued: bool) -> list[str]:
    """New instructions of a reply, in order.

    Args:
        text: the reply.
        count: how many are taken; the published stop sequence is the number after them.
        cut: whether the reply reached the token limit.
        continued: the reply goes on in the middle of a list, with an item whose number stands in the prompt.

    Raises:
        UnreadableError: there is no list, or it was cut (then none of it is used, as published).
    """
    if continued:
        text, stop, _ = text.lstrip().partition("\n\n")
        cut = cut and not stop
    before, *items = _split(NUMBER, text)
    items = [before, *items] if continued else items
    items = [item for item in map(_item, items) if item]
    if not items:
        raise UnreadableError(NO_LIST)
    if cut and len(items) <= count:
        raise UnreadableError(CUT_LIST)
    return items[:count]


def _item(text: str) -> str:
    """An item up to the first empty line, on one line and without the marks of bold print."""
    return re.sub(r"\s+", " ", BOLD.sub(r"\1", text.partition("\n\n")[0])).strip()


def yes_or_no(text: str) -> bool:
    """Whether a reply says yes.

    Raises:
        UnreadableError: it says neither yes nor no.
    """
    found = ANSWER.match(text)
    if found is None:
        raise UnreadableError(NO_ANSWER)
    return found[1].lower() == "yes"


def instances(text: str, *, most: int, cut: bool, labels: bool) -> Read:
    """Inputs and outputs of a reply.

    Args:
        text: the reply.
        most: how many are kept.
        cut: whether the reply reached the token limit; its last instance is then dropped.
        labels: whether class labels were asked for, each with an input behind it.

    Raises:
        UnreadableError: nothing has the form that was asked for.
    """
    following = NEXT_TASK.search(text)
    if following:
        text, cut = text[: following.start()], False
    pairs: list[Pair] = []
    left_out: list[tuple[str, str]] = []
    read = [*(_labelled(text) if labels else _examples(text))]
    if not any(isinstance(each, tuple) for each in read):
        raise UnreadableError(NO_EXAMPLES)
    if cut and len(read) <= most:
        last = read.pop()
        left_out.append((last if isinstance(last, str) else "\n".join(last), "cut"))
    for each in read:
        if isinstance(each, str):
            left_out.append((each, "not one output in the form that was asked for"))
            continue
        reason = _fault(each, pairs) or ("surplus" if len(pairs) == most else None)
        if reason:
            left_out.append(("\n".join(each), reason))
        else:
            pairs.append(each)
    if _contradictory(pairs, labels):
        left_out += [("\n".join(pair), "contradictory: one input with several outputs") for pair in pairs]
        pairs = []
    return pairs, left_out


def _split(mark: re.Pattern[str], text: str) -> list[str]:
    """What stands before the first mark, then what follows each."""
    places = [found.span() for found in mark.finditer(text)]
    starts, ends = [0, *(end for _, end in places)], [*(start for start, _ in places), len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _examples(text: str) -> Iterator[Pair | str]:
    """Pairs of input and output; a string is an example without this form."""
    before, *pieces = _split(EXAMPLE, text)
    for piece in pieces or [before]:
        parts = _split(OUTPUT, piece)
        given = _split(INPUT, parts[0])
        before, known = given[0], len(given) == 1 and NAMED.match(given[0])
        if len(parts) == 2 and len(given) <= 2 and (known or not before) and not INPUT.search(parts[1]):
            yield given[-1], parts[1]
        else:
            yield piece


def _labelled(text: str) -> Iterator[Pair]:
    for piece in _split(LABEL, text)[1:]:
        label, _, given = piece.partition("\n")
        yield INPUT.sub("", given.strip(), count=1).strip(), label.strip()


def _fault(pair: Pair, others: list[Pair]) -> str | None:
    """Why an instance is left out, as published."""
    given, output = pair
    if not output:
        return "no output"
    if given == output:
        return "output is the input"
    if given.endswith(":") or output.endswith(":"):
        return "ends with a colon"
    return "repeat" if pair in others else None


def _contradictory(pairs: list[Pair], labels: bool) -> bool:
    """Whether one input has several outputs. Without an input that is wrong for labels only."""
    inputs = [given for given, _ in pairs if given or labels]
    return len(set(inputs)) < len(inputs)
