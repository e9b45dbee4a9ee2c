"""Pairs of answers of which people have said which one is better.

LLMBar     {subset, input, output_1, output_2, label: 1 | 2}, or the `dataset.json` files of its repository
FairEval   {question_id, question, category, answers, human_gpt35_vs_vicuna13b}
your own   {id, subset, input, output_1, output_2, label: 1 | 2 | tie}
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunalm.data.files import RawRow, existing_file, read_raw
from tunalm.errors import DataError
from tunalm.records import Instruction
from tunalm.store import local_path

Choice = Literal["first", "second", "tie"]
LABELS: dict[str, Choice] = {"1": "first", "2": "second", "tie": "tie"}
FAIREVAL_LABEL = "human_gpt35_vs_vicuna13b"
FAIREVAL_MODELS = ("gpt35", "vicuna-13b")
FAIREVAL_LABELS: dict[str, Choice] = {"CHATGPT": "first", "VICUNA13B": "second", "TIE": "tie"}
LLMBAR = ("natural", "neighbor", "gptinst", "gptout", "manual")
"""How the subsets that LLMBar is made of end; its other four are taken from elsewhere."""
PATTERN = "a pair {input, output_1, output_2, label}, label 1, 2 or tie, or a row of FairEval"


@dataclass(frozen=True)
class KnownPair:
    """Two answers to an instruction, and which one is better."""

    question: Instruction
    subset: str
    first: str
    second: str
    label: Choice


def load_pairs(source: Path) -> list[KnownPair]:
    """Read pairs from a file, or from a clone of LLMBar.

    Raises:
        DataError: there is no such file, or a row is wrong or has the id of another; it is named.
    """
    pairs: dict[str, KnownPair] = {}
    for path, subset in _files(source):
        for number, row in enumerate(read_raw(path)):
            if not isinstance(row.value, dict):
                raise _wrong(row, reprlib.repr(row.value))
            read = _faireval if FAIREVAL_LABEL in row.value else _pair
            pair = read(row, subset, number)
            if pairs.setdefault(pair.question.id, pair) is not pair:
                raise _wrong(row, f"id {pair.question.id} a second time")
    return list(pairs.values())


def is_of_llmbar(subset: str) -> bool:
    """Whether a subset is one of those that the published figures of LLMBar are about."""
    return subset.lower().endswith(LLMBAR)


def _files(source: Path) -> list[tuple[Path, str]]:
    """The files to read, and the subset that the place of each names."""
    source = local_path(source)
    if not source.is_dir():
        return [(existing_file(source), "")]
    found = sorted(source.rglob("dataset.json"))
    if not found:
        raise DataError(
            source, found="no dataset.json in any folder", fix="Give a clone of LLMBar, or a file of pairs, as --data."
        )
    return [(path, path.parent.relative_to(source).as_posix()) for path in found]


def _pair(row: RawRow, subset: str, number: int) -> KnownPair:
    value: dict[str, Any] = row.value
    label = str(value.get("label"))
    texts = [value.get(name) for name in ("input", "output_1", "output_2")]
    if not all(isinstance(text, str) for text in texts) or label not in LABELS:
        raise _wrong(row, f"label {label}" if label not in LABELS else "no input, output_1 or output_2")
    asked, first, second = map(str, texts)
    subset = str(value.get("subset", subset))
    name = str(value.get("id", f"{subset}/{value.get('index', number)}"))
    return KnownPair(Instruction(id=name, instruction=asked), subset, first, second, LABELS[label])


def _faireval(row: RawRow, subset: str, number: int) -> KnownPair:
    value: dict[str, Any] = row.value
    answers, label = value.get("answers"), str(value[FAIREVAL_LABEL])
    if not isinstance(answers, dict) or not set(FAIREVAL_MODELS) <= answers.keys() or label not in FAIREVAL_LABELS:
        raise _wrong(row, f"label {label}, answers of {reprlib.repr(answers)}")
    question = Instruction(
        id=str(value.get("question_id", number)), instruction=str(value.get("question")), task=value.get("category")
    )
    first, second = (str(answers[name]) for name in FAIREVAL_MODELS)
    return KnownPair(question, subset, first, second, FAIREVAL_LABELS[label])


def _wrong(row: RawRow, found: str) -> DataError:
    return DataError(row.where, found=found, expected=PATTERN, fix="Correct the row.")
