"""What the engine makes of vLLM's answers; vLLM itself is asked in tests/integration/test_vllm.py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny import save_tiny_model
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Engine, NoJournal, Request
from tunalm.engines.vllm import engine as vllm
from tunalm.engines.vllm.background import Background
from tunalm.errors import EngineError
from tunalm.recipe import VllmSettings
from tunalm.records import Message

LONGEST = 64


class Processes:
    """Writes its seed in letters, then the end; refuses the seed 13."""

    max_model_len = LONGEST

    def __init__(self, where: str, model: str, dtype: str, settings: VllmSettings, *, trust_remote_code: bool) -> None:
        self.dtype = dtype
        self.background = Background("fake")

    def each(self, items: Any, answer: Any) -> Any:
        """All at once, the last item first."""
        return reversed(list(self.background.each(items, answer, room=100)))

    async def write(self, prompt: Sequence[int], request: Request, max_tokens: int, stop_ids: Sequence[int]) -> Any:
        if request.seed == 13:
            return "refused: 13"
        tokens = [*[request.seed] * 5, stop_ids[0]][:max_tokens]
        return SimpleNamespace(tokens=tokens, logprobs=[-1.0] * len(tokens) if request.logprobs else None)

    async def read(self, prompt: Sequence[int], response: Sequence[int]) -> list[float]:
        return [-float(token) for token in response]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(vllm, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "tunalm.engines.vllm.processes", SimpleNamespace(Processes=Processes))
    return open_engine(VllmSettings(model=str(folder), batch_size=3))


def request(prompt: str, seed: int, **changes: Any) -> Request:
    values = {"key": f"{prompt}/{seed}", "max_new_tokens": 8, "seed": seed, "logprobs": True}
    return Request(messages=[Message(role="user", content=prompt)], **values | changes)


def answers(engine: Engine, requests: list[Request]) -> dict[str, Completion]:
    found = chain.from_iterable(engine.generate(engine.batches(requests), NoJournal()))
    return {completion.key: completion for completion in found}


def test_without_vllm_one_line_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"found no package vllm; expected it.*pip install vllm"):
        open_engine(VllmSettings(model=str(folder)))


def test_siblings_make_units(engine: Engine) -> None:
    units = engine.batches([request(prompt, seed) for seed in range(4) for prompt in ("b", "a")])
    assert [[one.key for one in unit] for unit in units] == [
        ["a/0", "a/1", "a/2"],
        ["a/3"],
        ["b/0", "b/1", "b/2"],
        ["b/3"],
    ]


def test_tokens_become_texts(engine: Engine) -> None:
    requests = [request("a", seed, logprobs=bool(seed)) for seed in range(2)] + [request("b", 2, max_new_tokens=3)]
    zero, one, two = (answers(engine, requests)[each.key] for each in requests)
    assert (zero.num_tokens, zero.finish_reason, zero.token_logprobs) == (6, "stop", None)
    assert (one.num_tokens, one.finish_reason, one.token_logprobs) == (6, "stop", [-1.0] * 6)
    assert (two.num_tokens, two.finish_reason, two.token_logprobs) == (3, "length", [-1.0] * 3)
    assert (len(one.text), len(two.text)) == (5, 3)


def test_a_response_gets_the_room_that_there_is(engine: Engine) -> None:
    marks = 3  # of the template
    long, longer = request("x" * (LONGEST - marks - 2), 1), request("x" * (LONGEST - marks), 1)
    found = answers(engine, [long, longer])
    assert (found[long.key].num_tokens, found[long.key].finish_reason) == (2, "length")
    assert found[longer.key].failure == f"too long: {LONGEST} tokens, where the model takes {LONGEST}"
    asked = [Request.to_score(long.messages, text, ended=True) for text in ("", "yes")]
    scored = answers(engine, asked)
    short, cut = (scored[each.key] for each in asked)
    assert short.token_logprobs is not None
    assert cut.failure is not None


def test_a_refused_request_fails_alone(engine: Engine) -> None:
    found = answers(engine, [request("a", 12), request("a", 13)])
    assert [each.failure for each in found.values()] == [None, "refused: 13"]


def test_given_texts_are_scored(engine: Engine) -> None:
    asked = [Request.to_score(request("a", 0).messages, text, ended=True) for text in ("one", "two", "")]
    found = answers(engine, asked)
    scored = [found[each.key] for each in asked]
    assert [each.text for each in scored] == ["one", "two", ""]
    assert [each.num_tokens for each in scored] == [4, 4, 1]
    assert len({tuple(each.token_logprobs or []) for each in scored}) == 3


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_importing_the_engine_does_not_import_vllm() -> None:
    assert "vllm" not in sys.modules
