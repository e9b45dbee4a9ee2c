"""What one screen shows: an instruction with everything that was said to it, whatever file it comes from."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rapidfuzz.distance import Indel

from tunalm.calls.spending import requests_in
from tunalm.data.files import existing_file, stream_raw
from tunalm.data.lists import stream_lists
from tunalm.errors import DataError, RecipeError
from tunalm.records import Prediction, Ranking, Response, Verdict
from tunalm.reporting.files import read_records
from tunalm.reporting.formats import number, plain
from tunalm.store import iterate_rows

Order = Literal["file", "margin"]
WORD = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True)
class Entry:
    """One of the texts that are compared."""

    text: str
    facts: list[str]
    """Its rank or model, score, length ..., each in a few words."""
    score: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Item:
    """An instruction, and what was said to it: the best, or first, candidate is what the others differ from."""

    id: str
    question: str
    candidates: list[Entry]
    about: str = ""
    references: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str | None = None
    margin: float | None = None
    """Of a list: how much its best response scores above the next one. Of answers: what the last model gains over the
    first one. None where scores are missing."""

    @property
    def failed(self) -> bool:
        """Whether anything in it failed."""
        return self.failure is not None or any(each.failure is not None for each in self.candidates)

    def marked(self, candidate: Entry) -> list[tuple[str, bool]]:
        """The text of a candidate in parts, each with whether it differs from the first candidate, word by word."""
        words = WORD.findall(candidate.text)
        if candidate is self.candidates[0] or candidate.failure is not None:
            return [(candidate.text, False)]
        first = [word.strip() for word in WORD.findall(self.candidates[0].text)]
        steps = Indel.opcodes(first, [word.strip() for word in words])
        parts = [("".join(words[step.dest_start : step.dest_end]), step.tag != "equal") for step in steps]
        return [(text, differs) for text, differs in parts if text]


def read_items(path: Path) -> list[Item]:
    """Everything in a file of lists (in any shape that `tunalm convert` reads), of predictions, or in a ledger.

    Raises:
        DataError: it is none of these, or a row is wrong.
        StoreError: a ledger cannot be read.
    """
    path = existing_file(path)
    if path.suffix == ".sqlite":
        return list(_of_ledger(path))
    first = next(stream_raw(path)).value
    if isinstance(first, dict) and {"prediction", "benchmark"} <= first.keys():
        return list(_of_predictions(path))
    if isinstance(first, dict) and "metric" in first and path.with_name("predictions.jsonl").is_file():
        return list(_of_predictions(path.with_name("predictions.jsonl")))
    try:
        return [_of_list(row) for row in stream_lists(path)]
    except DataError as error:
        fix = "Show lists, predictions, a ledger, or the folder of a run or a stage."
        raise DataError(error.where, found=error.found, expected=error.expected, fix=fix) from error


def select(items: Sequence[Item], *, failed: bool, order: Order, limit: int | None) -> list[Item]:
    """The items to show, in the order to show them.

    Args:
        items: as they stand in the file.
        failed: only those in which something failed.
        order: `margin`: the smallest first, which are the closest lists, or the largest losses; those without last.
        limit: at most so many.

    Raises:
        RecipeError: they shall be sorted by margin and none has one.
    """
    chosen = [item for item in items if item.failed or not failed]
    if order == "margin":
        if chosen and all(item.margin is None for item in chosen):
            raise RecipeError("--sort margin", found="rows without scores to compare", fix="Leave it out.")
        chosen.sort(key=lambda item: (item.margin is None, item.margin or 0.0))
    return chosen[:limit]


def _of_list(row: Ranking) -> Item:
    ordered = sorted(row.responses, key=lambda each: (each.rank is None, each.rank or 0))
    scored = [each for each in ordered if each.rank is not None and each.score is not None]
    margin = None
    if len(scored) > 1:
        best, second = scored[:2]
        margin = 0.0 if best.rank == second.rank else abs((best.score or 0.0) - (second.score or 0.0))
    history = [f"[{turn.role}] {turn.text}" for turn in row.history]
    notes = [f"ranked by {row.ranked_by}"] if row.ranked_by else []
    return Item(
        id=row.id,
        question="\n\n".join([*history, row.messages()[-1].text]),
        candidates=[Entry(each.text, list(_facts(each)), each.score, each.failure) for each in ordered],
        about=row.task or "",
        references=[] if row.reference is None else [row.reference],
        notes=[*notes, *([f"judgement: {plain(row.judgement)}"] if row.judgement else [])],
        failure=row.failure,
        margin=margin,
    )


def _facts(response: Response) -> Iterator[str]:
    yield "not ranked" if response.rank is None else f"rank {response.rank}"
    if response.score is not None:
        yield f"score {number(response.score, 3)}"
    if response.model:
        yield response.model
    if response.num_tokens is not None:
        yield f"{response.num_tokens} tokens"
    if response.finish_reason == "length":
        yield "cut"


def _of_predictions(path: Path) -> Iterator[Item]:
    """Answers of all models to each question, with their scores where `rows.jsonl` lies beside them."""
    scores = {
        (row.benchmark, row.id, row.model): row.score
        for row in read_records(path.with_name("rows.jsonl"), Verdict)
        if row.failure is None
    }
    asked: defaultdict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for answer in iterate_rows(path, Prediction):
        asked[answer.benchmark, answer.id].append(answer)
    for (benchmark, name), answers in asked.items():
        found = [scores.get((benchmark, name, answer.model)) for answer in answers]
        first, last = found[0], found[-1]
        yield Item(
            id=name,
            question=answers[0].instruction,
            candidates=[_answer(answer, score) for answer, score in zip(answers, found, strict=True)],
            about=" · ".join(filter(None, [benchmark, answers[0].task])),
            references=answers[0].references,
            margin=None if first is None or last is None or len(found) == 1 else last - first,
        )


def _answer(answer: Prediction, score: float | None) -> Entry:
    facts = [answer.model, *([] if score is None else [f"score {number(score, 2)}"])]
    facts += [f"{answer.num_tokens} tokens"] if answer.num_tokens is not None else []
    return Entry(
        answer.prediction, [*facts, *(["cut"] if answer.finish_reason == "length" else [])], score, answer.failure
    )


def _of_ledger(path: Path) -> Iterator[Item]:
    for request in requests_in(path):
        answer = Entry(request.text, [request.state], None, request.failure)
        yield Item(id=request.key, question="", candidates=[answer], about=request.engine)
