"""What counts as a key, and that nothing else is touched."""

from __future__ import annotations

import io
import json
from typing import TextIO, cast

import pytest

from tunalm import redaction
from tunalm.errors import RecipeError
from tunalm.recipe.loading import build_recipe
from tunalm.redaction import CleanStream, holds_key, remember, without_keys, without_secret_bytes, without_secrets

SHAPED = [
    "sk-proj-0123456789abcdefABCDEF",
    "sk-ant-api03-abcdefghijklmnop",
    "hf_abcdefghijklmnopqrstuvwxyz012345",
    "ghp_0123456789abcdefghijABCDEFGHIJ",
    "github_pat_11ABCDEFG0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-0123456789abcdefghijklmnopqrstu",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_def",
]
HARMLESS = [
    "task-0123456789abcdef",
    "disk-usage-of-12-machines",
    "sk-learn-questions.jsonl",
    "https://example.org/v1",
    "owner/name@main",
    "hf_cache",
    "runs/tuna_p/model",
    "max_new_tokens=256",
    "api_key_env=MY_KEY",
    "knobs as key=value",
    "the bearer of news",
]


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})


@pytest.mark.parametrize("key", SHAPED, ids=lambda key: key[:6])
def test_what_looks_like_a_key_is_cut_out(key: str) -> None:
    assert holds_key(key)
    assert without_keys(f"before '{key}', after") == "before '[key]', after"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_does_not_stays(text: str) -> None:
    assert not holds_key(text)


@pytest.mark.parametrize("text", [text for text in HARMLESS if "key=value" not in text])
def test_harmless_lines_are_shown_as_they_are(text: str) -> None:
    assert without_keys(text) == text


def test_a_value_that_is_called_a_secret_is_cut_out_of_what_is_shown() -> None:
    assert without_keys("https://user:hunter2@example.org/v1") == "https://[key]@example.org/v1"
    assert without_keys("https://example.org/v1?api-key=hunter22&x=1") == "https://example.org/v1?api-key=[key]&x=1"
    assert without_keys("Authorization: Bearer abcd1234") == "Authorization: Bearer [key]"


def test_a_remembered_secret_is_cut_out_in_every_spelling() -> None:
    secret = 'plain "words" & more'
    remember(secret)
    for spelling in (
        secret,
        json.dumps(secret),
        "plain%20%22words%22%20%26%20more",
        "plain &quot;words&quot; &amp; more",
    ):
        assert "words" not in without_secrets(f"<{spelling}>")
        assert b"words" not in without_secret_bytes(f"<{spelling}>".encode())


def test_a_secret_that_begins_like_another_is_cut_out_whole() -> None:
    remember("12345678")
    remember("1234567890")
    assert without_secrets("1234567890 12345678") == "[key] [key]"


def test_a_stand_in_for_a_key_is_no_secret() -> None:
    remember("EMPTY")
    assert without_secrets("The list is EMPTY.") == "The list is EMPTY."


def test_answers_of_models_keep_what_only_looks_like_a_key() -> None:
    assert without_secrets(SHAPED[0]) == SHAPED[0]


def test_a_clean_stream_writes_no_key_and_is_else_the_stream() -> None:
    inner = io.StringIO()
    stream = cast(TextIO, CleanStream(inner))
    print("key", SHAPED[0], file=stream)
    stream.writelines(["a\n", f"{SHAPED[1]}\n"])
    stream.flush()
    assert not stream.isatty()
    assert inner.getvalue() == "key [key]\na\n[key]\n"


def recipe_with(**engine: object) -> dict[str, object]:
    served = {"base_url": "https://example.org/v1", "model": "m", **engine}
    return {"name": "r", "stages": {"own": {"kind": "sample", "engine": served, "data": "checkable:train"}}}


@pytest.mark.parametrize(
    "engine",
    [
        {"api_key_env": SHAPED[0]},
        {"api_key_env": "hunter2-of-mine"},
        {"api_key_env": "0123456789ABCDEF0123456789ABCDEF"},
        {"api_key_env": "ABCDEF0123456789ABCDEF0123456789"},
        {"api_key_env": 12345678901},
        {"api_key": SHAPED[0]},
        {"model": SHAPED[0]},
        {"base_url": "https://me:hunter2-of-mine@example.org/v1"},
        {"base_url": "https://example.org/v1?code=hunter2-of-mine"},
    ],
    ids=lambda engine: f"{next(iter(engine))}-{len(str(engine))}",
)
def test_a_recipe_that_holds_a_secret_is_refused_without_showing_it(engine: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="api_key_env") as caught:
        build_recipe(recipe_with(**engine))
    assert f"stages.own.engine.{next(iter(engine))}" in str(caught.value)
    for part in (*map(str, engine.values()), "hunter2"):
        assert part not in str(caught.value)


def test_an_override_that_holds_a_secret_is_refused_without_showing_it() -> None:
    for override in (f"stages.own.engine.api_key_env={SHAPED[0]}", f"stages.own.engine.model={SHAPED[0]}"):
        with pytest.raises(RecipeError, match="may be a key itself") as caught:
            build_recipe(recipe_with(), [override])
        assert SHAPED[0] not in str(caught.value)


def test_the_name_of_a_variable_is_accepted() -> None:
    for name in ("MY_KEY", "OPENAI_API_KEY", "KEY", "TOKEN2", "AZURE_OPENAI_API_KEY_2026_EUROPE"):
        build_recipe(recipe_with(api_key_env=name))


def test_a_key_where_none_is_taken_leads_to_the_name_of_a_variable() -> None:
    with pytest.raises(RecipeError, match="'api_key_env'") as caught:
        build_recipe(recipe_with(api_key="hunter2-of-mine"))
    assert "hunter2" not in str(caught.value)
