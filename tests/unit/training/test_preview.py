"""What is shown is what is trained."""

from __future__ import annotations

from tunalm.data.prompts import PromptEncoder
from tunalm.records import Ranking, Response
from tunalm.training.encoding import encode_rows
from tunalm.training.preview import preview

ROW = Ranking(
    id="a",
    instruction="Add.",
    reference="seven",
    responses=[Response(text="6", rank=1), Response(text="?", rank=None), Response(text="7", rank=0)],
)
PROMPT_TOKENS = len("<U>Add.")


def test_every_ranked_response_and_the_reference_with_the_loss_mask(encoder: PromptEncoder) -> None:
    found = list(preview([ROW], encoder, 100))
    assert [sequence.label for sequence in found] == ["response 0, rank 1", "response 2, rank 0", "reference"]
    assert {"".join(sequence.read) for sequence in found} == {"<|user|>Add.<|end|><|assistant|>"}
    assert ["".join(sequence.learned) for sequence in found] == ["6<|end|>", "7<|end|>", "seven<|end|>"]


def test_the_tokens_are_those_of_training(encoder: PromptEncoder) -> None:
    [group] = encode_rows([ROW], encoder, max_length=12).groups
    counts = [len(sequence.learned) for sequence in preview([ROW], encoder, 12)]
    assert counts == [len(target.tokens) for target in group.targets]


def test_cut_and_dropped_rows_say_so(encoder: PromptEncoder) -> None:
    *_, reference = preview([ROW], encoder, PROMPT_TOKENS + 3)
    assert reference.label == "reference, cut"
    assert "".join(reference.learned) == "sev"
    [dropped] = preview([ROW], encoder, PROMPT_TOKENS)
    assert dropped.label == f"dropped, its prompt has {PROMPT_TOKENS} tokens"
    assert not dropped.learned
