"""Whether the models of a stage can be asked as its settings say, found out before anything is loaded or paid for."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from tunalm.data.prompts import no_chat_template, require_arguments
from tunalm.engines.models import local_folder
from tunalm.recipe import Benchmark, Evaluate, Prompting, Stage, walk

_RAW = {"tk-instruct", "alpaca", "raw"}
"""Templates of a benchmark that leave nothing to the model's own."""


def check_templates(stage: Stage, where: str, made: Collection[str] = ()) -> None:
    """Refuse a model that needs a `template` and has none, or a chat template that does not read its arguments.

    Only files on this machine are looked at. A model that is not here yet, or that an earlier stage makes (these save
    their template), passes.

    Args:
        stage: the settings.
        where: names them in errors, for instance `stages.alpaca`.
        made: names of stages.

    Raises:
        ModelError: a model cannot be asked; the place in the settings is named.
    """
    asks_raw = isinstance(stage, Evaluate) and all(_is_raw(benchmark) for benchmark in stage.benchmarks)
    found = [(each.path, each.value) for each in walk(stage, where) if isinstance(each.value, Prompting)]
    for place, asked in found:
        if asked.template not in (None, "chat") or (asks_raw and asked.template is None and not asked.template_args):
            continue
        for name, source in _models(asked):
            folder = None if source in made else local_folder(source)
            if folder is None or not (folder / "tokenizer_config.json").is_file():
                continue
            texts = chat_templates(folder)
            if not texts:
                raise no_chat_template(f"{place}.{name}: {source}")
            require_arguments("\n".join(texts), asked.template_args, f"{place}.{name}: {source}")


def chat_templates(folder: Path) -> list[str]:
    """The texts of all chat templates of a model folder; none if it has no such template."""
    files = [folder / "chat_template.jinja", *sorted((folder / "additional_chat_templates").glob("*.jinja"))]
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file()]
    for name in ("chat_template.json", "tokenizer_config.json"):
        try:
            kept = json.loads((folder / name).read_text(encoding="utf-8"))["chat_template"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        texts += [kept] if isinstance(kept, str) else [each["template"] for each in kept or []]
    return texts


def _models(asked: Prompting) -> list[tuple[str, str]]:
    """The models that these settings are about: names of their fields, and the models."""
    made = {"model", "proxy"}
    marked = [found for found in walk(asked) if found.source is not None and made & set(found.source.accepts)]
    return [(found.path, found.value) for found in marked if "." not in found.path]


def _is_raw(benchmark: Benchmark) -> bool:
    return getattr(benchmark, "template", None) in _RAW
