"""Every recipe of the paper's systems, run whole on random models of a few thousand weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.servers.judge import length_judge
from tests.published import lmentry, superni
from tests.tiny import save_tiny_model
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import Evaluate, Rank, Recipe
from tunalm.recipe.loading import load_recipe
from tunalm.recipe.sweeps import read_label

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
QUICK = {
    "sft": ["batch_size=4"],
    "proxy": ["batch_size=4"],
    "train": ["batch_size=4"],
    "rl": ["batch_size=4", "max_new_tokens=8", "max_steps=1"],
    "sample": ["max_new_tokens=8"],
    "rank": ["canaries=0"],
    "evaluate": ["max_new_tokens=8", "bootstrap_samples=100"],
}
"""What the stages of a kind are given."""
OWN = {"tuna_c": {"alpaca_own", "by_judge", "tuna_c"}}
"""What a part makes for itself: Tuna_c alone samples only what the judge will read."""
PARTS = ("alpaca", "alpaca_mul", "tuna_p", "tuna_c_prm", "tuna_cp", "mix_tuna", "ppo_sim", "tuna_c")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """No model has a chat template, as those of the paper have none."""
    folder = tmp_path_factory.mktemp("inputs")
    model = save_tiny_model(folder / "model", template=None)
    rows = [{"instruction": f"Name the number {number}.", "output": str(number)} for number in range(12)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = [{"question_id": number, "text": f"Why {number}?", "category": "generic"} for number in range(3)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    with length_judge() as url:
        yield [
            *(f"base={model}", f"prm={model}", f"teacher={{model: {model}, template: alpaca}}"),
            *(f"instructions={folder / 'rows.jsonl'}", f"vicuna={folder / 'questions.jsonl'}"),
            *(f"judge.base_url={url}", "judge.model=length"),
            *(f"superni={superni(folder / 'superni')}", f"lmentry={lmentry(folder / 'lmentry', 'first_letter')}"),
            *("template=alpaca", "first=:8", "rest=-4:"),
        ]


def some(inputs: list[str], *names: str) -> list[str]:
    return [pair for pair in inputs if pair.split("=")[0].split(".")[0] in names]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paper") / "run"


def load(name: str, inputs: list[str]) -> Recipe:
    path = RECIPES / f"{name}.yaml"
    stages = {read_label(stage)[0]: each.kind for stage, each in load_recipe(path, inputs).stages.items()}
    return load_recipe(
        path, inputs + [f"stages.{name}.{knob}" for name, kind in stages.items() for knob in QUICK[kind]]
    )


def ran(name: str, inputs: list[str], run_dir: Path) -> set[str]:
    """Run a recipe, look at its results, and tell which stages had to be run."""
    recipe = load(name, inputs)
    before = states(run_dir)
    for stage, state in run_recipe(recipe, run_dir).items():
        assert (state.failed, state.unknown) == (0, 0), stage
    scores = recipe.stages["scores"]
    assert isinstance(scores, Evaluate)
    results = json.loads((run_dir / "results.json").read_text(encoding="utf-8"))
    assert list(results["models"]) == list(scores.models)
    for model in results["models"].values():
        assert list(model["results"]) == [benchmark.label for benchmark in scores.benchmarks]
    return {stage for stage, state in states(run_dir).items() if state != before.get(stage)}


def states(run_dir: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text(encoding="utf-8") for path in run_dir.glob("*/stage.json")}


@pytest.mark.slow
def test_the_whole_paper_runs_and_its_parts_are_shared(inputs: list[str], run_dir: Path) -> None:
    assert ran("paper", inputs, run_dir) == load("paper", inputs).stages.keys()
    counts = json.loads((run_dir / "mix_tuna_104k" / "training.json").read_text(encoding="utf-8"))
    assert counts["rows"] == 8 + 4 + 12
    for name in PARTS:
        own = OWN.get(name, set())
        assert ran(name, inputs, run_dir) == {"scores"} | own, "everything else was made by the whole recipe"


@pytest.mark.slow
def test_the_audited_twin_of_the_paper_has_both_ways_of_judging(inputs: list[str], run_dir: Path) -> None:
    recipe = load("sound", inputs)
    protocols = {stage.protocol for stage in recipe.stages.values() if isinstance(stage, Rank) and stage.by == "judge"}
    assert protocols == {"audited"}
    scores = recipe.stages["scores"]
    assert isinstance(scores, Evaluate)
    assert [each.mode for each in scores.benchmarks if each.name == "vicuna"] == ["sound", "paper"]
    ran("sound", [*inputs, "only=[alpaca,alpaca_mul]"], run_dir)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variants"), [("figure2", 5), ("figure3", 3)])
def test_a_figure_trains_its_variants_and_nothing_else(
    name: str, variants: int, inputs: list[str], run_dir: Path
) -> None:
    assert sum("~" in stage for stage in ran(name, inputs, run_dir)) == variants


@pytest.mark.slow
def test_every_loss_trains_on_the_same_lists(inputs: list[str], run_dir: Path) -> None:
    pytest.importorskip("trl")
    ran("losses", inputs, run_dir)
    counts = [
        json.loads((run_dir / name / "training.json").read_text(encoding="utf-8"))["rows"]
        for name in ("tuna_p", "lmops", "rrhf", "plackett_luce", "dpo", "dpo_best_worst", "simpo")
    ]
    assert counts == [12] * 7


@pytest.mark.slow
def test_the_line_on_a_users_own_model_and_data_runs(inputs: list[str], tmp_path: Path) -> None:
    rows = [{"instruction": f"Name the number {number}.", "output": str(number)} for number in range(106)]
    own = tmp_path / "rows.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = [*some(inputs, "base", "teacher", "judge", "template"), f"instructions={own}"]
    recipe = load("tuna", given)
    assert ran("tuna", given, tmp_path / "run") == recipe.stages.keys()
    assert json.loads((tmp_path / "run" / "tuna" / "training.json").read_text(encoding="utf-8"))["rows"] == 6


@pytest.mark.slow
def test_the_evaluation_of_a_finished_model_runs(inputs: list[str], tiny_model: Path, tmp_path: Path) -> None:
    questions = dict(pair.split("=", 1) for pair in inputs)["vicuna"]
    answers = tmp_path / "answers.jsonl"
    stored = [{"question_id": number, "answer_id": str(number), "text": "Because."} for number in range(3)]
    answers.write_text("".join(json.dumps(row) + "\n" for row in stored), encoding="utf-8")
    given = [*some(inputs, "judge", "superni", "lmentry"), f"vicuna={questions}"]
    assert ran("evaluate", [*given, f"model={tiny_model}", "longest=16", f"against={answers}"], tmp_path / "run")
