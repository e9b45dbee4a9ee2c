"""Ranked lists of others become lists of ours: what they say is kept, and nothing is made up."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.data.exports import Exporter
from tunalm.data.lists import Source, load_lists, stream_lists
from tunalm.data.lists.shapes import dense_ranks
from tunalm.data.prompts import alpaca_text
from tunalm.data.streaming import write_stream
from tunalm.errors import DataError
from tunalm.records import Instruction, Message, Ranking, Response

ULTRAFEEDBACK = {
    "source": "evol_instruct",
    "instruction": "Name a colour.",
    "models": ["a", "b", "c"],
    "completions": [
        {"model": "a", "response": "Red.", "overall_score": 7.5, "critique": "Short.", "fine-grained_score": 4},
        {"model": "b", "response": "Blue.", "overall_score": 7.5, "principle": "honesty"},
        {"model": "c", "response": "Nothing.", "overall_score": 1},
        {"model": "d", "response": "Green."},
    ],
}
NECTAR = {
    "prompt": "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Name a colour.\n\nAssistant: ",
    "answers": [
        {"answer": "Red.", "model": "a", "rank": 2.0},
        {"answer": "Blue.", "model": "b", "rank": 1},
        {"answer": "Green.", "model": "c", "rank": 4},
    ],
    "turns": 2,
    "num_responses": 3,
    "source": ["lmsys"],
    "good_natured": True,
}
SAMPLED = {
    "orig": {"instruction": "Add.", "input": "1 2", "output": "3"},
    "text": ["3", "4"],
    "avg_token_prob": [-0.1, -0.9],
    "length": [2, 3],
    "logprob": [-0.2, -2.7],
}
JUDGED = {
    "prompt": "long",
    "instruct": alpaca_text(Instruction(id="", instruction="Add.\nAll of them.", input="1 2").messages()),
    "generation": ["3", "4", "3", "five"],
    "id": 7,
    "gpt_eval": "Response 0: 15 ...",
    "rank_str": "[0, 4, 1]",
    "rank": [0, 4, 1],
    "response_4": "3!",
}
TRAINING = {
    "instruction": alpaca_text(Instruction(id="", instruction="Add.").messages()),
    "id": "x",
    "output": ["a", "b", "c"],
    "score": [-2.5, 1, -2.5],
}


def read(folder: Path, rows: Sequence[Any], source: Source | None = None, name: str = "lists.jsonl") -> list[Ranking]:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(stream_lists(folder / name, source))


def ranks(row: Ranking) -> list[int | None]:
    return [response.rank for response in row.responses]


def extra(row: Ranking | Response) -> dict[str, Any]:
    return row.model_extra or {}


def test_ultrafeedback_is_ranked_by_its_overall_score(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [ULTRAFEEDBACK])
    assert (row.id, row.instruction) == ("0", "Name a colour.")
    assert ranks(row) == [0, 0, 1, None]
    assert [response.score for response in row.responses] == [7.5, 7.5, 1, None]
    assert extra(row.responses[0]) == {"critique": "Short.", "fine-grained_score": 4}
    assert extra(row) == {"source": "evol_instruct", "models": ["a", "b", "c"]}


def test_nectar_is_a_conversation_with_ranks_from_one(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [NECTAR])
    assert [(turn.role, turn.text) for turn in row.messages()] == [
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("user", "Name a colour."),
    ]
    assert ranks(row) == [1, 0, 2]
    assert extra(row)["good_natured"] is True


@pytest.mark.parametrize("prompt", ["Name a colour.", "Human: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: b"])
def test_a_prompt_that_is_no_conversation_is_the_instruction(tmp_path: Path, prompt: str) -> None:
    (row,) = read(tmp_path, [NECTAR | {"prompt": prompt}])
    assert (row.instruction, row.history) == (prompt.strip(), [])


def test_samples_of_the_teacher_carry_their_likelihoods_and_no_ranks(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [SAMPLED])
    assert (row.instruction, row.input, row.reference) == ("Add.", "1 2", "3")
    assert [(each.logprob, each.num_tokens, each.rank) for each in row.responses] == [(-0.2, 2, None), (-2.7, 3, None)]
    assert row.responses[0].model == "text-davinci-003"


def test_an_order_of_the_judge_becomes_ranks_without_its_own_response(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [JUDGED])
    assert (row.id, row.instruction, row.input) == ("7", "Add.\nAll of them.", "1 2")
    assert ranks(row) == [0, 1, 0, None], "an equal text shares the rank, what the judge left out has none"
    assert row.judgement == {"reference": "3!", "reply": "Response 0: 15 ...", "ranking": [0, 4, 1]}
    assert row.ranked_by == "judge gpt-4"


@pytest.mark.parametrize("order", [[0, 0, 1], [0, 1, 5], [0, -1], [15, 0, 1, 2, 3, 4]], ids=str)
def test_what_is_no_order_of_these_responses_is_a_failed_list(tmp_path: Path, order: list[int]) -> None:
    (row,) = read(tmp_path, [{key: value for key, value in JUDGED.items() if key != "rank"} | {"ranks": order}])
    assert row.failure == f"the order {order} is not one of these responses"
    assert ranks(row) == [None] * 4


def test_lists_as_the_authors_train_on_them_are_ranked_by_score(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [TRAINING])
    assert (row.id, row.instruction, row.input) == ("x", "Add.", "")
    assert ranks(row) == [1, 0, 1]


@pytest.mark.parametrize(
    ("row", "source", "found"),
    [
        ({"output": "text"}, "nectar", "'output'"),
        ({"unknown": 1}, None, "'unknown'"),
        ("text", None, "no object"),
        (ULTRAFEEDBACK, "nectar", "'completions'"),
        (ULTRAFEEDBACK | {"completions": [{"model": "a"}]}, None, "completions.0.response"),
        (ULTRAFEEDBACK | {"completions": [{"response": "a", "overall_score": "10"}]}, None, "overall_score"),
        (NECTAR | {"answers": [{"answer": "a", "rank": float("nan")}]}, None, "answers.0.rank"),
        (NECTAR | {"prompt": " "}, None, "prompt: is empty"),
        (SAMPLED | {"length": [1]}, None, "not of one length"),
        (TRAINING | {"score": [1.0]}, None, "not of one length"),
        (JUDGED | {"rank": ["0"]}, None, "rank.0"),
        ({"id": "a", "responses": []}, None, "no 'instruction' among"),
        (JUDGED, None, "id '7' for the second time"),
    ],
    ids=str,
)
def test_a_wrong_row_is_one_line_that_names_it(tmp_path: Path, row: Any, source: Source | None, found: str) -> None:
    right = NECTAR if source == "nectar" else JUDGED
    with pytest.raises(DataError) as caught:
        read(tmp_path, [right, row], source)
    assert str(caught.value).startswith(f"{tmp_path}/lists.jsonl:2: ")
    assert found in str(caught.value)


@given(st.lists(st.none() | st.integers(-3, 3).map(float), max_size=8))
def test_dense_ranks_keep_order_ties_and_gaps(values: list[float | None]) -> None:
    found = dense_ranks(values)
    known = [(value, rank) for value, rank in zip(values, found, strict=True) if value is not None and rank is not None]
    assert [rank is None for rank in found] == [value is None for value in values]
    assert all((a < b) == (ra < rb) for a, ra in known for b, rb in known)
    assert {rank for _, rank in known} == set(range(len({value for value, _ in known})))


PAIR = {"prompt": "Hi.", "chosen": "Hello.", "rejected": "No."}
ASKED = {"role": "user", "content": "Hi."}
SAID = [{"role": "assistant", "content": text} for text in ("Hello.", "No.")]
LFACTORY = {"chosen": {"from": "gpt", "value": "Hello."}, "rejected": {"from": "gpt", "value": "No."}}


@pytest.mark.parametrize(
    "row",
    [
        PAIR,
        {"prompt": [ASKED], "chosen": SAID[:1], "rejected": SAID[1:]},
        {"prompt": "Hi.", "chosen": [ASKED, SAID[0]], "rejected": [ASKED, SAID[1]], "messages": [ASKED, SAID[0]]},
        {"chosen": [ASKED, SAID[0]], "rejected": [ASKED, SAID[1]]},
        {"chosen": "\n\nHuman: Hi.\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi.\n\nAssistant: No."},
        {"instruction": "Hi.", "input": "", "chosen": "Hello.", "rejected": "No."},
        {"conversations": [{"from": "human", "value": "Hi."}], **LFACTORY},
        {"messages": [ASKED], "chosen": SAID[0], "rejected": SAID[1]},
        {"context": [ASKED], "completions": [{"rank": n, "completion": [each]} for n, each in enumerate(SAID)]},
    ],
    ids=str,
)
def test_pairs_are_lists_of_two(tmp_path: Path, row: dict[str, Any]) -> None:
    (found,) = read(tmp_path, [row])
    assert [(turn.role, turn.text) for turn in found.messages()] == [("user", "Hi.")]
    assert [(each.text, each.rank) for each in found.responses] == [("Hello.", 0), ("No.", 1)]


def test_what_pairs_carry_is_kept_and_what_is_no_pair_is_named(tmp_path: Path) -> None:
    scored = PAIR | {"score_chosen": 8.5, "score_rejected": 3.0, "system": "Be kind.", "source": "x", "id": "a"}
    first, second = read(tmp_path, [scored, scored | {"rejected": "Never."}])
    assert [turn.text for turn in first.history] == ["Be kind."]
    assert [each.score for each in first.responses] == [8.5, 3.0]
    assert (extra(first), first.id, second.id) == ({"source": "x"}, "a", "a/1"), "several pairs of one list"
    (tie,) = read(tmp_path, [PAIR | {"rejected": "Hello."}])
    assert ranks(tie) == [0, 0]
    (empty,) = read(tmp_path, [PAIR | {"chosen": " "}])
    assert ranks(empty) == [None, 0]
    other = [{"role": "user", "content": "Bye."}, SAID[1]]
    for row, reason in (
        (PAIR | {"tools": [{"name": "f"}]}, "the field 'tools'"),
        ({"chosen": [ASKED, SAID[0]], "rejected": other}, "the same prompt"),
        ({"chosen": "a", "rejected": "b"}, "do not end with a user turn"),
        ({"prompt": "Hi.", "chosen": "a"}, "no 'rejected'"),
    ):
        with pytest.raises(DataError, match=reason):
            read(tmp_path, [row])


@pytest.mark.parametrize("to", ["trl-pairs", "trl-tpo", "llama-factory", "axolotl"])
def test_pairs_that_were_written_are_read_again(tmp_path: Path, to: Any) -> None:
    row = Ranking(
        id="a",
        instruction="Add.",
        input="1 2",
        reference="3",
        history=[Message(role="system", content="Be short.")],
        responses=[Response(text=text, rank=rank) for rank, text in enumerate(["3", "4", "5"])],
    )
    found = read(tmp_path, list(Exporter(to, "all").rows([row])))
    assert [[each.text for each in pair.responses] for pair in found] == [["3", "4"], ["3", "5"], ["4", "5"]]
    assert [pair.id for pair in found] == ["a", "a/1", "a/2"]
    assert {pair.reference for pair in found} == {"3" if to == "trl-tpo" else None}
    assert found[0].history == row.history
    assert found[0].instruction == "Add.\n\n1 2"
    (whole,) = read(tmp_path, list(Exporter("nemo-rl").rows([row])))
    assert [(each.text, each.rank) for each in whole.responses] == [("3", 0), ("4", 1), ("5", 2)]
    assert whole.history == row.history


def test_ranks_are_made_dense_and_empty_texts_have_none(tmp_path: Path) -> None:
    responses = [
        {"text": text, "rank": rank} for text, rank in (("a", 70), (" \n", 0), ("b", 10), ("c", 70), ("d", None))
    ]
    (row,) = read(tmp_path, [{"id": "x", "instruction": "Go.", "reference": " ", "responses": responses}])
    assert ranks(row) == [1, None, 0, 1, None]
    assert row.reference is None
    (feedback,) = read(tmp_path, [ULTRAFEEDBACK | {"completions": [{"response": "", "overall_score": 9.0}]}])
    assert ranks(feedback) == [None]


RESPONSES = [{"text": text, "rank": rank, "note": "kept"} for rank, text in enumerate(["好", "لا"])]
OURS = [{"id": 7, "instruction": "Schön?", "responses": RESPONSES, "mine": 1}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in OURS).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lists.jsonl", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n")),
        ("lists.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ("lists.json", json.dumps(OURS, indent=1).encode()),
        ("lists.parquet", None),
    ],
)
def test_stages_read_lists_in_every_format(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is None:
        write_stream(path, OURS)
    else:
        path.write_bytes(content)
    (row,) = load_lists(path)
    assert (row.id, row.instruction, [each.text for each in row.responses]) == ("7", "Schön?", ["好", "لا"])
    assert (extra(row), extra(row.responses[0])) == ({"mine": 1}, {"note": "kept"})
    assert list(stream_lists(path)) == [row]


def test_rows_of_others_are_not_trained_on_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(PAIR), encoding="utf-8")
    with pytest.raises(DataError, match=r"a row of pairs.*tunalm convert"):
        load_lists(path)


def test_bad_rows_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    good = json.dumps(OURS[0] | {"id": None})
    bad = ['{"id": "a", "instruction": 3, "responses": []}', "rubbish", '"text"', "{}", "[]", "1", "2"]
    path.write_text("\n".join([good, *bad, good]), encoding="utf-8")
    with pytest.raises(DataError, match="7 rows that are wrong") as caught:
        load_lists(path)
    said = str(caught.value)
    assert [f"lists.jsonl:{line}: " in said for line in range(1, 10)] == [False, *[True] * 5, False, False, False]
    assert "and 2 more" in said
    assert "\n" not in said
