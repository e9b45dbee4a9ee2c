"""Questions to compare answers to, and stored answers of one model, in the shapes in which benchmarks publish them.

    tunalm, FastChat   {id or question_id, prediction | text | output}, or FastChat's newer {question_id, choices}
    AlpacaEval         {instruction, output}: without ids, answers belong to the questions by their place in the file
    several models     {id or question_id or index, answers | outputs: {model: text}}

Reference answers come in the same shapes.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunalm.data import load
from tunalm.data.files import RawRow
from tunalm.errors import DataError, did_you_mean
from tunalm.evaluation.predictions import rows_of
from tunalm.evaluation.sources import in_turn
from tunalm.recipe import Data
from tunalm.records import Instruction, Prediction
from tunalm.store import local_path

IDS = ("id", "question_id", "index")
TEXTS = ("prediction", "text", "output")
MODELS = ("model", "model_id", "generator")
SEVERAL = ("answers", "outputs")
PATTERN = (
    "an answer {id, prediction}, {question_id, text | choices}, {instruction, output} or {id, answers: {model: text}}"
)


def load_questions(data: Data, references: str | None) -> list[Instruction]:
    """Read questions; a `limit` takes them from all categories in turn.

    Args:
        data: any file of instructions; those of Vicuna QA and MT-bench come with a category.
        references: a file of right answers (`FILE` or `FILE#MODEL`), which replace those of the questions.

    Raises:
        DataError: a file or a row of it is wrong.
    """
    questions = load(data.model_copy(update={"limit": None}))
    right = {} if references is None else read_answers(*split_name(references))
    with_references = [
        each.model_copy(update={"reference": right[each.id].prediction}) if each.id in right else each
        for each in questions
    ]
    return in_turn(with_references, lambda each: each.task or "", data.limit)


def read_answers(path: str | Path, model: str | None = None, benchmark: str = "answers") -> dict[str, Prediction]:
    """Read the answers of one model, by the id of their question.

    Args:
        path: JSON, JSONL or Parquet, also gzipped.
        model: whose answers, needed where the file has those of several.
        benchmark: rows that name another one are left out; in the file of an evaluation all of them name one.

    Raises:
        DataError: a row is wrong (it is named), a question is answered twice, or no answer is left.
    """
    rows = rows_of(path, benchmark)
    model = model or _only_model(path, rows)
    answers: dict[str, Prediction] = {}
    for place, row in enumerate(rows):
        named = next((row.value[key] for key in MODELS if key in row.value), model)
        if named != model:
            continue
        answer = _answer(row, place, benchmark, model)
        if answer.id in answers:
            raise DataError(row.where, found=f"a second answer to question {answer.id}", fix="Remove one.")
        answers[answer.id] = answer
    if not answers:
        found = f"no answer to {benchmark} by '{model}'"
        raise DataError(path, found=found, fix=did_you_mean(model, _models(rows)))
    return answers


def check_answers(source: str, answers: Mapping[str, Prediction], questions: Sequence[Instruction]) -> None:
    """Make sure that a file answers all questions, and these.

    Raises:
        DataError: one is not answered, or what was asked is another question.
    """
    missing = [row.id for row in questions if row.id not in answers]
    if missing:
        found = f"no answer to {len(missing)} of {len(questions)} questions (ids {', '.join(missing[:3])})"
        raise DataError(source, found=found, fix="Give the answers to these, or fewer questions with --limit.")
    for row in questions:
        asked = answers[row.id].instruction.strip()
        if asked and asked not in (row.instruction.strip(), row.messages()[-1].text.strip()):
            raise DataError(
                source,
                found=f"an answer to another question under the id {row.id} ({asked!r:.60})",
                expected=f"an answer to {row.instruction!r:.60}",
                fix="Give answers and questions of the same benchmark.",
            )


def split_name(source: str) -> tuple[str, str | None]:
    """A file of answers and whose they are, from `FILE` or `FILE#MODEL`."""
    path, mark, model = source.rpartition("#")
    return (path, model) if mark and not local_path(source).exists() else (source, None)


def _only_model(path: str | Path, rows: list[RawRow]) -> str:
    names = _models(rows)
    if len(names) > 1:
        found = f"answers of {len(names)} models ({', '.join(names)})"
        raise DataError(path, found=found, fix="Name the one: FILE#MODEL.")
    return names[0] if names else Path(path).name.split(".")[0]


def _models(rows: list[RawRow]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(str(row.value[key]) for key in MODELS if key in row.value)
        names |= dict.fromkeys(
            name for key in SEVERAL if isinstance(row.value.get(key), dict) for name in row.value[key]
        )
    return list(names)


def _answer(row: RawRow, place: int, benchmark: str, model: str) -> Prediction:
    name = next((row.value[key] for key in IDS if row.value.get(key) is not None), place)
    instruction = row.value.get("instruction")
    failure = row.value.get("failure")
    return Prediction(
        id=str(name),
        benchmark=benchmark,
        model=model,
        instruction=instruction if isinstance(instruction, str) else "",
        prediction=_text(row, model),
        failure=failure if isinstance(failure, str) else None,
    )


def _text(row: RawRow, model: str) -> str:
    value: Any = next((row.value[key] for key in TEXTS if key in row.value), None)
    for key in SEVERAL:
        if isinstance(row.value.get(key), dict):
            value = row.value[key].get(model)
    if "choices" in row.value:
        try:
            value = row.value["choices"][0]["turns"][0]
        except (LookupError, TypeError):
            value = None
    if not isinstance(value, str):
        found = f"no text by '{model}'" if value is None else reprlib.repr(value)
        raise DataError(row.where, found=found, expected=PATTERN, fix="Correct the row.")
    return value
