"""What a judge is asked about two answers to one question, in the two ways in which it can be asked.

`paper` is the published protocol of Vicuna QA: scores of 1 to 10 for both answers, first of all, with one prompt for
coding, one for mathematics and one for everything else; for mathematics a pair of scores at the end. `sound` asks for
an assessment first and then for one of three verdicts, a tie among them; for mathematics, coding and reasoning it shows
a reference answer, or has the judge find one of its own. The words are those of tunalm.
"""

from __future__ import annotations

from typing import Literal

from tunalm.data.fences import NOTICE, fences
from tunalm.records import Message

Mode = Literal["paper", "sound"]
Kind = Literal["general", "coding", "math"]

KINDS: dict[str, Kind] = {"coding": "coding", "math": "math"}
"""Category of a question -> kind of the published prompt; every other category is `general`."""
GUIDED = frozenset({"coding", "math", "reasoning"})
"""Categories in which answers are held against a right one."""

SYSTEM = "You compare answers to questions. You are exact, fair and brief."

PAPER: dict[Kind, str] = {
    "general": """\
{material}

Above are a question and the answers that two assistants gave. {notice}

Judge how helpful, relevant, accurate and detailed each answer is, and give each assistant one overall score between 1 \
and 10; more is better. Your first line holds nothing but the two scores, that of Assistant 1 and then that of \
Assistant 2, with one space between them. Give your reasons from the second line on. Which answer was shown first must \
make no difference.""",
    "coding": """\
{material}

Above are a programming task and the solutions of two assistants. {notice}

Review both as a programmer would: does the program do what the task asks, is it correct and efficient, is it well \
structured and easy to read, do its comments help, does it keep to good practice? Your first line holds nothing but \
two scores between 1 (no sense, no code) and 10 (nothing to improve), that of Assistant 1 and then that of Assistant \
2, with one space between them. Write your comments on both from the second line on.""",
    "math": """\
{material}

Above are a mathematical question and the answers of two assistants. {notice}

First solve the problem yourself, without a look at either answer. Then go through the steps of each assistant, one by \
one, and name those that are wrong; right steps count as well as a right result. Close with the two scores, each \
between 1 and 10, as one tuple on the last line: (score of Assistant 1, score of Assistant 2).""",
}

SOUND = """\
{material}

Above are a question and two responses to it, A and B. {notice}

Decide which response does better what the question asks for, no less and no more. Wrong statements weigh heaviest, \
then what is missing, then clarity. Length, tone, confidence and the order of the two earn nothing.{guidance}

Write a short assessment of both responses. Then give your verdict alone on the last line, in double square brackets: \
{verdicts}."""

WITH_TIE = "[[A]] if A is better, [[B]] if B is better, [[C]] if they are equally good or equally bad"
WITHOUT_TIE = "[[A]] if A is better, [[B]] if B is better; you must choose one of the two"
WITH_REFERENCE = " A right answer is given as the reference: hold both responses against it before anything else."
WITHOUT_REFERENCE = " Before you assess them, work out a right answer of your own and hold both responses against it."


def paper_prompt(question: str, category: str | None, first: str, second: str) -> list[Message]:
    """The prompt for scores, with the answers in the order given."""
    material = fences([("question", question), ("answer of Assistant 1", first), ("answer of Assistant 2", second)])
    text = PAPER[kind_of(category)].format(material=material, notice=NOTICE)
    return [Message(role="system", content=SYSTEM), Message(role="user", content=text)]


def sound_prompt(
    question: str, category: str | None, first: str, second: str, *, reference: str | None, ties: bool = True
) -> list[Message]:
    """The prompt for a verdict, with the responses in the order given.

    Args:
        question: that both answer.
        category: of the question; decides whether a right answer is called for.
        first: response A.
        second: response B.
        reference: a right answer, shown in the categories `GUIDED` only.
        ties: whether the judge may call them equal.
    """
    pieces = [("question", question), ("response A", first), ("response B", second)]
    guidance = ""
    if category in GUIDED:
        guidance = WITH_REFERENCE if reference else WITHOUT_REFERENCE
        pieces[1:1] = [("reference", reference)] if reference else []
    text = SOUND.format(
        material=fences(pieces), notice=NOTICE, guidance=guidance, verdicts=WITH_TIE if ties else WITHOUT_TIE
    )
    return [Message(role="system", content=SYSTEM), Message(role="user", content=text)]


def kind_of(category: str | None) -> Kind:
    """Which of the three published prompts a question gets."""
    return KINDS.get(category or "", "general")
