"""The commands that have a judge compare answers: `tunalm score vicuna | pairwise` and `tunalm evaluate-judge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tunalm.errors import EXIT_FAILED_ROWS, RecipeError, spelled_out

OF_PARTS = ("accuracy", "both_correct", "positional_agreement", "prefers_longer", "adjusted_win_rate")
"""Figures of a subset or category that are printed; the file has them all."""
EXAMPLE = "--judge base_url=http://127.0.0.1:8000/v1 --judge model=NAME"

Questions = Annotated[Path, typer.Option("--questions", help="The questions; any file of instructions.")]
Output = Annotated[Path, typer.Option("--output", help="Where the totals go (JSON).")]
Rows = Annotated[Path, typer.Option("--rows", help="Where every verdict goes, with its reviews (JSONL).")]
Answers = Annotated[
    str | None, typer.Option("--predictions", help="The model's answers: FILE, or FILE#MODEL if it has several.")
]
Against = Annotated[str | None, typer.Option("--against", help="The answers to compare with, likewise.")]
Title = Annotated[
    str | None, typer.Option("--benchmark", help="What an evaluation called it, if --predictions has it under a title.")
]
Reviews = Annotated[Path | None, typer.Option("--reviews", help="Stored reviews to read instead; nobody is asked.")]
JudgeSettings = Annotated[
    list[str] | None, typer.Option("--judge", help=f"A setting of the judge's engine; repeated: {EXAMPLE}")
]
Mode = Annotated[
    Literal["sound", "paper"],
    typer.Option("--mode", help="sound: both orders, verdicts, ties; paper: as published, one order, scores."),
]
RightAnswers = Annotated[
    str | None, typer.Option("--right-answers", help="Right answers to show the judge for mathematics and code.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, from all categories in turn.")]
ReviewTokens = Annotated[int, typer.Option("--max-review-tokens", min=16, help="Longest reply of the judge.")]
MaxCost = Annotated[float | None, typer.Option("--max-cost", min=0, help="Dollars that all calls may cost together.")]
PriceTable = Annotated[Path | None, typer.Option("--prices", help="A table of prices in YAML, read before your own.")]


def score_pairs(
    context: typer.Context,
    questions: Questions,
    output: Output,
    rows: Rows,
    predictions: Answers = None,
    against: Against = None,
    benchmark: Title = None,
    judge: JudgeSettings = None,
    reviews: Reviews = None,
    mode: Mode = "sound",
    right_answers: RightAnswers = None,
    limit: Limit = None,
    max_review_tokens: ReviewTokens = 1024,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
) -> None:
    """Have a judge compare two models' answers, or read stored reviews, to win rates."""
    from tunalm.evaluation.pairwise.answers import load_questions
    from tunalm.evaluation.pairwise.comparisons import JudgeRules
    from tunalm.evaluation.pairwise.scoring import score_answers, score_reviews
    from tunalm.recipe import Data

    name = context.info_name or "pairwise"
    asked = load_questions(Data(source=str(questions), limit=limit), right_answers)
    if reviews is not None and not (predictions or against or judge):
        results, lines = score_reviews(name, reviews, asked)
    elif predictions and against and judge and reviews is None:
        settings = _judge(judge)
        calls = _place(output, settings, max_cost, prices)
        rules = JudgeRules(mode, max_review_tokens)
        results, lines = score_answers(name, asked, predictions, against, settings, rules, calls, title=benchmark)
    else:
        fix = f"Give --predictions MINE.jsonl --against OTHER.jsonl {EXAMPLE}, or --reviews FILE alone."
        raise RecipeError("command line", found="what is to be compared is not clear", fix=fix)
    _write(output, rows, results, lines)
    _finish(lines)


def evaluate_judge(
    data: Annotated[
        Path, typer.Option("--data", help="A clone of LLMBar, or a file of pairs: FairEval's, or your own.")
    ],
    judge: Annotated[list[str], typer.Option("--judge", help=f"A setting of its engine; repeated: {EXAMPLE}")],
    output: Output,
    rows: Rows,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many, from all subsets in turn.")
    ] = None,
    max_review_tokens: ReviewTokens = 1024,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
) -> None:
    """Say how good a judge is: accuracy on pairs with known labels, in both orders, and its liking for length."""
    from tunalm.evaluation.judge_check.check import check_judge
    from tunalm.evaluation.judge_check.pairs import load_pairs
    from tunalm.evaluation.sources import in_turn

    settings = _judge(judge)
    pairs = in_turn(load_pairs(data), lambda pair: pair.subset, limit)
    place = _place(output, settings, max_cost, prices)
    results, lines = check_judge(pairs, settings, place, max_review_tokens=max_review_tokens)
    _write(output, rows, results, lines)
    _finish(lines)


def _judge(pairs: Sequence[str]) -> Any:
    """Settings of an engine from `key=value` texts, checked like those of a recipe."""
    from tunalm.recipe.loading import build_recipe

    place = "stages.evaluate.models.judge"
    stage: dict[str, Any] = {"kind": "evaluate", "models": {"judge": {}}, "benchmarks": ["checkable"]}
    try:
        overrides = [f"{place}.{pair}" for pair in pairs]
        recipe: Any = build_recipe({"name": "judge", "stages": {"evaluate": stage}}, overrides, where="command line")
    except RecipeError as error:
        where, found = (text.replace(f"{place}.", "").replace(place, "--judge") for text in (error.where, error.found))
        fix = f"For instance {EXAMPLE}." if error.expected == "key=value" else error.fix
        raise RecipeError(where, found=found, expected=error.expected, fix=fix) from error
    return recipe.stages["evaluate"].models["judge"]


def _place(output: Path, judge: Any, max_cost: float | None, prices: Path | None) -> Any:
    """Where replies are kept, a ledger beside the results, and what they may cost."""
    from tunalm.calls.budget import Budget
    from tunalm.calls.context import Calls
    from tunalm.calls.prices import load_prices

    output.parent.mkdir(parents=True, exist_ok=True)
    budget = Budget(max_cost, load_prices(prices))
    budget.check([judge])
    return Calls(output.parent / "ledger.sqlite", budget=budget)


def _write(output: Path, rows: Path, results: dict[str, Any], lines: Sequence[Mapping[str, Any]]) -> None:
    """Write both files and print the figures of every group, and of the parts of a single one."""
    from tunalm.evaluation.harness import write_jsonl
    from tunalm.store import write_json

    write_json(output, results)
    write_jsonl(rows, lines)
    parts = {part for parts in results.get("group_subtasks", {}).values() for part in parts}
    for name, figures in results["results"].items():
        if name not in parts:
            shown = (
                f"{key} {value:.{4 if '_p_' in key else 2}f}"
                for key, value in figures.items()
                if isinstance(value, float)
            )
            print(f"{name}: {', '.join(shown)}")
        elif len(results["group_subtasks"]) == 1:
            shown = (f"{key} {figures[key]:.2f}, " for key in OF_PARTS if isinstance(figures.get(key), float))
            print(f"  {name}: {''.join(shown)}n {results['n-samples'][name]['effective']}")
        if figures.get("complete") is False:
            counts = results["n-samples"][name]
            print(f"not the whole benchmark of {counts['original']} questions: do not compare with published numbers")


def _finish(lines: Sequence[Mapping[str, Any]]) -> None:
    """Count what could not be compared; exit with the code for failed rows if there is any."""
    failed = [line["failure"] for line in lines if line.get("failure")]
    if failed:
        print(f"{len(failed)} of {len(lines)} without a verdict; the first: {spelled_out(failed[0])}")
        raise typer.Exit(EXIT_FAILED_ROWS)
