"""What a judge is asked about two answers to one question, in the two ways in which it can be asked.

`paper` is the published protocol of Vicuna QA, word for word (lm-sys/FastChat at commit 722b08ca, `prompt.jsonl`,
Apache-2.0): scores of 1 to 10 for both answers, with one prompt for coding, one for mathematics and one for everything
else. `sound` asks for an assessment first and then for one of three verdicts, a tie among them; for mathematics, coding
and reasoning it shows a reference answer, or has the judge find one of its own.
"""

from __future__ import annotations

from typing import Literal

from tunalm.data.fences import NOTICE, fences
from tunalm.records import Message

JudgeMode = Literal["paper", "sound"]
PromptKind = Literal["general", "coding", "math"]

KINDS: dict[str, PromptKind] = {"coding": "coding", "math": "math"}
"""Category of a question -> kind of the published prompt; every other category is `general`."""
GUIDED = frozenset({"coding", "math", "reasoning"})
"""Categories in which answers are held against a right one."""

PAPER_SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
PAPER_FRAME = """\
[Question]
{question}

[The Start of Assistant 1's Answer]
{answer_1}

[The End of Assistant 1's Answer]

[The Start of Assistant 2's Answer]
{answer_2}

[The End of Assistant 2's Answer]

[System]
{prompt}

"""
PAPER: dict[PromptKind, str] = {
    "general": """\
We would like to request your feedback on the performance of two AI assistants in response to the user question \
displayed above.
Please rate the helpfulness, relevance, accuracy, level of details of their responses. Each assistant receives an \
overall score on a scale of 1 to 10, where a higher score indicates better overall performance.
Please first output a single line containing only two values indicating the scores for Assistant 1 and 2, \
respectively. The two scores are separated by a space. In the subsequent line, please provide a comprehensive \
explanation of your evaluation, avoiding any potential bias and ensuring that the order in which the responses were \
presented does not affect your judgment.""",
    "coding": """\
Your task is to evaluate the coding abilities of the above two assistants. They have been asked to implement a \
program to solve a given problem. Please review their code submissions, paying close attention to their \
problem-solving approach, code structure, readability, and the inclusion of helpful comments.

Please ensure that the assistants' submissions:

1. Correctly implement the given problem statement.
2. Contain accurate and efficient code.
3. Include clear and concise comments that explain the code's logic and functionality.
4. Adhere to proper coding standards and best practices.

Once you have carefully reviewed both submissions, provide detailed feedback on their strengths and weaknesses, \
along with any suggestions for improvement. You should first output a single line containing two scores on the \
scale of 1-10 (1: no code/no sense; 10: perfect) for Assistant 1 and 2, respectively. Then give extra comments \
starting from the next line.""",
    "math": """\
We would like to request your feedback on the mathematical proficiency of two AI assistants regarding the given \
user question displayed above.
First, please solve the problem independently, without referring to the answers provided by Assistant 1 and \
Assistant 2.
Afterward, please examine the problem-solving process of Assistant 1 and Assistant 2 step-by-step to ensure their \
correctness, identifying any incorrect steps if present. Your evaluation should take into account not only the \
answer but also the problem-solving steps.
Finally, please output a Python tuple containing two numerical scores for Assistant 1 and Assistant 2, ranging from \
1 to 10, respectively. If applicable, explain the reasons for any variations in their scores and determine which \
assistant performed better.""",
}

SYSTEM = "You compare answers to questions. You are exact, fair and brief."

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
    """The published prompt for scores, with the answers in the order given."""
    prompt = PAPER[kind_of(category)]
    text = PAPER_FRAME.format(question=question, answer_1=first, answer_2=second, prompt=prompt)
    return [Message(role="system", content=PAPER_SYSTEM), Message(role="user", content=text)]


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


def kind_of(category: str | None) -> PromptKind:
    """Which of the three published prompts a question gets."""
    return KINDS.get(category or "", "general")
