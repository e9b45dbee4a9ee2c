"""Who compares, and whether what is compared belongs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunalm.calls.asking import complete
from tunalm.calls.context import StageContext
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Request
from tunalm.errors import DataError
from tunalm.evaluation.pairwise.comparisons import Judge
from tunalm.recipe import EngineSettings
from tunalm.records import Instruction, Prediction


def judge_through(settings: EngineSettings, context: StageContext) -> Judge:
    """A judge whose reviews are kept in the ledger of a run."""

    def ask(requests: Sequence[Request]) -> Mapping[str, Completion]:
        engine = open_engine(settings, trust_remote_code=context.trust_remote_code)
        return complete(engine, requests, context.ledger, "judging", budget=context.budget)

    return ask


def check_answers(source: str, answers: Mapping[str, Prediction], questions: Sequence[Instruction]) -> None:
    """Make sure that a file answers all questions, and these.

    Raises:
        DataError: one is not answered, or what was asked is another question.
    """
    missing = [row.id for row in questions if row.id not in answers]
    if missing:
        raise DataError(
            source,
            found=f"no answer to {len(missing)} of {len(questions)} questions (ids {', '.join(missing[:3])})",
            expected="an answer to every question",
            fix="Give the answers to these questions, or fewer questions with --limit.",
        )
    for row in questions:
        asked = answers[row.id].instruction.strip()
        if asked and asked not in (row.instruction.strip(), row.messages()[-1].text.strip()):
            raise DataError(
                source,
                found=f"an answer to another question under the id {row.id} ({asked!r:.60})",
                expected=f"an answer to {row.instruction!r:.60}",
                fix="Give answers and questions of the same benchmark.",
            )
