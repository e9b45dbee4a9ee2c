"""The report of a large run: time, memory and size.

`python -m benchmarks.report [--rows 52000]`. The run is made up: lists of four responses, sampled and ranked, and the
answers of three models; words are drawn at random. Only the report itself is timed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import cpu_seconds, machine
from tunalm.evaluation.base import Measure
from tunalm.evaluation.results import summarise
from tunalm.recipe import Evaluate, Recipe
from tunalm.records import Prediction, Ranking, Response, StageState, Verdict
from tunalm.reporting.report import write_report
from tunalm.reporting.run import Run
from tunalm.store import write_json, write_rows

WORDS = [
    "the",
    "of",
    "a",
    "model",
    "answer",
    "question",
    "list",
    "rank",
    "tuna",
    "fish",
    "sea",
    "water",
    "run",
    "time",
    "small",
    "large",
    "house",
    "tree",
]
MODELS = ("base", "tuna_p", "tuna")
BENCHMARK = {"name": "checkable", "title": "made up"}
STAGES = {
    "own": {"kind": "sample", "engine": {"kind": "scripted"}, "data": "checkable:train"},
    "by_judge": {"kind": "rank", "by": "verifier", "responses": "own"},
    "scores": {"kind": "evaluate", "models": dict.fromkeys(MODELS, "none"), "benchmarks": [BENCHMARK]},
}
TASKS = 100
DIFFERENT = 1000
"""Instructions on which the models do not score the same: permutation tests of more are slow, and not measured here."""


def lists(rows: int, rng: random.Random, *, ranked: bool) -> Iterator[Ranking]:
    """Lists of four responses of 40 words, with the log-probability of each of 50 tokens."""
    for number in range(rows):
        responses = [
            Response(
                text=_text(40, rng),
                num_tokens=50,
                token_logprobs=[-0.5] * 50,
                max_rouge_l=rng.random(),
                rank=slot if ranked else None,
                score=-float(slot) if ranked else None,
            )
            for slot in range(4)
        ]
        yield Ranking(id=f"row-{number}", instruction=_text(20, rng), reference=_text(30, rng), responses=responses)


def write_run(folder: Path, rows: int) -> None:
    """The files of a finished run."""
    rng = random.Random(0)
    for name in STAGES:
        (folder / name).mkdir()
    write_rows(folder / "own" / "responses.jsonl", lists(rows, rng, ranked=False))
    write_rows(folder / "by_judge" / "rankings.jsonl", lists(rows, rng, ranked=True))
    asked = [(model, number) for model in MODELS for number in range(rows)]
    answers = [
        Prediction(
            id=f"row-{number}",
            benchmark="made up",
            model=model,
            instruction=_text(20, rng),
            prediction=_text(20, rng),
            references=[_text(10, rng)],
            num_tokens=25,
        )
        for model, number in asked
    ]
    verdicts = [
        Verdict(
            id=f"row-{number}",
            benchmark="made up",
            model=model,
            metric="success",
            score=rng.random() if number < DIFFERENT else 1.0,
            task=f"task {number % TASKS}",
        )
        for model, number in asked
    ]
    write_rows(folder / "scores" / "predictions.jsonl", answers)
    write_rows(folder / "scores" / "rows.jsonl", verdicts)
    settings = Evaluate.model_validate(
        {"models": dict.fromkeys(MODELS, "none"), "benchmarks": [BENCHMARK], "bootstrap_samples": 100}
    )
    measure = Measure("made up", "success", answers, verdicts)
    results = summarise([measure], dict(zip(MODELS, MODELS, strict=True)), settings)
    write_json(folder / "scores" / "results.json", results.model_dump(mode="json"))


def _text(words: int, rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def main() -> None:
    """Make the run up in a process of its own, so that its memory is not that of the report, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=52_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maker = multiprocessing.get_context("spawn").Process(target=write_run, args=(folder, arguments.rows))
        maker.start()
        maker.join()
        state = StageState(status="done", requested=arguments.rows, ok=arguments.rows)
        run = Run(folder, Recipe.model_validate({"name": "made-up", "stages": STAGES}), dict.fromkeys(STAGES, state))
        seconds = cpu_seconds(lambda: write_report(run))
        megabytes = (folder / "report.html").stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{machine()['device']}: report of {arguments.rows:,} lists and {len(MODELS)} x {arguments.rows:,} answers:")
    print(f"{seconds:.1f} s of the processor, {peak:.0f} MiB at most, {megabytes:.2f} MB")


if __name__ == "__main__":
    main()
