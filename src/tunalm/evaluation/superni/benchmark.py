"""Super-NI in an evaluation: its prompts, and the published totals of the answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tokenizers import Tokenizer

from tunalm.engines.models import local_folder
from tunalm.errors import ModelError
from tunalm.evaluation.base import Question
from tunalm.evaluation.sources import in_turn, whole_folder
from tunalm.evaluation.superni.data import TestRow, TestTask, coverage, load_tasks, task_files
from tunalm.evaluation.superni.metrics import RowScore, score_row
from tunalm.evaluation.superni.prompts import examples, instruction, tk_instruct
from tunalm.evaluation.superni.scoring import results
from tunalm.recipe import BenchmarkSettings
from tunalm.records import Prediction, Verdict
from tunalm.store import local_path


class SuperNIBenchmark:
    """The test tasks that there are; the mean over rows is the ROUGE-L of the benchmark."""

    metric = "rougeL"
    max_new_tokens = 128

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._settings = settings
        tasks = load_tasks(whole_folder(settings))
        asked = [(task, row) for task in tasks for row in task.instances]
        self._asked = in_turn(asked, lambda each: each[0].name, settings.instructions.limit)
        self._questions: list[Question] = []

    @property
    def note(self) -> str:
        """Shots, encoding, limits, examples really shown, and coverage."""
        settings, rows = self._settings, self.rows()
        covered = coverage(Counter(row.task or "" for row in rows))
        shown = fmean(row.num_examples or 0 for row in rows)
        cut = sum(row.prompt_cut for row in rows)
        room = f"prompts of at most {settings.max_prompt_tokens} tokens" + (f" ({cut} cut)" if cut else "")
        if settings.encoding != "tk-instruct":
            room = f"examples within {settings.max_prompt_tokens} tokens, no text cut"
        return (
            f"{settings.shots}-shot ({shown:.2f} examples shown), encoding {settings.encoding},"
            f" {room if settings.tokenizer else 'prompts of any length'},"
            f" {covered['tasks']} tasks, {covered['rows']} rows"
        )

    def files(self) -> list[Path]:
        """The files of the tasks."""
        return task_files(local_path(self._settings.instructions.source))

    def rows(self) -> list[Question]:
        """The questions; `task` is the task of each."""
        if not self._questions:
            tokenizer = _open_tokenizer(self._settings.tokenizer) if self._settings.tokenizer else None
            self._questions = [self._question(task, row, tokenizer) for task, row in self._asked]
        return self._questions

    def score(self, prediction: Prediction) -> float:
        """The largest ROUGE-L F1 with one of the references."""
        return score_row(prediction.prediction, prediction.references).rougeL

    def totals(self, answers: Sequence[tuple[Prediction, Verdict]]) -> dict[str, Any]:
        """ROUGE-L and exact match over rows, tasks and categories; a failed answer is an empty one."""
        scores = [
            score_row(prediction.prediction, prediction.references)
            if prediction.failure is None
            else RowScore(0.0, 0.0)
            for prediction, _ in answers
        ]
        shown: defaultdict[str, list[int]] = defaultdict(list)
        for question in self.rows():
            shown[question.task or ""].append(question.num_examples or 0)
        config = {
            "shots": self._settings.shots,
            "encoding": self._settings.encoding,
            "template": answers[0][0].template if answers else None,
            "max_prompt_tokens": self._settings.max_prompt_tokens if self._settings.tokenizer else None,
            "examples_shown": {task: fmean(numbers) for task, numbers in shown.items()},
            "prompts_cut": sum(question.prompt_cut for question in self.rows()),
        }
        return results([prediction.task or "" for prediction, _ in answers], scores, config)

    def metrics(self, prediction: Prediction, verdict: Verdict) -> dict[str, float | None]:
        """ROUGE-L and exact match, 0-1."""
        if prediction.failure is not None:
            return dict.fromkeys(RowScore._fields)
        return score_row(prediction.prediction, prediction.references)._asdict()

    def _question(self, task: TestTask, row: TestRow, tokenizer: Tokenizer | None) -> Question:
        settings, room = self._settings, self._settings.max_prompt_tokens
        count = None if tokenizer is None else lambda text: len(tokenizer.encode(text).ids)
        shown = examples(task, row.input, settings.shots, room, count)
        prompt, cut = tk_instruct(task, row.input, shown), False
        if tokenizer is not None and settings.encoding == "tk-instruct":
            ids = tokenizer.encode(prompt).ids
            if cut := len(ids) > room:  # as published: the cue at its end is lost
                prompt = tokenizer.decode(ids[:room], skip_special_tokens=True)
        return Question(
            id=row.id,
            instruction=instruction(task, shown),
            input=row.input.strip(),
            references=list(row.references),
            task=task.name,
            raw=prompt,
            always_raw=settings.encoding == "tk-instruct",
            num_examples=len(shown),
            prompt_cut=cut,
        )


def _open_tokenizer(model: str) -> Tokenizer:
    folder = local_folder(model)
    path = None if folder is None else folder / "tokenizer.json"
    if path is None or not path.is_file():
        raise ModelError(
            model,
            found="no tokenizer.json on this machine to count the tokens of prompts with",
            fix="Give a model folder as `tokenizer`, or leave it out for prompts of any length.",
        )
    return Tokenizer.from_file(str(path))
