"""The stage `sample`: what it writes, and what its result must not depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunalm.calls import context as calls
from tunalm.calls.context import StageContext
from tunalm.engines.base import Capabilities, Completion, Engine, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import EngineError
from tunalm.measures.rouge import rouge_l
from tunalm.recipe import Sample
from tunalm.records import Ranking
from tunalm.sampling import run
from tunalm.sampling.sampler import draw_seed
from tunalm.store import Summary, read_rows

NOUNS = ["cat", "dog", "bird", "fish"]
VERBS = ["runs", "sleeps", "eats"]
PLACES = ["here", "there", "nowhere"]


def chatter(request: Request) -> Completion:
    """Three words that the seed decides; about one pair in five has two of them in common."""
    number = request.seed
    words = [NOUNS[number % 4], VERBS[number // 4 % 3], PLACES[number // 12 % 3]]
    return Completion(
        key=request.key, text=" ".join(words), model="chatter", finish_reason="stop", num_tokens=4, prompt_tokens=9
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"id": f"r/{number}", "instruction": f"Say {number}.", "reference": "Yes."} for number in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings(data: Path, **knobs: Any) -> Sample:
    knobs = {"max_rouge_l": 0.6, "seed": 3} | knobs
    return Sample.model_validate({"kind": "sample", "engine": {"kind": "scripted"}, "data": str(data), **knobs})


@pytest.fixture
def sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Ranking], Summary]]:
    """Run the stage with an engine in a folder of its own (or a given one); returns its rows and its summary."""

    def call(engine: Engine, knobs: Sample, folder: str = "stage") -> tuple[list[Ranking], Summary]:
        monkeypatch.setattr(calls, "open_engine", lambda settings, trust_remote_code: engine)
        context = StageContext(tmp_path / folder, tmp_path / f"{folder}.sqlite")
        summary = run(knobs, context)
        return read_rows(context.folder / "responses.jsonl", Ranking), summary

    return call


Sampled = Callable[..., tuple[list[Ranking], Summary]]


def function(answer: Callable[[Request], Completion | str] = chatter, batch_size: int = 4) -> ScriptedEngine:
    return ScriptedEngine.from_function(answer, batch_size=batch_size)


def test_rows_are_instructions_with_n_responses_and_no_ranks(data: Path, sampled: Sampled) -> None:
    rows, summary = sampled(function(), settings(data, num_responses=3, max_rouge_l=None))
    assert [row.id for row in rows] == [f"r/{number}" for number in range(12)]
    assert (summary.requested, summary.ok, summary.failed) == (36, 36, 0)
    assert rows[0].reference == "Yes."
    assert summary.details["attempts"] == {"1": 36}, "without a threshold nothing is drawn again"
    assert "too_similar_share" not in summary.details
    for row in rows:
        assert len(row.responses) == 3
        assert {(response.rank, response.model, response.num_tokens) for response in row.responses} == {
            (None, "chatter", 4)
        }


def test_pairs_stay_below_the_threshold_or_three_draws_were_made(data: Path, sampled: Sampled) -> None:
    rows, summary = sampled(function(), settings(data))
    similar = 0
    for row in rows:
        for index, response in enumerate(row.responses):
            others = [other.text for place, other in enumerate(row.responses) if place != index]
            assert response.max_rouge_l == max(rouge_l(response.text, other) for other in others)
            similar += response.max_rouge_l >= 0.6
            above = [rouge_l(response.text, other.text) for other in row.responses[:index]]
            assert max(above, default=0.0) < 0.6 or response.attempts == 3
    assert summary.details["too_similar_share"] == pytest.approx(similar / 48, abs=1e-4)
    assert set(summary.details["attempts"]) == {"1", "2", "3"}
    assert sum(summary.details["attempts"].values()) == 48


def test_every_redraw_raises_the_temperature_and_has_its_own_seed(data: Path, sampled: Sampled) -> None:
    asked: dict[str, Request] = {}

    def stubborn(request: Request) -> str:
        asked[request.key] = request
        return "always the same"

    rows, summary = sampled(function(stubborn), settings(data, num_responses=2))
    assert [asked[f"r/0/1/{attempt}"].temperature for attempt in (1, 2, 3)] == [1.0, 1.1, 1.2]
    assert [asked[f"r/0/1/{attempt}"].seed for attempt in (1, 2, 3)] == [
        draw_seed(3, "r/0", 1, attempt) for attempt in (1, 2, 3)
    ]
    assert "r/0/0/2" not in asked
    assert "r/0/1/4" not in asked
    second = rows[0].responses[1]
    assert (second.attempts, second.temperature, second.seed) == (3, 1.0, draw_seed(3, "r/0", 1, 1))
    assert second.max_rouge_l == 1.0
    assert summary.details["attempts"] == {"1": 12, "3": 12}
    texts = {"1": "first words", "2": "second thing", "3": "?"}
    rows, _ = sampled(function(lambda request: texts[request.key[-1]]), settings(data, num_responses=2), "other")
    second = rows[4].responses[1]
    assert (second.text, second.attempts, second.temperature) == ("second thing", 2, 1.1)
    assert second.seed == draw_seed(3, "r/4", 1, 2)


def test_seeds_are_of_63_bits_and_differ_in_everything() -> None:
    seeds = {draw_seed(a, b, c, d) for a in (0, 1) for b in ("x", "x/1") for c in range(4) for d in (1, 2, 3)}
    assert len(seeds) == 48
    assert all(0 <= seed < 2**63 for seed in seeds)
    by_hand = hashlib.sha256(b'[0,"x",0,1]').digest()[:8]
    assert draw_seed(0, "x", 0, 1) == int.from_bytes(by_hand) >> 1


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_the_size_of_batches_does_not_matter(batch_size: int, data: Path, sampled: Sampled) -> None:
    plain, _ = sampled(function(), settings(data))
    assert sampled(function(batch_size=batch_size), settings(data), "other")[0] == plain


def test_the_order_of_the_rows_does_not_matter(data: Path, sampled: Sampled) -> None:
    plain, _ = sampled(function(), settings(data, demonstrations=2))
    lines = data.read_text(encoding="utf-8").splitlines(keepends=True)
    data.write_text("".join(lines[::-1]), encoding="utf-8")
    assert sampled(function(), settings(data, demonstrations=2), "other")[0] == plain[::-1]


@pytest.mark.parametrize("answered", [1, 20, 47, 49, 55])
def test_a_stage_that_was_stopped_goes_on_to_the_same_result(
    answered: int, data: Path, sampled: Sampled, tmp_path: Path
) -> None:
    whole, whole_summary = sampled(function(), settings(data))
    asked: list[str] = []

    def stops(request: Request) -> Completion:
        if len(asked) == answered:
            raise KeyboardInterrupt
        asked.append(request.key)
        return chatter(request)

    with pytest.raises(KeyboardInterrupt):
        sampled(function(stops, batch_size=1), settings(data), "other")
    assert not (tmp_path / "other" / "responses.jsonl").exists()
    before, again = list(asked), []

    def goes_on(request: Request) -> Completion:
        again.append(request.key)
        return chatter(request)

    assert sampled(function(goes_on, batch_size=1), settings(data), "other") == (whole, whole_summary)
    assert not set(before) & set(again)
    assert (tmp_path / "other" / "responses.jsonl").read_bytes() == (
        tmp_path / "stage" / "responses.jsonl"
    ).read_bytes()


def test_a_failed_draw_is_a_row_with_a_reason_and_a_blank_one_is_counted(data: Path, sampled: Sampled) -> None:
    def moody(request: Request) -> Completion:
        assert request.logprobs
        row, slot, _ = request.key.rsplit("/", 2)
        if row == "r/1" and slot == "0":
            return Completion(key=request.key, failure="timed out")
        if row == "r/2" and slot == "1":
            return Completion(key=request.key, text=" \n", num_tokens=2, token_logprobs=[-1.0, -2.0])
        if row == "r/3":
            return Completion(key=request.key, text="fine", token_logprobs=[float("nan")])
        return chatter(request)

    rows, summary = sampled(function(moody), settings(data, num_responses=2, logprobs=True))
    assert (summary.requested, summary.ok, summary.failed) == (24, 21, 3)
    by_id = {row.id: row.responses for row in rows}
    assert [response.failure for response in by_id["r/1"]] == ["timed out", None]
    assert by_id["r/1"][0].text == ""
    assert by_id["r/1"][1].max_rouge_l is None
    assert summary.details["blank"] == 1
    assert (by_id["r/2"][1].failure, by_id["r/2"][1].max_rouge_l) == (None, None)
    assert (by_id["r/2"][1].num_tokens, by_id["r/2"][1].logprob) == (2, -3.0)
    assert by_id["r/2"][1].token_logprobs == [-1.0, -2.0]
    assert {response.failure for response in by_id["r/3"]} == {"log-probabilities that are not finite"}
    assert by_id["r/3"][0].token_logprobs is None


def test_failures_are_asked_for_again_by_the_next_run(data: Path, sampled: Sampled) -> None:
    down = {"r/5/0/1", "r/7/3/1"}

    def flaky(request: Request) -> Completion:
        return Completion(key=request.key, failure="HTTP 503") if request.key in down else chatter(request)

    _, first = sampled(function(flaky), settings(data))
    assert first.failed == 2
    down.clear()
    rows, second = sampled(function(flaky), settings(data))
    assert second.failed == 0
    assert rows == sampled(function(), settings(data), "other")[0]


def test_an_engine_without_log_probabilities_is_refused_before_it_is_asked(data: Path, sampled: Sampled) -> None:
    asked: list[Request] = []

    def note(request: Request) -> str:
        asked.append(request)
        return "x"

    engine = ScriptedEngine.from_function(note, "mute", capabilities=Capabilities())
    with pytest.raises(EngineError, match=r"mute: .*log-probabilities"):
        sampled(engine, settings(data, logprobs=True))
    assert not asked


def test_worked_examples_stand_before_the_instruction(data: Path, sampled: Sampled) -> None:
    seen: list[list[str]] = []

    def look(request: Request) -> str:
        seen.append([message.role for message in request.messages])
        assert request.messages[-1].content not in [message.content for message in request.messages[:-1]]
        return "x"

    sampled(function(look), settings(data, demonstrations=2, num_responses=1))
    assert seen == [["user", "assistant", "user", "assistant", "user"]] * 12


@pytest.mark.parametrize(("tokenizer", "attempts"), [("rouge", {"1": 24}), ("unicode", {"1": 12, "3": 12})])
def test_scripts_that_rouge_cannot_read_need_the_unicode_tokenizer(
    tokenizer: str, attempts: dict[str, int], data: Path, sampled: Sampled, capsys: pytest.CaptureFixture[str]
) -> None:
    knobs = settings(data, num_responses=2, rouge_tokenizer=tokenizer)
    _, summary = sampled(function(lambda request: "今天天气很好"), knobs)
    assert summary.details["attempts"] == attempts
    assert ("rouge_tokenizer: unicode" in capsys.readouterr().err) == (tokenizer == "rouge")


def test_thoughts_are_kept_beside_the_response_and_counted(data: Path, sampled: Sampled) -> None:
    def thinks(request: Request) -> Completion:
        return chatter(request).model_copy(update={"reasoning": "Hm."} if request.key.startswith("r/1/") else {})

    rows, summary = sampled(function(thinks), settings(data))
    assert summary.details["with_reasoning"] == 4
    assert {response.reasoning for response in rows[1].responses} == {"Hm."}
    assert rows[0].responses[0].reasoning is None
