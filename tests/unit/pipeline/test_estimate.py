"""What a plan says before anything is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from tunalm.calls.asking import complete
from tunalm.calls.prices import Price, Prices
from tunalm.data import load
from tunalm.engines.base import Completion, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning import estimate
from tunalm.pipeline.planning.counting import Known, count
from tunalm.pipeline.planning.figures import Amount, RecipePlan, StageEstimate
from tunalm.pipeline.planning.stages import REDRAWN
from tunalm.pipeline.planning.table import print_estimate
from tunalm.pipeline.planning.tokens import TEMPLATE_TOKENS, TokenCounter, by_pieces, counter_of
from tunalm.pipeline.resolving import resolve
from tunalm.recipe import EndpointSettings, Sample
from tunalm.recipe.loading import build_recipe
from tunalm.records import Message, Ranking, Response
from tunalm.sampling import requests as first_requests
from tunalm.store import Summary, write_rows
from tunalm.training.needs import LOGITS

ROWS = 5
TEXT = " ".join(["word"] * 10)  # ten tokens
PROMPT = TEMPLATE_TOKENS + 10
ENDPOINT = {"base_url": "https://api.example.com/v1", "model": "large"}
PRICES = Prices((Price(host="api.example.com", model="large", prompt=1, completion=3),))

Plan = Callable[..., dict[str, StageEstimate]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"id": str(n), "instruction": TEXT, "output": TEXT} for n in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def planned(tmp_path: Path, stages: dict[str, Any], prices: Prices = PRICES) -> RecipePlan:
    recipe = build_recipe({"name": "small", "stages": stages})
    run = RunFolder(tmp_path / "run")
    return estimate(recipe, resolve(recipe, run), run, prices)


def lines(estimated: RecipePlan) -> dict[str, StageEstimate]:
    return {stage.stage: stage for stage in estimated.stages}


def test_calls_and_tokens_of_a_whole_line(tmp_path: Path, data: Path) -> None:
    stages = {
        "sft": {"kind": "sft", "model": "owner/name", "data": str(data), "epochs": 2},
        "own": {"kind": "sample", "engine": "sft", "data": str(data), "num_responses": 3, "max_new_tokens": 30},
        "judged": {"kind": "rank", "by": "judge", "responses": "own", "engine": ENDPOINT, "max_new_tokens": 100},
        "tuna": {"kind": "train", "start": "sft", "rankings": "judged"},
        "scores": {
            "kind": "evaluate",
            "models": ["sft", "tuna"],
            "benchmarks": [{"name": "reference", "data": {"source": str(data), "limit": 2}}],
            "max_new_tokens": 9,
        },
    }
    found = lines(planned(tmp_path, stages))
    assert found["sft"].training is not None
    assert found["sft"].training.tokens == 2 * ROWS * (PROMPT + 11)
    (own,) = found["own"].asked
    assert own.calls == Amount(ROWS * 3, ROWS * 3)
    assert own.prompt_tokens == Amount(ROWS * 3 * PROMPT, ROWS * 3 * PROMPT)
    assert own.completion_tokens == Amount(ROWS * 3 * 11, ROWS * 3 * 30)  # as the references, and their end
    (judged,) = found["judged"].asked
    calls = ROWS * 4 + 1  # four orders, and one test of the judge
    assert judged.calls == Amount(calls, calls)
    assert judged.completion_tokens.most == calls * 100
    assert found["tuna"].training is not None
    assert found["tuna"].training.tokens == pytest.approx(ROWS * (PROMPT + 4 * 11), rel=0.1)
    assert [asking.completion_tokens for asking in found["scores"].asked] == [Amount(2 * 9, 2 * 9)] * 2
    assert {line.state for line in found.values()} == {"to run"}
    assert not (tmp_path / "run").exists()


def test_samples_given_texts_and_the_start_are_calls_of_an_evaluation(tmp_path: Path, data: Path) -> None:
    checkable = {"source": "checkable:heldout", "limit": 2}
    stages = {
        "own": {"kind": "sample", "engine": {"kind": "scripted"}, "data": str(data), "num_responses": 3},
        "judged": {"kind": "rank", "by": "judge", "responses": "own", "engine": ENDPOINT},
        "scores": {
            "kind": "evaluate",
            "models": {"one": {"kind": "scripted"}, "two": {"kind": "scripted", "replies": ["a"]}},
            "benchmarks": [
                {"name": "checkable", "data": checkable, "samples": 4},
                {"name": "lists", "rankings": {"source": "judged", "rows": ":4"}},
                {"name": "text", "data": str(data)},
                {"name": "drift", "data": checkable, "start": {"kind": "scripted", "replies": ["b"]}, "samples": 2},
            ],
        },
    }
    one, two, *again = lines(planned(tmp_path, stages))["scores"].asked
    asked = 2 * (1 + 4) + 4 * 3 + ROWS + 2 * 2
    assert one.requested == two.requested == asked
    assert [each.requested for each in again] == [4, 4, 8], "both models score their samples, and the start all of them"


def sampling(data: Path, **knobs: Any) -> dict[str, Any]:
    return {"teacher": {"kind": "sample", "engine": ENDPOINT, "data": str(data), "max_new_tokens": 50, **knobs}}


def test_a_price_that_is_not_known_is_unknown_and_not_nothing(tmp_path: Path, data: Path) -> None:
    stages = sampling(data) | {"free": {"kind": "sample", "engine": {"kind": "scripted"}, "data": str(data)}}
    in_process = Prices((Price(host="in-process", model="*", prompt=0, completion=0),))
    estimated = planned(tmp_path, stages, in_process)
    assert lines(estimated)["teacher"].asked[0].cost is None
    assert "no price for endpoint https://api.example.com/v1 large" in lines(estimated)["teacher"].notes
    assert lines(estimated)["free"].asked[0].cost == Amount(0, 0)
    assert estimated.total.cost is None


def test_responses_that_are_asked_for_together_share_a_call_and_a_prompt(tmp_path: Path, data: Path) -> None:
    (teacher,) = lines(planned(tmp_path, sampling(data, engine=ENDPOINT | {"max_n": 3})))["teacher"].asked
    # Rows of one text are one prompt, as for the engine itself.
    assert teacher.calls == Amount(7, 7)
    assert teacher.prompt_tokens.expected == 7 * PROMPT
    assert teacher.completion_tokens.expected == ROWS * 4 * 11


def test_draws_made_again_are_an_assumption_that_is_stated(tmp_path: Path, data: Path) -> None:
    found = lines(planned(tmp_path, sampling(data, max_rouge_l=0.8, max_attempts=3)))["teacher"]
    assert found.asked[0].calls.expected == pytest.approx(ROWS * 4 + ROWS * 3 * REDRAWN)
    assert found.asked[0].calls.most == ROWS * 4 + ROWS * 3 * 2
    assert "an assumption" in found.notes[0]


def judging(lists: Path | str) -> dict[str, Any]:
    knobs = {"num_orders": 1, "canaries": 0}
    return {"kind": "rank", "by": "judge", "responses": str(lists), "engine": ENDPOINT, **knobs}


def words(first: str, count: int) -> str:
    """So many different words, each a token."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join(first + letters[number % 26] + letters[number // 26 % 26] for number in range(count))


