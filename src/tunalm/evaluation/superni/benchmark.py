"""Super-NI in an evaluation: its prompts, and the published totals of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tokenizers import Tokenizer

from tunalm.data.prompts import alpaca_text
from tunalm.engines.models import local_folder
from tunalm.errors import ModelError
from tunalm.evaluation.base import Question
from tunalm.evaluation.sources import in_turn, whole_folder
from tunalm.evaluation.superni.data import Instance, TestTask, coverage, load_tasks, task_files
from tunalm.evaluation.superni.metrics import RowScore, score_row
from tunalm.evaluation.superni.prompts import Shown, instruction, tk_instruct
from tunalm.evaluation.superni.scoring import results
from tunalm.recipe import Benchmark as BenchmarkSettings
from tunalm.records import Message, Prediction, Verdict


class SuperNIBenchmark:
    """The test tasks that there are; the mean over rows is the ROUGE-L of the benchmark."""

    metric = "rougeL"

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._settings = settings
        self._tasks = load_tasks(whole_folder(settings))
        asked = [(task, row) for task in self._tasks for row in task.instances]
        self._asked = in_turn(asked, lambda each: each[0].name, settings.data.limit)
        self._questions: list[Question] = []

    @property
    def note(self) -> str:
        """Shots, template, limits, examples really shown, and coverage."""
        covered, settings = self._coverage(), self._settings
        shown = fmean(question.num_examples or 0 for question in self.rows())
        return (
            f"{settings.shots}-shot ({shown:.2f} examples shown), template {settings.template}, {self._room()},"
            f" {covered['tasks']} tasks, {covered['rows']} rows"
        )

    def _room(self) -> str:
        """What the limit of tokens does: only the published encoding has one for the whole prompt."""
        settings = self._settings
        if not settings.tokenizer:
            return "prompts of any length"
        if settings.template == "tk-instruct":
            cut = sum(question.prompt_cut for question in self.rows())
            return f"prompts of at most {settings.max_prompt_tokens} tokens" + (f" ({cut} cut)" if cut else "")
        return f"examples within {settings.max_prompt_tokens} tokens, no text cut"

    def files(self) -> list[Path]:
        """The files of the tasks."""
        return task_files(Path(self._settings.data.source).expanduser())

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
        config = {
            "shots": self._settings.shots,
            "template": self._settings.template,
            "max_prompt_tokens": self._settings.max_prompt_tokens if self._settings.tokenizer else None,
            "examples_shown": self._examples_shown(),
            "prompts_cut": sum(question.prompt_cut for question in self.rows()),
        }
        return results([prediction.task or "" for prediction, _ in answers], scores, config)

    def metrics(self, prediction: Prediction, verdict: Verdict) -> dict[str, float | None]:
        """ROUGE-L and exact match, 0-1."""
        if prediction.failure is not None:
            return dict.fromkeys(RowScore._fields)
        return score_row(prediction.prediction, prediction.references)._asdict()

    def _question(self, task: TestTask, row: Instance, tokenizer: Tokenizer | None) -> Question:
        count: Callable[[str], int] | None = None if tokenizer is None else lambda text: len(tokenizer.encode(text).ids)
        settings = self._settings
        write = tk_instruct if settings.template == "tk-instruct" else instruction
        shown = write(task, row.input, settings.shots, settings.max_prompt_tokens, count)
        if settings.template == "tk-instruct" and tokenizer is not None:
            shown = _cut(shown, tokenizer, settings.max_prompt_tokens)
        elif settings.template == "alpaca":
            message = Message(role="user", content=shown.instruction, input=shown.input)
            shown = Shown(alpaca_text([message]), "", shown.num_examples)
        return Question(
            id=row.id,
            instruction=shown.instruction,
            input=shown.input,
            references=list(row.references),
            task=task.name,
            raw=settings.template != "chat",
            num_examples=shown.num_examples,
            template=settings.template,
            prompt_cut=shown.cut,
        )

    def _coverage(self) -> dict[str, Any]:
        counts: dict[str, int] = {}
        for task, _ in self._asked:
            counts[task.name] = counts.get(task.name, 0) + 1
        return coverage(counts)

    def _examples_shown(self) -> dict[str, float]:
        """Mean number of examples in the prompts of every task."""
        shown: dict[str, list[int]] = {}
        for question in self.rows():
            shown.setdefault(question.task or "", []).append(question.num_examples or 0)
        return {task: fmean(numbers) for task, numbers in shown.items()}


def _cut(shown: Shown, tokenizer: Tokenizer, room: int) -> Shown:
    """Cut a prompt that has no room even without examples at its end, as published: the cue is lost."""
    ids = tokenizer.encode(shown.instruction).ids
    if len(ids) <= room:
        return shown
    return Shown(tokenizer.decode(ids[:room], skip_special_tokens=True), "", shown.num_examples, cut=True)


def _open_tokenizer(model: str) -> Tokenizer:
    folder = local_folder(model)
    path = None if folder is None else folder / "tokenizer.json"
    if path is None or not path.is_file():
        raise ModelError(
            model,
            found="no tokenizer.json on this machine",
            expected="a model folder that has one, to count the tokens of prompts",
            fix="Give a model folder as `tokenizer`, or leave it out for prompts of any length.",
        )
    return Tokenizer.from_file(str(path))
