"""tunalm from Python: records in and records out, without a recipe, a run folder or files.

    instructions --sample--> lists --rank--> ranked lists --train--> a model folder --evaluate--> a table
                                       `--reward--> a reward function for a trainer of somebody else

Each function is the stage of the same name without its folder, and takes the knobs of that stage (`tunalm rank --knobs`
lists them) as keyword arguments. Answers of models are kept in the ledger that `cache` names: a call that is repeated,
or was interrupted, asks for and pays for what is missing only. Without `cache` they live as long as the call.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from tunalm.calls.budget import Budget
from tunalm.calls.context import Calls
from tunalm.calls.prices import load_prices
from tunalm.data import load
from tunalm.data.files import RawRow
from tunalm.data.lists.reading import load_lists, to_lists
from tunalm.data.shapes import to_instructions
from tunalm.engines.checking import check_templates, check_weights
from tunalm.errors import DataError, RecipeError
from tunalm.progress import console
from tunalm.recipe import Data, Evaluate, Instruct, Rank, Sample, Stage, Train
from tunalm.recipe.loading import build_recipe
from tunalm.records import EvaluationResults, Instruction, Ranking
from tunalm.rewards import Reward

Engine = str | PathLike[str] | Mapping[str, Any] | BaseModel
"""A model folder, a hub id, `embedded:smollm2`, or the settings of an engine, such as {base_url: ..., model: ...}."""
Instructions = str | PathLike[str] | Iterable[str | Mapping[str, Any] | Instruction]
"""A file, a hub data set or `checkable:train`; or rows: plain strings, dicts in any shape that files may have (a
`datasets.Dataset` is such rows), `Instruction`s."""
Lists = str | PathLike[str] | Iterable[Ranking | Mapping[str, Any]]
"""A file of lists of responses, or the lists."""
AnyStage = TypeVar("AnyStage", bound=Stage)

IN_MEMORY = "python:rows"
"""Stands in settings for the file that rows would have come from."""


class Judge:
    """A language model that ranks: `tunalm.rank(lists, by=tunalm.Judge(base_url=..., model=...))`.

    Args:
        model: as the server knows it; without `base_url` a model folder, a hub id or `embedded:smollm2`.
        **settings: of the engine, see docs/engines.md. How the judge is asked (`protocol`, `num_orders`, ...) are knobs
            of `rank`.
    """

    def __init__(self, model: str, **settings: Any) -> None:
        self.engine = {"model": model, **settings}

    @cached_property
    def reward(self) -> Reward:
        """This judge as a reward function: `GRPOTrainer(..., reward_funcs=[judge.reward])`. What it answers is kept as
        long as the judge; `tunalm.reward` takes a file that keeps it, a budget, and knobs."""
        return reward(self)

    def __repr__(self) -> str:
        return f"Judge({', '.join(f'{name}={value!r}' for name, value in self.engine.items())})"


class ScoreTable(EvaluationResults):
    """What every model reaches on every benchmark, and pairs of models compared; `print` shows it as a table."""

    def __rich__(self) -> Any:
        from tunalm.reporting.table import results_table

        return results_table(self)

    def __str__(self) -> str:
        from rich.console import Console

        screen = Console(width=100, color_system=None)
        with screen.capture() as capture:
            screen.print(self)
        return capture.get().rstrip()


def instruct(
    engine: Engine | Judge,
    seeds: Instructions,
    *,
    limit: int | None = None,
    cache: str | PathLike[str] | None = None,
    max_cost: float | None = None,
    trust_remote_code: bool = False,
    **knobs: Any,
) -> list[Instruction]:
    """Let a model write new instructions like those of people, with inputs and outputs (Self-Instruct).

    Args:
        engine: who writes.
        seeds: people's instructions, with outputs, and with `is_classification` where the model is to be asked for it.
        limit: at most so many new instructions.
        cache, max_cost, trust_remote_code: as for `sample`.
        **knobs: of the stage `instruct`, for instance `num_instructions=100`, `max_instances=0`.

    Returns:
        New rows in the order in which their instructions were kept, then the seeds (`include_seeds`). What was left
        out is counted on the terminal.

    Raises:
        RecipeError: a knob is unknown or wrong.
        DataError: the seeds cannot be read, or lack what the model is shown.
        TunaError: the model cannot be loaded or asked, or hardly any of its replies can be used.
    """
    from tunalm import instructing

    given = {"engine": engine, "seeds": IN_MEMORY}
    settings = _settings(Instruct, "instruct", given, knobs, limit, trust_remote_code)
    with _calls(cache, max_cost, trust_remote_code) as calls:
        made = instructing.instruct(_instructions(seeds, None), settings, calls)
    _say_failures("replies", made.failures)
    for what, number in made.left_out().items():
        console().print(f"left out, {what}: {number}", markup=False, soft_wrap=True)
    return made.rows


def sample(
    engine: Engine | Judge,
    instructions: Instructions,
    *,
    limit: int | None = None,
    cache: str | PathLike[str] | None = None,
    max_cost: float | None = None,
    trust_remote_code: bool = False,
    **knobs: Any,
) -> list[Ranking]:
    """Draw several responses to every instruction.

    Args:
        engine: who answers.
        instructions: what is answered.
        limit: at most so many of them.
        cache: SQLite file that keeps the answers; it is made when there is none.
        max_cost: dollars that all calls kept in `cache` may cost together; None sets no limit.
        trust_remote_code: whether models may run code of their own.
        **knobs: of the stage `sample`, for instance `num_responses=4`, `logprobs=True`, `max_rouge_l=0.8`.

    Returns:
        One list per instruction, not ranked. A draw that failed is a response with its reason in `failure`.

    Raises:
        RecipeError: a knob is unknown or wrong.
        DataError: the instructions cannot be read.
        TunaError: the model cannot be loaded, or asked.
    """
    from tunalm import sampling

    given = {"engine": engine, "data": IN_MEMORY}
    settings = _settings(Sample, "sample", given, knobs, limit, trust_remote_code)
    rows = _instructions(instructions, limit)
    with _calls(cache, max_cost, trust_remote_code) as calls:
        lists = sampling.sample(rows, settings, calls)
    _say_failures("responses", [response.failure for row in lists for response in row.responses])
    return lists


def rank(
    lists: Lists,
    by: str | Judge | Callable[[Instruction, str], Any] = "likelihood",
    *,
    limit: int | None = None,
    cache: str | PathLike[str] | None = None,
    max_cost: float | None = None,
    trust_remote_code: bool = False,
    **knobs: Any,
) -> list[Ranking]:
    """Put the responses of every list in order.

    Args:
        lists: what is ranked. An earlier ranking is left out.
        by: a function of an `Instruction` and the text of one response that returns a number (more is better, equal is
            a tie); a `Judge`; `likelihood`, `verifier` or `proxy`; `FILE.py:NAME` or `package.module:NAME`.
        limit: at most so many lists.
        cache, max_cost, trust_remote_code: as for `sample`.
        **knobs: of the stage `rank`, for instance `length_penalty=1.3`, `num_orders=2`, `veto="verifier"`.

    Returns:
        The lists in their order. `rank` is 0 for the best response, equal for a tie, None for a response that takes no
        part (it failed or is empty); a list that could not be ranked has its reason in `failure`.

    Raises:
        RecipeError: a knob is unknown or wrong.
        DataError: there are no lists, two have the same id, or none has two responses.
        TunaError: the judge or the teacher cannot be asked.
    """
    from tunalm import ranking

    settings, function = _ranking(by, knobs, limit, trust_remote_code)
    rows = _lists(lists)[:limit]
    with _calls(cache, max_cost, trust_remote_code) as calls:
        ranked = ranking.rank(rows, settings, calls, function=function)
    _say_failures("lists", [row.failure for row in ranked])
    return ranked


def reward(
    by: str | Judge | Callable[[Instruction, str], Any],
    *,
    cache: str | PathLike[str] | None = None,
    max_cost: float | None = None,
    trust_remote_code: bool = False,
    **knobs: Any,
) -> Reward:
    """A way of ranking as a reward function of TRL: `GRPOTrainer(..., reward_funcs=[tunalm.reward(judge)])`.

    All completions of a prompt are ranked together, so a judge compares them, in several orders. In a launch of several
    processes each has a ledger of its own and an equal part of `max_cost`.

    Args:
        by: as for `rank`, for instance a `Judge`, `verifier`, `proxy` (with `model=FOLDER`) or a function.
        cache: SQLite file that keeps the answers; None keeps them as long as the function that is returned.
        max_cost: dollars that all calls kept in `cache` may cost together; the call that could exceed it is not sent,
            and training stops with an error. None sets no limit.
        trust_remote_code: whether models may run code of their own.
        **knobs: of the stage `rank`, for instance `num_orders=2`.

    Returns:
        A function of prompts, completions and columns of the data that gives a score for each completion, or None for
        those of a list that could not be ranked.

    Raises:
        RecipeError: a knob is unknown or wrong.
    """
    settings, function = _ranking(by, knobs, None, trust_remote_code)
    place, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    room = ExitStack()
    path = Path(cache or Path(room.enter_context(tempfile.TemporaryDirectory())) / "ledger.sqlite")
    ledger = path.with_stem(f"{path.stem}-{place}") if place else path
    calls = room.enter_context(_calls(ledger, None if max_cost is None else max_cost / processes, trust_remote_code))
    opened: list[Any] = []

    def ranked(lists: list[Ranking]) -> list[Ranking]:
        from tunalm.ranking.combining import open_ranker
        from tunalm.ranking.stage import rank_by

        if not opened:  # once, and not before it is needed: a proxy is loaded, a server is asked what it can do
            opened.append((open_ranker(settings, calls, function), room))
        return rank_by(lists, opened[0][0], "completions")

    name = by.engine["model"] if isinstance(by, Judge) else by if isinstance(by, str) else by.__name__
    return Reward(ranked, f"tunalm_{name}")


def train(
    start: str | PathLike[str],
    rankings: Lists,
    *,
    out: str | PathLike[str],
    limit: int | None = None,
    trust_remote_code: bool = False,
    **knobs: Any,
) -> Path:
    """Train a model on ranked lists (Eq. 4-6).

    Args:
        start: a model folder, a hub id or `embedded:smollm2`.
        rankings: lists with ranks.
        out: folder of this training. The same call resumes what was interrupted, and returns at once what is done.
        limit: at most so many lists.
        trust_remote_code: whether models may run code of their own.
        **knobs: of the stage `train`, for instance `margin=0.1`, `epochs=1`. Where no list has a reference,
            `mle_weight` is 0 if it is not given, because there is nothing for Eq. 6 to learn.

    Returns:
        A Hugging Face folder with weights, tokenizer and prompt template.

    Raises:
        RecipeError: a knob is unknown or wrong.
        DataError: no list has two ranked responses, or references are missing.
        StoreError: `out` holds another training.
        TunaError: the model cannot be loaded or trained.
    """
    rows = _lists(rankings)[:limit]
    if "mle_weight" not in knobs and rows and all(row.reference is None for row in rows):
        knobs["mle_weight"] = 0
        console().print("no list has a reference: only the ranking is learned (mle_weight=0)", markup=False)
    settings = _settings(Train, "train", {"start": start, "rankings": IN_MEMORY}, knobs, limit, trust_remote_code)
    from tunalm import training

    training.train(rows, settings, Path(out), trust_remote_code=trust_remote_code)
    return Path(out) / "model"


def evaluate(
    models: Mapping[str, Engine | Judge],
    benchmarks: Sequence[Any],
    *,
    limit: int | None = None,
    cache: str | PathLike[str] | None = None,
    max_cost: float | None = None,
    trust_remote_code: bool = False,
    **knobs: Any,
) -> ScoreTable:
    """Let models answer held-out instructions greedily, score the answers and compare the models.

    Args:
        models: by their name in the table; the others are compared with the first.
        benchmarks: names (`checkable:heldout`) or settings ({name: vicuna, data: ..., judge: Judge(...)}).
        limit: at most so many instructions of each benchmark; `lists` has `rows` for that.
        cache, max_cost, trust_remote_code: as for `sample`.
        **knobs: of the stage `evaluate`, for instance `max_new_tokens=64`.

    Returns:
        Values and differences (0-100, or in the unit of the measure) with 95 % intervals; `print` shows them.

    Raises:
        RecipeError: a knob is unknown or wrong.
        DataError: a benchmark cannot be read.
        TunaError: a model cannot be loaded, or asked.
    """
    from tunalm import evaluation

    given = {"models": models, "benchmarks": benchmarks}
    settings = _settings(Evaluate, "evaluate", given, knobs, limit, trust_remote_code)
    with _calls(cache, max_cost, trust_remote_code) as calls:
        found = evaluation.evaluate(settings, calls)
    _say_failures("answers", [prediction.failure for prediction in found.predictions])
    return ScoreTable.model_validate(found.results.model_dump())


def _ranking(
    by: Any, knobs: dict[str, Any], limit: int | None, trust_remote_code: bool
) -> tuple[Rank, Callable[[Instruction, str], Any] | None]:
    """A way of ranking as settings, and the function that ranks in their place, if it is one."""
    function = by if callable(by) else None
    judge = {"by": "judge", "engine": by} if isinstance(by, Judge) else {}
    given = {"by": IN_MEMORY if function else by, "responses": IN_MEMORY, **judge}
    return _settings(Rank, "rank", given, knobs, limit, trust_remote_code), function


def _settings(
    kind: type[AnyStage],
    name: str,
    given: dict[str, Any],
    knobs: dict[str, Any],
    limit: int | None,
    trust_remote_code: bool,
) -> AnyStage:
    """Arguments and knobs as the settings of a stage, checked as those of a recipe are."""
    where = f"tunalm.{name}()"
    if twice := sorted(knobs.keys() & {"kind", *given}):
        fix = "Leave it out: the other arguments say it."
        raise RecipeError(f"{where}: {twice[0]}", found="a knob that only recipes have", fix=fix)
    if limit is not None and limit < 1:
        raise RecipeError(f"{where}: limit", found=str(limit), fix="Give a number from 1 on, or leave it out.")
    tree = {"name": "python", "stages": {name: {"kind": name, **_plain({**given, **knobs})}}}
    try:
        settings = build_recipe(tree, where=where, limit=limit).stages[name]
    except RecipeError as error:
        place = error.where.replace(f"stages.{name}.", "").replace(f": stages.{name}", "")
        fix = error.fix.replace(" in the recipe", "")
        raise RecipeError(place, found=error.found, expected=error.expected, fix=fix) from error
    assert isinstance(settings, kind)
    check_templates(settings, where)
    check_weights(settings, trust_remote_code=trust_remote_code)
    return settings


def _plain(value: Any) -> Any:
    """Knobs as a recipe would spell them."""
    if isinstance(value, Judge):
        return _plain(value.engine)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, PathLike):
        return str(Path(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@contextmanager
def _calls(cache: str | PathLike[str] | None, max_cost: float | None, trust_remote_code: bool) -> Iterator[Calls]:
    """Calls whose answers are kept in a file, or until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.sqlite" if cache is None else Path(cache)
        ledger.parent.mkdir(parents=True, exist_ok=True)
        budget = None if max_cost is None else Budget(max_cost, load_prices(None))
        yield Calls(ledger, trust_remote_code, budget)