@pytest.mark.parametrize(("protocol", "calls"), [("audited", 6), ("paper", 1)])
def test_every_order_of_a_list_is_a_call(tmp_path: Path, protocol: str, calls: int) -> None:
    row = Ranking(id="a", instruction=TEXT, responses=[Response(text=text) for text in ("one", "two", "three")])
    write_rows(tmp_path / "lists.jsonl", [row])
    stage = judging(tmp_path / "lists.jsonl") | {"protocol": protocol, "num_orders": 8}
    (asked,) = lines(planned(tmp_path, {"judged": stage}))["judged"].asked
    assert asked.calls == Amount(calls, calls), "three responses have six orders"


def test_lists_that_a_judge_cannot_compare_are_not_sent(tmp_path: Path) -> None:
    row = Ranking(id="a", instruction=TEXT, responses=[Response(text="one"), Response(text="", failure="no")])
    write_rows(tmp_path / "lists.jsonl", [row])
    stages = {"judged": judging(tmp_path / "lists.jsonl")}
    estimated = planned(tmp_path, stages)
    assert estimated.total.calls == Amount(0, 0)
    assert estimated.total.cost == Amount(0, 0)


def test_the_judge_of_a_comparison_is_asked_in_both_orders(tmp_path: Path, data: Path) -> None:
    benchmark = {"name": "pairwise", "data": str(data), "judge": ENDPOINT, "max_review_tokens": 70}
    models = {name: {"kind": "scripted", "replies": [name]} for name in ("a", "b", "c")}
    stages = {"scores": {"kind": "evaluate", "models": models, "benchmarks": [benchmark]}}
    *answers, reviews = lines(planned(tmp_path, stages))["scores"].asked
    assert [asking.calls.expected for asking in answers] == [ROWS] * 3
    assert reviews.calls == Amount(2 * 2 * ROWS, 2 * 2 * ROWS)
    assert reviews.completion_tokens == Amount(2 * 2 * ROWS * 70, 2 * 2 * ROWS * 70)
    assert reviews.prompt_tokens.expected > 2 * 2 * ROWS * (3 * 10 + 50)
    assert (reviews.cost is None, answers[0].cost is None) == (False, True)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("One two.", 3),
        ("incomprehensible", 2),
        ("in 1987", 5),
        ("a\n\nb", 3),
        ("\u6771\u4eac", 4),
        ("\ud800", 2),
    ],
)
def test_tokens_are_estimated_from_words_and_signs(text: str, tokens: int) -> None:
    assert by_pieces(text) == tokens


