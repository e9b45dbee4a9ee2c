"""A stage that needs more than its engine gives is refused before its first request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget
from tunalm.calls.needs import FEW_TOKENS
from tunalm.calls.prices import Price, Prices
from tunalm.calls.spending import accounts
from tunalm.engines.base import Capabilities, Completion, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import BudgetError, EngineError
from tunalm.records import Message

SCHEMA = {"type": "object"}
REFUSED = "http-400: not supported"


class Served(ScriptedEngine):
    """An engine that has to be asked what it gives."""

    small: list[Request]
    answer: Callable[[Request], Completion]

    def probe(self, request: Request) -> Completion:
        """Note the request and answer it."""
        self.small.append(request)
        return self.answer(request)


def served(answer: Callable[[Request], Completion] | None = None, logprobs: bool = True) -> Served:
    able = Capabilities(logprobs=logprobs, json_schema=True)
    engine = Served.from_function(lambda request: f"words for {request.key}", capabilities=able)
    engine.small = []
    engine.answer = answer or (
        lambda request: Completion(key=request.key, text="{", prompt_tokens=2, completion_tokens=4)
    )
    return engine


def requests(**changes: Any) -> list[Request]:
    messages = [Message(role="user", content="Say something.")]
    return [Request(key=str(number), messages=messages, **changes) for number in range(3)]


def test_an_engine_is_asked_once_for_all_runs_on_a_ledger(tmp_path: Path) -> None:
    engine = served()
    for seed in range(3):
        complete(engine, requests(logprobs=True, seed=seed), tmp_path / "ledger.sqlite", "asking")
    complete(engine, requests(json_schema=SCHEMA), tmp_path / "ledger.sqlite", "asking")
    assert [(small.logprobs, small.json_schema) for small in engine.small] == [(True, None), (False, SCHEMA)]
    assert {small.max_new_tokens for small in engine.small} == {FEW_TOKENS}


def test_who_needs_nothing_asks_nothing(tmp_path: Path) -> None:
    engine = served()
    complete(engine, requests(), tmp_path / "ledger.sqlite", "asking")
    assert not engine.small


def test_nothing_is_asked_when_every_answer_is_there(tmp_path: Path) -> None:
    complete(served(), requests(logprobs=True), tmp_path / "ledger.sqlite", "asking")
    engine = served(lambda request: pytest.fail("asked"))
    complete(engine, requests(logprobs=True), tmp_path / "ledger.sqlite", "asking")


@pytest.mark.parametrize("need", [{"logprobs": True}, {"json_schema": SCHEMA}], ids=["logprobs", "schema"])
def test_a_server_that_refuses_stops_the_stage_before_its_first_request(need: dict[str, Any], tmp_path: Path) -> None:
    def answer(request: Request) -> Completion:
        plain = not request.logprobs and request.json_schema is None
        return Completion(key=request.key, text="A cat", failure=None if plain else REFUSED)

    engine = served(answer)
    asked: list[Request] = []
    engine._function = lambda request: asked.append(request) or "never"  # type: ignore[func-returns-value]
    with pytest.raises(EngineError, match="not supported") as caught:
        complete(engine, requests(**need), tmp_path / "ledger.sqlite", "asking")
    assert not asked
    assert caught.value.fix
    assert len(engine.small) == 2


@pytest.mark.parametrize(
    "failure", ["http-400: all is refused", "http-500: out of order", "timeout: none", "null-content"]
)
def test_trouble_that_says_nothing_about_abilities_is_left_to_the_requests(failure: str, tmp_path: Path) -> None:
    engine = served(lambda request: Completion(key=request.key, failure=failure))
    answers = complete(engine, requests(logprobs=True), tmp_path / "ledger.sqlite", "asking")
    assert all(answer.failure is None for answer in answers.values())


def test_an_engine_that_knows_that_it_cannot_is_not_asked(tmp_path: Path) -> None:
    engine = served(logprobs=False)
    with pytest.raises(EngineError, match="by: judge"):
        complete(engine, requests(logprobs=True), tmp_path / "ledger.sqlite", "asking")
    assert not engine.small


def test_a_schema_that_is_not_kept_to_is_only_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = served(lambda request: Completion(key=request.key, text="A cat"))
    complete(engine, requests(json_schema=SCHEMA), tmp_path / "ledger.sqlite", "asking")
    assert "does not keep to a JSON schema" in capsys.readouterr().err


def test_the_question_is_paid_from_the_budget(tmp_path: Path) -> None:
    prices = Prices((Price(host="*", model="*", prompt=1e6, completion=1e6),))
    rich = Budget(1e9, prices)
    complete(served(), requests(logprobs=True), tmp_path / "ledger.sqlite", "asking", budget=rich)
    (account,) = accounts(tmp_path / "ledger.sqlite").values()
    assert (account.calls, account.cost, account.answered) == (1, 6, 3)
    engine = served()
    with pytest.raises(BudgetError):
        complete(engine, requests(logprobs=True), tmp_path / "other.sqlite", "asking", budget=Budget(1, prices))
    assert not engine.small