def _instructions(given: Instructions, limit: int | None) -> list[Instruction]:
    if isinstance(given, str | PathLike):
        return load(Data(source=str(given), limit=limit))
    rows = list(given)
    if not rows:
        raise DataError("instructions", found="no rows", fix="Give some strings, rows or Instructions.")
    raw = [RawRow(f"instructions[{number}]", _row(row)) for number, row in enumerate(rows[:limit])]
    return to_instructions(raw, "instructions")


def _row(given: Any) -> Any:
    if isinstance(given, str):
        return {"instruction": given}
    if isinstance(given, Instruction):
        return given.model_dump(exclude_none=True)
    return dict(given) if isinstance(given, Mapping) else given


def _lists(given: Lists) -> list[Ranking]:
    if isinstance(given, str | PathLike):
        return load_lists(Path(given))
    rows = list(given)
    if all(isinstance(row, Ranking) for row in rows):
        return [row.with_dense_ranks() for row in rows if isinstance(row, Ranking)]
    return to_lists([RawRow(f"lists[{number}]", _row(row)) for number, row in enumerate(rows)], "lists")


def _say_failures(what: str, failures: Sequence[str | None]) -> None:
    reasons = [failure for failure in failures if failure is not None]
    if reasons:
        commonest = max(set(reasons), key=reasons.count)
        message = f"{len(reasons)} of {len(failures)} {what} failed, most often because: {commonest}"
        console().print(message, markup=False, soft_wrap=True)
