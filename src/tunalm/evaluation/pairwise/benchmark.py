"""Vicuna QA, or any other questions, in an evaluation: a judge compares every model's answers with one other's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

from tunalm.calls.context import Calls
from tunalm.evaluation.pairwise.answers import check_answers, load_questions, read_answers, split_name
from tunalm.evaluation.pairwise.comparisons import METRIC, JudgeRules, Pair, PairVerdict, compare
from tunalm.evaluation.pairwise.prompts import GUIDED
from tunalm.evaluation.pairwise.winrates import results
from tunalm.recipe import BenchmarkSettings
from tunalm.records import Instruction, Prediction, Verdict
from tunalm.store import local_path


class PairwiseBenchmark:
    """The share of questions that a model wins against another, a tie as half; the other's own share is 50."""

    metric = METRIC

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._settings = settings
        self._questions: list[Instruction] = []

    @property
    def max_new_tokens(self) -> int | None:
        """Tokens of the longest answer to the published questions."""
        return 1024 if self._settings.name == "vicuna" else None

    @property
    def note(self) -> str:
        """Judge, mode, opponent and coverage."""
        settings, rows = self._settings, self.rows()
        guided = sum(row.task in GUIDED and row.reference is not None for row in rows)
        shown = f" ({guided} with a right answer shown)" if settings.mode == "sound" else ""
        judge = getattr(settings.judge, "model", None) or getattr(settings.judge, "kind", "")
        against = settings.against or "the first model"
        return f"against {against}, {settings.mode} mode, judged by {judge}, {len(rows)} questions{shown}"

    def files(self) -> list[Path]:
        """The files of the questions, of right answers and of the other model's answers."""
        settings = self._settings
        named = [split_name(source)[0] for source in (settings.right_answers, settings.against) if source is not None]
        paths = [local_path(source) for source in (settings.instructions.source, *named)]
        return [path for path in paths if path.is_file()]

    def rows(self) -> list[Instruction]:
        """The questions; `task` is the category of each."""
        if not self._questions:
            self._questions = load_questions(self._settings.instructions, self._settings.right_answers)
        return self._questions

    def compare(self, predictions: Sequence[Prediction], calls: Calls) -> list[Verdict]:
        """Have the answers of every model judged beside those of the other; see `Comparing`."""
        settings, rules = self._settings, self._rules
        assert settings.judge is not None  # Benchmark has checked it
        others = self._others(predictions)
        questions = {row.id: row for row in self.rows()}
        pairs = [Pair(questions[answer.id], answer, others[answer.id]) for answer in predictions]
        return list(compare(pairs, rules, settings.judge, calls))

    def totals(self, answers: Sequence[tuple[Prediction, Verdict]]) -> dict[str, Any]:
        """Rates, their intervals, and what gives the judge away."""
        settings = self._settings
        judge = None if settings.judge is None else settings.judge.model_dump(mode="json")
        config = {"mode": settings.mode, "judge": judge, "max_review_tokens": settings.max_review_tokens}
        comparisons = [cast(PairVerdict, verdict) for _, verdict in answers]
        return results(settings.name, {"": comparisons}, config)

    def metrics(self, prediction: Prediction, verdict: Verdict) -> dict[str, float | None]:
        """What the answer won: 1, 1/2 for a tie, 0."""
        return {METRIC: verdict.score}

    @property
    def _rules(self) -> JudgeRules:
        return JudgeRules(self._settings.mode, self._settings.max_review_tokens)

    def _others(self, predictions: Sequence[Prediction]) -> dict[str, Prediction]:
        """Answers to compare with, by question."""
        other = self._settings.against or predictions[0].model
        own = {answer.id: answer for answer in predictions if answer.model == other}
        return own or self._stored(other)

    def check(self, models: Collection[str]) -> None:
        """Read the other model's answers, if they are in a file: raises as `read_answers` and `check_answers`."""
        if self._settings.against is not None and self._settings.against not in models:
            self._stored(self._settings.against)

    def _stored(self, other: str) -> dict[str, Prediction]:
        found = read_answers(*split_name(other), self._settings.label)
        check_answers(other, found, self.rows())
        return found
