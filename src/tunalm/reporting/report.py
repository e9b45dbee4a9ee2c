"""report.html: one file that holds everything and asks for nothing, so that it can be mailed and opened anywhere.

What it is made of stands in `pages`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tunalm.progress import progress
from tunalm.reporting.files import read_object
from tunalm.reporting.judges import alarms
from tunalm.reporting.outcome import NUM_EXAMPLES, benchmark_views
from tunalm.reporting.pages import environment, page_text
from tunalm.reporting.stages import ranked_responses, stage_view
from tunalm.store import write_text


def write_report(run_path: Path, recipe: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
    """Write `report.html` into the folder of a run from what lies in it; what is missing is left out.

    Args:
        run_path: folder of the run.
        recipe: as `Recipe.model_dump(mode="json")` gives it.
        states: what stage.json says of every stage; empty for one that has not run.

    Raises:
        StoreError: the file cannot be written.
    """
    stages: dict[str, Any] = recipe.get("stages", {})
    evaluations = {
        name: benchmark_views(run_path / name) for name, stage in stages.items() if stage.get("kind") == "evaluate"
    }
    views = []
    with progress("writing the report", len(stages)) as advance:
        for name, stage in stages.items():
            views.append(stage_view(run_path / name, name, stage, states.get(name, {})))
            advance(1)
    manifest = read_object(run_path / "manifest.json")
    page = environment("tunalm.reporting", by_rank=ranked_responses).get_template("report.html.j2")
    text = page.render(
        name=recipe.get("name", run_path.name),
        description=recipe.get("description", ""),
        evaluations={name: views for name, views in evaluations.items() if views},
        num_examples=NUM_EXAMPLES,
        stages=views,
        problems=_problems(stages, states),
        config=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100),
        manifest=manifest,
        manifest_text=json.dumps(manifest, indent=2, ensure_ascii=False),
    )
    write_text(run_path / "report.html", page_text(text))


def _problems(stages: Mapping[str, Any], states: Mapping[str, dict[str, Any]]) -> list[str]:
    """What a reader must know before believing the numbers."""
    problems = []
    for name in stages:
        state = states.get(name, {})
        if state.get("status") != "done":
            problems.append(f"The stage {name} has not finished.")
        elif state.get("failed") or state.get("unknown"):
            failed, unknown, requested = (state.get(key, 0) for key in ("failed", "unknown", "requested"))
            problems.append(f"The stage {name}: {failed} failed and {unknown} unknown of {requested}.")
        problems += [f"The stage {name}: {alarm}." for alarm in alarms(state.get("details"))]
    return problems
