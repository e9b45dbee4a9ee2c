"""LMentry in an evaluation: its questions, and the published totals of the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunalm.evaluation.base import Question
from tunalm.evaluation.lmentry.data import NUM_EXAMPLES, load_questions, question_files
from tunalm.evaluation.lmentry.scoring import Scored, results, score_answer
from tunalm.evaluation.lmentry.tasks import TASKS
from tunalm.evaluation.sources import in_turn, whole_folder
from tunalm.recipe import BenchmarkSettings
from tunalm.records import Prediction, Verdict
from tunalm.store import local_path


class LMentryBenchmark:
    """All sets of questions; the mean over rows is the accuracy, every core task with the same weight.

    The 16 sets that only the robustness needs have weight 0.
    """

    metric = "accuracy"
    max_new_tokens = 50
    headline = "score"

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._settings = settings
        self._questions = load_questions(whole_folder(settings))
        asked = [(name, number) for name, questions in self._questions.items() for number in questions.examples]
        self._asked = in_turn(asked, lambda each: each[0], settings.instructions.limit)

    @property
    def note(self) -> str:
        """Coverage."""
        return f"{len(self._asked)} of {NUM_EXAMPLES} questions"

    def check(self, models: object) -> None:
        """Nothing is left to look at: the files are right if they could be read."""

    def files(self) -> list[Path]:
        """The files of the questions."""
        return question_files(local_path(self._settings.instructions.source))

    def rows(self) -> list[Question]:
        """The questions; `task` is the set of each."""
        sizes = Counter(name for name, _ in self._asked if name in TASKS)
        rows = []
        for name, number in self._asked:
            text = self._questions[name].examples[number]["input"]
            weight = len(self._asked) / (len(sizes) * sizes[name]) if name in sizes else 0.0
            rows.append(Question(id=f"{name}/{number}", instruction=text.strip(), task=name, raw=text, weight=weight))
        return rows

    def score(self, prediction: Prediction) -> float:
        """1 for an answer that the published scorer takes, else 0."""
        return float(self._scored(prediction).score)

    def totals(self, answers: Sequence[tuple[Prediction, Verdict]]) -> dict[str, Any]:
        """Accuracy, robustness and score over the questions that were asked; a failed answer is a wrong one."""
        scored = [self._scored(prediction) for prediction, _ in answers]
        template = answers[0][0].template if answers else None
        config = {"mode": "published", "truncate": False, "subset": True, "template": template}
        return results(scored, self._questions, config)

    def metrics(self, prediction: Prediction, verdict: Verdict) -> dict[str, float | None]:
        """Whether the answer is right, and whether that is certain."""
        return {"accuracy": verdict.score, "certainty": float(self._scored(prediction).certainty)}

    def _scored(self, prediction: Prediction) -> Scored:
        assert prediction.task is not None
        questions = self._questions[prediction.task]
        number = prediction.id.removeprefix(f"{prediction.task}/")
        if prediction.failure is not None:
            return Scored(questions, number, 0, 1)
        return score_answer(questions, number, prediction.prediction)
