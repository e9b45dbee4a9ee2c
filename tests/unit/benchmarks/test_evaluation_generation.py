"""What the benchmark of greedy answers asks."""

from __future__ import annotations

from benchmarks.evaluation.generation import DEFINITIONS, QUESTIONS, requests


def test_questions_are_distinct_and_greedy_with_the_published_limits() -> None:
    for (kind, asked), limit in zip(requests().items(), (128, 50), strict=True):
        assert len({request.key for request in asked}) == len(asked) == QUESTIONS, kind
        assert len({request.messages[-1].text for request in asked}) == QUESTIONS
        assert {(request.temperature, request.max_new_tokens) for request in asked} == {(0.0, limit)}


def test_questions_of_a_task_share_its_definition_and_differ_in_length() -> None:
    texts = [request.messages[-1].text for request in requests()["with definitions"]]
    for definition in DEFINITIONS:
        own = [text for text in texts if text.startswith(definition)]
        assert len(own) == QUESTIONS // len(DEFINITIONS)
        assert max(map(len, own)) > 1.3 * min(map(len, own))
