"""What the benchmark of greedy answers asks."""

from __future__ import annotations

from benchmarks.evaluation.generation import NEW_TOKENS, PROMPTS, requests


def test_prompts_are_many_greedy_and_of_mixed_length() -> None:
    asked = requests()
    lengths = [len(request.messages[-1].content) for request in asked]
    assert len({request.key for request in asked}) == PROMPTS
    assert {(request.temperature, request.max_new_tokens) for request in asked} == {(0.0, NEW_TOKENS)}
    assert max(lengths) > 8 * min(lengths)