# What the ledger knows


def answer(tmp_path: Path, stages: dict[str, Any], count: int, text: str, prompt_tokens: int, tokens: int) -> None:
    """File answers to the first requests of the stage `teacher`."""
    settings = build_recipe({"name": "small", "stages": stages}).stages["teacher"]
    assert isinstance(settings, Sample)
    requests = first_requests(settings, load(settings.data))[:count]
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "num_tokens": tokens}
    engine = ScriptedEngine.from_function(
        lambda request: Completion(key=request.key, text=f"{text} {request.key}", **counts),
        settings.engine.identity(),
    )
    (tmp_path / "run").mkdir(exist_ok=True)
    complete(engine, requests, tmp_path / "run" / "ledger.sqlite", "answering")


def test_what_is_answered_is_free_and_tells_how_the_server_counts(tmp_path: Path, data: Path) -> None:
    stages = sampling(data)
    answer(tmp_path, stages, 8, "words", prompt_tokens=2 * PROMPT, tokens=20)
    (teacher,) = lines(planned(tmp_path, stages))["teacher"].asked
    assert (teacher.requested, teacher.answered) == (ROWS * 4, 8)
    assert teacher.calls == Amount(ROWS * 4 - 8, ROWS * 4 - 8)
    assert teacher.prompt_tokens.expected == pytest.approx((ROWS * 4 - 8) * 2 * PROMPT)
    assert teacher.completion_tokens.expected == pytest.approx((ROWS * 4 - 8) * 20)


def test_a_finished_stage_takes_nothing_and_its_rows_are_counted(tmp_path: Path, data: Path) -> None:
    stages = sampling(data, num_responses=2) | {"judged": judging("teacher")}
    before = lines(planned(tmp_path, stages))["judged"].asked[0].prompt_tokens.expected
    recipe = build_recipe({"name": "small", "stages": stages})
    run = RunFolder(tmp_path / "run")
    step = resolve(recipe, run)[0]
    folder = run.open_stage("teacher", step.fingerprint)
    texts = [words("a", 110), words("b", 110)]
    rows = [Ranking(id=str(n), instruction=TEXT, responses=[Response(text=t) for t in texts]) for n in range(ROWS)]
    write_rows(folder / "responses.jsonl", rows)
    run.close_stage("teacher", step.fingerprint, "sample", Summary(2 * ROWS, 2 * ROWS), 1.0)
    found = lines(planned(tmp_path, stages))
    assert (found["teacher"].state, found["teacher"].asked) == ("done", ())
    assert found["judged"].asked[0].prompt_tokens.expected - before == pytest.approx(ROWS * 2 * 99, abs=8 * ROWS)


# Models on this machine

