"""Ranking: lists of responses in, the same lists with ranks out.

    list[Ranking] --ranker--> a score per response --base--> ranks: 0 is best, equal is a tie, None takes no part
      likelihood  Eq. 3 of what the teacher found likely (section 2.2)     judge     a model compares them (section 2.3)
      proxy       a small model that has learned from a judge              verifier  a program, or a function of yours
    ranked lists --combining: veto, fallback--> list[Ranking] --run--> rankings.jsonl

`rank` is a function from records to records; `run` is the stage, `rank` with a folder; `requests` says what it will
ask.
"""

from tunalm.ranking.stage import rank, requests, run

__all__ = ["rank", "requests", "run"]
