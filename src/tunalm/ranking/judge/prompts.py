"""What a judge is asked in the two protocols, and the form of its reply.

A prompt begins with what is the same for all lists, so that a server reads it once and keeps it (prefix caching).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tunalm.data.fences import NOTICE

Protocol = Literal["audited", "paper"]

KINDS = ("open-ended", "close-ended")
HIGHEST_MARK = 5
CRITERIA = ("accuracy", "detail", "relevance_or_clarity")
"""What is marked; the third is relevance for an open-ended instruction and clarity for a close-ended one."""
EVIDENCE = "evidence"
EVIDENCE_WORDS = 25

_TEXTS = f"""\
You are given an instruction and several responses to it, labelled R1, R2 and so on, each written as one JSON string. \
{NOTICE}"""

_AUDITED_STEPS = f"""\
{_TEXTS}

Take these steps:
1. Decide of which kind the instruction is: "open-ended" if many different responses can be good (advice, creative \
writing, explanations), "close-ended" if one answer, or very few, can be right (facts, sums, labels, extraction).
2. Write your own response to it, as short as a complete answer allows. It is your yardstick.
3. Hold each response against your yardstick. First write down the evidence: what is right, wrong or missing in it, in \
at most {EVIDENCE_WORDS} words. Then give it three whole marks from 0 (worthless) to 5 (faultless):
   - if open-ended: relevance; level of detail and justification; accuracy.
   - if close-ended: accuracy; level of detail and justification; clarity.
   Length, tone and position earn nothing. Equally good responses get equal marks.
4. Order the responses by the sum of their marks, from the highest to the lowest.

Answer with one JSON object and nothing else. Its keys, in this order:
- "kind": the word from step 1;
- "reference": your own response from step 2;
- "scores": for each label an object with your "{EVIDENCE}" and then the marks as "accuracy", "detail" and \
"relevance_or_clarity" (relevance if open-ended, clarity if close-ended);
- "ranking": a list of the labels, best first."""

_PAPER_STEPS = f"""\
{_TEXTS}

Take these steps:
1. Decide whether the instruction is open-ended (for instance to write a story) or close-ended (for instance to solve \
a mathematical problem).
2. Write your own response to it as a reference. Its label is R with the number after that of the last response.
3. If several responses say the same, keep only the first of them and leave the others out of all that follows.
4. Compare each response that is left with the reference and score it, and the reference too, on three criteria, each \
with a whole number from 0 to 5:
   - if open-ended: relevance; level of detail and justification; accuracy.
   - if close-ended: accuracy; level of detail and justification; clarity.
5. Rank all of them, the reference included, in descending order of the sums of their scores.

Answer in exactly this form, without a word before or after it:
kind: open-ended or close-ended
reference: your own response, on as many lines as it needs
duplicates: none, or for each one left out its label = the label of the one kept, such as R2=R1, R3=R1
marks:
R1: accuracy detail relevance-or-clarity, three digits with spaces between them; one such line for each response that \
is left and one for your own, in the order of their numbers
rank: all labels that have marks, best first, such as R2 > R3 > R1"""

AUDITED = f"""\
{_AUDITED_STEPS}

{{material}}

Now assess {{labels}} and answer with the JSON object."""

PAPER = f"""\
{_PAPER_STEPS}

{{material}}

Now assess {{labels}}, with your own response as {{own}}, and answer in that form."""
"""The steps of section 2.3, in its order and without a criterion that it does not have; step 3 is that of the prompt
which the authors have released. Around them stand the form of the reply and what keeps a response from being obeyed."""


def own_label(labels: Sequence[str]) -> str:
    """What the judge's own response is called: the number after the last (`paper`)."""
    return f"R{len(labels) + 1}"


def prompt(protocol: Protocol, material: str, labels: Sequence[str]) -> str:
    """The prompt of a protocol about the texts in `material`, of which those of `labels` are to be ranked."""
    template = AUDITED if protocol == "audited" else PAPER
    return template.format(material=material, labels=", ".join(labels), own=own_label(labels))


def reply_schema(labels: Sequence[str]) -> dict[str, Any]:
    """JSON schema of an audited reply about these labels, in the part of the language that every server takes.

    The marks are an object with one key per label, so that a server which enforces the schema cannot leave one out.
    """
    mark = {"type": "integer", "minimum": 0, "maximum": HIGHEST_MARK}
    marks = _closed_object({EVIDENCE: {"type": "string"}, **dict.fromkeys(CRITERIA, mark)})
    label = {"type": "string", "enum": list(labels)}
    properties = {
        "kind": {"type": "string", "enum": list(KINDS)},
        "reference": {"type": "string"},
        "scores": _closed_object(dict.fromkeys(labels, marks)),
        "ranking": {"type": "array", "items": label, "minItems": len(labels), "maxItems": len(labels)},
    }
    return _closed_object(properties)


def _closed_object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
