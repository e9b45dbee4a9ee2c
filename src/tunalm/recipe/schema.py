"""The JSON schema of recipe files, for editors: what the pydantic models say, as people may write it.

A file is looser than the models: any value may be `${input}`, settings have short forms, and a recipe that extends
another gives parts of stages only. What the schema lets through is still checked when the recipe is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunalm.recipe import STAGES, Recipe
from tunalm.recipe.engines import ENGINES

SCHEMA_FILE = "schema.json"
"""Beside the shipped recipes, whose first lines name it."""
MARK = "# yaml-language-server: $schema="
"""Begins a line that tells an editor where the schema is."""

Node = dict[str, Any]

SHORT_FORMS = ("Data", "Lists", "BenchmarkSettings")
"""Settings for which a plain string may stand."""
_PLACEHOLDER: Node = {"type": "string", "pattern": r"\$\{[^}]+\}"}
_TEXT: Node = {"type": "string"}
_LEFT_OUT = ("title", "discriminator")


def recipe_schema() -> Node:
    """A schema (JSON Schema, draft 7, which editors know best) that every readable recipe file satisfies."""
    made = Recipe.model_json_schema()
    settings: Node = made.pop("$defs")
    needs = {kind: settings[stage.__name__].get("required", []) for kind, stage in STAGES.items()}
    stages = {kind: {"$ref": f"#/$defs/{stage.__name__}"} for kind, stage in STAGES.items()}
    engines = {kind: {"$ref": f"#/$defs/{engine.__name__}"} for kind, engine in ENGINES.items()}
    named = [kind for kind in engines if kind != "custom"]
    inferred = {"if": {"required": ["base_url"]}, "then": engines["endpoint"], "else": engines["huggingface"]}
    properties = {name: _written(value) for name, value in made["properties"].items()}
    properties["inputs"] = {"type": ["object", "null"], "description": properties["inputs"]["description"]}
    properties["stages"] = {
        "type": "object",
        "description": properties["stages"]["description"],
        "additionalProperties": {"$ref": "#/$defs/Stage"},
    }
    properties["extends"] = {
        "type": "string",
        "description": "Another recipe, a file or a shipped one; this one decides.",
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A recipe of tunalm",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "if": {"required": ["extends"]},
        "else": {
            "required": made["required"],
            "properties": {"stages": {"additionalProperties": {"required": ["kind"], "allOf": _by_kind(needs)}}},
        },
        "$defs": {
            **{name: _settings(each) for name, each in settings.items()},
            "Stage": {"type": "object", "properties": {"kind": {"enum": list(STAGES)}}, "allOf": _by_kind(stages)},
            "Engine": {
                "anyOf": [
                    _TEXT,
                    {
                        "type": "object",
                        "properties": {"kind": {"anyOf": [{"enum": named}, {"type": "string", "pattern": ":"}]}},
                        "allOf": [
                            *_by_kind({kind: engines[kind] for kind in named}),
                            {"if": {"not": {"required": ["kind"]}}, "then": inferred},
                        ],
                    },
                ]
            },
        },
    }


def _by_kind(then: Mapping[str, Node | list[str]]) -> list[Node]:
    """What must hold, or what is required, for each value of `kind`."""
    return [
        {
            "if": {"required": ["kind"], "properties": {"kind": {"const": kind}}},
            "then": {"required": node} if isinstance(node, list) else node,
        }
        for kind, node in then.items()
    ]


def _settings(node: Node) -> Node:
    properties = {name: _written(value) for name, value in node["properties"].items()}
    description = " ".join(node.get("description", "").split())
    return {"type": "object", "description": description, "additionalProperties": False, "properties": properties}


def _written(node: Node) -> Node:
    """The schema of a value as it may be written: `${input}` in place of anything, and the short forms."""
    kept = {key: value for key, value in node.items() if key not in _LEFT_OUT}
    said: Node = {key: kept.pop(key) for key in ("description", "default") if key in kept}
    if "description" in said:
        said["description"] = " ".join(said["description"].split())
    choices = [_choice(each) for each in kept.pop("anyOf", None) or [kept]]
    return {"anyOf": choices if _TEXT in choices else [*choices, _PLACEHOLDER], **said}


def _choice(node: Node) -> Node:
    if "oneOf" in node:  # the only unions by kind beside stages are engines
        return {"$ref": "#/$defs/Engine"}
    if node.get("$ref") == "#/$defs/Rounds":
        return {"anyOf": [node, {"type": "integer", "minimum": 1}]}  # rounds: 3
    if "$ref" in node:
        return {"anyOf": [node, _TEXT]} if node["$ref"].rpartition("/")[2] in SHORT_FORMS else node
    node = {key: value for key, value in node.items() if key not in _LEFT_OUT}
    for inner in ("items", "additionalProperties"):
        if isinstance(node.get(inner), dict) and node[inner]:
            node[inner] = _written(node[inner])
    if "Engine" in str(node.get("additionalProperties")):
        return {"anyOf": [node, {"type": "array", "items": _TEXT}]}  # models: [sft, tuna]
    if "#/$defs/Lists" in str(node.get("items")):
        return {"anyOf": [node, node["items"]]}  # rankings: by_judge
    return node
