"""The stage `instruct`: what it asks, what it writes, and what its result must not depend on."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any

import pytest

import tunalm
from tunalm.calls import context as calls
from tunalm.calls.prices import Prices
from tunalm.data import load
from tunalm.engines.base import Completion, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import DataError, EngineError, RecipeError
from tunalm.instructing import requests
from tunalm.instructing.records import Rejected
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning import estimate
from tunalm.pipeline.resolving import resolve
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import Data, Instruct
from tunalm.recipe.loading import build_recipe
from tunalm.records import Instruction, Ranking, StageState
from tunalm.store import read_rows

WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ama", "ebo", "iru", "oke", "uni")]


FAILING = {"write/0/3", "write/1/0"}


def seed(number: int, yes: bool) -> dict[str, Any]:
    text = f"{'Classify' if yes else 'Describe'} item {number} by its {WORDS[number]}."
    instance = {"input": f"given {number}", "output": "small" if yes else f"made {number}"}
    return {"id": f"seed/{number}", "instruction": text, "instances": [instance], "is_classification": yes}


SEEDS = [seed(number, number % 2 == 0) for number in range(12)]


def writer(request: Request) -> Completion | str:
    """New tasks of random words, some of them unusable, classes by chance, and examples in the form of each class."""
    text, dice = request.messages[-1].text, Random(request.key)
    step = request.key.partition("/")[0]
    if step == "classify":
        return Random(text.split("Task: ")[-1]).choice(["Yes", "No", "No", "Maybe"])
    if step == "examples":
        labels = "Class label:" in text
        return "Class label: a\nInput: x y\nClass label: b\nInput: z" if labels else "Example 1\nInput: q\nOutput: r s"
    if request.key in FAILING:
        return Completion(key=request.key, failure="http-500: down")
    tasks = [" ".join(dice.choices(WORDS[:30], k=4)) for _ in range(4)]
    tasks += ["Draw it for me now.", f"Sort {tasks[0]}"]
    return "\n".join(f"{number}. {task}" for number, task in enumerate(tasks, 9))


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    path = tmp_path / "seed_tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SEEDS), encoding="utf-8")
    return path


Ran = Callable[..., StageState]


@pytest.fixture
def ran(tmp_path: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Run a recipe with the stage `new` (and others); what was asked is in `asked`."""

    def call(folder: str = "run", answer: Any = writer, stages: Any = None, **knobs: Any) -> StageState:
        engine = ScriptedEngine.from_function(answer, batch_size=2)
        monkeypatch.setattr(calls, "open_engine", lambda settings, trust_remote_code: engine)
        new = {"kind": "instruct", "engine": {"kind": "scripted"}, "seeds": str(seeds), "num_instructions": 20, **knobs}
        recipe = build_recipe({"name": "small", "stages": {"new": new, **(stages or {})}})
        return run_recipe(recipe, tmp_path / folder)["new"]

    return call


def rows(tmp_path: Path, folder: str = "run") -> list[Instruction]:
    return read_rows(tmp_path / folder / "new" / "instructions.jsonl", Instruction)


def test_replies_become_rows_and_everything_left_out_has_a_reason(tmp_path: Path, ran: Ran) -> None:
    state = ran(max_requests=40)
    made = rows(tmp_path)
    new = [row for row in made if row.id.startswith("new/")]
    assert len({row.instruction for row in new}) < 20 == state.details["instructions"], "some had no class"
    assert [row.id for row in made[len(new) :]] == [row["id"] for row in SEEDS]
    for row in new:
        labels = (row.model_extra or {})["is_classification"]
        assert (row.input, row.reference) in ([("x y", "a"), ("z", "b")] if labels else [("q", "r s")])
    left = read_rows(tmp_path / "run" / "new" / "rejected.jsonl", Rejected)
    assert sum(state.details["left_out"].values()) == len(left)
    assert {"write: a blocked word", "write: similar to another one", "write: http-500: down", "write: surplus"} < set(
        state.details["left_out"]
    )
    failed = [each for each in left if each.reason in state.details["failures"]]
    assert state.failed == len(failed) > 0
    assert state.requested == (state.ok or 0) + state.failed
    assert all(each.nearest and (each.rouge_l or 0) >= 0.7 for each in left if each.reason.startswith("similar"))


def test_prompts_hold_six_examples_of_people_and_two_of_the_models_own(seeds: Path, ran: Ran) -> None:
    asked: list[Request] = []

    def noting(request: Request) -> Completion | str:
        asked.append(request)
        return writer(request)

    ran(answer=noting)
    people = [row["instruction"] for row in SEEDS]
    rounds = {int(request.key.split("/")[1]): request for request in asked if request.key.startswith("write")}
    for number, request in rounds.items():
        text = request.messages[-1].text
        assert sum(each in text for each in people) == (6 if number else 8)
        assert "\n8. " in text
        assert "7 new tasks, numbered 9 to 15" in text
        assert (request.temperature, request.top_p, request.presence_penalty) == (0.7, 0.5, 2.0)
    question = next(request for request in asked if request.key == "classify/0").messages[-1].text
    assert question.count("Is it classification? Yes") == question.count("Is it classification? No") == 6


@pytest.mark.parametrize(
    "engine",
    [{"model": "x", "template": "raw"}, {"base_url": "http://localhost:1/v1", "model": "x", "protocol": "completions"}],
)
def test_a_base_model_continues_the_list(seeds: Path, engine: dict[str, Any]) -> None:
    settings = Instruct.model_validate({"engine": {"model": "x", **engine}, "seeds": str(seeds)})
    first = requests(settings, load(settings.seeds))[0]
    assert first.raw
    assert first.messages[0].content.endswith("\n9.")


