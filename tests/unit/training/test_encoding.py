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
    assert [(target.number, target.rank, target.ended) for target in group.targets] == [
        (0, 0, True),
        (1, 1, True),
        (None, None, True),
    ]


def test_the_end_token_is_learned_although_it_is_also_the_padding(encoder: PromptEncoder) -> None:
    assert encoder.tokenizer.pad_token_id == encoder.end_id
    group = encode_row(row(reference="7"), encoder, 100)
    assert group is not None
    assert group.targets[0].tokens[-1] == encoder.end_id


def test_failed_and_unranked_responses_take_no_part(encoder: PromptEncoder) -> None:
    responses = (
        Response(text="", rank=0, failure="timed out"),
        Response(text="b", rank=None),
        Response(text="c", rank=1),
    )
    group = encode_row(row(*responses), encoder, 100)
    assert group is not None
    assert [target.number for target in group.targets] == [2]


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


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_empty_text_is_not_learned(encoder: PromptEncoder, empty: str) -> None:
    responses = (Response(text=empty, rank=0), Response(text="b", rank=1), Response(text="c", rank=2))
    group = encode_row(row(*responses, reference=empty), encoder, 100)
    assert group is not None
    assert [(target.number, target.rank) for target in group.targets] == [(1, 0), (2, 1)]


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


def test_a_list_that_is_all_ties_trains_its_reference_alone(encoder: PromptEncoder) -> None:
    tied = (Response(text="a", rank=0), Response(text="b", rank=0))
    encoded = encode_rows([row(*tied, reference="7")], encoder, max_length=100)
    assert [target.rank for target in encoded.groups[0].targets] == [None]
    assert encoded.unranked == ["a"]


def test_a_list_of_weight_zero_trains_its_reference_alone(encoder: PromptEncoder) -> None:
    responses = (Response(text="a", rank=0), Response(text="b", rank=1))
    plain = row(*responses, reference="7")
    rows = [plain.model_copy(update={"id": str(weight), "weight": weight}) for weight in (None, 0.25, 0.0)]
    encoded = encode_rows(rows, encoder, max_length=100)
    assert [group.weight for group in encoded.groups] == [1.0, 0.25, 0.0]
    assert [len(group.targets) for group in encoded.groups] == [3, 3, 1]
    assert encoded.unranked == ["0.0"]


def test_what_the_loss_never_looks_at_is_left_out(encoder: PromptEncoder) -> None:
    """Which rows take part depends on what is imitated, and never on lambda."""
    ranked = row(Response(text="a", rank=0), Response(text="b", rank=1), reference="7", id="ranked")
    single = row(Response(text="a", rank=0), reference="7", id="single")
    bare = row(Response(text="a", rank=0), Response(text="b", rank=0), id="bare")
    ranks: dict[str | None, list[list[int | None]]] = {
        "reference": [[0, 1, None], [None]],
        "best": [[0, 1], [0], [0]],
        "reference_or_best": [[0, 1, None], [None], [0]],
        None: [[0, 1]],
    }
    for imitate, expected in ranks.items():
        encoded = encode_rows([ranked, single, bare], encoder, max_length=100, imitate=imitate)  # type: ignore[arg-type]
        assert [[target.rank for target in group.targets] for group in encoded.groups] == expected, imitate
        assert len(encoded.idle) == 3 - len(expected)
        assert encoded.unranked == ["single", "bare"]


def test_lists_without_a_pair_are_left_out_on_demand(encoder: PromptEncoder) -> None:
    tied = row(Response(text="a", rank=0), Response(text="b", rank=0), reference="7", id="tied")
    pair = row(Response(text="a", rank=0), Response(text="b", rank=1), id="pair")
    encoded = encode_rows([tied, pair], encoder, max_length=100, keep_ties=False)
    assert ([group.id for group in encoded.groups], encoded.unranked, encoded.idle) == (["pair"], ["tied"], ["tied"])


def test_under_lmops_ties_are_ranked_and_the_reference_always_takes_part(encoder: PromptEncoder) -> None:
    tied = (Response(text="a", rank=0), Response(text="b", rank=0))
    encoded = encode_rows([row(*tied, reference="7")], encoder, max_length=100, convention="lmops")
    assert [target.rank for target in encoded.groups[0].targets] == [0, 0, None]


def test_rows_of_plain_sft_are_no_unranked_lists(encoder: PromptEncoder) -> None:
    assert encode_rows([row(reference="7")], encoder, max_length=100).unranked == []


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
