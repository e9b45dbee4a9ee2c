"""Writing the card of a stage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from tunalm.recipe import Proxy, Rank, Recipe, Reinforce, Sample, Sft, Train
from tunalm.redaction import without_keys
from tunalm.reporting.cards import facts, public
from tunalm.reporting.cards.facts import States, Trained
from tunalm.store import CARD, write_text

KEEP = "<!-- Written by tunalm. Remove this line to keep what you change here: the next run writes the card again. -->"
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
"""Fewer rows than -> what a hub calls it."""
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
    stage = recipe.stages[name]
    if isinstance(stage, Trained):
        text = _model_card(recipe, name, stage, states, run)
    else:
        assert isinstance(stage, Sample | Rank)
        text = _lists_card(recipe, name, stage, states)
    return without_keys(text)


def _model_card(recipe: Recipe, name: str, stage: Trained, states: States, run: Path) -> str:
    root, steps = facts.training_line(recipe, states, name)
    known = facts.ancestors(recipe, name)
    hub_id, licence = public.hub_model(root), public.model_license(root)
    datasets = facts.hub_datasets(recipe, known)
    ranked = any(step.kind != "sft" for step in steps)
    writes = stage.produces == "model"
    head = {
        "library_name": "transformers",
        **({"pipeline_tag": "text-generation"} if writes else {}),
        **licence,
        **({"base_model": hub_id, "base_model_relation": "finetune"} if hub_id else {}),
        **({"datasets": datasets} if datasets else {}),
        "tags": [
            "tunalm",
            "instruction-tuning",
            *(["ranking-feedback"] if ranked else []),
            *([] if writes else ["reward-model"]),
        ],
    }
    return _render(
        "model_card.md.j2",
        head,
        recipe=recipe,
        name=name,
        base=public.model_name(root, recipe.stages),
        architecture=public.architecture(run / name / "model"),
        licence=licence.get("license_name", licence.get("license")),
        steps=steps,
        ranked=ranked,
        writes=writes,
        method=_method(stage),
        imitates=not isinstance(stage, Train) or stage.mle_weight > 0,
        knobs=yaml.safe_dump(public.plain_knobs(stage), sort_keys=False, allow_unicode=True),
        details=states.get(name, {}).get("details") or {},
        instructions=facts.instructions(recipe, known),
        lists=facts.lists_behind(recipe, states, known),
        scores=facts.scores(recipe, states, run, name),
    )


def _method(stage: Trained) -> str:
    """How the model of a stage was trained, as the end of a sentence."""
    if isinstance(stage, Sft):
        return "imitates responses (Eq. 1-2)"
    if isinstance(stage, Proxy):
        return "gives responses scores, so that their order is that of a judge: a proxy ranking model"
    if isinstance(stage, Reinforce):
        return f"was reinforced by the scores of a proxy ranking model ({stage.method})"
    assert isinstance(stage, Train)
    if stage.loss != "margin":
        return f"was trained on ranked lists with the loss {stage.loss} in the place of Eq. 4-5"
    own = " as the authors' released trainer has it" if stage.convention == "lmops" else " (Eq. 4-6)"
    return f"was trained on ranked lists with the loss of the paper{own}"


def _lists_card(recipe: Recipe, name: str, stage: Sample | Rank, states: States) -> str:
    made = facts.lists(recipe, states, name)
    known = facts.ancestors(recipe, name)
    state = states.get(name, {})
    datasets = facts.hub_datasets(recipe, known)
    count = state.get("requested", 0) // (stage.num_responses if isinstance(stage, Sample) else 1)
    head = {
        "pretty_name": f"{recipe.name}: {name}",
        "task_categories": ["text-generation"],
        "size_categories": [next((label for size, label in SIZES.items() if count < size), "n>10M")],
        **({"source_datasets": datasets} if datasets else {}),
        "tags": ["tunalm", "synthetic", *(["ranking-feedback"] if isinstance(stage, Rank) else [])],
        "configs": [{"config_name": "default", "data_files": FILES[stage.produces]}],
    }
    return _render(
        "lists_card.md.j2",
        head,
        recipe=recipe,
        name=name,
        made=made,
        file=FILES[stage.produces],
        knobs=yaml.safe_dump(public.plain_knobs(stage), sort_keys=False, allow_unicode=True),
        state=state,
        details=state.get("details") or {},
        instructions=facts.instructions(recipe, known),
    )


def _render(template: str, head: Mapping[str, Any], **known: Any) -> str:
    page = _environment().get_template(template)
    entries = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True)
    return page.render(head=entries, version=version("tunalm"), keep=KEEP, **known).rstrip() + "\n"


def _environment() -> Environment:
    """Templates of Markdown: texts of others are escaped by the filter `text`, nothing is by itself."""
    made = Environment(
        loader=PackageLoader("tunalm.reporting.cards", "."),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"text": _text, "number": _number, "interval": _interval}
    return made


def _text(value: object) -> str:
    """A text of others in one line, without a meaning in Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _number(value: float | None, digits: int = 1) -> str:
    """A number, or a dash for none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def _interval(ends: list[float] | None) -> str:
    """Both ends of an interval."""
    return "-" if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f}"
