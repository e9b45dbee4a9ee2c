"""Whether the models of a stage can be asked as its settings say, found out before anything is loaded or paid for."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from tunalm.data.prompts import PromptEncoder, no_chat_template, require_arguments
from tunalm.engines.models import Role, local_folder
from tunalm.errors import ModelError
from tunalm.recipe import Prompting, Proxy, Stage, walk
from tunalm.records import Message
from tunalm.store import local_path


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
    for place, asked, source, _ in _models(stage, where):
        if asked.template not in (None, "chat") or source in made:
            continue
        folder = local_folder(source)
        if folder is None or not (folder / "tokenizer_config.json").is_file():
            continue
        texts = chat_templates(folder)
        if not texts:
            raise no_chat_template(f"{place}: {source}")
        require_arguments("\n".join(texts), asked.template_args, f"{place}: {source}")


def check_weights(stage: Stage, made: Collection[str] = (), *, trust_remote_code: bool = False) -> None:
    """Refuse a model folder whose weights, configuration and tokenizer do not fit each other; only headers are read.

    Its template is tried on a plain question.

    Raises:
        ModelError: as `engines.huggingface.load_model` and `PromptEncoder`.
    """
    for place, asked, source, scores in _models(stage):
        if source in made or not local_path(source).is_dir():
            continue
        from tunalm.engines.huggingface import check_model, load_tokenizer

        starts_proxy = isinstance(asked, Proxy) and place.endswith("start")
        role: Role = "proxy" if scores else "start of a proxy" if starts_proxy else "language model"
        check_model(source, role, trust_remote_code=trust_remote_code)
        if not scores:
            tokenizer = load_tokenizer(source, trust_remote_code=trust_remote_code)
            encoder = PromptEncoder(tokenizer, asked.template, source, asked.template_args)
            if not encoder.prompt_ids([Message(role="user", content="Name an animal.")]):
                found = "a chat template that leaves out what it is given"
                raise ModelError(source, found=found, fix="Correct it, or set template: alpaca.")


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


def _models(stage: Stage, where: str = "") -> Iterator[tuple[str, Prompting, str, bool]]:
    """Every model of a stage: its place, the settings that say how it is asked, the model, and whether it scores."""
    for each in walk(stage, where):
        if isinstance(each.value, Prompting):
            for found in walk(each.value):
                accepts = set(found.source.accepts if found.source else ())
                if "." not in found.path and accepts & {"model", "proxy"}:
                    yield f"{each.path}.{found.path}", each.value, found.value, "proxy" in accepts
