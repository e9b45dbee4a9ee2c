"""Judges that answer by a rule, and what they are shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.ranking.judge.prompts import CRITERIA
from tunalm.ranking.judge.questions import JudgeQuestion, inquiries
from tunalm.recipe import Rank
from tunalm.records import Ranking

FENCED = re.compile(r"^--- begin (.+?) ([0-9a-f]{16}) ---\n(.*)\n--- end \1 \2 ---$", re.MULTILINE)

Rule = Callable[[dict[str, str]], str]


def judging(**knobs: Any) -> Rank:
    """Settings of a stage with a judge."""
    engine = {"base_url": "https://h/v1", "model": "wise"}
    return Rank.model_validate({"by": "judge", "responses": "r", "engine": engine, **knobs})


def questions(row: Ranking, **knobs: Any) -> list[JudgeQuestion]:
    """What is asked about one list."""
    (inquiry,) = inquiries([row], judging(canaries=0, **knobs))
    return list(inquiry.questions)


def shown_texts(prompt: str) -> dict[str, str]:
    """What stands between the fences of a prompt, by label."""
    found = FENCED.findall(prompt)
    assert len({code for _, code, _ in found}) == 1
    texts = {name.removeprefix("response "): json.loads(text) for name, _, text in found}
    assert len(texts) == len(found)
    return texts


def responses_shown(prompt: str) -> dict[str, str]:
    """The same without the instruction."""
    return {label: text for label, text in shown_texts(prompt).items() if label != "instruction"}


def outside_fences(prompt: str) -> str:
    """What is left of a prompt without its fenced texts: all that a judge may obey."""
    return FENCED.sub("", prompt)


def marking(given: dict[str, list[Any]], **changes: Any) -> str:
    """A reply with these marks (of accuracy, detail, relevance or clarity) and an order that fits them."""
    scores = {
        label: {"evidence": f"Read {label.lower()}.", **dict(zip(CRITERIA, marks, strict=False))}
        for label, marks in given.items()
    }
    order = sorted(given, key=lambda label: -sum(map(float, given[label])))
    reply = {"kind": "close-ended", "reference": "Forty-two.", "scores": scores, "ranking": order, **changes}
    return json.dumps({key: value for key, value in reply.items() if value is not None})


def by_length(texts: dict[str, str]) -> str:
    """A judge to whom longer is better, up to five characters."""
    return marking({label: [min(len(text), 5), 1, 1] for label, text in texts.items()})


def paper_reply(texts: dict[str, str], own: int = 5) -> str:
    """A reply in the published form: longer is better, the judge's own response gets `own` for each criterion."""
    labels = [*texts, f"R{len(texts) + 1}"]
    marks = {label: [min(len(text), 5), 1, 1] for label, text in texts.items()} | {labels[-1]: [own] * 3}
    order = sorted(labels, key=lambda label: -sum(marks[label]))
    lines = "\n".join(f"{label}: {' '.join(map(str, marks[label]))}" for label in labels)
    return f"kind: open-ended\nreference: aaaaa\naaaa\nduplicates: none\nmarks:\n{lines}\nrank: {' > '.join(order)}"


class RuleEngine:
    """Answers by a rule from the responses that it is shown, by label."""

    identity = "rule"

    def __init__(self, rule: Rule, *, json_schema: bool = True) -> None:
        self.rule = rule
        self.capabilities = Capabilities(json_schema=json_schema)
        self.asked: list[Request] = []

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        return [[request] for request in requests]

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        for (request,) in batches:
            self.asked.append(request)
            text = self.rule(responses_shown(request.messages[0].content))
            failure = "HTTP 500" if text == "fail" else None
            finish = "length" if text.endswith("...") else "stop"
            yield [Completion(key=request.key, text=text, finish_reason=finish, failure=failure)]