def test_an_interrupted_stage_asks_the_same_and_ends_in_the_same_rows(tmp_path: Path, ran: Ran) -> None:
    everything: list[str] = []
    replies = tmp_path / "cut" / "new" / "replies.jsonl"

    def answering(most: int, asked: list[str]) -> Callable[[Request], Completion | str]:
        def answer(request: Request) -> Completion | str:
            if len(asked) == most:
                raise KeyboardInterrupt
            asked.append(request.key)
            return writer(request)

        return answer

    ran("whole", answering(-1, everything))
    done: list[str] = []
    for most in (3, 4, 9, 7, 10, -1):
        written = [] if not replies.exists() else replies.read_text(encoding="utf-8").splitlines()
        if written:
            with open(replies, "ab") as file:
                file.write('{"key": "write/9/9", "text": "torn \u00fc'.encode()[:-1])
        asked: list[str] = []
        with nullcontext() if most < 0 else pytest.raises(KeyboardInterrupt):
            ran("cut", answering(most, asked))
        keys = {json.loads(line)["key"] for line in written}
        assert not keys & set(asked), "rounds that were written down are not asked again, not even what failed in them"
        done += asked
    assert set(done) == set(everything)
    assert len(done) - len(everything) <= 5 * 2 + len(FAILING), "the two in flight at each interruption"
    for name in ("instructions.jsonl", "rejected.jsonl", "replies.jsonl"):
        assert (tmp_path / "cut/new" / name).read_bytes() == (tmp_path / "whole/new" / name).read_bytes()


def test_other_stages_read_what_was_written(tmp_path: Path, ran: Ran) -> None:
    sampled: dict[str, Any] = {
        "kind": "sample",
        "engine": {"kind": "scripted"},
        "data": {"source": "new", "limit": 3},
        "num_responses": 2,
    }
    more = {"kind": "instruct", "engine": {"kind": "scripted"}, "seeds": "new", "num_instructions": 25}
    ran(stages={"own": sampled, "more": more})
    made = load(Data(source=str(tmp_path / "run" / "more" / "instructions.jsonl")))
    assert {row.id.partition("/")[0] for row in made} == {"new", "new+", "seed"}
    lists = read_rows(tmp_path / "run" / "own" / "responses.jsonl", Ranking)
    assert [row.instruction for row in lists] == [row.instruction for row in rows(tmp_path)[:3]]
    with pytest.raises(RecipeError, match=r"'nev' is no earlier stage that makes instructions.*Did you mean 'new'"):
        ran(stages={"own": {**sampled, "data": "nev"}})
    with pytest.raises(RecipeError, match="the stage 'own' makes responses"):
        ran(stages={"own": sampled, "tuned": {"kind": "sft", "model": "x/y", "data": "own"}})


def test_a_plan_counts_every_step_and_the_rows_that_later_stages_read(tmp_path: Path, seeds: Path) -> None:
    new = {"kind": "instruct", "engine": {"kind": "scripted"}, "seeds": str(seeds), "num_instructions": 100}
    own = {"kind": "sample", "engine": {"kind": "scripted"}, "data": "new", "num_responses": 1}
    recipe = build_recipe({"name": "small", "stages": {"new": new, "own": own}})
    run = RunFolder(tmp_path / "run")
    plan = estimate(recipe, resolve(recipe, run), run, Prices(())).stages
    write, classify, _ = plan[0].asked
    assert [round(each.calls.expected) for each in (write, classify)] == [50, 100]
    assert round(write.calls.most) == 100
    assert round(plan[1].asked[0].calls.expected) == 157 + len(SEEDS)
    limited = build_recipe({"name": "small", "stages": {"new": new}}, limit=7).stages["new"]
    assert isinstance(limited, Instruct)
    assert (limited.num_instructions, limited.seeds.limit) == (7, None)


def test_the_stage_ends_and_says_so_when_too_little_comes(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    state = ran(
        answer=lambda request: "9. Explain the river to me." if "write" in request.key else "No", max_requests=11
    )
    assert (state.details["instructions"], state.details["left_out"]["write: repeat"]) == (1, 14), (
        "three rounds of five"
    )
    assert "1 of 20 instructions after the last round (max_requests)" in capsys.readouterr().err


def test_a_model_that_cannot_write_lists_is_stopped(ran: Ran) -> None:
    with pytest.raises(EngineError, match=r"20 of the first 20 answers failed.*no numbered list"):
        ran(answer=lambda request: "I cannot.", max_requests=500)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"instruction": "Go.", "output": "x"}, "no seed with an output and is_classification: true"),
        ({"instruction": "Go.", "is_classification": True}, "no seed with an output and is_classification: true"),
        ({"instruction": "Go.", "output": "x", "is_classification": True}, "is_classification: false"),
    ],
)
def test_seeds_that_lack_what_is_shown_are_refused_before_anything_is_asked(
    seeds: Path, ran: Ran, row: dict[str, Any], complaint: str
) -> None:
    seeds.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=complaint):
        ran(answer=lambda request: pytest.fail("it was asked"))


def test_instructions_alone_need_no_labels_and_no_outputs_from_python_too() -> None:
    replies = ["9. Explain how rivers find their way.\n10. Rank these planets by size."]
    made = tunalm.instruct(
        {"kind": "scripted", "replies": replies}, ["Say a.", "Say b."], num_instructions=2, max_instances=0
    )
    assert [(row.id, row.reference) for row in made] == [("new/0", None), ("new/1", None), ("0", None), ("1", None)]
