"""The commands `tunalm score ...`: score predictions that are saved already, without any model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tunalm.errors import RecipeError

score_app = typer.Typer(
    help="Score saved predictions, as the official scripts of a benchmark do.", no_args_is_help=True
)

Predictions = Annotated[Path, typer.Option("--predictions", help="Rows to score, JSONL, also gzipped.")]
Output = Annotated[Path, typer.Option("--output", help="Where the totals go (JSON).")]
Rows = Annotated[Path, typer.Option("--rows", help="Where the score of every row goes (JSONL).")]
Benchmark = Annotated[
    str | None, typer.Option("--benchmark", help="What an evaluation called it, if it had a title there.")
]
Model = Annotated[str | None, typer.Option("--model", help="Whose predictions, if the file has those of several.")]


@score_app.command()
def lmentry(
    data: Annotated[Path, typer.Option("--data", help="Clone of the LMentry repository, or a folder with its data.")],
    predictions: Predictions,
    output: Output,
    rows: Rows,
    benchmark: Benchmark = None,
    model: Model = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Keep the first sentence of the first line: for models that do not stop.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Answers in other scripts are not right for want of a word in a-z.")
    ] = False,
    subset: Annotated[
        bool, typer.Option("--subset", help="Leave out questions without a prediction; else they count as wrong.")
    ] = False,
) -> None:
    """LMentry: rows {task, id, prediction}, to accuracy, robustness and LMentry score."""
    from tunalm.evaluation.lmentry.scoring import score_file

    found = score_file(
        predictions,
        data,
        benchmark=benchmark or "lmentry",
        model=model,
        truncate=truncate,
        strict=strict,
        subset=subset,
    )
    _write(output, rows, *found)


@score_app.command()
def superni(
    output: Output,
    rows: Rows,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Rows to score, JSONL, also gzipped.")
    ] = None,
    baseline: Annotated[
        Literal["copy-input", "copy-demo"] | None,
        typer.Option("--baseline", help="Score a copy of the input, or of the first example's output, instead."),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Clone of natural-instructions, for --baseline.")] = None,
    benchmark: Benchmark = None,
    model: Model = None,
) -> None:
    """Super-NI: rows {id, task_id, references, prediction}, to ROUGE-L and exact match."""
    from tunalm.evaluation.superni.data import load_tasks
    from tunalm.evaluation.superni.scoring import score_baseline, score_file

    if predictions is not None and baseline is None:
        _write(output, rows, *score_file(predictions, benchmark=benchmark or "superni", model=model))
    elif baseline is not None and data is not None and predictions is None:
        _write(output, rows, *score_baseline(load_tasks(data), baseline))
    else:
        fix = "Give either --predictions FILE, or --baseline NAME with --data FOLDER."
        raise RecipeError("command line", found="what is to be scored is not clear", fix=fix)


def _write(output: Path, rows: Path, results: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    """Write both files and print the totals, saying so if they are not of the whole benchmark."""
    from tunalm.evaluation.harness import write_jsonl
    from tunalm.store import write_json

    write_json(output, results)
    write_jsonl(rows, lines)
    name = next(iter(results["results"]))
    metrics, counts = results["results"][name], results["n-samples"][name]
    shown = (f"{key} {value:.2f}" for key, value in metrics.items() if isinstance(value, float))
    print(f"{name}: {', '.join(text for text in shown if '_stderr' not in text)}")
    config = results["configs"][name]
    if "examples_shown" in config:
        cut = f", {config['prompts_cut']} prompts cut" if config["prompts_cut"] else ""
        template = f"template {config['template']}, " if config["template"] else ""
        print(f"asked with {template}{config['examples_shown']:.2f} examples shown{cut}")
    if metrics.get("wordless"):
        print(f"{metrics['wordless']} answers are right only for having no word in a-z; --strict refuses them")
    if not metrics["complete"]:
        whole = f"{counts['effective']} of {counts['original']} rows"
        print(f"not the whole benchmark but {whole}: do not compare with published numbers")
