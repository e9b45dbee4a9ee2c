"""What is shown is what is trained."""

from __future__ import annotations

from typing import Any

from tunalm.data.prompts import PromptEncoder
from tunalm.records import Ranking, Response
from tunalm.training.encoding import encode_rows
from tunalm.training.preview import Preview, preview

ROW = Ranking(
    id="a",
    instruction="Add.",
    reference="seven",
    responses=[Response(text="6", rank=1), Response(text="?", rank=None), Response(text="7", rank=0)],
)
PROMPT_TOKENS = len("<U>Add.")


def shown(preview: Preview) -> tuple[str, str]:
    read, learned = ("".join(t.text for t in preview.tokens if t.trained is flag) for flag in (False, True))
    return read, learned


def test_every_ranked_response_and_the_reference_with_the_loss_mask(encoder: PromptEncoder) -> None:
    found = list(preview([ROW], encoder, 100))
    assert [sequence.label for sequence in found] == ["response 0, rank 1", "response 2, rank 0", "reference"]
    prompt = "<|user|>Add.<|end|><|assistant|>"
    assert [shown(sequence) for sequence in found] == [
        (prompt, "6<|end|>"),
        (prompt, "7<|end|>"),
        (prompt, "seven<|end|>"),
    ]


def test_the_tokens_are_those_of_training(encoder: PromptEncoder) -> None:
    [group] = encode_rows([ROW], encoder, max_length=12).groups
    counts: list[Any] = [sum(token.trained for token in sequence.tokens) for sequence in preview([ROW], encoder, 12)]
    assert counts == [len(target.tokens) for target in group.targets]


def test_cut_and_dropped_rows_say_so(encoder: PromptEncoder) -> None:
    *_, reference = preview([ROW], encoder, PROMPT_TOKENS + 3)
    assert reference.label == "reference, cut"
    assert shown(reference)[1] == "sev"
    [dropped] = preview([ROW], encoder, PROMPT_TOKENS)
    assert dropped.label == f"dropped, its prompt has {PROMPT_TOKENS} tokens"
    assert not any(token.trained for token in dropped.tokens)
