"""Scoring a file of predictions of the elementary tasks: totals, roundings and refusals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunalm.cli.app import app
from tunalm.errors import DataError
from tunalm.evaluation.lmentry.data import CONTENT, SETS, load_questions
from tunalm.evaluation.lmentry.scoring import score_file
from tunalm.evaluation.lmentry.totals import ADJACENT, ORDERED, Stratum, standard_errors, totals


def questions(count: int = 6) -> dict[str, Any]:
    """Questions for the first letter of `anna`, `bob` ...; templates 0 to 2 in turn."""
    words = ["anna", "bob", "carl", "dora", "emil", "fritz"]
    return {
        str(number): {
            "input": f"First letter of {words[number]}?",
            "metadata": {"word": words[number], "answer": words[number][0], "template_id": number % 3},
        }
        for number in range(count)
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "lmentry" / "core"
    folder.mkdir(parents=True)
    content = json.dumps({"settings": {}, "examples": questions()}).encode()
    (folder / "first_letter.json.gz").write_bytes(gzip.compress(content))
    return folder.parent


def save(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def answer(number: int | str, said: str, **more: Any) -> dict[str, Any]:
    return {"task": "first_letter", "id": number, "prediction": said, **more}


def test_questions_without_a_prediction_are_wrong_unless_left_out(tmp_path: Path, data: Path) -> None:
    predictions = save(tmp_path / "p.jsonl", answer("0", "a"), answer("1", "It is b, surely"))
    whole, lines = score_file(predictions, data)
    assert lines == [
        {"task": "first_letter", "id": "0", "score": 1, "certainty": 1},
        {"task": "first_letter", "id": "1", "score": 0, "certainty": 0},
    ]
    found = whole["results"]["lmentry_first_letter"]
    assert (found["accuracy"], found["template0"], found["certainty"]) == (16.67, 50.0, 16.67)
    assert whole["n-samples"]["lmentry_first_letter"] == {"original": 6, "effective": 2}
    overall = whole["results"]["lmentry"]
    assert (overall["complete"], overall["argument_order"], overall["robustness"], overall["score"]) == (
        False,
        None,
        None,
        None,
    )
    part, _ = score_file(predictions, data, subset=True)
    assert part["results"]["lmentry_first_letter"]["accuracy"] == 50.0


def test_strict_scoring_and_the_count_of_what_it_would_refuse(tmp_path: Path) -> None:
    content = {"examples": {"1": {"input": "?", "metadata": {"letter": "a", "template_id": 0}}}}
    (tmp_path / "word_containing.json").write_text(json.dumps(content), encoding="utf-8")
    russian = {"task": "word_containing", "id": "1", "prediction": "\u0441\u043b\u043e\u0432\u043e"}
    predictions = save(tmp_path / "p.jsonl", russian)
    published = score_file(predictions, tmp_path)[0]["results"]["lmentry"]
    assert (published["accuracy"], published["wordless"]) == (100.0, 1)
    strict = score_file(predictions, tmp_path, strict=True)[0]["results"]["lmentry"]
    assert (strict["accuracy"], strict["wordless"]) == (0.0, 0)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"task": "first_letter", "id": "0"}, "found no 'prediction'"),
        ({"id": "0", "prediction": "a"}, "found no 'task'"),
        ({"task": "first_leter", "id": "0", "prediction": "a"}, "Did you mean 'first_letter'"),
        ({"task": "last_letter", "id": "0", "prediction": "a"}, "Give the folder that has it"),
        ({"task": "first_letter", "id": "9", "prediction": "a"}, "has no question '9'"),
        ({"task": "first_letter", "id": "1", "prediction": "b"}, "a second prediction for first_letter/1"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, data: Path, row: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=rf"p\.jsonl:2: .*{complaint}"):
        score_file(save(tmp_path / "p.jsonl", answer(1, "a"), row), data)


def test_a_folder_without_questions_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of LMentry"):
        load_questions(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "first_word.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"first_word\.json: no data file of LMentry \(JSONDecodeError"):
        load_questions(tmp_path)


def test_predictions_of_an_evaluation_are_scored_per_model(tmp_path: Path, data: Path) -> None:
    rows = [
        answer("first_letter/0", "a", model="one", benchmark="lmentry"),
        answer("first_letter/0", "z", model="other", benchmark="lmentry"),
        {"id": "x", "benchmark": "superni", "model": "one", "prediction": "not ours"},
    ]
    predictions = save(tmp_path / "p.jsonl", *rows)
    with pytest.raises(DataError, match=r"2 models \(one, other\).*--model"):
        score_file(predictions, data)
    assert score_file(predictions, data, model="one")[1][0]["score"] == 1
    assert score_file(predictions, data, model="other")[1][0]["score"] == 0
    with pytest.raises(DataError, match="Did you mean 'other'"):
        score_file(predictions, data, model="others")


def test_the_command_writes_both_files_and_says_what_is_missing(tmp_path: Path, data: Path) -> None:
    predictions = save(tmp_path / "p.jsonl", answer("0", "a. b"))
    arguments = ["score", "lmentry", "--data", data, "--predictions", predictions, "--truncate"]
    done = CliRunner().invoke(
        app, [*map(str, arguments), "--output", f"{tmp_path}/o.json", "--rows", f"{tmp_path}/r.jsonl"]
    )
    assert done.exit_code == 0
    assert "lmentry: accuracy 16.67" in done.stdout
    assert "not the whole benchmark but 1 of 110703 rows" in done.stdout
    assert json.loads((tmp_path / "o.json").read_text())["configs"]["lmentry"]["truncate"] is True
    assert json.loads((tmp_path / "r.jsonl").read_text())["score"] == 1


def even_table(correct: int) -> dict[str, list[Stratum]]:
    """All sets, three templates of 20 questions, half of which have the answer first."""
    return {name: [Stratum(t, index, 10, 10, correct) for t in range(3) for index in (0, 1)] for name in SETS}


def test_what_is_the_same_everywhere_is_fully_robust() -> None:
    assert (len(SETS), len(ORDERED), len(CONTENT), len(ADJACENT)) == (41, 7, 6, 17)
    found = totals(even_table(5))
    assert (found["accuracy"], found["robustness"], found["score"]) == (50.0, 100.0, 50.0)


def test_each_part_loses_the_largest_gap() -> None:
    table = even_table(5)
    table["bigger_number"] = [Stratum(t, index, 10, 10, 8 if index else 2) for t in range(3) for index in (0, 1)]
    table["rhyming_word_orthographically_similar"] = [Stratum(0, None, 60, 60, 60)]
    table["first_letter"] = [Stratum(t, None, 20, 20, (10, 20, 0)[t]) for t in range(3)]
    table["last_word"] = [Stratum(0, None, 60, 60, 36)]
    found = totals(table)
    assert found["argument_order"] == pytest.approx(100 - 60 / 7)
    assert found["argument_content"] == pytest.approx(100 - 50 / 6)
    assert found["template"] == pytest.approx(100 - 100 / 25)
    assert found["adjacent_tasks"] == pytest.approx(100 - 20 / 17)
    assert found["robustness"] == 94.5
    assert found["score"] == pytest.approx(found["accuracy"] * 0.945)


def test_missing_answers_count_in_the_accuracy_and_not_in_the_order_of_arguments() -> None:
    table = even_table(5)
    table["homophones"] = [Stratum(0, 0, 30, 5, 5), Stratum(0, 1, 30, 30, 30)]
    found = totals(table)
    assert found["argument_order"] == 100.0
    assert found["accuracy"] == pytest.approx((24 * 50 + 58.33) / 25)


def test_standard_errors_shrink_with_the_number_of_questions() -> None:
    few = standard_errors(even_table(5))
    many = standard_errors({name: [Stratum(t, i, 1000, 1000, 500) for t in range(3) for i in (0, 1)] for name in SETS})
    assert few["accuracy"] == pytest.approx(50 / (25 * 60) ** 0.5, rel=0.3)
    assert many["accuracy"] == pytest.approx(50 / (25 * 6000) ** 0.5, rel=0.3)
    assert few == standard_errors(even_table(5))
