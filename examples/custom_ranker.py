"""A ranker of your own: the response nearest to the reference is the best.

From Python a function is all it takes. A recipe names the same function: `by: examples/custom_ranker.py:nearness`.
"""

from __future__ import annotations

import tunalm

TEXTS = ["A mammal that swims.", "The whale is a large mammal that lives in the sea.", "A fish."]
ROW = tunalm.Instruction(
    id="1", instruction="What is a whale?", reference="A large mammal that lives in the sea."
).with_responses([tunalm.Response(text=text) for text in TEXTS])


def nearness(instruction: tunalm.Instruction, text: str) -> float:
    """ROUGE-L with the reference; more is better, equal is a tie."""
    return tunalm.rouge_l(text, instruction.reference or "")


def main() -> None:
    (row,) = tunalm.rank([ROW], by=nearness)
    (named,) = tunalm.rank([ROW], by=f"{__file__}:nearness")
    assert [each.rank for each in named.responses] == [each.rank for each in row.responses]
    print(*(f"{each.rank}  {each.text}" for each in row.responses), sep="\n")


if __name__ == "__main__":
    main()
