"""Judges on pairs with labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunalm.calls.context import Calls
from tunalm.cli.app import app
from tunalm.engines.base import Engine, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import EXIT_FAILED_ROWS, DataError, RecipeError
from tunalm.evaluation.judge_check.check import check_judge
from tunalm.evaluation.judge_check.figures import JudgedPair, figures
from tunalm.evaluation.judge_check.pairs import Choice, KnownPair, load_pairs
from tunalm.recipe import ScriptedSettings
from tunalm.records import Instruction


def pair(label: Choice = "first", first: str = "short", second: str = "rather long", subset: str = "") -> KnownPair:
    return KnownPair(Instruction(id=f"{subset}/{first}/{second}", instruction="?"), subset, first, second, label)


def rows(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


LLMBAR = {"subset": "natural", "index": 4, "input": "?", "output_1": "a", "output_2": "b", "label": 2}
FAIREVAL = {
    "question_id": 5,
    "question": "?",
    "category": "math",
    "answers": {"gpt35": "a", "vicuna-13b": "b", "alpaca-13b": "c"},
    "human_gpt35_vs_vicuna13b": "TIE",
}


def test_both_sets_and_own_rows_are_read(tmp_path: Path) -> None:
    own = {"input": "?", "output_1": "a", "output_2": "b", "label": "tie"}
    found = load_pairs(rows(tmp_path / "pairs.jsonl", LLMBAR, FAIREVAL, own))
    assert [(each.question.id, each.subset, each.label) for each in found] == [
        ("natural/4", "natural", "second"),
        ("5", "", "tie"),
        ("/2", "", "tie"),
    ]
    assert (found[1].first, found[1].second, found[1].question.task) == ("a", "b", "math")


def test_a_clone_of_llmbar_names_its_subsets(tmp_path: Path) -> None:
    for subset in ("Natural", "Adversarial/Manual"):
        (tmp_path / subset).mkdir(parents=True)
        row = {"input": "?", "output_1": "a", "output_2": "b", "label": 1}
        (tmp_path / subset / "dataset.json").write_text(json.dumps([row]), encoding="utf-8")
    assert [each.subset for each in load_pairs(tmp_path)] == ["Adversarial/Manual", "Natural"]


@pytest.mark.parametrize("change", [{"label": 3}, {"label": None}, {"output_2": None}, {"label": [1]}])
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"pairs\.jsonl:1"):
        load_pairs(rows(tmp_path / "pairs.jsonl", {**LLMBAR, **change}))


def test_an_id_stands_for_one_pair_and_a_folder_has_some(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no dataset\.json"):
        load_pairs(tmp_path)
    with pytest.raises(DataError, match=r"pairs\.jsonl:2: found id natural/4 a second time"):
        load_pairs(rows(tmp_path / "pairs.jsonl", LLMBAR, LLMBAR))


def of(*judged: tuple[Choice, Choice | None, Choice | None]) -> dict[str, Any]:
    """Figures of a judge by label, verdict and verdict in the other order; the second answer is the longer one."""
    return figures([JudgedPair(pair(label), (given, swapped)) for label, given, swapped in judged], 200, 0)


def test_a_judge_that_is_always_right() -> None:
    found = of(("first", "first", "first"), ("second", "second", "second"))
    wanted = ("accuracy", "accuracy_given", "accuracy_swapped", "both_correct", "positional_agreement")
    assert {found[name] for name in wanted} == {100.0}
    assert (found["kappa_orders"], found["kappa_label"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("judged", "known"),
    [
        (
            [("first", "first", "second"), ("second", "first", "second")],
            {"accuracy": 50.0, "both_correct": 0.0, "positional_agreement": 0.0, "kappa_label": 0.0},
        ),
        (
            [*[("first", "second", "second")] * 3, ("second", "second", "second")],
            {"prefers_longer": 100.0, "label_longer": 25.0, "accuracy": 25.0},
        ),
        (
            [("first", "first", None), ("first", "tie", "first")],
            {"accuracy": 50.0, "unparsed": 1, "ties": 1, "positional_agreement": 0.0},
        ),
    ],
    ids=["looks at places alone", "looks at length alone", "cannot always be read"],
)
def test_a_judge_with_a_habit(
    judged: list[tuple[Choice, Choice | None, Choice | None]], known: dict[str, float]
) -> None:
    found = of(*judged)
    assert {name: found[name] for name in known} == known


def test_equal_lengths_say_nothing_of_length() -> None:
    assert figures([JudgedPair(pair(first="aa", second="bb"), ("first", "first"))], 200, 0)["prefers_longer"] is None


Scripted = Callable[[Callable[[Request], str]], list[Request]]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    def install(reply: Callable[[Request], str]) -> list[Request]:
        asked: list[Request] = []

        def answer(request: Request) -> str:
            asked.append(request)
            return reply(request)

        def open_engine(settings: Any, *, trust_remote_code: bool = False) -> Engine:
            return ScriptedEngine.from_function(answer, "judge")

        monkeypatch.setattr("tunalm.calls.context.open_engine", open_engine)
        return asked

    return install


def context(tmp_path: Path) -> Calls:
    return Calls(tmp_path / "ledger.sqlite")


def finds_gold(request: Request) -> str:
    prompt = request.messages[-1].content
    return "[[A]]" if prompt.index("gold") < prompt.index("begin response B") else "[[B]]"


def test_verdicts_are_mapped_back_from_both_orders_and_nobody_is_asked_twice(tmp_path: Path, judge: Scripted) -> None:
    asked = judge(finds_gold)
    pairs = [pair("first", "gold", "brass", "one"), pair("second", "brass", "gold", "two")]
    for _ in range(2):
        results, lines = check_judge(pairs, ScriptedSettings(), context(tmp_path), samples=200)
    assert results["group_subtasks"] == {"judge": ["judge_one", "judge_two"]}
    assert [results["results"][name]["accuracy"] for name in ("judge", "judge_one", "judge_two")] == [100.0] * 3
    assert [line["label"] for line in lines] == ["first", "second"]
    assert len(asked) == 4


def test_llmbar_stands_apart_from_what_it_took_from_elsewhere(tmp_path: Path, judge: Scripted) -> None:
    judge(finds_gold)
    pairs = [pair("first", "gold", "brass", name) for name in ("natural", "LLMBar/Adversarial/Manual")]
    wrong = pair("second", "gold", "brass", "mtbench")
    found = check_judge([*pairs, wrong], ScriptedSettings(), context(tmp_path), samples=200)[0]["results"]
    assert list(found) == ["judge", "judge_llmbar", "judge_natural", "judge_LLMBar/Adversarial/Manual", "judge_mtbench"]
    assert (found["judge_llmbar"]["pairs"], found["judge_llmbar"]["accuracy"]) == (2, 100.0)
    assert found["judge"]["accuracy"] == pytest.approx(66.6667)
    alone = check_judge(pairs, ScriptedSettings(), context(tmp_path), samples=200)[0]["results"]
    assert "judge_llmbar" not in alone


def test_ties_are_offered_only_where_labels_have_some(tmp_path: Path, judge: Scripted) -> None:
    asked = judge(finds_gold)
    check_judge([pair("first", "gold", "brass")], ScriptedSettings(), context(tmp_path), samples=200)
    check_judge([pair("tie", "gold", "tin")], ScriptedSettings(), context(tmp_path), samples=200)
    assert ["[[C]]" in request.messages[-1].content for request in asked] == [False, False, True, True]


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("model", r"command line: found 'model'; expected key=value\. For instance --judge base_url="),
        ("kind=scrited", r"command line: --judge: .*'scrited'.* Did you mean 'scripted'\?"),
        ("modle=x", r"command line: modle: .*unknown key 'modle'"),
    ],
)
def test_a_wrong_setting_of_the_judge_is_named_as_it_was_given(tmp_path: Path, setting: str, line: str) -> None:
    data = rows(tmp_path / "pairs.jsonl", LLMBAR)
    arguments = ["--data", str(data), "--judge", setting, "--output", "r.json", "--rows", "rows.jsonl"]
    with pytest.raises(RecipeError, match=line):
        CliRunner().invoke(app, ["evaluate-judge", *arguments], catch_exceptions=False, standalone_mode=False)


def test_the_command(tmp_path: Path, judge: Scripted) -> None:
    judge(lambda request: "[[A]]" if request.key.endswith("/0") else "I cannot say.")
    data = rows(tmp_path / "pairs.jsonl", LLMBAR, {**LLMBAR, "index": 5, "label": 1})
    files = ["--output", str(tmp_path / "r.json"), "--rows", str(tmp_path / "rows.jsonl")]
    done = CliRunner().invoke(
        app, ["evaluate-judge", "--data", str(data), "--judge", "kind=scripted", *files], catch_exceptions=False
    )
    assert done.exit_code == EXIT_FAILED_ROWS
    assert "2 of 2 without a verdict" in done.output
    assert "  judge_natural: accuracy 25.00, both_correct 0.00, positional_agreement 0.00" in done.output
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["results"]["judge"]
    assert (found["accuracy_given"], found["accuracy_swapped"], found["unparsed"]) == (50.0, 0.0, 2)
