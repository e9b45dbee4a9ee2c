"""The ranker of a stage: from the table or the user's own, with a veto and a fallback if asked. Any rankers compose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from inspect import isclass
from typing import Any

from tunalm.calls.context import Calls
from tunalm.errors import DataError
from tunalm.extensions import load_object
from tunalm.progress import tracked
from tunalm.ranking.base import Ranker, assign_ranks, unranked, with_ranks
from tunalm.ranking.judge.questions import inquiries
from tunalm.ranking.verifier import Function, FunctionRanker, VerifierRanker
from tunalm.recipe import RANKERS, Rank
from tunalm.records import Ranking


def open_ranker(settings: Rank, calls: Calls, function: Function | None = None) -> Ranker:
    """Make the ranker that `settings` describe, with its fallback and its veto.

    Args:
        settings: of the stage.
        calls: reach models.
        function: ranks in place of what `settings.by` names.

    Raises:
        RecipeError: a ranker of the user's own cannot be loaded.
        TunaError: a ranker cannot be used as it is described.
    """
    ranker = _make(settings.by, settings, calls, function)
    if settings.fallback is not None:
        judge = _make(settings.fallback, settings, calls)
        ranker = Fallback(ranker, judge, settings)
    if settings.veto is not None:
        ranker = Veto(ranker, VerifierRanker(settings, calls), settings.veto_below)
    return ranker


def _make(by: str, settings: Rank, calls: Calls, function: Function | None = None) -> Ranker:
    """A ranker: an instance of a class that ranks lists, or a function (or an instance) that scores responses."""
    found: Any = load_object(RANKERS.get(by, by), "by") if function is None else function
    make: Callable[..., Any] = found
    made = make(settings, calls) if isclass(found) else found
    if hasattr(made, "rank"):
        ranker: Ranker = made
        return ranker
    return FunctionRanker(made, f"function {getattr(made, '__name__', type(made).__name__)}")


class Veto:
    """Puts what a verifier finds wrong below all that it finds right.

    Ranks change, scores do not: they stay what the ranker gave. A response that the verifier could not check is not
    ranked; a list that has no checker keeps its ranks.

    Args:
        ranker: orders the responses in each of the two groups.
        verifier: scores the responses of a list, 0-1.
        below: a response with a smaller score is wrong.
    """

    def __init__(self, ranker: Ranker, verifier: FunctionRanker, below: float = 1.0) -> None:
        self._ranker, self._verifier, self._below = ranker, verifier, below
        self.name = f"{ranker.name}, veto {verifier.name}"
        self._counts: Counter[str] = Counter()

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Rank all lists, then check what has a rank.

        Raises:
            DataError: the ranker's; or no list could be checked.
        """
        ranked = self._ranker.rank(rows)
        result = []
        for row in tracked(ranked, "checking"):
            result.append(row if row.failure is not None else self._vetoed(row))
        self._verifier.require_scores()
        if self._counts["lists_without_checker"] and not self._counts["lists_checked"]:
            raise DataError(
                "veto: verifier",
                found="no list with a checker",
                fix="Give a verifier of your own (verifier: FILE.py:FUNCTION), or remove veto.",
            )
        return result

    def figures(self) -> dict[str, Any]:
        """Those of the ranker, and what the veto did."""
        names = ("lists_checked", "lists_without_checker", "responses_wrong", "lists_changed", "best_changed")
        counts = {name: self._counts[name] for name in (*names, "responses_not_checked")}
        return {**self._ranker.figures(), "veto": counts}

    def _vetoed(self, row: Ranking) -> Ranking:
        checks = self._verifier.check(row)
        if checks is None:
            self._counts["lists_without_checker"] += 1
            return row
        self._counts["lists_checked"] += 1
        before = [response.rank for response in row.responses]
        marks, reasons = checks[0], {place: why for place, why in checks[1].items() if before[place] is not None}
        behind = len(before)  # no rank is as large
        places = [
            None if rank is None or mark is None else -rank - behind * (mark < self._below)
            for rank, mark in zip(before, marks, strict=True)
        ]
        known = [place for place in places if place is not None]
        self._counts["responses_not_checked"] += len(reasons)
        if reasons and len(known) < 2:
            return unranked(row, f"fewer than two responses could be checked: {next(iter(reasons.values()))}")
        after = assign_ranks(places)
        self._counts["responses_wrong"] += sum(place <= -behind for place in known)
        self._counts["lists_changed"] += after != before
        self._counts["best_changed"] += _best(after) != _best(before)
        said: dict[str, Any] = {"scores": marks, "ranks_before": before}
        if reasons:
            said["not_scored"] = {str(place): reason for place, reason in reasons.items()}
        judgement = {**(row.judgement or {}), "veto": said}
        ranked_by = f"{row.ranked_by}, veto {self._verifier.name}"
        row = with_ranks(row, after, [response.score for response in row.responses])
        return row.model_copy(update={"judgement": judgement, "ranked_by": ranked_by})


class Fallback:
    """Keeps the ranks of a ranker that is sure of them, and asks another one about the other lists.

    Args:
        first: says in `judgement["confidence"]` how sure it is of a list, 0-1; a list without it is not sure.
        second: asked about lists of which `first` is less sure, or which it could not rank.
        settings: of the stage; `min_confidence` is sure enough.
    """

    def __init__(self, first: Ranker, second: Ranker, settings: Rank) -> None:
        self._first, self._second, self._settings = first, second, settings
        self.name = f"{first.name}, else {second.name}"
        self._kept = self._asked = self._saved = 0

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Rank all lists by the first, then by the second those that need it; `ranked_by` tells who did."""
        first = {row.id: row for row in self._first.rank(rows)}
        unsure = [row for row in rows if not self._is_sure(first[row.id])]
        second = {row.id: self._noted(row, first[row.id]) for row in self._second.rank(unsure)} if unsure else {}
        kept = [row for row in rows if row.id not in second]
        self._kept, self._asked, self._saved = len(kept), len(unsure), judge_calls(kept, self._settings)
        return [second.get(row.id, first[row.id]) for row in rows]

    def figures(self) -> dict[str, Any]:
        """Those of both rankers, the lists that each has ranked, and the calls that the second was not asked for."""
        lists = {self._first.name: self._kept, self._second.name: self._asked}
        own = {"lists_by": lists, "calls_saved": self._saved}
        return {**self._first.figures(), **self._second.figures(), **own}

    def _is_sure(self, row: Ranking) -> bool:
        confidence = (row.judgement or {}).get("confidence")
        return row.failure is None and confidence is not None and confidence >= self._settings.min_confidence

    @staticmethod
    def _noted(row: Ranking, first: Ranking) -> Ranking:
        """Keep beside the second's judgement how sure the first was."""
        confidence = (first.judgement or {}).get("confidence")
        return row.model_copy(update={"judgement": {**(row.judgement or {}), "first_confidence": confidence}})


def judge_calls(rows: Sequence[Ranking], settings: Rank) -> int:
    """Calls that a judge makes about some lists, without those that test it."""
    return sum(len(each.questions) for each in inquiries(rows, settings.model_copy(update={"canaries": 0})))


def _best(ranks: Sequence[int | None]) -> list[int]:
    return [place for place, rank in enumerate(ranks) if rank == 0]
