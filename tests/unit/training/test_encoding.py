"""What is learned, what is cut, what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny import TEMPLATE, tiny_tokenizer
from tunalm.data.prompts import PromptEncoder
from tunalm.errors import DataError, ModelError
from tunalm.records import Message, Ranking, Response
from tunalm.training.encoding import encode_row, encode_rows

PROMPT = "Add."
PROMPT_TOKENS = len("<U>") + len(PROMPT)  # <|user|>, the text, <|end|> and <|assistant|>


def row(*responses: Response, reference: str | None = None, id: str = "a") -> Ranking:  # noqa: A002
    return Ranking(id=id, instruction=PROMPT, reference=reference, responses=list(responses))


def texts(encoder: PromptEncoder, ids: list[int]) -> Any:
    return encoder.tokenizer.decode(ids)


def test_prompt_and_responses_are_joined_as_ids_and_end_with_the_end_token(encoder: PromptEncoder) -> None:
    group = encode_row(row(Response(text="3", rank=0), Response(text=" 4", rank=1), reference="7"), encoder, 100)
    assert group is not None
    assert len(group.prompt) == PROMPT_TOKENS
    assert texts(encoder, group.prompt) == "<|user|>Add.<|end|><|assistant|>"
    assert [texts(encoder, target.tokens) for target in group.targets] == ["3<|end|>", " 4<|end|>", "7<|end|>"]
    assert group.targets[-1].tokens[-1] == encoder.end_id == encoder.tokenizer.pad_token_id
    assert [(target.number, target.rank, target.ended) for target in group.targets] == [
        (0, 0, True),
        (1, 1, True),
        (None, None, True),
    ]


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_failed_unranked_and_empty_responses_take_no_part(encoder: PromptEncoder, empty: str) -> None:
    responses = (
        Response(text="a", rank=0, failure="timed out"),
        Response(text="b", rank=None),
        Response(text=empty, rank=1),
        Response(text="c", rank=2),
        Response(text="d", rank=3),
    )
    group = encode_row(row(*responses, reference=empty), encoder, 100)
    assert group is not None
    assert [(target.number, target.rank) for target in group.targets] == [(3, 0), (4, 1)]


def test_a_response_that_is_too_long_is_cut_on_the_right_and_loses_its_end(encoder: PromptEncoder) -> None:
    lists = [row(Response(text="abcdef", rank=0), Response(text="abc", rank=1), reference="abcd", id="long")]
    encoded = encode_rows(lists, encoder, max_length=PROMPT_TOKENS + 4)
    cut, whole, reference = encoded.groups[0].targets
    assert texts(encoder, cut.tokens) == "abcd"
    assert not cut.ended
    assert texts(encoder, whole.tokens) == "abc<|end|>"
    assert whole.ended
    assert not reference.ended
    assert encoded.cut == ["long"]


def test_a_prompt_that_leaves_no_room_is_dropped_and_one_token_of_room_is_enough(encoder: PromptEncoder) -> None:
    long = Ranking(id="long", instruction=PROMPT + "!", reference="7", responses=[])
    encoded = encode_rows([row(reference="7", id="short"), long], encoder, max_length=PROMPT_TOKENS + 1)
    assert [group.id for group in encoded.groups] == ["short"]
    assert encoded.dropped == ["long"]
    assert [len(target.tokens) for target in encoded.groups[0].targets] == [1]


@pytest.mark.parametrize(
    ("response", "answer", "whole"),
    [
        (Response(text="3", rank=0, reasoning="1 and 2"), "3", "<think>\n1 and 2\n</think>\n\n3"),
        (Response(text="<think>1 and 2</think>3", rank=0), "3", "<think>\n1 and 2\n</think>\n\n3"),
        (Response(text="1 and 2</think>\n3", rank=0), "3", "<think>\n1 and 2\n</think>\n\n3"),
        (Response(text="<think>1 and", rank=0), None, None),
        (Response(text="Write `<think>` first.", rank=0), "Write `<think>` first.", "Write `<think>` first."),
    ],
)
def test_thoughts_are_learned_on_demand_only(
    encoder: PromptEncoder, response: Response, answer: str | None, whole: str | None
) -> None:
    for keep, expected in ((False, answer), (True, whole)):
        group = encode_row(row(response, reference=response.text), encoder, 200, keep_reasoning=keep)
        assert group is not None
        ends = [] if expected is None else [f"{expected}<|end|>"]
        learned = [texts(encoder, target.tokens) for target in group.targets]
        assert learned[:1] == ends
        assert response.reasoning or learned[1:] == ends


def test_ranks_of_a_file_are_made_dense(encoder: PromptEncoder) -> None:
    responses = (Response(text="a", rank=70), Response(text="b", rank=10), Response(text="c", rank=70))
    group = encode_row(row(*responses), encoder, 100)
    assert group is not None
    assert [target.rank for target in group.targets] == [1, 0, 1]


def scored(*scores: float | None) -> Ranking:
    return row(*(Response(text="abc"[n], rank=n, score=score) for n, score in enumerate(scores)))


def test_margins_may_come_from_scores(encoder: PromptEncoder) -> None:
    group = encode_row(scored(9.0, 8.5, 2.0), encoder, 100, "score")
    assert group is not None
    assert [target.place for target in group.targets] == [0, 0.5, 7]


@pytest.mark.parametrize(("scores", "found"), [((9.0, None), "without a score"), ((1.0, 2.0), "a higher score")])
def test_scores_that_cannot_give_margins_are_named(
    encoder: PromptEncoder, scores: tuple[float, ...], found: str
) -> None:
    with pytest.raises(DataError, match=f"row a: .*{found}"):
        encode_row(scored(*scores), encoder, 100, "score")


A, B, TIED = Response(text="a", rank=0), Response(text="b", rank=1), Response(text="b", rank=0)
RANKED, SINGLE = row(A, B, reference="7", id="ranked"), row(A, reference="7", id="single")
LIGHT, IDLE_WEIGHT = (RANKED.model_copy(update={"id": str(weight), "weight": weight}) for weight in (0.25, 0.0))
TIES, BARE, PLAIN = row(A, TIED, reference="7", id="ties"), row(A, TIED, id="bare"), row(reference="7", id="plain")


@pytest.mark.parametrize(
    ("rows", "options", "learned", "unranked"),
    [
        ([RANKED, SINGLE, BARE], {}, [[0, 1, None], [None]], ["single", "bare"]),
        ([RANKED, SINGLE, BARE], {"imitate": "best"}, [[0, 1], [0], [0]], ["single", "bare"]),
        ([RANKED, SINGLE, BARE], {"imitate": "reference_or_best"}, [[0, 1, None], [None], [0]], ["single", "bare"]),
        ([RANKED, SINGLE, BARE], {"imitate": None}, [[0, 1]], ["single", "bare"]),
        ([TIES, PLAIN], {}, [[None], [None]], ["ties"]),
        ([LIGHT, IDLE_WEIGHT], {}, [[0, 1, None], [None]], ["0.0"]),
        ([RANKED, PLAIN, BARE], {"imitate": "best", "rank": False}, [[0], [0]], ["bare"]),
        (
            [scored(1.0, 0.0), scored(0.0)],
            {"imitate": "reference_or_best", "min_imitated_score": 1.0},
            [[0, 1]],
            ["a"],
        ),
        ([TIES, RANKED], {"keep_ties": False}, [[0, 1, None]], ["ties"]),
        ([TIES], {"convention": "lmops"}, [[0, 0, None]], []),
    ],
)
def test_what_the_loss_never_looks_at_is_left_out(
    encoder: PromptEncoder, rows: list[Ranking], options: dict[str, Any], learned: Any, unranked: list[str]
) -> None:
    """Which rows take part depends on what is imitated, and never on lambda; `lmops` breaks ties and takes all."""
    encoded = encode_rows(rows, encoder, max_length=100, **options)
    assert [[target.rank for target in group.targets] for group in encoded.groups] == learned
    assert encoded.unranked == unranked
    assert len(encoded.idle) == len(rows) - len(learned)
    weights = {each.id: 1.0 if each.weight is None else each.weight for each in rows}
    assert all(group.weight == weights[group.id] for group in encoded.groups)


def test_nothing_to_train_on_is_an_error_that_says_why(encoder: PromptEncoder) -> None:
    with pytest.raises(DataError, match="1 fill max_length"):
        encode_rows([row(reference="7")], encoder, max_length=PROMPT_TOKENS)


def test_rows_that_the_template_refuses_are_counted_and_the_first_is_named() -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}" + TEMPLATE
    refusing = PromptEncoder(tiny_tokenizer(template), None, "some/model")
    plain = Ranking(id="s0", instruction="Say.", reference="ok", responses=[])
    system = [Message(role="system", content="Be brief.")]
    rows = [plain, *(plain.model_copy(update={"id": f"s{number}", "history": system}) for number in (4, 5))]
    with pytest.raises(ModelError, match=r"some/model: 2 of 3 rows, the first 's4', with .*No system"):
        encode_rows(rows, refusing, max_length=100)
