"""Rankings as reward functions of other trainers, in the form that TRL calls them.

    prompts, completions --groups--> lists --a ranker--> ranked lists --> one number per completion

A trainer such as GRPO or RLOO draws several completions of each prompt. They become one list, so that a judge compares
them with each other, as it does in `tunalm.rank`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from tunalm.errors import DataError
from tunalm.records import Message, Ranking, Response
from tunalm.store import canonical, digest

COLUMNS = ("reference", "task", "checker")
"""Columns of a trainer's data that a ranker may read, as in `Instruction`."""
BELOW_THE_LAST = 1.0
"""How much less than the lowest score of its list a response gets that takes no part in the ranking."""

Prompt = str | Sequence[Mapping[str, Any]]
"""Plain text, or the turns of a conversation."""


class Reward:
    """A reward function: called with prompts and their completions, it gives a number for each completion.

    Args:
        rank: ranks lists and keeps their order.
        name: by which a trainer logs it.
    """

    def __init__(self, rank: Callable[[list[Ranking]], list[Ranking]], name: str) -> None:
        self._rank = rank
        self.__name__ = name

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Prompt], **columns: Any) -> list[float | None]:
        """Rank the completions of each prompt and return their scores.

        Args:
            prompts: one per completion; equal ones that follow each other are one list.
            completions: texts, or conversations whose last turn counts.
            **columns: of the trainer's data, one value per completion; `reference`, `task` and `checker` are used.

        Returns:
            The scores of the ranking; minus the ranks in a list whose order is not that of its scores (a `veto`, or a
            judge who states an order). A response that takes no part, because it is empty or degenerate, gets one less
            than the lowest of its list; all of a list that could not be ranked get None, which TRL leaves out.

        Raises:
            DataError: no prompt has two completions.
            TunaError: the judge cannot be asked, or asking would cost more than is allowed.
        """
        lists = _lists(prompts, completions, columns)
        if all(len(row.responses) < 2 for row in lists):
            fix = "Let the trainer draw two or more of each (num_generations)."
            raise DataError(self.__name__, found="prompts with one completion, which leaves nothing to rank", fix=fix)
        ranked = self._rank(lists)
        if callable(log := columns.get("log_metric")):  # of TRL
            log(f"{self.__name__}/lists_failed", sum(row.failure is not None for row in ranked) / len(ranked))
        return [score for row in ranked for score in _scores(row)]


def _lists(prompts: Sequence[Prompt], completions: Sequence[Prompt], columns: Mapping[str, Any]) -> list[Ranking]:
    """A list for each run of equal prompts. Its id is a digest of all that it holds, so that nothing is asked twice."""
    lists, seen = [], Counter[str]()
    for _, group in groupby(range(len(prompts)), key=lambda place: canonical(prompts[place])):
        places = list(group)
        turns = _turns(prompts[places[0]])
        found = {name: columns[name][places[0]] for name in COLUMNS if isinstance(columns.get(name), list)}
        texts = [_text(completions[place]) for place in places]
        name = digest([turns, texts])[:16]
        seen[name] += 1
        lists.append(
            Ranking(
                id=name if seen[name] == 1 else f"{name}-{seen[name]}",
                instruction=turns[-1]["content"],
                history=[Message.model_validate(turn) for turn in turns[:-1]],
                responses=[Response(text=text) for text in texts],
                **found,
            )
        )
    return lists


def _turns(prompt: Prompt) -> list[dict[str, str]]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": str(turn["role"]), "content": str(turn.get("content") or "")} for turn in prompt]


def _text(completion: Prompt) -> str:
    return completion if isinstance(completion, str) else _turns(completion)[-1]["content"] if completion else ""


def _scores(row: Ranking) -> list[float | None]:
    ranked = [each for each in row.responses if each.rank is not None]
    if row.failure is not None or not ranked:
        return [None] * len(row.responses)
    by_rank = sorted(ranked, key=lambda each: each.rank or 0)
    scores = [each.score for each in by_rank if each.score is not None]
    agree = len(scores) == len(ranked) and scores == sorted(scores, reverse=True)
    values = [None if each.rank is None else each.score if agree else -float(each.rank) for each in row.responses]
    last = min(value for value in values if value is not None) - BELOW_THE_LAST
    return [last if value is None else value for value in values]