CONFIG = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 16, "vocab_size": 10}
SHAPES = {"model.embed_tokens.weight": (10, 8), "layer.up_proj.weight": (16, 8), "layer.norm.weight": (8,)}
PARAMETERS = 80 + 128 + 8


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Files of a model whose tokens are words, and whose template adds five tokens, then two per turn."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    save_file({name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}, folder / "model.safetensors")
    tokenizer = Tokenizer(models.WordLevel({"word": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    turns = "{% for message in messages %}<{{ message.role }}> {{ message.content }} </> {% endfor %}"
    template = f"{{{{ bos_token }}}} be kind {turns}"
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>"}', encoding="utf-8")
    return folder


def training(model: Path, data: Path, **knobs: Any) -> dict[str, Any]:
    return {"sft": {"kind": "sft", "model": str(model), "data": str(data), "epochs": 1, "token_budget": 100, **knobs}}


def test_tokens_are_counted_by_the_models_own_tokenizer_and_template(model: Path) -> None:
    counter = counter_of(str(model))
    turns = [Message(role="user", content="one two"), Message(role="assistant", content="three")]
    assert counter.text("one two three") == 3
    assert counter.chat(turns[:1]) == 5 + 2
    assert counter.chat([*turns, turns[0]]) == 5 + 2 * 2 + 5
    assert counter.alpaca(turns[:1]) > 20


def test_a_broken_template_or_tokenizer_is_estimated(model: Path) -> None:
    other = model.rename(model.with_name("other"))
    (other / "chat_template.jinja").write_text("{{ no.such.thing }}", encoding="utf-8")
    assert counter_of(str(other)).opening == TEMPLATE_TOKENS
    broken = other.rename(other.with_name("broken"))
    (broken / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert counter_of(str(broken)).text("what is this?") == 4


@pytest.mark.parametrize(
    ("knobs", "memory"),
    [
        ({}, 16 * PARAMETERS + 100 * 2 * 4 * 144),
        ({"lora_rank": 2}, 4 * PARAMETERS + 16 * 2 * (16 + 8) + 100 * 2 * 4 * 144),
        ({"gradient_checkpointing": True}, 16 * PARAMETERS + 100 * 4 * (2 * 8 + 144)),
        ({"precision": "bf16"}, 18 * PARAMETERS + 100 * 2 * 4 * 144),
    ],
    ids=["all weights", "adapters", "checkpointing", "bf16"],
)
def test_training_memory_and_disk_follow_from_the_weights(
    tmp_path: Path, model: Path, data: Path, knobs: dict[str, Any], memory: int
) -> None:
    needs = lines(planned(tmp_path, training(model, data, **knobs)))["sft"].training
    assert needs is not None
    assert needs.tokens == ROWS * (5 + 10 + 11)
    assert needs.memory == memory + LOGITS
    if not knobs:
        assert needs.operations == 6 * PARAMETERS * needs.tokens
        assert needs.disk == 3 * 12 * PARAMETERS


def test_tokens_stop_at_the_longest_length_and_the_last_step(tmp_path: Path, model: Path, data: Path) -> None:
    data.write_text(json.dumps({"instruction": "word", "output": "word " * 50}) + "\n", encoding="utf-8")
    cut = lines(planned(tmp_path, training(model, data, max_length=16)))["sft"].training
    assert cut is not None
    assert cut.tokens == 16
    stopped = lines(planned(tmp_path, training(model, data, max_steps=1, batch_size=1, epochs=3)))["sft"].training
    assert stopped is not None
    assert stopped.tokens == 6 + 51


def test_a_model_that_is_not_here_has_no_known_size(tmp_path: Path, data: Path) -> None:
    found = lines(planned(tmp_path, training(Path("owner/name"), data)))["sft"]
    assert found.training is not None
    assert (found.training.memory, found.disk) == (None, None)
    assert found.notes == ("the files of owner/name are not on this machine: memory and disk not known",)


# What is printed


def test_the_printed_plan_holds_every_number(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    stages = sampling(data, max_rouge_l=0.8) | training(model, data)
    answer(tmp_path, stages, 4, "words", prompt_tokens=PROMPT, tokens=20)
    print_estimate(planned(tmp_path, stages), "small", 0.001)
    shown = capsys.readouterr().out
    for part in (
        "teacher",
        "to run",
        "17 / 46",
        "130 ",
        "0.3 GiB",
        "teacher: 4 of 20 are answered already",
        "max_cost: $0.0010",
    ):
        assert part in shown


def test_cached_tokens_and_thoughts_are_foreseen_as_in_the_answers_that_are_there() -> None:
    engine = EndpointSettings(**ENDPOINT)
    asked = [Request(key=str(n), messages=[Message(role="user", content=TEXT)], max_new_tokens=50) for n in range(4)]
    told = {"prompt_tokens": 100, "cached_tokens": 60, "completion_tokens": 40, "reasoning_tokens": 10}
    known = Known(engine, engine.identity(), TokenCounter(), {"0": Completion(key="0", text=TEXT, **told)})
    dear = Price(host="api.example.com", model="large", prompt=1, completion=3, cached_prompt=0.1, reasoning=5)
    found = count(known, asked, [40.0] * 4, Prices((dear,)))
    prompts, written = found.prompt_tokens.expected, found.completion_tokens.expected
    assert (found.cached_tokens, found.reasoning_tokens) == pytest.approx((0.6 * prompts, 0.25 * written))
    assert found.cost is not None
    assert found.cost.expected == pytest.approx(prompts * (0.4 + 0.06) / 1e6 + written * (0.75 * 3 + 0.25 * 5) / 1e6)
    assert found.cost.most >= found.completion_tokens.most * 5 / 1e6
