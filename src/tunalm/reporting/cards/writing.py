"""Writing the card of a stage: facts into the templates, by huggingface_hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from tunalm.recipe import Rank, Recipe, Sample, Train
from tunalm.records import StageState
from tunalm.redaction import without_keys
from tunalm.reporting.cards import facts, public
from tunalm.reporting.cards.facts import States, Trained
from tunalm.store import CARD, write_text

KEEP = "<!-- Written by tunalm. Remove this line to keep what you change here: the next run writes the card again. -->"
METHODS = {
    "sft": "imitates responses (Eq. 1-2)",
    "train": "was trained on ranked lists (Eq. 4-6, or as its settings say)",
    "proxy": "gives responses scores, so that their order is that of a judge: a proxy ranking model",
    "rl": "was reinforced by the scores of a proxy ranking model",
}
"""How the model of a stage was trained, by kind."""
Entries = Mapping[str, Any]
"""What a template of huggingface_hub is given."""
FILES = {"responses": "responses.jsonl", "rankings": "rankings.jsonl"}
"""What a stage makes -> the file of its lists."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def write_card(recipe: Recipe, name: str, states: States, run: Path) -> None:
    """Write the card of a stage that makes a model or lists; one that somebody has made his own stays.

    Args:
        recipe: of the run.
        name: of the stage, which has made what it makes.
        states: counts and details of this stage and of those before it; of evaluations, if they are done.
        run: folder of the run.
    """
    folder = run / name
    if recipe.stages[name].produces in ("model", "proxy"):
        folder /= "model"
    elif recipe.stages[name].produces not in FILES:
        return
    card = folder / CARD
    text = card_of(recipe, name, states, run)
    before = card.read_text(encoding="utf-8") if card.is_file() else KEEP
    if folder.is_dir() and KEEP in before and text != before:
        write_text(card, text)


def card_of(recipe: Recipe, name: str, states: States, run: Path) -> str:
    """The text of a card; arguments as in `write_card`."""
    from huggingface_hub import DatasetCard, DatasetCardData, ModelCard, ModelCardData

    stage = recipe.stages[name]
    known = {
        "title": _text(f"{recipe.name}: {name}"),
        "description": _text(recipe.description),
        "keep": KEEP,
        "version": version("tunalm"),
        "knobs": _yaml(public.plain_knobs(stage)),
        "figures": _figures(states.get(name, StageState()).details),
        "citation": _template("citation.md.j2"),
    }
    if isinstance(stage, Trained):
        head, facts_known = _model(recipe, name, stage, states, run)
        made = ModelCard.from_template(
            ModelCardData(**head), template_str=_template("model_card.md.j2"), **known, **facts_known
        )
    else:
        assert isinstance(stage, Sample | Rank)
        head, facts_known = _lists(recipe, name, stage, states)
        made = DatasetCard.from_template(
            DatasetCardData(**head), template_str=_template("lists_card.md.j2"), **known, **facts_known
        )
    made.text = public.without_places(made.text)
    return without_keys(str(made)).rstrip() + "\n"


def _model(recipe: Recipe, name: str, stage: Trained, states: States, run: Path) -> tuple[Entries, Entries]:
    """Entries at the head of a model's card, and what its template asks for."""
    root, line = facts.lineage(recipe, name)
    known = facts.ancestors(recipe, name)
    hub_id, licence = public.hub_model(root), public.model_license(root)
    ranked = any(recipe.stages[each].kind != "sft" for each in line)
    writes = stage.produces == "model"
    tags = ["tunalm", "instruction-tuning", *["ranking-feedback"] * ranked, *["reward-model"] * (not writes)]
    head = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation" if writes else None,
        **licence,
        "base_model": hub_id,
        "base_model_relation": "finetune" if hub_id else None,
        "datasets": facts.hub_datasets(recipe, known) or None,
        "tags": tags,
    }
    scores, notes = facts.scores(recipe, states, run, name)
    return head, {
        "what": _text(public.architecture(run / name / "model") or "A causal language model"),
        "base": _text(public.model_name(root, recipe.stages)),
        "name": _text(name),
        "licence": _text(licence.get("license_name", licence.get("license", ""))),
        "ranked": ranked,
        "writes": writes,
        "method": METHODS[recipe.stages[name].kind],
        "imitates": not isinstance(stage, Train) or stage.mle_weight > 0,
        "steps": _table(facts.training_steps(recipe, states, line)),
        "instructions": _table(facts.instructions(recipe, known)),
        "lists": _table(facts.lists_behind(recipe, known)),
        "scores": _table(scores),
        "notes": [_text(note) for note in notes],
    }


def _lists(recipe: Recipe, name: str, stage: Sample | Rank, states: States) -> tuple[Entries, Entries]:
    """Entries at the head of a data set's card, and what its template asks for."""
    made, known = facts.origin(recipe, name), facts.ancestors(recipe, name)
    state = states.get(name, StageState())
    ranks = isinstance(stage, Rank)
    head = {
        "pretty_name": f"{recipe.name}: {name}",
        "task_categories": ["text-generation"],
        "source_datasets": facts.hub_datasets(recipe, known) or None,
        "tags": ["tunalm", "synthetic", *["ranking-feedback"] * ranks],
        "configs": [{"config_name": "default", "data_files": FILES[stage.produces]}],
    }
    counts: list[list[object]] = [
        ["responses written by", made.sampled_by],
        ["per instruction", made.num_responses],
        ["ranked by", made.ranked_by or "nobody"],
        ["lists" if ranks else "responses", state.requested],
        ["of these without a failure", state.ok],
        ["failed", state.failed],
        ["of unknown outcome", state.unknown],
    ]
    table, instructions = _table(counts), _table(facts.instructions(recipe, known))
    return head, {"ranks": ranks, "counts": table, "file": FILES[stage.produces], "instructions": instructions}


def _figures(details: Mapping[str, object]) -> str:
    """What a stage counted."""
    return _table(
        [key.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else value]
        for key, value in details.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def _table(rows: Iterable[Sequence[object]]) -> str:
    """The lines of a table in Markdown; texts of others have no meaning in it."""
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _text(value: object) -> str:
    """A text of others in one line, without a meaning in Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _yaml(value: object) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip()


def _template(name: str) -> str:
    return files("tunalm.reporting.cards").joinpath(name).read_text(encoding="utf-8").strip()
