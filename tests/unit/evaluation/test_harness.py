"""Results and samples as lm-evaluation-harness writes them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tunalm.evaluation.harness import TaskResult, document, for_harness, sample
from tunalm.records import Prediction

SHAPE = {"results", "group_subtasks", "configs", "versions", "n-shot", "n-samples", "higher_is_better", "config"}


def results() -> dict[str, Any]:
    numbers = {"score": 12.5, "score_stderr": None, "failed": 1}
    whole = numbers | {"score_ci95": [1, 2], "complete": False, "rate": None}
    part = {"score": 10.0, "score_stderr": 0.5}
    tasks = {
        "whole": TaskResult(whole, 1, 10, 4, {"template": "chat"}, ["part"], shots=2),
        "part": TaskResult(part, 1, 4, 4),
    }
    return document(tasks)


def answer(text: str) -> Prediction:
    fields: dict[str, Any] = {"task": "part", "references": ["yes", "yea"], "prompt_sha256": "p"}
    return Prediction(id="7", benchmark="whole", model="m", instruction="Is it?", prediction=text, **fields)


def test_every_metric_has_its_filter_and_its_error_and_what_is_no_number_goes_to_the_config() -> None:
    found = for_harness(results(), "m", "model@1", [])
    assert found.keys() >= SHAPE
    assert found["results"] == {
        "whole": {"alias": "whole", "score,none": 12.5, "score_stderr,none": "N/A", "failed,none": 1},
        "part": {"alias": "part", "score,none": 10.0, "score_stderr,none": 0.5},
    }
    assert found["higher_is_better"] == {"whole": {"score": True}, "part": {"score": True}}
    assert (found["model_name"], found["config"]["model_args"]) == ("m", "model@1")
    assert (found["n-shot"]["whole"], found["n-samples"]["whole"]) == (2, {"original": 10, "effective": 4})
    configs = found["configs"]
    assert configs["whole"]["template"] == "chat"
    assert configs["whole"]["results"] == {"score_ci95": [1, 2], "complete": False, "rate": None}
    assert configs["part"] == {"task": "part"}


def test_a_sample_has_all_metrics_and_hashes() -> None:
    row = sample(3, answer("Yes"), {"rougeL": 1.0, "exact_match": 0.0})
    assert (row["doc_id"], row["target"], row["resps"], row["filtered_resps"]) == (3, "yes", [["Yes"]], ["Yes"])
    assert (row["metrics"], row["rougeL"], row["exact_match"]) == (["rougeL", "exact_match"], 1.0, 0.0)
    assert row["arguments"] == {"gen_args_0": {"arg_0": "Is it?"}}
    assert row["target_hash"] == hashlib.sha256(b"yes").hexdigest()
    assert json.loads(json.dumps(row)) == row


def test_the_hash_of_a_task_follows_its_questions_and_not_the_answers() -> None:
    def hashed(*said: str) -> Any:
        samples = [sample(0, answer(text), {"rougeL": 1.0}) for text in said]
        return for_harness(results(), "m", "model@1", samples)["task_hashes"]["whole"]

    assert hashed("Yes") == hashed("No")
    assert hashed("Yes") != hashed("Yes", "Yes")
