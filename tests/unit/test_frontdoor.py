"""tunalm from Python: what it takes, what it gives, and that it is the stage of the same name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import datasets
import pytest

import tunalm
from tests.integration.servers.judge import length_judge
from tests.tiny import save_tiny_model
from tunalm import Instruction, Ranking, Response
from tunalm.calls.spending import accounts
from tunalm.errors import DataError, RecipeError

PARROT = {"kind": "scripted", "replies": ["Red.", "It is red.", "Blue.", "No."]}
ROWS = [{"instruction": "Name a colour.", "output": "Red."}, {"instruction": "Name a river.", "output": "Rhine."}]


def unranked(*texts: str, name: str = "1", **changes: Any) -> Ranking:
    return Ranking(id=name, instruction="Say a.", responses=[Response(text=text) for text in texts], **changes)


def ranks(row: Ranking) -> list[int | None]:
    return [response.rank for response in row.responses]


def as_file(tmp_path: Path) -> Path:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")
    return tmp_path / "rows.json"


@pytest.mark.parametrize(
    "given",
    [
        lambda path: [row["instruction"] for row in ROWS],
        lambda path: ROWS,
        lambda path: [{"messages": [{"role": "user", "content": row["instruction"]}]} for row in ROWS],
        lambda path: [Instruction(id=str(n), instruction=row["instruction"]) for n, row in enumerate(ROWS)],
        lambda path: datasets.Dataset.from_list(ROWS),
        as_file,
        lambda path: str(as_file(path)),
    ],
    ids=["strings", "alpaca", "messages", "instructions", "dataset", "path", "text"],
)
def test_instructions_may_come_in_any_form(given: Any, tmp_path: Path) -> None:
    lists = tunalm.sample(PARROT, given(tmp_path), num_responses=3)
    assert [row.instruction for row in lists] == ["Name a colour.", "Name a river."]
    assert [(row.id, len(row.responses), row.ranked) for row in lists] == [("0", 3, False), ("1", 3, False)]
    assert len(tunalm.sample(PARROT, given(tmp_path), limit=1)) == 1


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: tunalm.sample(PARROT, ["Go."], num_respones=2), r"num_respones: .*Did you mean 'num_responses'\?"),
        (lambda: tunalm.sample(PARROT, ["Go."], num_responses=0), r"tunalm\.sample\(\): num_responses"),
        (lambda: tunalm.sample(PARROT, ["Go."], data="other.jsonl"), r"tunalm\.sample\(\): data"),
        (lambda: tunalm.sample(PARROT, ["Go."], limit=-1), r"tunalm\.sample\(\): limit"),
        (lambda: tunalm.rank([unranked("a", "b")], by=cast(Any, 3)), r"by.*a text"),
        (lambda: tunalm.rank([unranked("a", "b")], by="likelyhood"), "Did you mean 'likelihood'"),
        (lambda: tunalm.rank([unranked("a", "b")], by=tunalm.Judge("m", base_ur="x")), "base_ur"),
        (lambda: tunalm.train("absent", [unranked("a")], out="x"), "absent"),
        (lambda: tunalm.evaluate({"a": PARROT}, ["chekable"]), "chekable"),
    ],
    ids=["unknown", "wrong", "data", "limit", "number", "ranker", "judge", "model", "benchmark"],
)
def test_a_wrong_knob_is_named(call: Any, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        call()


def test_rows_that_are_none_are_named() -> None:
    with pytest.raises(DataError, match="instructions: no rows"):
        tunalm.sample(PARROT, [])
    with pytest.raises(DataError, match=r"instructions\[1\]"):
        tunalm.sample(PARROT, ["Go.", " "])
    with pytest.raises(DataError, match=r"lists\[0\]"):
        tunalm.rank([{"id": "1", "instruction": "Go."}])


def test_a_function_ranks_and_an_earlier_ranking_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    lists = [unranked("aaa", "a", "", "aa"), unranked("b", "", name="2")]
    ranked = tunalm.rank(lists, by=lambda instruction, text: -len(text))
    assert [ranks(row) for row in ranked] == [[2, 0, None, 1], [None, None]]
    assert ranked[1].failure == "fewer than two responses"
    assert "1 of 2 lists failed" in capsys.readouterr().err
    assert not any(row.ranked for row in lists), "what was given stays as it was"
    assert ranks(tunalm.rank(ranked, by=lambda instruction, text: len(text))[0]) == [0, 2, None, 1]


def test_a_ranker_of_ones_own_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "def shortest(instruction, text):\n    return -len(text)\n\n"
        "class Longest:\n    def __init__(self, settings, calls):\n        self.sign = settings.options['sign']\n"
        "    def __call__(self, instruction, text):\n        return self.sign * len(text)\n",
        encoding="utf-8",
    )
    assert ranks(tunalm.rank([unranked("aa", "a")], by=f"{path}:shortest")[0]) == [1, 0]
    assert ranks(tunalm.rank([unranked("aa", "a")], by=f"{path}:Longest", options={"sign": 1})[0]) == [0, 1]


def test_log_probabilities_that_were_kept_rank() -> None:
    lists = tunalm.sample(PARROT, ["Name a colour."], logprobs=True, seed=1)
    (row,) = tunalm.rank(lists, "likelihood", length_penalty=1.0)
    assert row.ranked
    assert row.ranked_by == "likelihood beta=1 length=tokens"


def test_a_judge_is_asked_once_also_from_a_running_event_loop(tmp_path: Path) -> None:
    cache = tmp_path / "kept" / "judge.sqlite"

    async def notebook(address: str) -> list[Ranking]:
        await asyncio.sleep(0)
        judge = tunalm.Judge(base_url=address, model="m")
        return tunalm.rank([unranked("aaaa", "aa", "a")], by=judge, cache=cache, canaries=0, num_orders=2)

    with length_judge() as address:
        (row,) = asyncio.run(notebook(address))
    assert ranks(row) == [0, 1, 2]
    (account,) = accounts(cache).values()
    again = asyncio.run(notebook(address))  # the server is gone
    assert again == [row]
    assert list(accounts(cache).values()) == [account]


def test_a_model_is_trained_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = save_tiny_model(tmp_path / "base")
    rows = [unranked("Red.", "Blue.", name=str(number)) for number in range(4)]
    ranked = tunalm.rank(rows, by=lambda instruction, text: len(text))
    folder = tunalm.train(base, ranked, out=tmp_path / "mine", margin=0.2, batch_size=2)
    assert "only the ranking is learned" in capsys.readouterr().err
    assert (folder / "model.safetensors").is_file()
    assert tunalm.train(base, ranked, out=tmp_path / "mine", margin=0.2, batch_size=2) == folder, "done before"
    table = tunalm.evaluate(
        {"base": base, "mine": folder}, ["checkable:heldout"], limit=3, max_new_tokens=4, bootstrap_samples=100
    )
    assert table.models["mine"].results["checkable"].n == 3
    assert "base" in str(table)
    assert "checkable" in str(table)
