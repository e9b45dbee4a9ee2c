"""A ranker of your own: the response nearest to the reference is the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunalm import Ranking, Response, rouge_l, run_recipe
from tunalm.calls.context import StageContext
from tunalm.ranking.base import with_scores
from tunalm.recipe import Rank
from tunalm.recipe.loading import build_recipe
from tunalm.store import read_rows, write_rows

OUT = Path("runs/custom_ranker")
TEXTS = ["A mammal that swims.", "The whale is a large mammal that lives in the sea.", "A fish."]
REFERENCE = "A large mammal that lives in the sea."
LIST = Ranking(id="1", instruction="What is a whale?", reference=REFERENCE, responses=[Response(text=t) for t in TEXTS])


def nearness(row: Ranking) -> list[float]:
    return [rouge_l(each.text, row.reference or "") for each in row.responses]


class NearestRanker:
    """Orders responses by ROUGE-L with the reference."""

    name = "nearest"

    def __init__(self, settings: Rank, context: StageContext) -> None:
        """`settings.options` holds what the recipe tells it."""

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Give every response a score; ranks follow from scores."""
        return [with_scores(row, nearness(row), self.name) for row in rows]

    def figures(self) -> dict[str, Any]:
        """What the report says of its work."""
        return {}


def main() -> None:
    write_rows(OUT / "responses.jsonl", [LIST])
    custom = {"kind": "rank", "by": f"{__file__}:NearestRanker", "responses": str(OUT / "responses.jsonl")}
    run_recipe(build_recipe({"name": "custom_ranker", "stages": {"ranked": custom}}), OUT)
    (row,) = read_rows(OUT / "ranked" / "rankings.jsonl", Ranking)
    print(*(f"{each.rank}  {each.text}" for each in row.responses), sep="\n")


if __name__ == "__main__":
    main()
