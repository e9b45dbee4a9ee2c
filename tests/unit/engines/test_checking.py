"""Models that cannot be asked as a recipe says are refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import TEMPLATE, save_tiny_model, tiny_tokenizer
from tunalm.engines.checking import check_templates, check_weights
from tunalm.errors import ModelError
from tunalm.recipe.loading import build_recipe

DATA = "checkable:train"
JUDGE = {"base_url": "http://127.0.0.1:1/v1", "model": "judge"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return folder(tmp_path_factory.mktemp("base"), None)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> str:
    return folder(tmp_path_factory.mktemp("chat"), TEMPLATE)


def folder(path: Path, template: str | None) -> str:
    tiny_tokenizer(template).save_pretrained(path)
    (path / "config.json").write_text("{}", encoding="utf-8")
    return str(path)


def check(**stages: dict[str, Any]) -> None:
    recipe = build_recipe({"name": "r", "stages": stages})
    for name, stage in recipe.stages.items():
        check_templates(stage, f"stages.{name}", recipe.stages)


def stages(model: Any, more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A stage of each kind in which the model stands; `more` are settings beside it."""
    engine = {"model": model, **more}
    reference = {"name": "reference", "data": DATA}
    return {
        "sft": {"kind": "sft", "model": model, "data": DATA, **more},
        "train": {"kind": "train", "start": model, "rankings": "a/b.jsonl", **more},
        "proxy": {"kind": "proxy", "start": model, "rankings": "a/b.jsonl", **more},
        "rl": {"kind": "rl", "start": model, "reward": "x/y", "data": DATA, **more},
        "sample": {"kind": "sample", "engine": engine, "data": DATA},
        "rescore": {"kind": "rank", "by": "likelihood", "responses": "a/b.jsonl", "engine": engine},
        "by_proxy": {"kind": "rank", "by": "proxy", "responses": "a/b.jsonl", "model": model, **more},
        "scores": {"kind": "evaluate", "models": {"base": engine, "other": JUDGE}, "benchmarks": [reference]},
        "compared": {
            "kind": "evaluate",
            "models": {"other": JUDGE, "another": JUDGE},
            "benchmarks": [{"name": "vicuna", "data": "q.jsonl", "judge": engine}],
        },
    }


@pytest.mark.parametrize("kind", stages("m", {}))
def test_a_model_without_a_chat_template_needs_a_template_in_every_stage(kind: str, base: str, chat: str) -> None:
    with pytest.raises(ModelError, match=f"^stages.{kind}.*{base}.*template: raw"):
        check(**{kind: stages(base, {})[kind]})
    for template in ("alpaca", "raw"):
        check(**{kind: stages(base, {"template": template})[kind]})
    check(**{kind: stages(chat, {})[kind]})
    check(**{kind: stages("not/here", {})[kind]})


def test_what_a_stage_trains_brings_its_template(base: str) -> None:
    check(
        alpaca={"kind": "sft", "model": base, "data": DATA, "template": "alpaca"},
        own={"kind": "sample", "engine": "alpaca", "data": DATA},
    )


def test_an_argument_that_the_chat_template_does_not_read_is_refused(tmp_path: Path, chat: str) -> None:
    with pytest.raises(ModelError, match="does not read 'enable_thinking'"):
        check(own=stages(chat, {"template_args": {"enable_thinking": False}})["sample"])
    thinks = folder(tmp_path, TEMPLATE + "{% if enable_thinking %}<think>{% endif %}")
    check(own=stages(thinks, {"template_args": {"enable_thinking": False}})["sample"])


def test_the_weights_of_every_model_that_a_stage_reads_are_looked_at(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    asked = stages(str(model), {})
    for kind in ("sft", "train", "proxy", "sample", "rescore", "scores", "compared"):
        check_weights(build_recipe({"name": "r", "stages": {kind: asked[kind]}}).stages[kind])
    with pytest.raises(ModelError, match="not trained to score"):
        check_weights(build_recipe({"name": "r", "stages": {"by_proxy": asked["by_proxy"]}}).stages["by_proxy"])
    (model / "model.safetensors").write_bytes(b"")
    for kind, stage in asked.items():
        with pytest.raises(ModelError, match="an empty file"):
            check_weights(build_recipe({"name": "r", "stages": {kind: stage}}).stages[kind])
