"""Questions to compare answers to, with a right answer beside them where there is one."""

from __future__ import annotations

from tunalm.data import load
from tunalm.evaluation.pairwise.answers import read_answers, split_name
from tunalm.evaluation.sources import in_turn
from tunalm.recipe import Data
from tunalm.records import Instruction

VICUNA_QUESTIONS = 80


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
