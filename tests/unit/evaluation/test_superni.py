"""Super-NI: reading tasks, prompts, metrics and totals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.tiny import tiny_tokenizer
from tunalm.cli.app import app
from tunalm.errors import DataError, ModelError
from tunalm.evaluation.base import open_benchmark
from tunalm.evaluation.superni.benchmark import SuperNIBenchmark
from tunalm.evaluation.superni.data import BY_EXACT_MATCH, CATEGORIES, TestTask, WorkedExample, load_tasks
from tunalm.evaluation.superni.metrics import RowScore, mean_score, score_row
from tunalm.evaluation.superni.prompts import examples, instruction, tk_instruct
from tunalm.evaluation.superni.scoring import score_file
from tunalm.recipe import BenchmarkSettings

TITLES, NLI = "task219_rocstories_title_answer_generation", "task190_snli_classification"
NO_LIMIT = 10**9
TASK = TestTask(
    name=TITLES,
    definition=" Write a title ",
    examples=(WorkedExample("A dog ran. ", "The dog"), WorkedExample("Snow fell", "Snow!")),
    instances=(),
)


def save(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def clone(folder: Path) -> Path:
    """Two task files as natural-instructions has them."""
    (folder / "tasks").mkdir(parents=True)
    example = {"input": "in", "output": "a demo", "explanation": "why"}
    for name, count in ((TITLES, 120), (NLI, 2), ("task001_of_training", 3)):
        content = {
            "Definition": ["Do it.", "Another wording."],
            "Positive Examples": [example],
            "Instances": [{"id": f"{name}-{n}", "input": f"a demo {n}", "output": ["a demo"]} for n in range(count)],
        }
        (folder / "tasks" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_there_are_119_tasks_in_12_categories_half_of_them_by_exact_match() -> None:
    assert len(CATEGORIES) == 119
    assert len(set(CATEGORIES.values())) == 12
    assert set(CATEGORIES.values()) > BY_EXACT_MATCH
    assert len(BY_EXACT_MATCH) == 6


def test_a_clone_gives_its_test_tasks_and_the_first_hundred_rows_of_each(tmp_path: Path) -> None:
    nli, titles = load_tasks(clone(tmp_path))
    assert (nli.name, titles.name) == (NLI, TITLES)
    assert (len(nli.instances), len(titles.instances)) == (2, 100)
    assert titles.definition == "Do it."
    assert titles.category == "Title Generation"


def test_a_file_of_tasks_may_lack_ids_and_examples(tmp_path: Path) -> None:
    row = {"task": NLI, "definition": "Say.", "positive_examples": None, "instances": [{"input": "x", "output": "y"}]}
    (task,) = load_tasks(save(tmp_path / "tasks.jsonl", row))
    assert task.examples == ()
    assert (task.instances[0].id, task.instances[0].references) == (f"{NLI}-0", ("y",))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"task": "task001_of_training", "definition": "", "instances": []}, "none of the 119 test tasks"),
        ({"task": NLI, "instances": []}, "KeyError: 'definition'"),
        ({"task": NLI, "definition": "d", "instances": [{"input": "x", "output": []}]}, "instance 0 has no output"),
    ],
)
def test_broken_tasks_are_named(tmp_path: Path, row: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        load_tasks(save(tmp_path / "tasks.jsonl", row))


def test_the_published_prompt() -> None:
    assert tk_instruct(TASK, " A cat ", []) == (
        "Definition: Write a title.\n\nNow complete the following example -\nInput: A cat.\nOutput: "
    )
    shown = examples(TASK, "", 2, NO_LIMIT, None)
    assert len(shown) == 2
    assert tk_instruct(TASK, "", shown) == (
        "Definition: Write a title.\n\n"
        " Positive Example 1 -\nInput: A dog ran.\n Output: The dog.\n\n"
        " Positive Example 2 -\nInput: Snow fell.\n Output: Snow!\n\n"
        "Now complete the following example -\nInput: .\nOutput: "
    )


def test_examples_are_left_out_where_there_is_no_room() -> None:
    room = len(tk_instruct(TASK, "x", examples(TASK, "x", 2, NO_LIMIT, None)))
    assert [len(examples(TASK, "x", 2, most, len)) for most in (room, room - 1, 10)] == [2, 1, 0]


def test_a_third_example_is_measured_with_a_blank_that_is_not_written() -> None:
    three = replace(TASK, examples=(*TASK.examples, WorkedExample("Rain", "Wet")))
    room = len(tk_instruct(three, "x", examples(three, "x", 3, NO_LIMIT, None)))
    assert [len(examples(three, "x", 3, most, len)) for most in (room, room + 1)] == [2, 3]


def test_without_examples_the_instruction_is_the_definition() -> None:
    assert instruction(TASK, []) == "Write a title"
    shown = instruction(TASK, examples(TASK, "A cat", 1, NO_LIMIT, None))
    assert shown == "Write a title\n\nPositive Example 1 -\nInput: A dog ran.\n Output: The dog."


@pytest.mark.parametrize(
    ("said", "references", "rouge", "exact"),
    [
        ("The  Dog!", ["the dog"], 1.0, 1.0),
        ("the cat sat", ["dogs", "the cat ran"], 2 / 3, 0.0),
        ("", ["dog"], 0.0, 0.0),
        ("...", ["?"], 0.0, 1.0),
        ("\u0434\u0430", ["\u0434\u0430"], 0.0, 1.0),
        ("a dog", ["dog"], 2 / 3, 0.0),
        ("k", ["x", "\u212a"], 1.0, 1.0),
    ],
)
def test_a_row_is_worth_its_best_reference(said: str, references: list[str], rouge: float, exact: float) -> None:
    assert score_row(said, references) == pytest.approx((rouge, exact))


@given(st.text(st.characters(max_codepoint=127)), st.text(st.sampled_from("aB.! \t\x1c\x1f\x0b\x00'")))
def test_plain_ascii_is_matched_like_any_other_text(said: str, other: str) -> None:
    """A letter of another script makes a text go the general way."""
    for one, two in ((said, other), (said, said.swapcase()), (other, f" {other}.")):
        marked = score_row(f"{one} \u0436", [f"{two} \u0436"]).exact_match
        assert score_row(f"{one} z", [f"{two} z"]).exact_match == marked


def test_means_have_four_decimals() -> None:
    assert mean_score([RowScore(1 / 3, 1.0), RowScore(0.0, 0.0), RowScore(0.0, 0.0)]) == (11.1111, 33.3333)


def row(number: int, task: str, said: str, *references: str) -> dict[str, Any]:
    return {"id": number, "task_id": task, "references": list(references), "prediction": said}


def test_totals_over_rows_tasks_and_categories(tmp_path: Path) -> None:
    predictions = save(
        tmp_path / "p.jsonl",
        row(1, TITLES, "the dog", "the dog"),
        row(2, TITLES, "x", "y"),
        row(3, TITLES, "x", "y"),
        row(1, NLI, "Yes", "yes."),
    )
    found, lines = score_file(predictions)
    assert lines[0] == {"id": 1, "task_id": TITLES, "rougeL": 1.0, "exact_match": 1.0}
    overall = found["results"]["superni"]
    assert (overall["rougeL"], overall["rougeL_macro"], overall["complete"]) == (50.0, 66.6667, False)
    assert found["configs"]["superni"]["tasks"] == "2 of 119"
    assert found["results"]["superni_textual_entailment"]["headline"] == "exact_match"
    assert found["results"]["superni_title_generation"]["rougeL"] == 33.3333
    assert found["results"][f"superni_{NLI}"]["exact_match"] == 100.0
    assert found["n-samples"]["superni"] == {"original": 11810, "effective": 4}
    assert overall["rougeL_stderr"] == pytest.approx(28.8675, abs=1e-4)


def test_predictions_of_an_evaluation_say_how_they_were_asked_for(tmp_path: Path) -> None:
    asked = {"template": "tk-instruct", "prompt_cut": True}
    rows = [row(1, NLI, "a", "a") | asked | {"num_examples": 2}, row(2, NLI, "a", "b") | asked | {"num_examples": 1}]
    found, _ = score_file(save(tmp_path / "p.jsonl", *rows))
    config = found["configs"]["superni"]
    assert (config["template"], config["shots"], config["examples_shown"]) == ("tk-instruct", 2, 1.5)
    assert (config["prompts_cut"], found["n-shot"]["superni"]) == (2, 2)
    files = ["--output", str(tmp_path / "o.json"), "--rows", str(tmp_path / "r.jsonl")]
    done = CliRunner().invoke(app, ["score", "superni", "--predictions", str(tmp_path / "p.jsonl"), *files])
    assert "asked with template tk-instruct, 1.50 examples shown, 2 prompts cut" in done.stdout


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"task_id": NLI, "references": ["x"], "prediction": ""}, "no 'id'"),
        ({"id": "2", "references": ["x"], "prediction": ""}, "no 'task'"),
        ({"id": "2", "task_id": NLI, "references": [], "prediction": ""}, r"references: \[\]; expected a list with at"),
        ({"id": "2", "task_id": NLI, "references": "x", "prediction": ""}, "references: 'x'"),
        ({"id": "2", "task_id": NLI, "references": ["x"]}, "no 'prediction'"),
        ({"id": "1", "task_id": NLI, "references": ["x"], "prediction": ""}, "a second prediction"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=rf"p\.jsonl:2: .*{complaint}"):
        score_file(save(tmp_path / "p.jsonl", row(1, NLI, "a", "b"), wrong))


@pytest.mark.parametrize(("baseline", "rouge"), [("copy-input", 80.0), ("copy-demo", 100.0)])
def test_baselines_need_no_model(tmp_path: Path, baseline: str, rouge: float) -> None:
    arguments = ["score", "superni", "--baseline", baseline, "--data", str(clone(tmp_path / "clone"))]
    files = ["--output", str(tmp_path / "o.json"), "--rows", str(tmp_path / "r.jsonl")]
    done = CliRunner().invoke(app, [*arguments, *files])
    assert done.exit_code == 0
    assert f"superni: rougeL {rouge:.2f}" in done.stdout
    assert "not the whole benchmark but 102 of 11810 rows" in done.stdout
    assert json.loads((tmp_path / "o.json").read_text())["configs"]["superni"]["baseline"] == baseline


def benchmark(data: Path, **settings: Any) -> SuperNIBenchmark:
    made = open_benchmark(BenchmarkSettings.model_validate({"name": "superni", "data": str(data), **settings}))
    assert isinstance(made, SuperNIBenchmark)
    return made


def test_a_question_is_an_instruction_and_for_models_without_a_template_the_published_prompt(tmp_path: Path) -> None:
    data = clone(tmp_path)
    default, published = (benchmark(data, encoding=name, shots=1) for name in ("instruction", "tk-instruct"))
    question = default.rows()[0]
    assert question.instruction.startswith("Do it.\n\nPositive Example 1")
    assert question.input == "a demo 0"
    assert (question.raw or "").endswith("Input: a demo 0.\nOutput: ")
    assert [each.rows()[0].always_raw for each in (default, published)] == [False, True]
    assert all(each.rows()[0].num_examples == 1 for each in (default, published))
    assert "1-shot (1.00 examples shown), encoding instruction, prompts of any length, 2 of 119 tasks" in default.note


def test_a_limit_takes_rows_from_all_tasks(tmp_path: Path) -> None:
    data = {"source": str(clone(tmp_path)), "limit": 7}
    limited = open_benchmark(BenchmarkSettings.model_validate({"name": "superni", "data": data}))
    assert [question.task for question in limited.rows()] == [NLI] * 2 + [TITLES] * 5


@pytest.mark.parametrize(
    ("encoding", "note", "cut"),
    [
        ("tk-instruct", "(0.00 examples shown), encoding tk-instruct, prompts of at most 16 tokens (102 cut)", True),
        ("instruction", "(0.00 examples shown), encoding instruction, examples within 16 tokens, no text cut", False),
    ],
)
def test_what_a_limit_does_is_said(tmp_path: Path, encoding: str, note: str, cut: bool) -> None:
    data = clone(tmp_path / "clone")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    short = benchmark(data, encoding=encoding, shots=1, tokenizer=str(tmp_path / "tiny"), max_prompt_tokens=16)
    whole = benchmark(data, encoding=encoding)
    assert note in short.note
    assert all(row.prompt_cut == cut for row in short.rows())
    assert [row.raw for row in short.rows()] == [(row.raw or "")[: 16 if cut else None] for row in whole.rows()]


def test_the_tokenizer_of_a_limit_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        benchmark(clone(tmp_path), tokenizer=str(tmp_path)).rows()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"name": "superni", "template": "alpaca"}, "a template belongs to a model, not to a benchmark"),
        ({"name": "lmentry", "encoding": "tk-instruct"}, "encoding is a setting of superni"),
    ],
)
def test_templates_belong_to_models_and_encodings_to_super_ni(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        BenchmarkSettings.model_validate({"data": "x", **wrong})
